"""An OpenFOAM case of the flow past an Ahmed body: domain, mesh, k-omega SST, SIMPLE.

Lengths in m, the stream is 1 m/s along x and the density 1, as in AhmedML: pressures are kinematic and Cp = 2 p. The
speed enters through the viscosity, so that the Reynolds number is that of the body in air. Choices, all ours:

* The shapes are symmetric, so half of the flow is solved beside a symmetry plane and mirrored; ``half=False`` solves
  all of it.
* Walls have wall functions. The ground moves with the stream; sides and top slip. In front of the body are 2.4 body
  lengths, behind it 4.2, beside it 1.4 and above it 1.7.
* Turbulence of the stream: 1 % intensity, eddy viscosity 10 times that of the air.
* Momentum: linear upwind with limited gradients, blended with three tenths of first-order upwind; k and omega: upwind;
  SIMPLE-consistent. With pure second order many wakes never settle; the blend adds diffusion, and with it drag. One
  body on 28,000 cells, share of upwind and drag coefficient: 0: 0.29, wandering; 0.15: 0.33; 0.3: 0.37; 1: 0.53.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from scipy.spatial import cKDTree

from meshops.data.writers import write_mesh
from meshops.errors import InputError, did_you_mean, listing
from meshops.solvers.ahmed_body import COLUMNS, RADIUS_LIMIT, AhmedShape, ahmed_body
from meshops.solvers.openfoam.text import write_dictionary, write_field_file

Array = np.ndarray[Any, Any]

AIR = 1.5e-5  # kinematic viscosity, m^2/s
INTENSITY, RATIO = 0.01, 10.0  # of the turbulence of the stream, and its eddy viscosity over that of the air
RANGES = {
    "length": (0.8, 1.2),
    "width": (0.3, 0.47),
    "height": (0.25, 0.34),
    "front_radius": (0.08, 0.12),
    "slant_length": (0.15, 0.25),
    "slant_angle": (10.0, 60.0),
    "ground_clearance": (0.035, 0.08),
}
AHEAD, BEHIND, BESIDE, ABOVE = 2.4, 4.2, 1.4, 1.7  # extent of the domain, in body lengths
SPACING, CELLS = 0.15, 15_500  # background spacing of the half domain in body lengths, and the cells it came to
SIDES, GROUND, PLANE, BODY = "sides", "ground", "symmetry", "body"


@dataclass(frozen=True, kw_only=True)
class AhmedSettings:
    """How bodies are meshed and solved.

    Attributes:
        cells: Wanted number of cells of the mesh that is solved; it comes out within about two fifths.
        half: Solve half of the flow and mirror it.
        layers: Layers of flat cells on the body.
        speed: Of the body in air, m/s.
        iterations: At most.
        residual: Initial residual of every equation below which the solver stops.
        drag_change: Relative spread of the drag over the last ``window`` iterations that counts as converged.
        window: Iterations.
        upwind: Share of first-order upwind in the convection of momentum, 0 to 1.
        volume: Also write the flow around the body.
        timeout: Seconds a program may take.
    """

    cells: int = 25_000
    half: bool = True
    layers: int = 0
    speed: float = 40.0
    iterations: int = 400
    residual: float = 1e-4
    drag_change: float = 0.01
    window: int = 30
    upwind: float = 0.3
    volume: bool = False
    timeout: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse what makes no case."""
        low = {"cells": 2000, "layers": 0, "speed": 0.1, "iterations": 10, "window": 2, "timeout": 1.0}
        for name, least in low.items():
            if not least <= getattr(self, name) < math.inf:
                raise InputError(f"ahmed: {name} must be at least {least}, got {getattr(self, name)}")
        for name in ("residual", "drag_change"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"ahmed: {name} must lie between 0 and 1, got {getattr(self, name)}")
        if not 0 <= self.upwind <= 1:
            raise InputError(f"ahmed: upwind must be 0 to 1, got {self.upwind}")

    @property
    def viscosity(self) -> float:
        """Kinematic, at a stream of 1 m/s."""
        return AIR / self.speed

    @property
    def turbulence(self) -> dict[str, float]:
        """``k``, ``omega`` and ``nut`` of the stream."""
        k, nut = 1.5 * INTENSITY**2, RATIO * self.viscosity
        return {"k": k, "omega": k / nut, "nut": nut}

    def told(self) -> dict[str, Any]:
        """What two runs must share to stand in one folder."""
        return {name: value for name, value in asdict(self).items() if name != "timeout"}


