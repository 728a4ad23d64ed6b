from typing import Any

import pytest
import torch
from torch import Tensor

from meshops.data.point_frames import PointFrames, grid_frames
from meshops.errors import InputError
from meshops.models import create_model
from meshops.models.echo import EchoAutoencoder, EchoGenerator


def autoencoder(dim: int = 2, **options: Any) -> EchoAutoencoder:
    torch.manual_seed(0)
    settings = {"layers": ("res", "space", "time", "res"), "channels": 8, "cells": 4, "latent_channels": 3} | options
    return EchoAutoencoder(2, low=(0.0,) * dim, high=(1.0,) * dim, periodic=(True,) * dim, **settings)


def frames(count: int = 5, dim: int = 2, points: int = 50) -> PointFrames:
    torch.manual_seed(1)
    return PointFrames.resting(torch.rand(points, dim), torch.randn(count, points, 2))


def encode(model: EchoAutoencoder, source: PointFrames) -> Tensor:
    near = model.neighborhood(source.pos, source.ptr)
    return model.encode(source.values, near, frames=source.frames, node_type=source.node_type).mean


def decode(model: EchoAutoencoder, z: Tensor, queries: PointFrames) -> Tensor:
    near = model.grid.to_points(queries.pos, graph=queries.graph)
    return model.decode(z, near, series=queries.values.shape[1], node_type=queries.node_type)


@pytest.mark.parametrize("dim", [1, 2, 3])
@torch.no_grad()
def test_shapes_and_any_query_points(dim: int) -> None:
    model, source = autoencoder(dim), frames(dim=dim)
    z = encode(model, source)
    assert tuple(z.shape) == (1, *model.latent_shape(5)) == (1, 3, 3, *(2,) * dim)
    assert decode(model, z, source).shape == (50, 5, 2)
    assert decode(model, z, frames(dim=dim, points=7)).shape == (7, 5, 2)


@torch.no_grad()
def test_moving_points_that_rest_give_the_same() -> None:
    model, source = autoencoder(), frames()
    split = source.by_frame()
    assert split.moving and split.num_graphs == 5
    z = encode(model, source)
    torch.testing.assert_close(encode(model, split), z)
    torch.testing.assert_close(
        decode(model, z, split).view(5, 50, 2).transpose(0, 1), decode(model, z, source), rtol=1e-4, atol=1e-6
    )


