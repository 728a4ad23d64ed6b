"""The best surrogate of few cases, chosen honestly: candidates, cross-validation, a blend, an outer test."""

from meshops.selection.config import FitConfig
from meshops.selection.folds import Split, split_cases
from meshops.selection.from_study import fit_study
from meshops.selection.result import FitResult
from meshops.selection.rollouts import RolloutFit, fit_trajectories
from meshops.selection.run import fit

__all__ = ["FitConfig", "FitResult", "RolloutFit", "Split", "fit", "fit_study", "fit_trajectories", "split_cases"]
