"""IAP, AMR-Transformer, ViT and the baselines: shapes, invariances, gradients, published sizes and costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from meshops.data.grid import grid_graph
from meshops.errors import InputError
from meshops.models import IAP, AMRTransformer, UNet, ViT, create_model
from meshops.models.amr_transformer import amr_transformer_paper
from meshops.models.cost import amr_transformer_macs, iap_macs, vit_macs
from meshops.models.iap import iap_2d, iap_3d, places_in_patch
from meshops.partition import Thresholds, TokenBudget

SMALL: dict[str, Any] = {"channels": 48, "depth": 2, "num_heads": 4}


def small(name: str, dim: int = 2) -> Any:
    if name == "iap":
        return IAP(5, 3, dim=dim, budget=60, p_min=2, p_max=8, **SMALL)
    if name == "iap-local":
        return IAP(5, 3, dim=dim, budget=60, p_min=2, p_max=8, decoder="local", **SMALL)
    if name == "amr":
        return AMRTransformer(5, 3, dim=dim, velocity=tuple(range(dim)), max_size=8, hidden=64, **SMALL)
    if name == "vit":
        return ViT(5, 3, dim=dim, patch_size=4, **SMALL)
    return UNet(5, 3, dim=dim, channels=8, depth=2)


MODELS = ("iap", "iap-local", "amr", "vit", "unet")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("grid", [(32, 32), (30, 45), (16, 16, 12)])
def test_any_grid_goes_through_with_gradients_everywhere(name: str, grid: tuple[int, ...]) -> None:
    model = small(name, len(grid))
    fields = torch.randn(2, 5, *grid)
    out = model(fields)
    assert out.shape == (2, 3, *grid)
    out.square().mean().backward()
    silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # sides no patch has, and the key's bias, which a softmax does not see, learn nothing
    assert all(key.startswith(("embed.", "heads.", "gate", "shift")) for key in silent), silent


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    torch.manual_seed(0)
    model, fields = small(name).eval(), torch.randn(3, 5, 32, 40)
    alone = torch.cat([model(fields[i : i + 1]) for i in range(3)])
    assert_close(model(fields), alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_batches_of_grid_graphs_go_through(name: str) -> None:
    graphs = [grid_graph(torch.zeros(32, 24, 1), constants=torch.randn(5, 32, 24)) for _ in range(2)]
    model = small(name).eval()
    out = model(model.unpack(Batch.from_data_list(graphs)))
    assert out.shape == (2, 3, 32, 24)
    assert_close(out[1:], model(model.unpack(graphs[1])), atol=2e-5, rtol=1e-4)


def test_published_sizes() -> None:
    def millions(model: torch.nn.Module) -> float:
        return sum(p.numel() for p in model.parameters()) / 1e6

    blocks = [p for key, p in iap_2d(1, 1).named_parameters() if key.startswith(("blocks", "cross"))]
    assert abs(sum(p.numel() for p in blocks) / 1e6 - 9.47) < 0.01  # IAP: encoder and decoder
    blocks = [p for key, p in iap_3d(1, 1).named_parameters() if key.startswith(("blocks", "cross"))]
    assert abs(sum(p.numel() for p in blocks) / 1e6 - 12.0) < 0.05
    assert abs(millions(amr_transformer_paper(4, 4, velocity=(1, 2))) - 4.75) < 0.01


AUDIT = [  # grid, width, tokens, GMAC of encoder and decoder (specification of IAP, B6)
    ((256, 256), 384, (1024, 2044, 4096), ((14.1, 27.7), (39.3, 40.8), (124.0, 67.2))),
    ((128, 384), 384, (1024, 2048, 4096), ((14.1, 20.8), (39.3, 30.8), (124.0, 50.7))),
    ((64, 64, 64), 432, (1024, 2048, 4096), ((17.0, 66.1), (46.6, 95.3), (144.3, 154.2))),
]


@pytest.mark.parametrize(("shape", "channels", "tokens", "expected"), AUDIT)
def test_cost_of_iap(shape: tuple[int, ...], channels: int, tokens: tuple[int, ...], expected: Any) -> None:
    for count, pair in zip(tokens, expected, strict=True):
        for ours, audited in zip(iap_macs(shape, count, channels=channels), pair, strict=True):
            assert abs(ours / 1e9 - audited) <= 0.005 * audited + 0.05


def test_cost_of_vit() -> None:
    assert [round(vit_macs(n) / 1e9, 1) for n in (1024, 2044, 4096)] == [16.1, 45.0, 141.7]
    assert round(vit_macs(4096, channels=432) / 1e9, 1) == 164.9


TABLE_2 = [  # AMR-Transformer, table 2: tokens, "GFLOPs"; the first is printed as 71.37
    (4096, 71.36), (65536, 13607.90), (1024, 8.10), (970, 7.51), (1296, 11.34), (7547, 212.12), (354, 2.07),
    (509, 3.22), (347, 2.02), (498, 3.13),
]  # fmt: skip


@pytest.mark.parametrize(("tokens", "printed"), TABLE_2)
def test_cost_of_amr_transformer(tokens: int, printed: float) -> None:
    assert abs(amr_transformer_macs(tokens) / 1e9 - printed) <= 0.0051


def test_cost_is_what_pytorch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = IAP(3, 3, budget=64, p_min=2, p_max=8, channels=48, depth=3, num_heads=4)
    with (
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        model(torch.randn(1, 3, 32, 32))
    edges = 3 * 64 * 48 * 4 + 256 * 48 * 12 + 64 * 64 * 3 * 48  # upper bound of embeddings and head
    blocks = sum(iap_macs((32, 32), 64, channels=48, depth=3))
    assert blocks <= counter.get_total_flops() / 2 <= blocks + edges


def test_equal_sides_make_a_vit_with_a_decoder() -> None:
    torch.manual_seed(0)
    model = IAP(3, 2, budget=64, p_min=4, p_max=4, channels=48, depth=2, num_heads=4)
    vit = ViT(3, 2, patch_size=4, channels=48, depth=2, num_heads=4)
    vit.embed.load_state_dict(model.embed[0].state_dict())
    vit.blocks.load_state_dict(model.blocks.state_dict())
    fields = torch.randn(2, 3, 32, 32)
    tokens, _ = model.encode(fields, model.patches(fields))
    seen: list[torch.Tensor] = []
    vit.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    vit(fields)
    # rotary positions count from other origins, but only differences matter
    assert_close(tokens, seen[0], atol=1e-5, rtol=1e-4)


def test_places_number_the_cells_of_each_side() -> None:
    patches = TokenBudget(7, 2, 8).patches(torch.randn(1, 1, 8, 8))
    place = places_in_patch(patches, 2)[0]
    sides = patches.size[patches.owner(2)[0]]
    assert place[sides == 2].eq(0).all() and sorted(place[sides == 4][:4].tolist())[0] >= 1
    assert set(place[sides == 4].tolist()) <= {1, 2, 3, 4}
    whole = places_in_patch(TokenBudget(1, 2, 8).patches(torch.randn(1, 1, 8, 8)), 2)
    assert whole[0].flatten().tolist() == list(range(5, 21))


def test_order_of_the_tokens_does_not_matter() -> None:
    torch.manual_seed(0)
    model = IAP(3, 2, budget=40, p_min=2, p_max=8, **SMALL).eval()
    fields = torch.randn(1, 3, 32, 32)
    patches = model.patches(fields)
    tokens, angles = model.encode(fields, patches)
    order = torch.randperm(tokens.shape[1])
    mixed, at = tokens[:, order], angles[:, order]
    for block in model.blocks:
        tokens, mixed = block(tokens, angles=angles), block(mixed, angles=at)
    assert_close(mixed, tokens[:, order], atol=1e-5, rtol=1e-4)


def test_budget_can_change_and_is_drawn_in_training() -> None:
    model = IAP(3, 2, budget=40, p_min=2, p_max=8, budget_range=(20, 90), **SMALL)
    fields = torch.randn(1, 3, 32, 32)
    assert model.eval()(fields, budget=100).shape == (1, 2, 32, 32)
    drawn: set[int] = set()
    choose = model.tokenizer.patches
    model.tokenizer.patches = lambda x, budget=None: drawn.add(budget) or choose(x, budget=budget)  # type: ignore
    for _ in range(6):
        model.train()(fields)
    assert len(drawn) > 1 and all(20 <= budget <= 90 for budget in drawn)


def test_amr_loss_lives_on_the_tokens() -> None:
    torch.manual_seed(0)
    model = AMRTransformer(4, 2, velocity=(0, 1), max_size=8, hidden=64, **SMALL).eval()
    fields, target = torch.randn(3, 4, 32, 32), torch.randn(3, 2, 32, 32)
    pairs = model.loss_pairs(fields, target)
    patches = model.patches(fields)
    assert pairs.ptr.tolist() == (patches.ptr * 4).tolist() and len(pairs.truth) == int(pairs.ptr[-1])
    assert_close(pairs.truth[:4], torch.nn.functional.avg_pool2d(target[0, :, :8, :8], 4).flatten(1).T)
    one = model.loss_pairs(fields[1:2], target[1:2])
    assert_close(pairs.prediction[pairs.ptr[1] : pairs.ptr[2]], one.prediction, atol=1e-5, rtol=1e-4)


def test_amr_attention_in_windows_stays_in_them_and_wide_ones_hold_all() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"velocity": (0, 1), "max_size": 8, "hidden": 64, **SMALL}
    whole, windows = AMRTransformer(4, 2, **sizes).eval(), AMRTransformer(4, 2, window=16, **sizes).eval()
    wide, first = (
        AMRTransformer(4, 2, window=64, **sizes).eval(),
        AMRTransformer(4, 2, window=16, **sizes | {"depth": 1}),
    )
    fields = torch.randn(2, 4, 32, 32)
    for model in (windows, wide):
        model.load_state_dict(whole.state_dict())
    assert_close(wide(fields), whole(fields), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(windows(fields), whole(fields))
    chosen = first.eval().patches(fields)
    other = fields.clone()
    other[:, :, 20:, 20:] *= 1.5
    before, after = (chosen.paint(first.predict_tokens(part, chosen)) for part in (fields, other))
    assert_close(before[:, :, :16], after[:, :, :16])
    assert_close(before[..., :16], after[..., :16])
    assert not torch.allclose(before[:, :, 16:, 16:20], after[:, :, 16:, 16:20])
    shifted = windows.patches(fields)
    reach = (windows.predict_tokens(part, shifted) for part in (fields, other))
    changed = [bool((a != b).any()) for a, b in zip(*map(shifted.paint, reach), strict=True)]
    assert all(changed)
    two = [shifted.paint(windows.predict_tokens(part, shifted))[:, :, :8] for part in (fields, other)]
    assert_close(*two)  # windows of 16 and a shift by 8 reach from 16 to 8 cells, no further
    with pytest.raises(InputError, match="window must be at least the side of the smallest regions, 2, got 1"):
        AMRTransformer(4, 2, window=1, **sizes)


def test_amr_rotary_positions_turn_with_the_distance() -> None:
    torch.manual_seed(0)
    model = AMRTransformer(4, 2, velocity=(0, 1), max_size=8, hidden=64, rotary=True, **SMALL).eval()
    fields = torch.randn(1, 4, 32, 32)
    out = model(fields)
    assert model.positions is not None
    model.positions.frequency.zero_()
    assert not torch.allclose(model(fields), out)


def test_amr_floor_falls_with_finer_tokens() -> None:
    model = AMRTransformer(4, 4, velocity=(0, 1), max_size=8, hidden=64, **SMALL)
    fields = torch.randn(1, 4, 32, 32).cumsum(2).cumsum(3)
    errors = []
    for factor in (100.0, 1.0, 0.0):
        model.tokenizer = type(model.tokenizer)(
            velocity=(0, 1), max_size=8, thresholds=Thresholds().scaled(factor), top=0.0
        )
        errors.append(float((model.floor(fields, fields) - fields).square().mean()))
    assert errors[0] > errors[1] > errors[2] == 0


def test_residual_adds_the_input() -> None:
    model = AMRTransformer(4, 2, velocity=(0, 1), max_size=8, hidden=64, residual=True, **SMALL)
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.head.bias)
    fields = torch.randn(1, 4, 16, 16)
    assert_close(model(fields), model.floor(fields, fields[:, :2]))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="velocity is not known"):
        create_model("amrtransformer", in_channels=3, out_channels=3)
    with pytest.raises(InputError, match="thresholds must be four numbers"):
        AMRTransformer(3, 3, velocity=(0, 1), thresholds=(1.0,))
    with pytest.raises(InputError, match="style must be"):
        AMRTransformer(3, 3, velocity=(0, 1), style="new")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="decoder must be"):
        IAP(3, 3, decoder="none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="budget_range must be"):
        IAP(3, 3, budget_range=(5, 2))
    for name in MODELS:
        with pytest.raises(InputError, match=r"fields must be \[b, 5, \*grid\] with 2 grid axes"):
            small(name)(torch.zeros(1, 4, 16, 16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", MODELS)
def test_cuda_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    model, fields = small(name).eval(), torch.randn(2, 5, 32, 40)
    assert_close(model.cuda()(fields.cuda()).cpu(), model.cpu()(fields), atol=1e-4, rtol=1e-3)
