"""Pictures of plane meshes, node by node: fields, errors, bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.viz.grid import _figure, _save
from meshops.viz.layout import INK

PIXEL = 8  # of VTK


def plane_picture(
    pos: Tensor, triangles: Tensor | None, panels: Mapping[str, Tensor], path: str | Path, *, title: str = "",
    owner: Tensor | None = None, alike: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Draw node values on a plane mesh side by side; whole numbers (bits) get a bar with one step per number.

    Args:
        pos: ``[n, 2]``.
        triangles: ``[f, 3]``; None: dots.
        panels: Title -> ``[n]`` values.
        path: PNG to write.
        title: Over the picture.
        owner: ``[f]`` where values belong to cells: the cell of each triangle; None: values belong to ``pos``.
        alike: Panels with one scale, that of the first of them: a prediction is seen as its truth.
    """
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm

    points = pos.detach().cpu().numpy()
    size = np.ptp(points, axis=0)
    figure, axes = _figure(len(panels), (max(int(100 * size[0]), 1), max(int(100 * size[1]), 1)))
    for ax, (name, values) in zip(axes, panels.items(), strict=True):
        colours = values.detach().cpu().numpy()
        style: dict[str, Any] = {"cmap": "viridis"}
        if name in alike:
            first = panels[alike[0]]
            style |= {"vmin": float(first.min()), "vmax": float(first.max())}
        steps: Any = None
        if not values.is_floating_point():
            steps = np.unique(colours)
            middles = (steps[1:] + steps[:-1]) / 2
            bounds = [steps[0] - 0.5, *middles, steps[-1] + 0.5]
            style = {"cmap": colormaps["cividis"].resampled(len(steps)), "norm": BoundaryNorm(bounds, len(steps))}
        if triangles is None:
            drawn = ax.scatter(points[:, 0], points[:, 1], c=colours, s=6, linewidths=0, **style)
        elif owner is not None:
            of_faces = colours[owner.cpu().numpy()]
            faces = triangles.cpu().numpy()
            drawn = ax.tripcolor(points[:, 0], points[:, 1], faces, facecolors=of_faces, **style)
        else:
            shading = "flat" if steps is not None else "gouraud"
            faces = triangles.cpu().numpy()
            drawn = ax.tripcolor(points[:, 0], points[:, 1], faces, colours, shading=shading, **style)
            if steps is not None:
                drawn.remove()
                drawn = ax.scatter(points[:, 0], points[:, 1], c=colours, s=9, linewidths=0, **style)
                ax.triplot(points[:, 0], points[:, 1], faces, color="#c9ced6", linewidth=0.25, zorder=0)
        ax.set_aspect("equal")
        ax.set_title(name, loc="left", fontsize=9, color=INK)
        ax.set_axis_off()
        bar = figure.colorbar(drawn, ax=ax, shrink=0.7, ticks=steps)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    return _save(figure, path)


def graph_picture(
    graph: Any, predicted: Mapping[str, Any], path: str | Path, *, bits: Tensor | None = None, title: str = ""
) -> Path:
    """Truth, prediction and error of the first scalar field of a plane graph, and the bits of its nodes.

    Args:
        graph: ``MeshGraph`` with truth.
        predicted: Field -> ``[n]`` or ``[n, k]``, tensors or arrays.
        path: PNG to write.
        bits: ``[n]`` bits of the nodes, None: not drawn.
        title: Over the picture.
    """
    predicted = {name: torch.as_tensor(values) for name, values in predicted.items()}
    name = next((n for n, values in predicted.items() if values.dim() == 1), next(iter(predicted)))
    value, truth = (v if v.dim() == 1 else v.norm(dim=1) for v in (predicted[name], graph.field(name)))
    panels = {name: truth, "predicted": value, "error": (value - truth).abs()}
    if bits is not None:
        panels["bits"] = bits
    return plane_picture(panels=panels, path=path, title=title, alike=(name, "predicted"), **canvas(graph))


def canvas(graph: Any) -> dict[str, Any]:
    """Points, triangles and their owners, to draw values at the nodes of a plane graph."""
    triangles = triangles_of(graph)
    if triangles is None or graph.get("location") != "cell":
        return {"pos": graph.pos, "triangles": triangles, "owner": None}
    from meshops.data.graph_files import plane_axis  # VTK

    axis = plane_axis(graph.points.numpy())
    corners = graph.points[:, [i for i in range(3) if i != axis][:2]]
    return {"pos": corners, "triangles": triangles, "owner": owners_of(graph)}


def owners_of(graph: Any) -> Tensor:
    """``[f]`` cell of each triangle of :func:`triangles_of`."""
    size = graph.cell_size
    return torch.cat([torch.arange(len(size)), (size == 4).nonzero()[:, 0]])


def triangles_of(graph: Any) -> Tensor | None:
    """``[f, 3]`` triangles of the cells of a graph, quadrilaterals cut in two; None where there are no such cells."""
    size = graph.get("cell_size")
    if size is None or not bool(((size == 3) | (size == 4)).all()):
        return None
    start = graph.cell_ptr[:-1]
    first = graph.cell_nodes[start.unsqueeze(1) + start.new_tensor([[0, 1, 2]])]
    four = start[size == 4]
    pixel = (graph.cell_type[size == 4] == PIXEL).unsqueeze(1)  # numbered row by row, not around
    rest = torch.where(pixel, four.new_tensor([[1, 2, 3]]), four.new_tensor([[0, 2, 3]]))
    return torch.cat([first, graph.cell_nodes[four.unsqueeze(1) + rest]])
