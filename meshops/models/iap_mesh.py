"""IAP on meshes: a transformer on the leaves of an octree that are small where the input fields vary (IAP, see iap.py).

    leaves = BudgetTokens(T)(x)                                      best first, a fixed number (algorithm 1 on cells)
    V_c = mean over the nodes n of c of MLP([e_n, o_n]) + depth_c    o_n: place of the node in its leaf
    V  = blocks(V)                                                   self-attention, rotary positions of leaf centres
    y_n = reader(V, e_n, o_n)                                        equation 4, see meshops/nn/token_reading.py

Departures from the model on grids, which a mesh asks for: a leaf holds any number of nodes at any places, so a
perceptron of each node and its place, then the mean, takes the place of one linear map per side; e_n, an embedding of
position and features, is added again where values are read. Leaves are chosen by the gradient of the inputs times the
volume of the nodes (the features of the geometry, where a case is steady); where no input varies they hold about the
same number of nodes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.mlp import MLP
from meshops.nn.point_model import PointEmbedding, point_inputs
from meshops.nn.ragged import RaggedPlan
from meshops.nn.rotary import RotaryPositions
from meshops.nn.token_reading import Decoder, DepthTable, TokenInputs, TokenReader
from meshops.nn.transformer import TransformerBlock
from meshops.ops.segment import segment_mean
from meshops.partition.mesh_tokens import BudgetTokens
from meshops.typing import Float


@register_model
class IAPMesh(nn.Module):
    """Adaptive leaves of an octree as tokens: ``pos [n, d]``, ``x [n, f]`` -> ``[n, out_channels]``.

    Args:
        in_channels: f, features beside the position (0 allowed).
        out_channels: Channels predicted at each node.
        pos_dim: d.
        budget: Largest number of tokens of a graph; a graph of fewer nodes has fewer.
        smallest: Leaves of so many nodes are not split.
        channels: Width of a token.
        depth: Self-attention blocks.
        num_heads: Heads; channels / num_heads must be at least 2 d.
        ratio: Hidden width of the perceptrons over ``channels``.
        decoder: ``"cross"``: every node attends to all tokens; ``"local"``: it sees its own alone.
        score_channels: Features the leaves are chosen by; None: all.
        budget_range: While training each batch draws its budget from here; None: ``budget``.
        wavelengths: Shortest and longest period of the rotary positions, in units of ``pos``.
        time: Condition on a scalar time per graph.

    Raises:
        InputError: Impossible combination of arguments.

    Example:
        >>> model = IAPMesh(2, 3, pos_dim=2, budget=6, channels=16, depth=1, num_heads=2)
        >>> model(model.unpack(MeshGraph(pos=torch.rand(9, 2), x=torch.rand(9, 2)))).shape
        torch.Size([9, 3])
    """

    takes: ClassVar[frozenset[str]] = frozenset({"points"})

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        budget: int = 256,
        smallest: int = 2,
        channels: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        ratio: float = 2.0,
        decoder: Decoder = "cross",
        score_channels: Sequence[int] | None = None,
        budget_range: Sequence[int] | None = None,
        wavelengths: tuple[float, float] = (0.05, 4.0),
        time: bool = False,
    ) -> None:
        super().__init__()
        if budget_range is not None and not (len(budget_range) == 2 and 1 <= budget_range[0] <= budget_range[1]):
            raise InputError(f"budget_range must be (smallest, largest), got {budget_range}")
        self.tokenizer = BudgetTokens(budget, smallest=smallest)
        self.score_channels = checked_channels(score_channels, in_channels, "score_channels")
        self.budget_range = None if budget_range is None else tuple(budget_range)
        self.embed = PointEmbedding(in_channels, channels, pos_dim=pos_dim, time=time)
        self.lift = MLP([channels + pos_dim, channels, channels])
        self.depths = DepthTable(channels)
        low, high = wavelengths
        self.positions = RotaryPositions(channels // num_heads, pos_dim, min_wavelength=low, max_wavelength=high)
        self.blocks = nn.ModuleList(TransformerBlock(channels, num_heads=num_heads, ratio=ratio) for _ in range(depth))
        self.reader = TokenReader(
            channels, out_channels, pos_dim=pos_dim, num_heads=num_heads, ratio=ratio, decoder=decoder
        )

    def unpack(self, graph: Any) -> TokenInputs:
        """Tensors of a graph or of a batch, and the leaves chosen by its features."""
        given = point_inputs(graph)
        values = given.x if self.score_channels is None else given.x[:, self.score_channels]
        drawn = {}
        if self.training and self.budget_range is not None:
            drawn["budget"] = int(torch.randint(self.budget_range[0], self.budget_range[1] + 1, ()))
        return TokenInputs(
            given.pos, given.x, given.graph_ptr, self.tokenizer.tokens(graph, values, **drawn), given.time
        )

    def forward(self, inputs: TokenInputs) -> Float[Tensor, "n o"]:
        """Fields at the nodes, in their order.

        Raises:
            InputError: Another number of coordinates or features than the model was made for, or a missing time.
        """
        cells, nodes = inputs.tokens, embedded(self.embed, inputs)
        place = cells.place(inputs.pos, cells.node, cells.token)
        lifted = self.lift(torch.cat([nodes[cells.node], place], 1))
        tokens = segment_mean(lifted, cells.ptr) + self.depths(cells.depth)
        plan, angles = RaggedPlan.of(cells.graph_ptr), self.positions(cells.center)
        for block in self.blocks:
            tokens = block(tokens, angles=angles, plan=plan)
        out: Tensor = self.reader(tokens[cells.home], nodes, inputs, tokens, (self.positions(inputs.pos), angles))
        return out


def embedded(embed: PointEmbedding, inputs: TokenInputs) -> Tensor:
    """``[n, c]`` embedding of the nodes, the time of their graph in it."""
    nodes: Tensor = embed(inputs.pos, inputs.x)
    time = embed.at(inputs.time)
    if time is not None:
        nodes = nodes + torch.repeat_interleave(time, inputs.graph_ptr.diff(), 0, output_size=len(nodes))
    return nodes


def checked_channels(channels: Sequence[int] | None, count: int, name: str) -> list[int] | None:
    """Channels of the input that are named.

    Raises:
        InputError: One of them is not there.
    """
    if channels is None:
        return None
    wrong = [channel for channel in channels if not 0 <= channel < count]
    if wrong:
        raise InputError(f"{name} names channel {wrong[0]} of an input of {count} (from 0); got {list(channels)}")
    return list(channels)
