"""Checks that every partitioner and every model of meshops passes; run them on yours.

    from meshops.testing import check_model, check_partitioner

    check_partitioner(MyPartitioner(patch_size=16))
    check_model(MyModel(in_channels=2, out_channels=4), random_graphs([40, 23], num_features=2))

A check that fails raises ``AssertionError`` and says which property does not hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.ops.neighbors import knn_search
from meshops.partition.partition import Partition


def random_graphs(sizes: Sequence[int], *, num_features: int = 0, dim: int = 3, seed: int = 0) -> list[MeshGraph]:
    """Point clouds with features, uniform in the unit cube.

    Args:
        sizes: Number of nodes of each graph.
        num_features: Channels of ``x``; 0: no ``x``.
        dim: Space dimensions.
        seed: Of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    graphs = []
    for n in sizes:
        graph = MeshGraph(pos=torch.rand(n, dim, generator=generator))
        if num_features:
            graph.x = torch.randn(n, num_features, generator=generator)
        graphs.append(graph)
    return graphs


def check_partitioner(
    partitioner: Callable[[Any], Any], *, sizes: Sequence[int] = (97, 32, 1, 50), dim: int = 3, seed: int = 0
) -> None:
    """Every node in one patch, patches independent of the order of the nodes and of the batch, bad input refused.

    Plain PyG ``Data`` works like a ``MeshGraph``.

    Args:
        partitioner: PyG transform that stores a :class:`meshops.partition.Partition`.
        sizes: Number of nodes of the graphs it is tried on.
        dim: Space dimensions of the graphs.
        seed: Of the random positions.
    """
    graphs = random_graphs(sizes, dim=dim, seed=seed)
    parts = [Partition.of(partitioner(graph)) for graph in graphs]
    for graph, part in zip(graphs, parts, strict=True):
        _check_cover(graph.pos, part)
        again = Partition.of(partitioner(graph))
        _equal(part.perm, again.perm, "the same input gives other patches")
        order = torch.randperm(len(graph.pos), generator=torch.Generator().manual_seed(seed))
        moved = Partition.of(partitioner(MeshGraph(pos=graph.pos[order])))
        same = _patch_sets(part) == _patch_sets(moved, order)
        assert same, f"{len(graph.pos)} nodes: their order changes the patches"
    _check_batch(Partition.of(partitioner(Batch.from_data_list(graphs))), parts, "partitioning a batch")
    together = Batch.from_data_list([partitioner(graph) for graph in graphs])
    _check_batch(Partition.of(together), parts, "batching partitioned graphs")
    _check_plain(partitioner, graphs, parts)
    flat = graphs[0].pos * torch.tensor([1.0] * (dim - 1) + [0.0])
    for name, pos in {"coinciding": torch.ones(20, dim), "in a plane": flat}.items():
        part = Partition.of(partitioner(MeshGraph(pos=pos)))
        assert sorted(part.perm.tolist()) == list(range(len(pos))), f"points {name}: a node is lost or doubled"
    _check_refusal(partitioner, dim)


def check_model(
    model: nn.Module, graphs: Sequence[Any], *, any_order: bool = True, rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """The contract of :class:`meshops.nn.model.Model`: what the model takes, one finite row per node, right gradients.

    ``model(model.unpack(graph))`` must not depend on what else is in a batch, on the order of the nodes, or, where a
    model takes graphs, on the order of the edges; and it must do without edges.

    Args:
        model: Module with ``takes``, ``unpack`` and ``forward(inputs)``; used in evaluation mode.
        graphs: Two or more graphs the model takes.
        any_order: The order of the nodes must not matter (false for models that group nodes as they are numbered).
        rtol: Relative tolerance of comparisons.
        atol: Absolute tolerance of comparisons.
    """
    _check_contract(model)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            single = [_predict(model, graph) for graph in graphs]
            together = _predict(model, Batch.from_data_list(list(graphs)))
        for graph, out in zip(graphs, single, strict=True):
            assert out.dim() == 2 and out.shape[0] == graph.num_nodes, f"one row per node expected, got {out.shape}"
            assert bool(out.isfinite().all()), "the output is not finite"
            assert bool((out != out[0]).any()) or len(out) == 1, "all nodes get the same values"
            if any_order:
                _check_order(model, graph, out, rtol, atol)
            if "graph" in model.takes:  # type: ignore[operator]
                _check_edges(model, graph, rtol, atol)
        message = "a batch gives other values than its graphs one by one"
        torch.testing.assert_close(together, torch.cat(single), rtol=rtol, atol=atol, msg=lambda m: f"{message}\n{m}")
        _check_gradients(model, Batch.from_data_list(list(graphs)))
    finally:
        model.train(was_training)


def _predict(model: nn.Module, graph: Any) -> Tensor:
    unpack: Any = model.unpack
    out: Tensor = model(unpack(graph))
    return out


def _check_contract(model: nn.Module) -> None:
    takes = getattr(model, "takes", None)
    said = isinstance(takes, frozenset) and takes and all(isinstance(kind, str) for kind in takes)
    assert said, f"takes must be a frozenset of what the model takes, such as {{'graph'}}, got {takes!r}"
    assert callable(getattr(model, "unpack", None)), "the model has no unpack(graph)"
    parameters = list(inspect.signature(model.forward).parameters.values())
    single = len(parameters) > 0 and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    needed = [p.name for p in parameters[1:] if p.default is p.empty]
    assert single and not needed, "forward must take one argument, what unpack returns"


def _check_edges(model: nn.Module, graph: Any, rtol: float, atol: float) -> None:
    """Any order of the edges, and a graph without any."""
    bare = graph.clone()
    bare.edge_index = None
    with torch.no_grad():
        assert bool(_predict(model, bare).isfinite().all()), "the output for a graph without edges is not finite"
        edges = knn_search(graph.pos, 4).edge_index if graph.get("edge_index") is None else graph.edge_index
        order = torch.randperm(edges.shape[1], generator=torch.Generator().manual_seed(0))
        outputs = []
        for index in (edges, edges[:, order]):
            bare.edge_index = index
            outputs.append(_predict(model, bare))
    message = "the order of the edges changes the values"
    torch.testing.assert_close(outputs[1], outputs[0], rtol=rtol, atol=atol, msg=lambda m: f"{message}\n{m}")


def _check_order(model: nn.Module, graph: Any, out: Tensor, rtol: float, atol: float) -> None:
    order = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(0))
    shuffled = graph.clone()
    for key, value in graph.to_dict().items():
        if isinstance(value, Tensor) and graph.is_node_attr(key):
            shuffled[key] = value[order]
    if graph.get("edge_index") is not None:
        shuffled.edge_index = torch.argsort(order)[graph.edge_index]
    with torch.no_grad():
        moved = _predict(model, shuffled)
    message = "the order of the nodes changes the values"
    torch.testing.assert_close(moved, out[order], rtol=rtol, atol=atol, msg=lambda m: f"{message}\n{m}")