def draw_shape(seed: int, number: int, ranges: dict[str, tuple[float, float]] | None = None) -> AhmedShape:
    """Body ``number`` of a seed: every dimension evenly from its range, whatever else is drawn.

    Args:
        seed: Of the set.
        number: Of the body.
        ranges: Dimension -> lowest and highest, m and degrees; those that are missing are :data:`RANGES`.

    Raises:
        InputError: An unknown dimension, or no body comes of the ranges.
    """
    unknown = sorted(set(ranges or {}) - set(RANGES))
    if unknown:
        raise InputError(
            f"ahmed: no dimension {listing(unknown)}; {did_you_mean(unknown[0], RANGES)}there are: {listing(RANGES)}"
        )
    every = RANGES | (ranges or {})
    draw = random.Random(f"ahmed {seed} {number}")
    told: InputError | None = None
    for _ in range(100):
        values = {name: low + (high - low) * draw.random() for name, (low, high) in every.items()}
        values["front_radius"] = min(values["front_radius"], RADIUS_LIMIT * min(values["width"], values["height"]))
        try:
            return AhmedShape(**values)
        except InputError as error:
            told = error
    raise InputError(f"ahmed: no body comes of these ranges after 100 draws ({told}); change them")


def parameters_of(shape: AhmedShape) -> dict[str, float]:
    """Columns of ``geo_parameters_<i>.csv``."""
    return {column: float(getattr(shape, name)) for column, name in COLUMNS.items()} | {
        "frontal-area": shape.width * shape.height
    }


def write_case(folder: Path, shape: AhmedShape, settings: AhmedSettings, *, edge: float = 0.02) -> None:
    """Write a case that ``blockMesh``, ``snappyHexMesh -overwrite`` and ``simpleFoam`` run.

    Args:
        folder: Of the case; made.
        shape: The body.
        settings: Mesh and solver.
        edge: Edge length of the triangles of its surface, m.
    """
    write_body_case(folder, ahmed_body(**{name: getattr(shape, name) for name in RANGES}, edge=edge), settings)


def write_body_case(folder: Path, body: pv.PolyData, settings: AhmedSettings) -> None:
    """:func:`write_case` for any closed triangle surface: x downstream, z up, the ground at z = 0.

    Raises:
        InputError: It reaches below the ground, or half of the flow is asked for and it has no plane of symmetry.
    """
    low, high = (np.asarray(body.points).min(0), np.asarray(body.points).max(0))
    if low[2] < 0:
        raise InputError(f"the body reaches {-low[2]:.3g} m below the ground at z = 0; move it up")
    if settings.half and not is_symmetric(body):
        raise InputError("the body is not its own mirror image at y = 0; solve both halves (--full)")
    write_mesh(body, folder / "constant" / "triSurface" / "body.stl")
    write_numerics(folder, settings)
    write_mesh_settings(folder, low, high, settings)
    write_start_fields(folder, settings)


def is_symmetric(body: pv.PolyData) -> bool:
    """Whether points and their mirror images at y = 0 lie together, to a thousandth of the length."""
    points = np.asarray(body.points, dtype=np.float64)
    distance, _ = cKDTree(points).query(points * [1, -1, 1])
    return bool(distance.max() <= 1e-3 * float(np.ptp(points[:, 0])))


