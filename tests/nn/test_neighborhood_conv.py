import math

import pytest
import torch
from torch import Tensor

from meshops.data.latent_grid import LatentGrid, Neighborhood
from meshops.errors import InputError
from meshops.nn.neighborhood_conv import NeighborhoodConv


def layer(dim: int = 2, *, modulation: int = 0, chunk_size: int | None = None) -> NeighborhoodConv:
    torch.manual_seed(0)
    conv = NeighborhoodConv(5, 7, dim=dim, hidden=6, frequencies=4, modulation=modulation, chunk_size=chunk_size)
    with torch.no_grad():
        conv.bias.uniform_(-1, 1)
        if conv.modulation is not None:
            conv.modulation.normal_()
    return conv.double()


def sample(dim: int = 2) -> tuple[Tensor, Neighborhood]:
    torch.manual_seed(1)
    box = LatentGrid(low=(0.0,) * dim, high=(1.0,) * dim, shape=(4,) * dim, periodic=(True,) * dim)
    pos = torch.rand(60, dim, dtype=torch.float64)
    return torch.randn(60, 3, 5, dtype=torch.float64), box.from_points(pos, max_neighbors=8)


def definition(conv: NeighborhoodConv, x: Tensor, near: Neighborhood) -> Tensor:
    """A matrix for every neighbour."""
    out = []
    for q in range(near.index.shape[0]):
        total = conv.bias.expand(x.shape[1], -1)
        for v in range(near.index.shape[1]):
            angle = 2 * math.pi * near.offset[q, v] @ conv.frequency
            phi = conv.lift(torch.cat([angle.sin(), angle.cos()]))
            if conv.modulation is not None:
                phi = phi * conv.modulation[0, q] + conv.modulation[1, q]
            matrix = torch.einsum("r,rio->io", torch.nn.functional.gelu(phi), conv.kernel[:-1]) + conv.kernel[-1]
            total = total + near.weight[q, v] * x[near.index[q, v]] @ matrix
        out.append(total)
    return torch.stack(out)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("modulated", [False, True])
def test_equals_the_definition_with_gradients(dim: int, modulated: bool) -> None:
    x, near = sample(dim)
    conv = layer(dim, modulation=4**dim if modulated else 0)
    x.requires_grad_(True)
    ours, slow = conv(x, near), definition(conv, x, near)
    torch.testing.assert_close(ours, slow, rtol=1e-10, atol=1e-10)
    wanted = [x, *conv.parameters()]
    for a, b in zip(torch.autograd.grad(ours.square().sum(), wanted), torch.autograd.grad(slow.square().sum(), wanted),
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_chunks_do_not_change_results_or_gradients() -> None:
    x, near = sample()
    x = x.float().requires_grad_(True)
    small, whole = layer(chunk_size=3).float(), layer(chunk_size=1000).float()
    near = Neighborhood(near.index, near.offset.float(), near.weight.float(), near.found, near.nearest)
    a, b = small(x, near), whole(x, near)
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    for g, h in zip(torch.autograd.grad(a.square().sum(), [x, *small.parameters()]),
                    torch.autograd.grad(b.square().sum(), [x, *whole.parameters()]), strict=True):  # fmt: skip
        torch.testing.assert_close(g, h, rtol=1e-4, atol=1e-4)


def test_shift_by_a_period_changes_nothing() -> None:
    box = LatentGrid(low=(0.0, 0.0), high=(1.0, 1.0), shape=(4, 4), periodic=(True, True))
    torch.manual_seed(3)
    pos, x = torch.rand(30, 2, dtype=torch.float64), torch.randn(30, 5, dtype=torch.float64)
    conv = layer()
    shifted = pos + torch.tensor([1.0, -2.0], dtype=torch.float64)
    torch.testing.assert_close(conv(x, box.from_points(pos)), conv(x, box.from_points(shifted)))
    rolled = conv(x, box.from_points(pos + torch.tensor([0.25, 0.0], dtype=torch.float64))).view(4, 4, 7)
    torch.testing.assert_close(rolled, conv(x, box.from_points(pos)).view(4, 4, 7).roll(1, 0))


def test_error_messages() -> None:
    x, near = sample()
    with pytest.raises(InputError, match=r"x must be \[n, s, 5\] or \[n, 5\], got \(60, 3, 4\)"):
        layer()(x[..., :4], near)
    with pytest.raises(InputError, match="convolution is 3-D, got positions in 2-D; make it with dim=2"):
        layer(3)(x, near)
