"""Ahmed bodies: the public AhmedML set, and RANS cases of the same kind that are shipped."""

from meshops.datasets.ahmed.mini import AhmedMini
from meshops.datasets.ahmed.ml import AhmedML

__all__ = ["AhmedML", "AhmedMini"]
