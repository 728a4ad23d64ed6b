"""What models of whole cases take of a graph: its conditions, the numbers of its shape, where its nodes are in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.partition.checks import graph_ptr


class CaseInputs(NamedTuple):
    """What a model of whole cases sees of a batch.

    Attributes:
        vector: ``[b, v]`` conditions, then numbers of the shape.
        place: ``[n, k]`` of each node.
        number: ``[n]`` node of the reference, None where meshes do not correspond.
        graph_ptr: ``[b + 1]``.
    """

    vector: Tensor
    place: Tensor
    number: Tensor | None
    graph_ptr: Tensor


def case_inputs(graph: Any, *, shape: bool = True) -> CaseInputs:
    """Inputs of a graph or a batch, prepared by a task that asks for shapes.

    Raises:
        InputError: The graph was prepared without.
    """
    place = graph.get("place")
    if place is None:
        raise InputError("the case was prepared without its shape; use a task with shape=True")
    ptr = graph_ptr(graph)
    ptr = torch.tensor([0, len(place)], device=place.device) if ptr is None else ptr
    told = graph.get("conditions")
    parts = [place.new_zeros(len(ptr) - 1, 0) if told is None else told]
    parts += [graph.case_shape] if shape else []
    return CaseInputs(torch.cat(parts, 1), place, graph.get("node_number"), ptr)
