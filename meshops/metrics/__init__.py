"""Errors of fields on meshes, of trajectories on grids, of ensembles and of distributions; and losses."""

from meshops.metrics.ensembles import (
    SpreadSkill,
    crps,
    ensemble_errors,
    expected_error,
    missing_variance,
    rank_histogram,
    relative_mse,
    rmsce,
    spread_skill,
)
from meshops.metrics.fields import (
    field_errors,
    max_error,
    mean_absolute_error,
    r2_score,
    relative_l2,
    relative_l2_by_area,
    root_mean_square_error,
    spearman,
)
from meshops.metrics.forecasts import ForecastScores, forecast_bands, forecast_errors, forecast_scores
from meshops.metrics.frechet import (
    PhysicsFeatures,
    PrecisionRecall,
    fit_physics_features,
    frechet_distance,
    frechet_physics_distance,
    physics_features,
    precision_recall,
)
from meshops.metrics.grids import band_errors, energy_spectrum, grid_errors, nmse, vrmse
from meshops.metrics.losses import get_loss
from meshops.metrics.registry import Metric, get_metric, list_metrics, register_metric

__all__ = [
    "ForecastScores",
    "Metric",
    "PhysicsFeatures",
    "PrecisionRecall",
    "SpreadSkill",
    "band_errors",
    "crps",
    "energy_spectrum",
    "ensemble_errors",
    "expected_error",
    "field_errors",
    "fit_physics_features",
    "forecast_bands",
    "forecast_errors",
    "forecast_scores",
    "frechet_distance",
    "frechet_physics_distance",
    "get_loss",
    "get_metric",
    "grid_errors",
    "list_metrics",
    "max_error",
    "mean_absolute_error",
    "missing_variance",
    "nmse",
    "physics_features",
    "precision_recall",
    "r2_score",
    "rank_histogram",
    "register_metric",
    "relative_l2",
    "relative_l2_by_area",
    "relative_mse",
    "rmsce",
    "root_mean_square_error",
    "spearman",
    "spread_skill",
    "vrmse",
]
