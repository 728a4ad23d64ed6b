"""Nodes to patches and back."""

from __future__ import annotations

import pytest
import torch

from meshops.errors import InputError
from meshops.ops import gather_patches, scatter_patches

INDEX = torch.tensor([[4, 0, 0], [2, 1, 3]])
MASK = torch.tensor([[True, True, False], [True, True, True]])


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_equals_a_loop(shape: tuple[int, ...]) -> None:
    values = torch.randn(6, *shape)
    rows = gather_patches(values, INDEX, MASK)
    back = scatter_patches(rows, INDEX, MASK, 6)
    for i in range(2):
        for j in range(3):
            assert torch.equal(rows[i, j], values[INDEX[i, j]] if MASK[i, j] else torch.zeros(shape))
    assert torch.equal(back[:5], values[:5]) and not back[5].any()  # node 5 lies in no slot
    assert torch.equal(scatter_patches(values[INDEX[1]], INDEX[1], None, 6)[[2, 1, 3]], values[[2, 1, 3]])


def test_derivatives() -> None:
    values = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda v: gather_patches(v, INDEX, MASK), (values,))
        assert check(lambda v: gather_patches(v, INDEX, None), (values,))  # node 0 is read twice
        assert check(lambda r: scatter_patches(r, INDEX, MASK, 6), (rows,))


def test_cells_of_a_grid() -> None:
    image = torch.arange(16.0).view(4, 4)
    blocks = torch.arange(16).view(2, 2, 2, 2).transpose(1, 2).reshape(4, 4)  # 2 x 2 blocks of a 4 x 4 grid
    rows = gather_patches(image.flatten(), blocks, None)
    assert rows[0].tolist() == [0, 1, 4, 5]
    assert torch.equal(scatter_patches(rows, blocks, None, 16).view(4, 4), image)


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"index\[0\] is 4; indices must lie in 0 .. 3"):
        gather_patches(torch.zeros(4), INDEX, None)
    with pytest.raises(InputError, match=r"index\[0\] is 4"):
        scatter_patches(torch.zeros(2, 3), INDEX, MASK, 4)
    with pytest.raises(InputError, match=r"node 0 lies in 2 slots; a node has one place at most"):
        scatter_patches(torch.zeros(2, 3), INDEX, None, 6)
    with pytest.raises(InputError, match=r"mask must be a bool tensor of shape \(2, 3\), got \(3,\)"):
        gather_patches(torch.zeros(6), INDEX, MASK[0])
    with pytest.raises(InputError, match=r"rows must start with the shape of index, \(2, 3\), got \(2, 2\)"):
        scatter_patches(torch.zeros(2, 2), INDEX, MASK, 6)
