"""Reading tokens at the nodes against equation 4 node by node."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from meshops.data import MeshGraph
from meshops.errors import InputError
from meshops.nn import TokenInputs, TokenReader
from meshops.partition import BudgetTokens


def given(sizes: tuple[int, ...]) -> tuple[TokenInputs, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    batch = Batch.from_data_list([MeshGraph(pos=torch.rand(n, 2), x=torch.rand(n, 1)) for n in sizes])
    cells = BudgetTokens(8).tokens(batch, batch.x)
    inputs = TokenInputs(batch.pos, batch.x, batch.ptr, cells)
    return inputs, torch.randn(cells.num_tokens, 8), torch.randn(len(batch.pos), 8)


def reader(decoder: str) -> TokenReader:
    return TokenReader(8, 3, pos_dim=2, num_heads=2, ratio=2.0, decoder=decoder)  # type: ignore[arg-type]


def test_the_local_decoder_is_equation_4_at_every_node() -> None:
    inputs, tokens, nodes = given((30,))
    read, cells = reader("local"), inputs.tokens
    out = read(tokens[cells.home], nodes, inputs, tokens)
    for node in (0, 7, 29):
        home = int(cells.home[node])
        place = (inputs.pos[node] - cells.center[home]) / cells.half[home]
        gate, shift = (read.where(place) + read.depths.weight[int(cells.depth[home])]).chunk(2)
        h = torch.sigmoid(gate) * tokens[home] + shift + nodes[node]
        assert read.alone is not None
        assert_close(out[node], read.head(read.norm(h + read.alone(h))))


def test_cross_attention_sees_all_tokens_of_its_own_graph_alone() -> None:
    inputs, tokens, nodes = given((30, 12))
    read, cells = reader("cross"), inputs.tokens
    first = int(cells.graph_ptr[1])
    out = read(tokens[cells.home], nodes, inputs, tokens)
    other = tokens.clone()
    other[0] += torch.randn(8)  # a layer norm takes away what all channels share
    changed = read(tokens[cells.home], nodes, inputs, other)
    assert bool((changed[:30] != out[:30]).any(1).all()) and torch.equal(changed[30:], out[30:])
    other[first] += torch.randn(8)
    assert bool((read(tokens[cells.home], nodes, inputs, other)[30:] != out[30:]).any(1).all())


def test_other_decoders_are_refused() -> None:
    with pytest.raises(InputError, match="decoder must be one of cross, local, got 'near'"):
        reader("near")
