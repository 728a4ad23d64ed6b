r"""Distance between sets of trajectories in a space of physical features: is what is generated like what is real.

After the Frechet Physics Distance of ENMA (arXiv 2506.06158, app. F.1.1): a light CNN learns to tell the parameters
gamma of the equation from a whole trajectory; sets are compared by the Gaussian 2-Wasserstein distance of its 64
features (Heusel et al. 2017), and by precision and recall of k-nearest-neighbour manifolds (Kynkaanniemi et al. 2019).

Departures: the layout of the CNN is not published, ours is below, so a distance compares with others of the *same*
fitted network and the same real set only, never with a table. It is not the "FPD" of particle physics (JetNet). The
square roots of the eigenvalues of the symmetric product of covariances are taken as singular values of a product of
triangular factors: the same numbers, but squaring first would lose half of the digits.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from meshops.errors import InputError, warn
from meshops.metrics.registry import register_metric
from meshops.ops import knn_search
from meshops.ops.checks import check_values

CHUNK = 2**22  # distances held at a time
REMEDY = "leave out trajectories that diverged, and say how many beside the figure"


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1].

    Attributes:
        precision: Generated samples that lie on the manifold of the real ones: quality.
        recall: Real samples that lie on the manifold of the generated ones: coverage.
    """

    precision: float
    recall: float