def write_mesh_settings(folder: Path, low: Array, high: Array, settings: AhmedSettings) -> None:
    """Background mesh and refinement for a body between two corners ``[3]``, m, above the ground at z = 0."""
    length, width, top = float(high[0] - low[0]), float(high[1] - low[1]), float(high[2])
    nose, middle = float(low[0]), 0.0 if settings.half else float(high[1] + low[1]) / 2
    wanted = settings.cells if settings.half else settings.cells / 2
    spacing = SPACING * length * (CELLS / wanted) ** (1 / 3)
    side = BESIDE * length
    start = (nose - AHEAD * length, middle if settings.half else middle - side, 0.0)
    end = (nose + (1 + BEHIND) * length, middle + side, ABOVE * length)
    write_dictionary(folder / "system" / "blockMeshDict", _block(start, end, spacing, half=settings.half))

    def box(front: float, back: float, beside: float, above: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (
            (nose - front * length, middle - beside * width, 0.0),
            (nose + back * length, middle + beside * width, above * top),
        )

    boxes = {"around": (2, *box(0.15, 1.5, 0.9, 1.35)), "wake": (1, *box(0.6, 2.8, 1.8, 2.2))}
    outside = ((end[0] + start[0]) / 2 + 0.3217 * spacing, end[1] - 0.391 * spacing, end[2] - 0.417 * spacing)
    write_dictionary(folder / "system" / "snappyHexMeshDict", _snappy(boxes, outside, settings))


def _block(low: tuple[float, ...], high: tuple[float, ...], spacing: float, *, half: bool) -> dict[str, Any]:
    counts = tuple(max(2, round((b - a) / spacing)) for a, b in zip(low, high, strict=True))
    corners = [
        (low[0], low[1], low[2]), (high[0], low[1], low[2]), (high[0], high[1], low[2]), (low[0], high[1], low[2]),
        (low[0], low[1], high[2]), (high[0], low[1], high[2]), (high[0], high[1], high[2]), (low[0], high[1], high[2]),
    ]  # fmt: skip
    near, far = (0, 1, 5, 4), (3, 7, 6, 2)
    patches: list[tuple[str, str, list[Any]]] = [
        ("inlet", "patch", [(0, 4, 7, 3)]),
        ("outlet", "patch", [(1, 2, 6, 5)]),
        (GROUND, "wall", [(0, 3, 2, 1)]),
        (SIDES, "patch", [(4, 5, 6, 7), far] if half else [(4, 5, 6, 7), near, far]),
    ]
    if half:
        patches.append((PLANE, "symmetryPlane", [near]))
    boundary: list[Any] = []
    for name, kind, faces in patches:
        boundary += [name, {"type": kind, "faces": tuple(faces)}]
    return {
        "scale": 1,
        "vertices": tuple(corners),
        "blocks": ("hex", tuple(range(8)), counts, "simpleGrading", (1, 1, 1)),
        "edges": (),
        "boundary": tuple(boundary),
    }


def _snappy(
    boxes: dict[str, tuple[int, tuple[float, ...], tuple[float, ...]]], inside: tuple[float, ...],
    settings: AhmedSettings,
) -> dict[str, Any]:  # fmt: skip
    geometry: dict[str, Any] = {"body.stl": {"type": "triSurfaceMesh", "name": BODY}}
    for name, (_, low, high) in boxes.items():
        geometry[name] = {"type": "searchableBox", "min": low, "max": high}
    return {
        "castellatedMesh": True,
        "snap": True,
        "addLayers": settings.layers > 0,
        "geometry": geometry,
        "castellatedMeshControls": {
            "maxLocalCells": 20 * settings.cells,
            "maxGlobalCells": 40 * settings.cells,
            "minRefinementCells": 0,
            "maxLoadUnbalance": 0.1,
            "nCellsBetweenLevels": 2,
            "features": (),
            "refinementSurfaces": {BODY: {"level": (3, 3), "patchInfo": {"type": "wall"}}},
            "resolveFeatureAngle": 30,
            "refinementRegions": {
                name: {"mode": "inside", "levels": ((1e15, level),)} for name, (level, _, _) in boxes.items()
            },
            "locationInMesh": inside,
            "allowFreeStandingZoneFaces": False,
        },
        "snapControls": {
            "nSmoothPatch": 3,
            "tolerance": 2.0,
            "nSolveIter": 50,
            "nRelaxIter": 5,
            "nFeatureSnapIter": 15,
            "implicitFeatureSnap": True,
            "explicitFeatureSnap": False,
        },
        "addLayersControls": {
            "relativeSizes": True,
            "layers": {BODY: {"nSurfaceLayers": settings.layers}},
            "expansionRatio": 1.2,
            "finalLayerThickness": 0.4,
            "minThickness": 0.1,
            "nGrow": 0,
            "featureAngle": 130,
            "nRelaxIter": 5,
            "nSmoothSurfaceNormals": 1,
            "nSmoothNormals": 3,
            "nSmoothThickness": 10,
            "maxFaceThicknessRatio": 0.5,
            "maxThicknessToMedialRatio": 0.3,
            "minMedianAxisAngle": 90,
            "nBufferCellsNoExtrude": 0,
            "nLayerIter": 30,
        },
        "meshQualityControls": {
            "maxNonOrtho": 65,
            "maxBoundarySkewness": 20,
            "maxInternalSkewness": 4,
            "maxConcave": 80,
            "minVol": 1e-15,
            "minTetQuality": 1e-15,
            "minArea": -1,
            "minTwist": 0.02,
            "minDeterminant": 0.001,
            "minFaceWeight": 0.05,
            "minVolRatio": 0.01,
            "minTriangleTwist": -1,
            "nSmoothScale": 4,
            "errorReduction": 0.75,
            "relaxed": {"maxNonOrtho": 75},
        },
        "mergeTolerance": 1e-6,
    }


def write_numerics(folder: Path, settings: AhmedSettings) -> None:
    """Solver, schemes, fluid and the functions that write forces and wall shear stress."""
    system, constant = folder / "system", folder / "constant"
    write_dictionary(system / "controlDict", {
        "application": "simpleFoam",
        "startFrom": "startTime",
        "startTime": 0,
        "stopAt": "endTime",
        "endTime": settings.iterations,
        "deltaT": 1,
        "writeControl": "timeStep",
        "writeInterval": settings.iterations,
        "purgeWrite": 1,
        "writeFormat": "binary",
        "writePrecision": 10,
        "timeFormat": "general",
        "runTimeModifiable": True,
        "functions": {
            "forces": {"type": "forces", "libs": ("forces",), "patches": (BODY,), "rho": "rhoInf", "rhoInf": 1,
                       "CofR": (0, 0, 0), "writeControl": "timeStep", "writeInterval": 1, "log": False},
            "shear": {"type": "wallShearStress", "libs": ("fieldFunctionObjects",), "patches": (BODY,),
                      "executeControl": "writeTime", "writeControl": "writeTime", "log": False},
        },
    })  # fmt: skip
    write_dictionary(system / "fvSchemes", {
        "ddtSchemes": {"default": "steadyState"},
        "gradSchemes": {"default": "Gauss linear", "grad(U)": "cellLimited Gauss linear 1"},
        "divSchemes": {
            "default": "none",
            "div(phi,U)": f"bounded Gauss fixedBlended {1 - settings.upwind:g} linearUpwind grad(U) upwind",
            "div(phi,k)": "bounded Gauss upwind",
            "div(phi,omega)": "bounded Gauss upwind",
            "div((nuEff*dev2(T(grad(U)))))": "Gauss linear",
        },
        "laplacianSchemes": {"default": "Gauss linear limited corrected 0.5"},
        "interpolationSchemes": {"default": "linear"},
        "snGradSchemes": {"default": "limited corrected 0.5"},
        "wallDist": {"method": "meshWave"},
    })  # fmt: skip
    poisson = {"solver": "GAMG", "smoother": "GaussSeidel", "tolerance": 1e-8, "relTol": 0.05}
    transport = {"solver": "smoothSolver", "smoother": "GaussSeidel", "tolerance": 1e-9, "relTol": 0.1, "nSweeps": 1}
    write_dictionary(system / "fvSolution", {
        "solvers": {"p": poisson, "Phi": poisson | {"relTol": 0.01}, "U": transport, "k": transport,
                    "omega": transport},
        "SIMPLE": {"nNonOrthogonalCorrectors": 0, "consistent": True,
                   "residualControl": {"p|U|k|omega": settings.residual}},
        "potentialFlow": {"nNonOrthogonalCorrectors": 5},
        "relaxationFactors": {"equations": {"U": 0.9, "k": 0.7, "omega": 0.7}},
    })  # fmt: skip
    write_dictionary(constant / "transportProperties", {"transportModel": "Newtonian", "nu": settings.viscosity})
    write_dictionary(constant / "turbulenceProperties", {
        "simulationType": "RAS",
        "RAS": {"RASModel": "kOmegaSST", "turbulence": True, "printCoeffs": False},
    })  # fmt: skip


def write_start_fields(folder: Path, settings: AhmedSettings, inside: dict[str, Any] | None = None) -> None:
    """Fields of time 0: what holds at the patches, and inside the stream or given values.

    Args:
        folder: Of the case.
        settings: Of the case.
        inside: Field -> ``[c]`` or ``[c, 3]``; those that are missing are the stream.
    """
    stream: dict[str, Any] = {"U": (1.0, 0.0, 0.0), "p": 0.0} | settings.turbulence
    values = stream | (inside or {})
    for name, conditions in _conditions(settings).items():
        write_field_file(folder / "0" / name, values[name], conditions)


def _conditions(settings: AhmedSettings) -> dict[str, dict[str, Any]]:
    stream, turbulence = "uniform (1 0 0)", {name: f"uniform {v:.10g}" for name, v in settings.turbulence.items()}
    fixed = {name: {"type": "fixedValue", "value": value} for name, value in turbulence.items()}
    flows = {name: {"type": "inletOutlet", "inletValue": v, "value": v} for name, v in turbulence.items()}
    calculated = {"type": "calculated", "value": turbulence["nut"]}
    flat, slip = {"type": "zeroGradient"}, {"type": "slip"}
    walls = {
        "U": {BODY: {"type": "noSlip"}, GROUND: {"type": "fixedValue", "value": stream}},
        "p": {BODY: flat, GROUND: flat},
        "k": {each: {"type": "kqRWallFunction", "value": turbulence["k"]} for each in (BODY, GROUND)},
        "omega": {each: {"type": "omegaWallFunction", "value": turbulence["omega"]} for each in (BODY, GROUND)},
        "nut": {each: {"type": "nutkWallFunction", "value": turbulence["nut"]} for each in (BODY, GROUND)},
    }
    ends = {
        "U": ({"type": "fixedValue", "value": stream},
              {"type": "inletOutlet", "inletValue": "uniform (0 0 0)", "value": stream}),
        "p": (flat, {"type": "fixedValue", "value": "uniform 0"}),
        "k": (fixed["k"], flows["k"]),
        "omega": (fixed["omega"], flows["omega"]),
        "nut": (calculated, calculated),
    }  # fmt: skip
    out: dict[str, dict[str, Any]] = {}
    for name, (inlet, outlet) in ends.items():
        out[name] = {"inlet": inlet, "outlet": outlet, SIDES: slip if name == "U" else flat, **walls[name]}
        if settings.half:
            out[name][PLANE] = {"type": "symmetryPlane"}
    out["nut"][SIDES] = calculated
    return out
