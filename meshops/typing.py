"""Shape annotations: those of jaxtyping where it is installed, else names that only have to exist.

Annotations are never evaluated unless a checker asks for them, so operations run without jaxtyping.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("jaxtyping") is not None:
    from jaxtyping import Bool, Float, Int, Num
else:
    Bool = Float = Int = Num = object

__all__ = ["Bool", "Float", "Int", "Num"]
