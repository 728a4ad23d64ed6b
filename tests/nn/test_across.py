"""One mesh on two processes gives what one process gives: outputs and gradients, by patches and with halos.

In float64, so that nothing but the last digits may differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.testing import assert_close
from torch_geometric.data import Data

from meshops.errors import InputError
from meshops.models import create_model
from meshops.nn import Across, Halo, MeshInputs, own_inputs, own_mesh, spread
from meshops.partition.registry import create_positional
from tests.processes import together

N = 203
PATCHED: dict[str, dict[str, Any]] = {
    "mean of two, rotary": {"num_supernodes": 2, "rotary": True, "num_patches": 8},
    "octree, uneven": {"patching": "octree", "patch_size": 20},
    "linear, recomputed": {"pooling": "linear", "patch_size": 16, "patching": "hilbert", "checkpoint": True},
    "runs of the file, max": {"pooling": "max", "num_patches": 7, "patching": "file"},
}
PASSING: dict[str, dict[str, Any]] = {
    "mppde": {"variables": 1},
    "meshgraphnet": {"split": False},
}


def graph() -> Data:
    torch.manual_seed(0)
    pos, x, y = torch.rand(N, 3), torch.randn(N, 2), torch.randn(N, 3)
    return Data(pos=pos.double(), x=x.double(), y=y.double())


def model(name: str, **settings: Any) -> nn.Module:
    torch.manual_seed(1)
    made: nn.Module = create_model(name, in_channels=2, out_channels=3, channels=16, depth=2, **settings)
    return made.double()


def gradients(made: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in made.parameters()]


def learn(made: Any, inputs: Any, nodes: Tensor | slice = slice(None)) -> Tensor:
    """Output; gradients of the mean square over all nodes, of the part that these nodes have in it."""
    out: Tensor = made(inputs)
    (((out - graph().y[nodes]) ** 2).sum() / N).backward()
    return out.detach()


def sums_and_gathers(across: Across) -> None:
    """Shares of a loss over what was summed and gathered, uneven parts and an empty one among them."""
    parts = [torch.arange(6.0).view(3, 2).requires_grad_(), torch.full((1, 2), 7.0, requires_grad=True)]
    own, weight = parts[across.rank], torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    total = (weight * torch.cat(parts)).sum() ** 2 + (torch.cat(parts).sum(0) ** 3).sum()
    expected = torch.autograd.grad(total, parts)[across.rank]
    whole = across.gather(own)
    assert torch.equal(whole, torch.cat(parts))
    shared = ((weight * whole).sum() ** 2 + (across.sum(own.sum(0)) ** 3).sum()) / across.count
    assert_close(torch.autograd.grad(shared, own)[0], expected)
    assert across.gather(torch.ones(2, across.rank, 3), 1).shape == (2, 1, 3)


def by_patches(across: Across) -> None:
    for name, settings in PATCHED.items():
        whole, own = model("mspt", num_heads=2, **settings), model("mspt", num_heads=2, **settings)
        inputs = whole.unpack(graph())  # type: ignore[operator]
        expected = learn(whole, inputs)
        part, nodes = own_inputs(inputs, across)
        assert 0 < len(nodes) < N
        out = learn(spread(own, across), part, nodes)
        across.add_gradients(own)
        assert_close(out, expected[nodes], atol=1e-11, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
        assert_close(gradients(own), gradients(whole), atol=1e-11, rtol=0)
        with torch.no_grad():
            memory = own.encode(part)  # type: ignore[operator]
            there = across.everywhere(own.decode(memory, part), nodes, N)  # type: ignore[operator]
            assert_close(there, expected, atol=1e-11, rtol=0)
        assert_close(spread(own, None)(inputs), expected, atol=1e-12, rtol=0)


def with_halos(across: Across) -> None:
    patches = create_positional("ball_tree", num_patches=16).partition(graph().pos)
    patch_of_node = torch.empty(N, dtype=torch.int64)
    patch_of_node[patches.perm] = torch.repeat_interleave(patches.ptr.diff())
    for owner in (patch_of_node * across.count // 16, torch.arange(N) % across.count):  # compact; all is boundary
        for name, settings in PASSING.items():
            whole, own = model(name, **settings), model(name, **settings)
            inputs: MeshInputs = whole.unpack(graph())  # type: ignore[operator]
            expected = learn(whole, inputs)
            part = own_mesh(inputs, owner, across)
            assert isinstance(part.halo, Halo)
            nodes, ghosts = part.halo.nodes, part.halo.ghosts
            assert 0 < len(ghosts) and not set(nodes.tolist()) & set(ghosts.tolist())
            assert_close(part.seen(part.pos), inputs.pos[torch.cat([nodes, ghosts])], atol=0, rtol=0)
            out = learn(own, part, nodes)
            across.add_gradients(own)
            assert_close(out, expected[nodes], atol=1e-11, rtol=0)
            assert_close(gradients(own), gradients(whole), atol=1e-11, rtol=0)


def refusals(across: Across) -> None:
    made = model("mspt", num_heads=2, num_patches=1)
    with pytest.raises(InputError, match="1 patches cannot be shared out among 2 processes"):
        own_inputs(made.unpack(graph()), across)  # type: ignore[operator]
    both = Data(pos=graph().pos, x=graph().x, ptr=torch.tensor([0, 99, N]))
    two = model("mspt", num_heads=2, num_patches=4).unpack(both)  # type: ignore[operator]
    with pytest.raises(InputError, match="one mesh is spread over processes, got a batch of 2"):
        own_inputs(two, across)
    for other in (model("mspt", num_heads=2, variant="reference"), model("mppde")):
        with pytest.raises(InputError, match="cannot be spread over processes by patches"):
            spread(other, across)
    with pytest.raises(InputError, match=r"owned by all of 2 processes, got \[203, 0\]"):
        own_mesh(model("mppde").unpack(graph()), torch.zeros(N, dtype=torch.int64), across)  # type: ignore[operator]
    with pytest.raises(InputError, match="name the dimension"):
        Across(init_device_mesh("cpu", (1, 2), mesh_dim_names=("batch", "mesh")))


def all_checks() -> None:
    across = Across(init_device_mesh("cpu", (1, 2), mesh_dim_names=("batch", "mesh")), "mesh")
    for check in (sums_and_gathers, by_patches, with_halos, refusals):
        check(across)


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    together(all_checks, 2, tmp_path)
