"""Shapes and cases made on demand."""

from meshops.solvers.ahmed_body import ahmed_body, ahmed_body_from

__all__ = ["ahmed_body", "ahmed_body_from"]
