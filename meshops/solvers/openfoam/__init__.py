"""OpenFOAM as a solver: cases written in our own words, its programs run, their results judged and read."""

from meshops.solvers.openfoam.ahmed_case import AhmedSettings, draw_shape, write_body_case, write_case
from meshops.solvers.openfoam.campaign import add_to_study, generate_ahmed
from meshops.solvers.openfoam.history import Verdict, read_drag, read_residuals, verdict_of
from meshops.solvers.openfoam.programs import FoamError, Programs, find_programs
from meshops.solvers.openfoam.solve import Prepared, begin, prepare_copy, prepare_shape, run_starts
from meshops.solvers.openfoam.start import StartRun, write_start

__all__ = [
    "AhmedSettings",
    "FoamError",
    "Prepared",
    "Programs",
    "StartRun",
    "Verdict",
    "add_to_study",
    "begin",
    "draw_shape",
    "find_programs",
    "generate_ahmed",
    "prepare_copy",
    "prepare_shape",
    "read_drag",
    "read_residuals",
    "run_starts",
    "verdict_of",
    "write_body_case",
    "write_case",
    "write_start",
]
