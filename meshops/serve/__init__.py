"""A page and a REST interface to use a surrogate from: uploads, a queue, one worker process, results to download.

Importing this package loads neither FastAPI nor PyTorch.
"""

from meshops.serve.limits import Limits
from meshops.serve.run import serve
from meshops.serve.service import Service

__all__ = ["Limits", "Service", "serve"]
