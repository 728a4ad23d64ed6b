"""The continuous convolution on the edges of a graph, as a user of PyG writes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Data
from torch_geometric.nn import NNConv, Sequential

from meshops.data import KNNGraph
from meshops.errors import InputError
from meshops.nn import ContinuousConv


def layer(dim: int = 2, **options: Any) -> ContinuousConv:
    conv = ContinuousConv(5, 7, dim=dim, hidden=6, frequencies=4, **options)
    with torch.no_grad():
        conv.conv.bias.uniform_(-1, 1)
    return conv.double()


def graph(n: int = 12, q: int = 9, e: int = 40, dim: int = 2) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
    """A bipartite graph with a hub of many edges, doubled edges and receivers without any."""
    edges = torch.stack([torch.randint(n, (e,)), torch.randint(q - 2, (e,))])
    edges[1, : e // 2] = 1
    pos = torch.rand(n, dim, dtype=torch.float64), torch.rand(q, dim, dtype=torch.float64)
    return torch.randn(n, 5, dtype=torch.float64), pos, edges


def definition(conv: ContinuousConv, x: Tensor, pos: tuple[Tensor, Tensor], edge_index: Tensor) -> Tensor:
    """A matrix for every edge, edge by edge."""
    out = []
    inner = conv.conv
    for i in range(len(pos[1])):
        senders = [int(j) for j, k in edge_index.T if int(k) == i]
        total = inner.bias
        for j in senders:
            angle = 2 * math.pi * (pos[1][i] - pos[0][j]) / conv.length @ inner.frequency
            phi = torch.nn.functional.gelu(inner.lift(torch.cat([angle.sin(), angle.cos()])))
            matrix = torch.einsum("r,rio->io", phi, inner.kernel[:-1]) + inner.kernel[-1]
            total = total + x[j] @ matrix / len(senders)
        out.append(total)
    return torch.stack(out)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_equals_the_definition_with_gradients(dim: int, chunk_size: int | None) -> None:
    conv = layer(dim, length=0.3, chunk_size=chunk_size)
    x, pos, edges = graph(dim=dim)
    wanted = [x.requires_grad_(), pos[0].requires_grad_(), pos[1].requires_grad_(), *conv.parameters()]
    ours, slow = conv(x, pos, edges), definition(conv, x, pos, edges)
    assert_close(ours, slow, rtol=1e-10, atol=1e-10)
    gradients = (torch.autograd.grad(out.square().sum(), wanted) for out in (ours, slow))
    for a, b in zip(*gradients, strict=True):
        assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_gradcheck() -> None:
    conv, (x, pos, edges) = layer(), graph(5, 4, 9)
    assert torch.autograd.gradcheck(lambda x, p, q: conv(x, (p, q), edges), (x.requires_grad_(), *(
        p.requires_grad_() for p in pos)))  # fmt: skip


def test_equals_nnconv_of_pyg() -> None:
    conv, (x, pos, edges) = layer(), graph()

    class Kernel(nn.Module):
        def forward(self, offset: Tensor) -> Tensor:
            return torch.einsum("er,rio->eio", conv.conv.features(offset), conv.conv.kernel).flatten(1)

    other = NNConv(5, 7, Kernel(), aggr="mean", root_weight=False).double()
    assert other.bias is not None
    other.bias.data.copy_(conv.conv.bias)
    wanted = other((x, torch.zeros(9, 5).double()), edges, edge_attr=pos[1][edges[1]] - pos[0][edges[0]])
    assert_close(conv(x, pos, edges), wanted)


def test_the_order_of_edges_and_nodes_does_not_matter() -> None:
    conv, (x, pos, edges) = layer(), graph()
    out = conv(x, pos, edges)
    assert_close(conv(x, pos, edges[:, torch.randperm(edges.shape[1])]), out)
    order = torch.randperm(len(x))
    moved = torch.stack([torch.argsort(order)[edges[0]], edges[1]])
    assert_close(conv(x[order], (pos[0][order], pos[1]), moved), out)


def test_one_set_of_nodes_and_series() -> None:
    conv, (x, (pos, _), _) = layer(), graph()
    edges = KNNGraph(3)(Data(pos=pos)).edge_index
    out = conv(x, pos, edges)
    assert torch.equal(out, conv(x, (pos, pos), edges)) and out.shape == (12, 7)
    series = torch.stack([x, 2 * x, -x], 1)
    assert_close(conv(series, pos, edges), torch.stack([conv(part, pos, edges) for part in series.unbind(1)], 1))


def test_a_graph_without_edges_gets_the_bias() -> None:
    conv, (x, pos, _) = layer(), graph()
    none = torch.zeros(2, 0, dtype=torch.long)
    assert torch.equal(conv(x, pos, none), conv.conv.bias.expand(9, -1))
    assert conv(x[:0], (pos[0][:0], pos[1][:0]), none).shape == (0, 7)
    conv(x, pos, none).sum().backward()
    assert torch.equal(conv.conv.bias.grad, torch.full((7,), 9.0).double())  # type: ignore[arg-type]


def test_as_a_user_of_pyg_writes_it() -> None:
    data = KNNGraph(k=6)(Data(x=torch.rand(50, 16), pos=torch.rand(50, 3)))
    assert ContinuousConv(16, 64)(data.x, data.pos, data.edge_index).shape == (50, 64)
    model = Sequential(
        "x, pos, edge_index",
        [
            (ContinuousConv(16, 32), "x, pos, edge_index -> x"),
            nn.GELU(),
            (ContinuousConv(32, 4), "x, pos, edge_index -> x"),
        ],
    )
    assert model(data.x, data.pos, data.edge_index).shape == (50, 4)
    assert repr(ContinuousConv(16, 64, length=0.1)).startswith("ContinuousConv(\n  length=0.1")


def test_a_scaled_mesh_with_a_scaled_length_gives_the_same() -> None:
    conv, (x, pos, edges) = layer(), graph()
    other = layer(length=1000.0)
    other.load_state_dict(conv.state_dict())
    assert_close(other(x, (1000 * pos[0], 1000 * pos[1]), edges), conv(x, pos, edges))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, pos, edges: (x[:, :4], pos, edges), r"x must be \[n, s, 5\] or \[n, 5\], got \(12, 4\)"),
        (lambda x, pos, edges: (x[:3], pos, edges), r"one row per position of a sender \(12\), got 3"),
        (lambda x, pos, edges: (x, pos, edges.T), r"edge_index must be \[2, e\] \(sender, receiver\), got \(40, 2\)"),
        (lambda x, pos, edges: (x, pos, edges + 9), r"edge_index\[0\]\[\d+\] is \d+; indices must lie in 0 .. 11"),
        (lambda x, pos, edges: (x, pos, edges.float()), r"edge_index\[0\] must be an int64 tensor"),
    ],
)
def test_refusals(change: Callable[..., tuple[Any, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer()(*change(*graph()))


def test_dimension_and_length() -> None:
    with pytest.raises(InputError, match="convolution is 3-D, got positions in 2-D; make it with dim=2"):
        layer(3)(*graph())
    with pytest.raises(InputError, match="length must be positive"):
        ContinuousConv(1, 1, length=0.0)
