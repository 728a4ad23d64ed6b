"""Where to look from: named views in the frame of the flow, and what of a shape they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meshops.errors import InputError, listing

# Direction from the shape to the viewer as (flow, lateral, up) components.
VIEWS: dict[str, tuple[float, float, float]] = {
    "front three-quarter": (-1.0, -0.75, 0.5),
    "rear three-quarter": (1.0, -0.75, 0.5),
    "front three-quarter from below": (-1.0, -0.75, -0.5),
    "rear three-quarter from below": (1.0, -0.75, -0.5),
    "front": (-1.0, 0.0, 0.0),
    "rear": (1.0, 0.0, 0.0),
    "side": (0.0, -1.0, 0.0),
    "other side": (0.0, 1.0, 0.0),
    "top": (0.0, 0.0, 1.0),
    "bottom": (0.0, 0.0, -1.0),
}


@dataclass(frozen=True, kw_only=True)
class View:
    """A parallel projection.

    Attributes:
        name: As in the caption.
        right, up, toward: Unit vectors of the picture: to the right, upward, to the viewer.
    """

    name: str
    right: np.ndarray
    up: np.ndarray
    toward: np.ndarray

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """``[n, 3]`` points or directions -> ``[n, 2]`` right and up components."""
        flat: np.ndarray = np.asarray(vectors) @ np.stack([self.right, self.up], axis=1)
        return flat


def flow_frame(flow: Sequence[float], up: Sequence[float]) -> np.ndarray:
    """``[3, 3]`` orthonormal rows flow, lateral = up x flow, up (made perpendicular to the flow)."""
    along = _unit(flow, "flow")
    upward = _unit(up, "up")
    lateral = np.cross(upward, along)
    if np.linalg.norm(lateral) < 1e-6:
        raise InputError(f"flow {tuple(flow)} and up {tuple(up)} are parallel; give directions at an angle")
    lateral /= np.linalg.norm(lateral)
    return np.stack([along, lateral, np.cross(along, lateral)])


def named_view(name: str, frame: np.ndarray) -> View:
    """View of :data:`VIEWS` in the frame of :func:`flow_frame`."""
    if name not in VIEWS:
        raise InputError(f"unknown view '{name}'; choose from {listing(VIEWS)}")
    toward = np.asarray(VIEWS[name]) @ frame
    # Seen from above or below, downstream points to the right of the picture.
    vertical = frame[1] if name == "top" else -frame[1] if name == "bottom" else frame[2]
    return look_along(toward, vertical, name)


def look_along(toward: np.ndarray, vertical: np.ndarray, name: str) -> View:
    """View with ``toward`` pointing at the viewer and ``vertical`` upward in the picture."""
    toward = toward / np.linalg.norm(toward)
    right = np.cross(vertical, toward)
    right /= np.linalg.norm(right)
    return View(name=name, right=right, up=np.cross(toward, right), toward=toward)


def flat_view(points: np.ndarray, frame: np.ndarray) -> View | None:
    """Find the view onto a planar mesh; None if the mesh is not planar."""
    centered = np.asarray(points, dtype=np.float64) - np.mean(points, axis=0)
    sizes, axes = np.linalg.eigh(centered.T @ centered)
    if sizes[-1] <= 0 or sizes[0] > 1e-10 * sizes[-1]:
        return None
    toward = axes[:, 0]
    sign_by = toward[np.argmax(np.abs(toward))]
    toward = toward if sign_by > 0 else -toward
    if abs(toward @ frame[2]) > 0.99:  # seen from above: downstream to the right
        return look_along(frame[2], frame[1], "plane of the mesh")
    if abs(toward @ frame[0]) > 0.99:
        return look_along(-frame[0], frame[2], "plane of the mesh")
    right = frame[0] - (frame[0] @ toward) * toward
    return look_along(toward, np.cross(toward, right), "plane of the mesh")


def _unit(vector: Sequence[float], name: str) -> np.ndarray:
    value = np.asarray(vector, dtype=np.float64)
    if value.shape != (3,) or not np.isfinite(value).all() or np.linalg.norm(value) == 0:
        raise InputError(f"{name} must be three numbers, not all zero, got {tuple(np.ravel(vector))}")
    return value / np.linalg.norm(value)
