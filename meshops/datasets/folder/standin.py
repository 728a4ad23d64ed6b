"""A small parametric study on disk: ellipsoids in a potential flow, a table beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meshops.io import replacing, write_text


def write_standin(root: str | Path, num: int = 4, *, seed: int = 0) -> Path:
    """Write ``ellipsoid_<i>.vtp`` with the pressure of a potential flow at the points, and ``cases.csv``.

    Semi-axes and speed differ from case to case; the density is 1.2 kg/m^3. Columns of the table: the speed (m/s), the
    length (m), and the lowest pressure (Pa) as a result.

    Args:
        root: Folder; is made.
        num: Number of cases.
        seed: Of the shapes.
    """
    import pyvista as pv

    from meshops.solvers.ellipsoid_flow import ellipsoid_velocity

    folder, random = Path(root), np.random.default_rng(seed)
    lines = ["case,speed [m/s],length [m],min_pressure [Pa]"]
    for i in range(num):
        axes, speed = random.uniform(0.3, 1.0, 3), random.uniform(20, 40)
        sphere = pv.Icosphere(radius=1.0, nsub=2)
        unit = np.asarray(sphere.points, dtype=np.float64)
        sphere.points = unit * axes
        velocity = ellipsoid_velocity(unit * axes, (float(axes[0]), float(axes[1]), float(axes[2])), speed)
        pressure = 0.5 * 1.2 * (speed**2 - np.square(velocity).sum(1))
        sphere.clear_data()
        sphere.point_data["pressure"] = pressure
        path = folder / f"ellipsoid_{i + 1}.vtp"
        with replacing(path) as partial:
            sphere.save(partial)
        lines.append(f"ellipsoid_{i + 1},{speed:.6g},{2 * axes[0]:.6g},{pressure.min():.6g}")
    write_text(folder / "cases.csv", "\n".join(lines) + "\n")
    return folder