@torch.no_grad()
def test_batches_and_the_order_of_points_change_nothing() -> None:
    model = autoencoder()
    one, two = frames(points=50), frames(points=31)
    both = PointFrames.batch([one, two])
    z = encode(model, both)
    torch.testing.assert_close(z, torch.cat([encode(model, one), encode(model, two)]), rtol=1e-4, atol=1e-6)
    out = decode(model, z, both)
    torch.testing.assert_close(out[50:], decode(model, z[1:], two), rtol=1e-4, atol=1e-6)
    order = torch.randperm(50)
    shuffled = PointFrames.resting(one.pos[order], one.values[order].transpose(0, 1))
    torch.testing.assert_close(encode(model, shuffled), z[:1], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_prefix_and_single_frame() -> None:
    model, source = autoencoder(), frames(9)
    z = encode(model, source)
    for m in range(5):
        torch.testing.assert_close(encode(model, source.crop(0, 1 + 2 * m)), z[:, :, : m + 1], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_coarser_set_of_points_moves_the_latent_little() -> None:
    """The latent is of the field, not of the mesh: four times the points of a smooth field."""
    model = autoencoder(cells=16, max_neighbors=256)
    torch.nn.init.zeros_(model.cues.weight)

    def field(n: int) -> PointFrames:
        axis = (torch.arange(n) + 0.5) / n * 2 * torch.pi
        values = torch.stack([axis.sin().view(-1, 1) + axis.cos(), axis.cos().view(-1, 1) * axis.sin()])
        return grid_frames(values.expand(5, -1, -1, -1), (1 / n, 1 / n))

    fine, finer = encode(model, field(32)), encode(model, field(64))
    noise = encode(model, frames(points=1024))
    assert float((fine - finer).norm()) < 0.2 * float((fine - noise).norm())


def test_options_learn() -> None:
    for options in ({"modulation": True}, {"kl": True}, {"upsample": "transposed"}, {"node_types": True}):
        model, source = autoencoder(**options), frames()
        near = model.neighborhood(source.pos, source.ptr)
        kinds = torch.randint(9, (50,)) if options.get("node_types") else None
        latent = model.encode(source.values, near, frames=5, node_type=kinds)
        out = model.decode(latent.mean, model.grid.to_points(source.pos), series=5, node_type=kinds)
        (out.square().mean() + latent.kl()).backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None]
        assert not idle, idle


@torch.no_grad()
def test_with_a_straight_path_it_starts_as_the_components_of_blocks() -> None:
    model = autoencoder(subcells=3, latent_channels=5)
    windows = [PointFrames.resting(torch.rand(90, 2), torch.randn(5, 90, 2)) for _ in range(6)]
    model.fit_components(lambda: iter(windows))
    source, path = windows[0], model.path
    assert path is not None
    z = encode(model, source)
    near = model.neighborhood(source.pos, source.ptr)
    torch.testing.assert_close(z, path.encode(path.spread(path.resample(source.values, near), 5)))
    assert float(z.abs().max()) > 0
    queries = frames(points=40)
    plain = path.read(path.rows(path.decode(z), 5), path.stencil(queries.pos, queries.graph))
    torch.testing.assert_close(model.decode_frames(z, queries), plain)
    walk = source.by_frame()  # points that could move
    torch.testing.assert_close(encode(model, walk), z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        model.decode_frames(z, walk).view(5, 90, 2).transpose(0, 1), model.decode_frames(z, source), rtol=1e-4,
        atol=1e-5,
    )  # fmt: skip
    near = model.grid.to_points(queries.pos)
    with pytest.raises(InputError, match=r"give stencil=path\.stencil"):
        model.decode(z, near, series=5)


def test_the_tower_learns_beside_the_straight_path() -> None:
    model = autoencoder(subcells=3)
    source = frames()
    for step in range(6):  # what starts at zero hides what is before it at first
        model.zero_grad()
        z = model.encode_frames(source).mean
        model.decode_frames(z, source).sub(source.values).square().mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(p.grad if p.grad is not None else 0.0, alpha=-1e-2)
        idle = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
        assert not idle or step < 5, idle


def test_latents_are_bounded() -> None:
    model, source = autoencoder(), frames()
    near = model.neighborhood(source.pos, source.ptr)
    z = model.encode(1e6 * source.values, near, frames=5).mean.detach()
    assert float(z.abs().max()) <= 5.0


def test_error_messages() -> None:
    model, source = autoencoder(), frames(4)
    with pytest.raises(InputError, match=r"1 \+ 2 m frames.*got 4; crop it to 3 or give 5"):
        encode(model, source)
    with pytest.raises(InputError, match="4 constant channels"):
        encode(autoencoder(num_constants=4), frames())


def generator(**options: Any) -> EchoGenerator:
    torch.manual_seed(0)
    settings = {"channels": 16, "depth": 2, "num_heads": 2} | options
    model = EchoGenerator(3, 4, (4, 2), **settings)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def inputs(b: int = 2) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    observed = torch.tensor([[True, True, False, False], [False] * 4])[:b]
    return torch.randn(b, 3, 4, 4, 2), torch.randn(b, 3, 4, 4, 2), observed, torch.rand(b), torch.tensor([0, 3])[:b]


@pytest.mark.parametrize("cells", [(4,), (4, 2), (2, 4, 2)])
@pytest.mark.parametrize("patch", [1, 2])
def test_patches_go_round(cells: tuple[int, ...], patch: int) -> None:
    model = EchoGenerator(3, 4, cells, channels=32, num_heads=2, depth=1, patch=patch)
    z = torch.randn(2, 3, 4, *cells)
    assert model._patches(z).shape == (2, 4 * z[0, 0, 0].numel() // patch ** len(cells), 3 * patch ** len(cells))
    tokens = model._patches(z)
    torch.testing.assert_close(model._unpatched(tokens), z)
    assert float(model(z, z, torch.zeros(2, 4, dtype=torch.bool), torch.rand(2), torch.zeros(2, dtype=torch.long))
                 .latent.abs().max()) == 0  # the last layer starts at zero  # fmt: skip


def test_what_is_not_observed_of_known_is_not_seen() -> None:
    model = generator()
    noisy, known, observed, r, task = inputs()
    out = model(noisy, known, observed, r, task).latent
    other = torch.where(observed.view(2, 1, 4, 1, 1), known, torch.randn_like(known))
    torch.testing.assert_close(model(noisy, other, observed, r, task).latent, out)
    changed = torch.where(observed.view(2, 1, 4, 1, 1), torch.randn_like(noisy), noisy)
    torch.testing.assert_close(model(changed, known, observed, r, task).latent, out)
    hint = torch.tensor([[True, True, False, True], [False, False, False, True]])
    assert not torch.allclose(model(noisy, known, observed, r, task, hint=hint).latent, out)


def test_parameters_count_where_given() -> None:
    model = generator(num_parameters=2)
    noisy, known, observed, r, task = inputs()
    told = torch.randn(2, 2)
    none = model(noisy, known, observed, r, task).latent
    hidden = model(noisy, known, observed, r, task, parameters=told, given=torch.tensor([False, False])).latent
    torch.testing.assert_close(none, hidden)
    half = model(noisy, known, observed, r, task, parameters=told, given=torch.tensor([True, False])).latent
    torch.testing.assert_close(half[1], none[1])
    assert not torch.allclose(half[0], none[0])


def test_deterministic_does_not_see_the_noise() -> None:
    model = generator(deterministic=True)
    noisy, known, observed, r, task = inputs()
    torch.testing.assert_close(
        model(noisy, known, observed, r, task).latent, model(torch.randn_like(noisy), known, observed, r, task).latent
    )


def test_identified_parameters_are_a_token() -> None:
    model = generator(num_parameters=2, identify=True)
    noisy, known, observed, r, task = inputs()
    path = torch.randn(2, 2)
    free = torch.tensor([False, False])
    made = model(noisy, known, observed, r, task, given=free, noisy_parameters=path)
    assert made.parameters is not None and made.parameters.shape == (2, 2)
    other = model(noisy, known, observed, r, task, given=free, noisy_parameters=path + 1)
    assert not torch.allclose(made.latent, other.latent)


def test_every_weight_learns() -> None:
    model = generator(num_parameters=2, identify=True)
    noisy, known, observed, r, task = inputs()
    given = torch.tensor([True, False])
    made = model(noisy, known, observed, r, task, parameters=torch.randn(2, 2), given=given,
                 noisy_parameters=torch.randn(2, 2))  # fmt: skip
    (made.latent.square().mean() + made.parameters.square().mean()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]


def test_generator_error_messages() -> None:
    with pytest.raises(InputError, match=r"patch must divide the latent cells \(4, 3\), got 2"):
        EchoGenerator(3, 4, (4, 3), patch=2)
    with pytest.raises(InputError, match="identify needs parameters"):
        EchoGenerator(3, 4, (4, 4), identify=True)
    made = create_model("echogenerator", latent_channels=2, latent_frames=3, latent_cells=[4])
    assert isinstance(made, EchoGenerator)


@pytest.mark.parametrize("periodic", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("fold", [False, True])
def test_along_periodic_axes_a_shifted_latent_gives_the_shifted_answer(periodic: tuple[bool, ...], fold: bool) -> None:
    model = generator(periodic=periodic, fold_time=fold, local=fold, absolute=False, whole_periods=True).double()
    noisy, known, observed, r, task = inputs()
    noisy, known, r = noisy.double(), known.double(), r.double()
    out = model(noisy, known, observed, r, task).latent
    for axis, wraps in zip((3, 4), periodic, strict=True):
        moved = model(noisy.roll(1, axis), known.roll(1, axis), observed, r, task).latent
        assert torch.allclose(moved, out.roll(1, axis), atol=1e-4) == wraps
    placed = generator(
        periodic=periodic, fold_time=fold, local=fold, whole_periods=True
    ).double()  # absolute positions know where they are
    out = placed(noisy, known, observed, r, task).latent
    assert not torch.allclose(
        placed(noisy.roll(1, 3), known.roll(1, 3), observed, r, task).latent, out.roll(1, 3), atol=1e-4
    )


def test_folded_frames_lose_none_of_the_contract() -> None:
    model = generator(fold_time=True, local=True)
    noisy, known, observed, r, task = inputs()
    out = model(noisy, known, observed, r, task).latent
    assert out.shape == noisy.shape
    other = torch.where(observed.view(2, 1, 4, 1, 1), known, torch.randn_like(known))
    torch.testing.assert_close(model(noisy, other, observed, r, task).latent, out)
    out.square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    with pytest.raises(InputError, match="local needs fold_time: true and identify: false"):
        generator(local=True)
