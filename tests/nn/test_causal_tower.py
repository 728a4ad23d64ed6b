import pytest
import torch

from meshops.errors import InputError
from meshops.nn.causal_tower import CausalTower, compression

LAYERS = ("res", "space", "time", "res", "time")


def tower(dim: int = 2, *, upsample: str = "shuffle", periodic: bool = True) -> CausalTower:
    torch.manual_seed(0)
    made = CausalTower(
        3, 4, layers=LAYERS, channels=6, max_channels=8, periodic=(periodic,) * dim, upsample=upsample,  # type: ignore[arg-type]
    ).double()  # fmt: skip
    with torch.no_grad():
        for weight in made.parameters():  # residual branches start at zero
            weight.normal_(0, 0.2)
    return made


def trajectory(frames: int, dim: int = 2, cells: int = 4) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 3, frames, *(cells,) * dim, dtype=torch.float64)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 5, 21])
@pytest.mark.parametrize("upsample", ["shuffle", "nearest", "transposed"])
def test_lengths_go_round(dim: int, frames: int, upsample: str) -> None:
    made, x = tower(dim, upsample=upsample), trajectory(frames, dim)
    z = made.encode(x)
    assert z.shape == (2, 4, 1 + (frames - 1) // 4, *(2,) * dim)
    assert made.decode(z).shape == x.shape


@pytest.mark.parametrize("upsample", ["shuffle", "transposed"])
@pytest.mark.parametrize(("dim", "inputs"), [(1, 6), (2, 6), (2, 3), (3, 3)])
def test_starts_as_an_orthogonal_projection(dim: int, inputs: int, upsample: str) -> None:
    torch.manual_seed(0)
    layers = ("res", "space", "res", "time")
    made = CausalTower(inputs, 4, layers=layers, channels=6, periodic=(True,) * dim, upsample=upsample).double()  # type: ignore[arg-type]

    def through(x: torch.Tensor) -> torch.Tensor:
        return made.decode(made.encode(x))[:, :, 1:]  # the first frame is half of a pair

    x, y = (torch.randn(2, inputs, 5, *(4,) * dim, dtype=torch.float64) for _ in range(2))
    once = through(x)
    close: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(through(x + 2 * y), once + 2 * through(y), **close)  # linear
    torch.testing.assert_close((once * y[:, :, 1:]).sum(), (through(y) * x[:, :, 1:]).sum(), **close)  # symmetric
    if inputs == 6:  # fewer are lifted first, and what comes back is a part of each
        torch.testing.assert_close(through(torch.cat([x[:, :, :1], once], 2)), once, **close)  # idempotent
    size = float(once.norm() / x[:, :, 1:].norm())
    assert 0.05 < size < 1  # of what is in, 4 latent channels hold a part


def test_nothing_is_lost_where_nothing_is_compressed() -> None:
    made = CausalTower(3, 3, layers=("res", "res"), channels=3, periodic=(True, True)).double()
    x = trajectory(4)
    torch.testing.assert_close(made.decode(made.encode(x)), x)


def test_prefix_gives_the_first_latents_and_one_frame_the_first() -> None:
    made, x = tower(), trajectory(13)
    z = made.encode(x)
    for m in range(4):
        torch.testing.assert_close(made.encode(x[:, :, : 1 + 4 * m]), z[:, :, : 1 + m], rtol=1e-12, atol=1e-12)
    whole = made.decode(z)
    for m in range(4):
        torch.testing.assert_close(made.decode(z[:, :, : 1 + m]), whole[:, :, : 1 + 4 * m], rtol=1e-12, atol=1e-12)


def test_later_frames_never_change_earlier_latents_and_every_frame_counts() -> None:
    made, x = tower(), trajectory(9)
    z = made.encode(x.requires_grad_(True))
    for j in range(3):
        (gradient,) = torch.autograd.grad(z[:, :, j].square().sum(), x, retain_graph=True)
        seen = gradient.abs().amax((0, 1, 3, 4))
        assert bool((seen[4 * j + 1 :] == 0).all()) and float(seen[4 * j]) > 0
    (gradient,) = torch.autograd.grad(z.square().sum(), x)
    assert bool((gradient.abs().amax((0, 1, 3, 4)) > 0).all())  # the last frame too


def test_periodic_axes_know_no_border() -> None:
    made, x = tower(), trajectory(5, cells=8)
    shifted = made.decode(made.encode(x.roll((2, 4), (3, 4))))
    torch.testing.assert_close(shifted, made.decode(made.encode(x)).roll((2, 4), (3, 4)))
    open_ = tower(periodic=False)
    assert not torch.allclose(open_.encode(x.roll(2, 3)), open_.encode(x).roll(1, 3))


def test_checkpointing_does_not_change_gradients() -> None:
    made, x = tower(), trajectory(5)
    found = []
    for on in (False, True):
        made.checkpointing = on
        found.append(torch.autograd.grad(made.decode(made.encode(x)).square().sum(), list(made.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_temporal_parameters_are_those_of_convolutions_in_time() -> None:
    made, x = tower(), trajectory(1)
    chosen = {id(p) for p in made.temporal_parameters()}
    names = {name for name, p in made.named_parameters() if id(p) in chosen}
    assert names and all(".time." in n or "spread" in n or n.startswith(("first.1", "widen.1", "down")) for n in names)
    assert x.shape[2] == 1


def test_compression_is_that_of_enma() -> None:
    assert compression(64 * 64, 1, 30, (8, 16, 8, 8)) == 15  # ENMA, table 1: vorticity
    assert compression(128, 1, 50, (4, 26, 16)) == pytest.approx(3.85, abs=0.005)


def test_error_messages() -> None:
    made = tower()
    with pytest.raises(InputError, match=r"1 \+ 4 m frames.*got 8; crop it to 5 or give 9"):
        made.encode(trajectory(8))
    with pytest.raises(InputError, match="multiple of 2"):
        made.encode(trajectory(5, cells=5))
    with pytest.raises(InputError, match="layers of a tower are res, space, time, got 'conv'"):
        CausalTower(1, 1, layers=("conv",))
    with pytest.raises(InputError, match="upsample"):
        CausalTower(1, 1, layers=(), upsample="cubic")  # type: ignore[arg-type]