class PhysicsFeatures(nn.Module):
    """CNN that tells the parameters of the equation from a trajectory; its features are what is compared.

    Steps are folded into the channels, so that ``[b, t * c, *grid]`` passes three convolutions of stride 2 in 1, 2 or 3
    dimensions, a mean over the grid (any size of grid; translations change little), and one linear layer. There is no
    normalisation layer: it would hide amplitudes from the features, which parameters may well set.

    Args:
        num_steps: Steps of a trajectory, t.
        channels: Channels of a step, c.
        num_parameters: Parameters gamma, p.
        dim: Axes of the grid, 1 to 3.
        width: Channels of the first convolution; the others have ``num_features``.
        num_features: Length of the feature vector, f.

    Raises:
        InputError: ``dim`` is not 1, 2 or 3.

    Example:
        >>> PhysicsFeatures(5, 2, num_parameters=3, dim=2)(torch.randn(4, 5, 2, 16, 12)).shape
        torch.Size([4, 3])
    """

    shift: Tensor
    scale: Tensor
    parameter_shift: Tensor
    parameter_scale: Tensor

    def __init__(
        self, num_steps: int, channels: int, *, num_parameters: int, dim: int, width: int = 32, num_features: int = 64
    ) -> None:
        super().__init__()
        if dim not in (1, 2, 3):
            raise InputError(f"dim must be 1, 2 or 3, got {dim}; interpolate points to a grid first")
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dim - 1]
        self.num_steps, self.channels, self.dim = num_steps, channels, dim
        widths = (num_steps * channels, width, num_features, num_features)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [convolution(before, after, 3, stride=2, padding=1), nn.GELU()]
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(num_features, num_parameters)
        self.register_buffer("shift", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("parameter_shift", torch.zeros(num_parameters))
        self.register_buffer("parameter_scale", torch.ones(num_parameters))

    def features(self, trajectories: Tensor) -> Tensor:
        """Features ``[b, f]`` of trajectories ``[b, t, c, *grid]`` in physical units.

        Raises:
            InputError: Steps, channels or axes are not those of the network.
        """
        if trajectories.dim() != 3 + self.dim or trajectories.shape[1:3] != (self.num_steps, self.channels):
            raise InputError(
                f"trajectories must be [b, {self.num_steps}, {self.channels}, *grid] with {self.dim} grid axes, got "
                f"{list(trajectories.shape)}; cut to the steps that the network was fitted on"
            )
        spread = (-1, *[1] * self.dim)
        x = (trajectories.to(self.shift) - self.shift.view(spread)) / self.scale.view(spread)
        pooled: Tensor = self.blocks(x.flatten(1, 2)).flatten(2).mean(2)
        return pooled

    def forward(self, trajectories: Tensor) -> Tensor:
        """Parameters ``[b, p]`` in their own units."""
        found: Tensor = self.head(self.features(trajectories)) * self.parameter_scale + self.parameter_shift
        return found


def fit_physics_features(
    trajectories: Tensor,
    parameters: Tensor,
    *,
    steps: int = 500,
    seed: int = 0,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
) -> PhysicsFeatures:
    """Train the feature network on real trajectories: mean square error of standardised parameters, AdamW, cosine.

    The same seed gives the same network on one machine; the state of the random generators outside is left alone.
    Check with a held-out set that it can tell the parameters: features of a network that cannot say little.

    Args:
        trajectories: ``[b, t, c, *grid]`` of the training set, in physical units.
        parameters: ``[b, p]`` what tells them apart (viscosity, forcing, ...).
        steps: Optimiser steps.
        seed: Of the weights and the batches.
        batch_size: Trajectories in a step, drawn with replacement.
        learning_rate: At the start.

    Returns:
        The network in evaluation mode, on the device of the trajectories.

    Raises:
        InputError: Shapes do not fit, fewer than two trajectories, values are not finite, no steps.

    Example:
        >>> slope = torch.rand(64, 1)
        >>> ramps = slope[:, :, None, None] * torch.linspace(-1, 1, 16).expand(64, 4, 1, 16)
        >>> fit_physics_features(ramps, slope, steps=20)(ramps).shape
        torch.Size([64, 1])
    """
    _check_fit(trajectories, parameters, steps, batch_size)
    dim, device = trajectories.dim() - 3, trajectories.device
    parameters = parameters.to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PhysicsFeatures(*trajectories.shape[1:3], num_parameters=parameters.shape[1], dim=dim).to(device)
    grid = tuple(range(3, 3 + dim))
    model.shift.copy_(trajectories.double().mean((0, 1, *grid)))
    model.scale.copy_(_nonzero(trajectories.double().std((0, 1, *grid))))
    model.parameter_shift.copy_(parameters.double().mean(0))
    model.parameter_scale.copy_(_nonzero(parameters.double().std(0)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(trajectories), (batch_size,), generator=draws).to(device)
        error = (model(trajectories[rows]) - parameters[rows].to(model.shift)) / model.parameter_scale
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def physics_features(trajectories: Tensor, model: PhysicsFeatures, *, batch_size: int = 64) -> Tensor:
    """Features ``[m, f]`` float64 of trajectories ``[m, t, c, *grid]``, some at a time, on the device of the model.

    Raises:
        InputError: Shapes are not those of the model, or values are not finite.
    """
    check_values(trajectories, "trajectories", remedy=REMEDY)
    return torch.cat([model.features(part.to(model.shift.device)).double() for part in trajectories.split(batch_size)])


def frechet_physics_distance(real: Tensor, generated: Tensor, *, model: PhysicsFeatures, batch_size: int = 64) -> float:
    """Frechet distance between features of real and of generated trajectories ``[m, t, c, *grid]``: 0 is alike.

    The real set is the training set of the generator in ENMA. For precision and recall give
    :func:`physics_features` of both sets to :func:`precision_recall`.

    Args:
        real: ``[m, t, c, *grid]``.
        generated: ``[n, t, c, *grid]``.
        model: The network of :func:`fit_physics_features`, fitted on real trajectories.
        batch_size: Trajectories that pass the network at a time.

    Raises:
        InputError: See :func:`physics_features` and :func:`frechet_distance`.
    """
    return frechet_distance(
        physics_features(real, model, batch_size=batch_size), physics_features(generated, model, batch_size=batch_size)
    )


@register_metric("frechet_distance", needs="features")
def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    r"""Squared 2-Wasserstein distance of the Gaussians with the means and covariances of two sets.

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}(S_a + S_b - 2 (S_a^{1/2} S_b S_a^{1/2})^{1/2})

    As for the FID, the *square* of the distance is what carries the name. Covariances have Bessel's correction. With as
    few samples as features it is biased upwards: compare sets of equal size, and expect more than 0 between two halves
    of one set. The last trace is the sum of the singular values of :math:`R_a R_b^T`, where R is the triangular factor
    of the centred features.

    Args:
        features_a: ``[m, f]``, m at least 2.
        features_b: ``[n, f]``, n at least 2.

    Raises:
        InputError: Fewer than two rows, numbers of features differ, values are not finite.

    Example:
        >>> frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [5.0]]))
        9.0
    """
    _check_features(features_a, features_b, "features_a", "features_b", least=2, why="a covariance")
    factors, means, trace = [], [], 0.0
    for rows in (features_a.double(), features_b.double()):
        mean = rows.mean(0)
        centred = (rows - mean) / math.sqrt(len(rows) - 1)
        trace += float(centred.square().sum())
        factors.append(torch.linalg.qr(centred, mode="r").R)
        means.append(mean)
    overlap = float(torch.linalg.svdvals(factors[0] @ factors[1].T).sum())
    return float((means[0] - means[1]).square().sum()) + max(trace - 2 * overlap, 0.0)


def precision_recall(real: Tensor, generated: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Precision and recall of manifolds made of balls to the k-th nearest neighbour (Kynkaanniemi et al. 2019).

    The manifold of a set is the union of balls, one around each sample, that reach its k-th nearest other sample; the
    edge belongs to it. Distances in float64, never all at once. Sets of equal size make both shares comparable.

    Args:
        real: ``[m, f]`` features.
        generated: ``[n, f]`` features.
        k: Neighbour that sets the radius, smaller than m and n; 3 in the paper.

    Raises:
        InputError: A set has no more than ``k`` rows, numbers of features differ, values are not finite.

    Example:
        >>> precision_recall(torch.arange(6.0)[:, None], torch.arange(3.0)[:, None], k=1)
        PrecisionRecall(precision=1.0, recall=0.6666666666666666)
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}; the paper takes 3")
    _check_features(real, generated, "real", "generated", least=k + 1, why=f"the neighbour number k = {k}")
    return PrecisionRecall(_share_inside(generated, real, k), _share_inside(real, generated, k))


def _share_inside(queries: Tensor, points: Tensor, k: int) -> float:
    """Share of the queries within reach of at least one point."""
    queries, points = queries.double(), points.double()
    reach = knn_search(points, k).distance.view(-1, k)[:, -1]
    inside = 0
    for part in queries.split(max(1, CHUNK // len(points))):
        distance = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")
        inside += int((distance <= reach).any(1).sum())
    return inside / len(queries)


def _check_features(a: Tensor, b: Tensor, name_a: str, name_b: str, *, least: int, why: str) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or a.shape[1] == 0:
        raise InputError(
            f"{name_a} and {name_b} must be [m, f] and [n, f] with the same f >= 1, got {list(a.shape)} and "
            f"{list(b.shape)}; one row per trajectory"
        )
    for values, name in ((a, name_a), (b, name_b)):
        if len(values) < least:
            raise InputError(f"{why} needs at least {least} rows, got {len(values)} in {name}; give more trajectories")
        check_values(values, name, remedy=REMEDY)


def _check_fit(trajectories: Tensor, parameters: Tensor, steps: int, batch_size: int) -> None:
    if not 4 <= trajectories.dim() <= 6 or trajectories.numel() == 0:
        raise InputError(
            f"trajectories must be [b, t, c, *grid] with 1 to 3 grid axes, got {list(trajectories.shape)}; interpolate "
            "points to a grid first"
        )
    if parameters.dim() != 2 or len(parameters) != len(trajectories) or parameters.shape[1] == 0:
        raise InputError(
            f"parameters must be [{len(trajectories)}, p], a row per trajectory, got {list(parameters.shape)}; "
            "one parameter is a column, parameters[:, None]"
        )
    if len(trajectories) < 2 or steps < 1 or batch_size < 1:
        raise InputError(
            f"a fit needs at least 2 trajectories, 1 step and 1 trajectory in a batch, got {len(trajectories)}, "
            f"{steps} and {batch_size}"
        )
    check_values(trajectories, "trajectories", remedy=REMEDY)
    check_values(parameters, "parameters", remedy="repair or leave out the trajectory")
    constant = (parameters == parameters[0]).all(0).nonzero().flatten().tolist()
    if constant:
        warn(f"parameters {constant} are the same for all trajectories: the features need not tell anything of them")


def _nonzero(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1.0)
