"""Checks that every partitioner, every model and every dataset of meshops passes; run them on yours.

    from meshops.testing import check_dataset, check_model, check_partitioner, check_standin

    check_partitioner(MyPartitioner(patch_size=16))
    check_model(MyModel(in_channels=2, out_channels=4), random_graphs([40, 23], num_features=2))
    check_dataset(MyCars("folder"))
    check_standin("my_cars", "an/empty/folder")

A check that fails raises ``AssertionError`` and says which property does not hold.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from meshops.data.mesh_graph import MeshGraph, check_graph
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
        graphs: Two or more graphs the model takes; for models of grids alone, equal grids.
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
            if any_order and model.takes != {"grid"}:
                _check_order(model, graph, out, rtol, atol)
            if "graph" in model.takes:  # type: ignore[operator]
                _check_edges(model, graph, rtol, atol)
        message = "a batch gives other values than its graphs one by one"
        torch.testing.assert_close(together, torch.cat(single), rtol=rtol, atol=atol, msg=lambda m: f"{message}\n{m}")
        _check_gradients(model, Batch.from_data_list(list(graphs)))
    finally:
        model.train(was_training)


def check_dataset(dataset: Any) -> None:
    """The contract of a dataset: sound cases, the same at every read, alike in what they hold.

    Length, names, negative and missing indices; graphs that validate, with the fields and units of the set; for
    trajectories the shapes of windows and constants, and that a window is part of a longer one; conditions, numbers and
    flow of finished cases; and that ``check()`` finds nothing.

    Args:
        dataset: A :class:`~meshops.datasets.base.CaseDataset`, a
            :class:`~meshops.datasets.trajectory.TrajectoryDataset` or a
            :class:`~meshops.datasets.mesh_trajectory.MeshTrajectoryDataset` without damaged cases.
    """
    from meshops.datasets.base import CaseDataset
    from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
    from meshops.datasets.trajectory import TrajectoryDataset

    _check_sequence(dataset)
    if isinstance(dataset, CaseDataset):
        _check_cases(dataset)
    elif isinstance(dataset, TrajectoryDataset):
        _check_grid_windows(dataset)
    elif isinstance(dataset, MeshTrajectoryDataset):
        _check_mesh_windows(dataset)
    else:
        raise AssertionError(f"{type(dataset).__name__} is none of the three kinds of datasets, see meshops.datasets")
    problems = [str(problem) for problem in dataset.check()]
    assert problems == [], f"check() finds fault with sound cases: {problems[:3]}"
    assert type(dataset).__name__ in repr(dataset), f"repr does not name the class: {dataset!r}"


def check_standin(name: str, root: str | Path, num: int = 4, **options: Any) -> Any:
    """The stand-in of a registered dataset is recognised by its files, can be opened, and passes :func:`check_dataset`.

    Args:
        name: Registered name.
        root: Folder to write it into.
        num: Number of cases.
        **options: Further arguments of ``standin``.

    Returns:
        The dataset, all cases.
    """
    from meshops.datasets import create, detect
    from meshops.datasets.registry import dataset_class

    written = dataset_class(name).standin(root, num, **options)
    folder = written if written.is_dir() else written.parent
    assert detect(folder) == name, f"the files of the stand-in are taken for '{detect(folder)}'"
    dataset = create(name, written, split="all")
    assert len(dataset) >= min(num, 2), f"{num} cases were asked for, {len(dataset)} are there"
    check_dataset(dataset)
    return dataset


def _check_sequence(dataset: Any) -> None:
    """Length, names and indices."""
    n = len(dataset)
    assert n > 0 and n == len(dataset.cases), f"{n} cases with {len(dataset.cases)} names"
    assert all(isinstance(case, str) and case for case in dataset.cases), "cases must have names"
    assert len(set(dataset.cases)) == n, "two cases have the same name"
    count = 0
    for index, graph in enumerate(dataset):
        assert check_graph(graph) == [], f"case {index}: {check_graph(graph)}"
        _same_graph(graph, dataset[index], f"case {index} is another at the second read")
        changed = dataset[index]
        changed.pos = changed.pos + 1
        _same_graph(graph, dataset[index], f"a change of the graph that was handed out changes case {index}")
        count += 1
    assert count == n, f"iteration gives {count} of {n} cases"
    _same_graph(dataset[-1], dataset[n - 1], "index -1 is not the last case")
    for wrong in (n, -n - 1):
        try:
            dataset[wrong]
        except IndexError as error:
            assert str(n) in str(error), f"the message does not say how many cases there are: {error}"
        else:
            raise AssertionError(f"index {wrong} of {n} cases is accepted")


def _check_cases(dataset: Any) -> None:
    """Finished cases: fields, units, and what is known beside the fields."""
    from meshops.aero.conditions import FlowConditions

    assert dataset.fields and len(dataset.units) == len(dataset.fields), "one unit per field is needed"
    forms = set()
    for index, graph in enumerate(dataset):
        wanted = tuple(dataset.fields)
        assert graph.fields == wanted, f"case {index} has the fields {graph.fields}, not {wanted}"
        sizes = {name: part.stop - part.start for name, part in graph.field_slices().items()}
        inputs = 0 if graph.get("x") is None else graph.x.shape[1]
        forms.add((graph.pos.shape[1], inputs, tuple(sizes.items()), tuple(graph.get("x_names") or ())))
        assert isinstance(dataset.flow_of(index), FlowConditions), f"case {index} has no flow conditions"
        for what in ("conditions_of", "numbers_of", "parameters"):
            found = getattr(dataset, what)(index)
            good = isinstance(found, dict) and all(isinstance(k, str) and math.isfinite(v) for k, v in found.items())
            assert good, f"{what}({index}) must be names with finite numbers, got {found}"
        for role, path in dataset.required_files(index).items():
            assert path.is_file(), f"the {role} file of case {index} is missing: {path}"
    assert len(forms) == 1, f"cases differ in dimension, inputs or sizes of fields: {sorted(map(str, forms))}"


def _check_grid_windows(dataset: Any) -> None:
    """Trajectories on grids."""
    spec = dataset.spec
    assert len(spec.periodic) == spec.dim and len(spec.units) in (0, len(spec.channels)), "the spec does not fit itself"
    assert all(0 <= channel < len(spec.channels) for channel in spec.velocity), "velocity names no channel"
    for index, length in enumerate(dataset.lengths):
        grid = tuple(dataset.shapes[index])
        whole, constants = dataset.window(index, 0, length), dataset.constants(index)
        assert len(grid) == spec.dim, f"trajectory {index}: a grid {grid} in {spec.dim} dimensions"
        wanted = (length, len(spec.channels), *grid)
        assert tuple(whole.shape) == wanted and whole.dtype == torch.float32, f"frames must be float32 {wanted}"
        wanted = (len(spec.constants), *grid)
        assert tuple(constants.shape) == wanted, f"constants must be {wanted}, got {tuple(constants.shape)}"
        first = length // 2
        _equal(dataset.window(index, first, 1), whole[first : first + 1], "a window is not part of a longer one")
        _check_missing_frames(dataset, index, length)
        assert all(math.isfinite(value) for value in dataset.parameters(index).values()), "parameters must be finite"


def _check_mesh_windows(dataset: Any) -> None:
    """Trajectories on meshes."""
    spec = dataset.spec
    assert len(spec.fields) == len(spec.sizes) == len(spec.units), "one size and one unit per field are needed"
    for index, length in enumerate(dataset.lengths):
        whole = dataset.window(index, 0, length)
        t, n, _ = whole.pos.shape
        shapes = (len(whole), t, *whole.state.shape, *whole.node_type.shape)
        assert shapes == (length, length, length, n, spec.channels, length, n), f"trajectory {index}: shapes {shapes}"
        for frame in (0, length - 1):
            edges = whole.edges(frame)
            assert edges.shape[0] == 2 and 0 <= int(edges.min()) <= int(edges.max()) < n, "an edge leads nowhere"
        first = length // 2
        part = dataset.window(index, first, 1)
        for name in ("pos", "state", "node_type"):
            found = getattr(whole, name)[first : first + 1]
            _equal(getattr(part, name), found, f"{name} of a window is not part of that of a longer one")
        _check_missing_frames(dataset, index, length)


def _check_missing_frames(dataset: Any, index: int, length: int) -> None:
    for start, count in ((0, length + 1), (-1, 1), (length, 1), (0, 0)):
        try:
            dataset.window(index, start, count)
        except InputError:
            continue
        raise AssertionError(f"{count} frames from {start} of a trajectory of {length} are accepted")


def _same_graph(one: Any, other: Any, message: str) -> None:
    assert set(one.keys()) == set(other.keys()), message
    for key, value in one.to_dict().items():
        same = torch.equal(value, other[key]) if isinstance(value, Tensor) else _plain(value) == _plain(other[key])
        assert same, f"{message} ({key})"


def _plain(value: Any) -> Any:
    """Arrays of other packages are compared by their sizes only."""
    return tuple(value.shape) if hasattr(value, "shape") else value


def _predict(model: nn.Module, graph: Any) -> Tensor:
    """``[n, c]``; models of grids give ``[b, c, *grid]``."""
    unpack: Any = model.unpack
    out: Tensor = model(unpack(graph))
    return out if out.dim() < 3 else out.movedim(1, -1).flatten(0, -2)


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