def _check_gradients(model: nn.Module, batch: Any) -> None:
    model.zero_grad()
    _predict(model, batch).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"parameter {name} does not influence the output"
            assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"
    model.zero_grad()


def _check_cover(pos: Tensor, part: Partition) -> None:
    n = len(pos)
    assert sorted(part.perm.tolist()) == list(range(n)), f"{n} nodes: a node is lost or doubled"
    assert int(part.ptr[0]) == 0 and int(part.ptr[-1]) == n and bool((part.size >= 0).all()), "ptr is not a cut of perm"
    for i in range(part.num_patches):
        members = pos[part.perm[part.ptr[i] : part.ptr[i + 1]]]
        center = members.mean(0) if len(members) else pos.new_zeros(pos.shape[1])
        radius = (members - center).norm(dim=1).max() if len(members) else pos.new_zeros(())
        torch.testing.assert_close(part.center[i], center, msg=f"center of patch {i} is wrong")
        torch.testing.assert_close(part.radius[i], radius, msg=f"radius of patch {i} is wrong")


def _check_batch(together: Partition, parts: Sequence[Partition], what: str) -> None:
    offset = 0
    perms, graphs = [], []
    for graph, part in enumerate(parts):
        perms.append(part.perm + offset)
        graphs += [graph] * part.num_patches
        offset += part.num_nodes
    _equal(together.perm, torch.cat(perms), f"{what} gives other patches than graph by graph")
    _equal(together.size, torch.cat([part.size for part in parts]), f"{what} gives other patch sizes")
    _equal(together.batch.cpu(), torch.tensor(graphs), f"{what} loses which graph a patch belongs to")


def _check_plain(partitioner: Callable[[Any], Any], graphs: Sequence[Any], parts: Sequence[Partition]) -> None:
    """PyG ``Data`` is partitioned like our graphs, alone and in a batch, and left as it was."""
    plain = [Data(**graph.to_dict()) for graph in graphs]
    before = [set(data.keys()) for data in plain]
    cut = [partitioner(data) for data in plain]
    assert [set(data.keys()) for data in plain] == before, "the graph that was given is changed"
    together = Batch.from_data_list(cut)
    _check_batch(Partition.of(together), parts, "batching partitioned graphs of class Data")
    _check_batch(Partition.of(partitioner(Batch.from_data_list(plain))), parts, "partitioning a batch of class Data")
    for one, part in zip(together.to_data_list(), parts, strict=True):
        _equal(Partition.of(one).perm, part.perm, "taking a batch of class Data apart gives other patches")


def _check_refusal(partitioner: Callable[[Any], Any], dim: int) -> None:
    try:
        partitioner(Data(x=torch.zeros(5, dim)))
    except InputError as error:
        assert "'pos'" in str(error), f"the message does not say that pos is missing: {error}"
    else:
        raise AssertionError("a graph without positions is accepted")
    pos = torch.zeros(5, dim)
    pos[3, 0] = torch.nan
    try:
        partitioner(MeshGraph(pos=pos))
    except InputError as error:
        assert "3" in str(error), f"the message does not say which position is not finite: {error}"
    else:
        raise AssertionError("a position that is not finite is accepted")


def _patch_sets(part: Partition, order: Tensor | None = None) -> set[frozenset[int]]:
    perm = part.perm if order is None else order[part.perm]
    return {frozenset(nodes.tolist()) for nodes in perm.tensor_split(part.ptr[1:-1].cpu())}


def _equal(first: Tensor, second: Tensor, message: str) -> None:
    assert torch.equal(first, second), message
