from typing import Any

import pytest
import torch
from torch import Tensor

from meshops.data.point_frames import point_frames
from meshops.errors import InputError
from meshops.models.echo import EchoGenerator
from meshops.nn.flow import METHODS
from meshops.nn.known_frames import TASKS, Known, draw_known, run_offset
from meshops.tasks import GenerateSettings, GenerateTask
from meshops.tasks.segments import GenerateSpec, logarithmic


def task(**options: Any) -> GenerateTask:
    torch.manual_seed(0)
    settings = {"latent": (3, 4, 4, 2), "time_factor": 2} | options
    spec = GenerateSpec(**settings)
    model = EchoGenerator(**spec.model_arguments(), channels=16, depth=2, num_heads=2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    count = len(spec.parameters)
    return GenerateTask.fitted(model, spec, 2 + 3 * torch.randn(20, *spec.latent), torch.rand(20, count) + 0.1).eval()


def batch(spec: GenerateSpec, b: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(1)
    d, t, *cells = spec.latent
    return {
        "latents": torch.randn(b, d, t, *cells),
        "runs": torch.randn(b, d, t * (t - 1) // 2, *cells),
        "parameters": torch.rand(b, len(spec.parameters)) + 0.1,
    }


def nothing_known(made: GenerateTask, b: int) -> Known:
    none = torch.zeros(b, made.spec.latent_frames, dtype=torch.bool)
    return Known(torch.zeros(b, *made.spec.latent), none, none, none, torch.full((b,), TASKS.index("generation")))


def test_latents_and_parameters_go_round() -> None:
    made = task(parameters=("nu", "f"), logarithmic=(True, False))
    z = torch.randn(5, 3, 4, 4, 2)
    torch.testing.assert_close(made.original(made.standardised(z)), z)
    values = torch.rand(5, 2) + 0.1
    torch.testing.assert_close(made.decoded_parameters(made.encoded_parameters(values)), values)
    assert logarithmic(torch.tensor([[1e-4, 1.0, -1.0], [1e-2, 2.0, 5.0]])) == (True, False, False)
    with pytest.raises(InputError, match="parameters nu must be positive"):
        made.encoded_parameters(torch.tensor([[-1.0, 0.0]]))


def test_what_a_training_example_shows() -> None:
    made = task()
    b = batch(made.spec, 400)
    clean, runs = b["latents"], b["runs"]
    torch.manual_seed(0)
    known = draw_known(clean, runs, made.spec.tasks)
    seen = torch.bincount(known.task, minlength=4) / 400
    torch.testing.assert_close(seen, torch.tensor([0.45, 0.15, 0.2, 0.2]), atol=0.08, rtol=0)
    for row in range(400):
        name, observed, hint, start = (
            TASKS[int(known.task[row])],
            *(p[row] for p in (known.observed, known.hint, known.start)),
        )
        head = int(observed.sum())
        assert bool(observed[:head].all()) and not bool(hint.all())
        torch.testing.assert_close(known.latent[row][:, observed], clean[row][:, observed])
        tail = int((hint & ~observed).sum())
        assert (head > 0) == (name in ("forward", "interpolation")) and (tail > 0) == (
            name in ("inverse", "interpolation")
        )
        assert int(start.sum()) == (head > 0) + (tail > 0)
        if tail:
            first = 4 - tail
            assert bool(hint[first:].all()) and bool(start[first])
            begin = run_offset(first, 4)
            torch.testing.assert_close(known.latent[row][:, first:], runs[row][:, begin : begin + tail])
        assert not bool(known.latent[row][:, ~hint].any())
    alone = draw_known(clean, runs[:, :, :0], made.spec.tasks)
    assert set(alone.task.tolist()) == {TASKS.index("forward"), TASKS.index("generation")}


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8])
def test_no_training_example_is_told_every_frame(frames: int) -> None:
    torch.manual_seed(0)
    clean, runs = torch.ones(500, 1, frames, 2), torch.ones(500, 1, frames * (frames - 1) // 2, 2)
    for name, tasks in {name: [float(i == j) for j in range(4)] for i, name in enumerate(TASKS)}.items():
        if frames < {"forward": 2, "inverse": 2, "interpolation": 3, "generation": 1}[name]:
            continue
        known = draw_known(clean, runs, tasks)
        assert bool((~known.hint).any(1).all()), name
        assert bool(known.hint.any(1).all()) == (name != "generation")
        if name == "interpolation":
            lengths = {(int(o.sum()), int((h & ~o).sum())) for o, h in zip(known.observed, known.hint, strict=True)}
            half = (frames + 1) // 2
            assert lengths == {
                (head, tail)
                for head in range(1, half + 1)
                for tail in range(1, half + 1)
                if head + tail < frames
            }  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"deterministic": True}, {"law": "logit_normal"},
                                     {"parameters": ("nu",), "logarithmic": (True,), "identify": True}])  # fmt: skip
def test_loss_reaches_every_weight(options: dict[str, Any]) -> None:
    made = task(**options)
    torch.manual_seed(0)
    found = made.loss(batch(made.spec, 16))
    found["loss"].backward()
    idle = [name for name, p in made.model.named_parameters() if p.grad is None]
    assert not idle, idle
    assert ("parameters" in found) == bool(options.get("identify"))


@pytest.mark.parametrize("method", list(METHODS))
def test_observed_latents_come_back_as_they_were(method: str) -> None:
    made = task()
    known = draw_known(batch(made.spec)["latents"], batch(made.spec)["runs"], made.spec.tasks)
    z, found = made.sample(known, method=method, steps=3)  # type: ignore[arg-type]
    mask = known.observed.view(6, 1, 4, 1, 1).expand_as(z)
    assert found is None and torch.equal(z[mask], made.original(known.latent)[mask])
    full = known._replace(observed=torch.ones(6, 4, dtype=torch.bool))
    torch.testing.assert_close(made.sample(full, steps=2)[0], made.original(known.latent))


def test_samples_are_a_function_of_the_generator() -> None:
    made = task()
    known = nothing_known(made, 2)
    a, b, c = (made.sample(known, steps=2, generator=torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.allclose(a, c)
    assert not torch.allclose(a[0], a[1])


def test_guidance_of_one_is_none_and_others_differ() -> None:
    made = task(parameters=("nu",), logarithmic=(False,))
    known, told = nothing_known(made, 2), torch.tensor([[0.3], [0.8]])

    def sample(**options: Any) -> Tensor:
        return made.sample(known, steps=2, generator=torch.Generator().manual_seed(0), **options)[0]

    torch.testing.assert_close(sample(parameters=told, guidance=1.0), sample(parameters=told))
    assert not torch.allclose(sample(parameters=told, guidance=3.0), sample(parameters=told))
    torch.testing.assert_close(sample(parameters=told, guidance=0.0), sample())


def test_parameters_are_generated_where_not_given() -> None:
    made = task(parameters=("nu",), logarithmic=(True,), identify=True)
    _, found = made.sample(nothing_known(made, 3), steps=2)
    assert found is not None and found.shape == (3, 1) and bool((found > 0).all())
    assert made.sample(nothing_known(made, 3), steps=2, parameters=torch.ones(3, 1))[1] is None


def test_deterministic_gives_one_answer() -> None:
    made = task(deterministic=True)
    known = nothing_known(made, 2)
    assert torch.equal(made.sample(known)[0], made.sample(known)[0])


def test_error_messages() -> None:
    with pytest.raises(InputError, match="tasks needs four shares"):
        GenerateSpec(latent=(1, 2, 2), time_factor=2, tasks=(0, 0, 0, 0))
    with pytest.raises(InputError, match=r"dropout must be in \[0, 1\)"):
        GenerateSpec(latent=(1, 2, 2), time_factor=2, dropout=1.0)
    with pytest.raises(InputError, match="one latent frame have nothing to forecast"):
        GenerateSpec(latent=(1, 1, 2), time_factor=2)
    for tasks in ((0, 0, 1, 0), (0.0, 0.0, 0.5, 0.0)):
        with pytest.raises(InputError, match="training interpolation needs segments of at least three latent frames"):
            GenerateSpec(latent=(1, 2, 2), time_factor=2, tasks=tasks)
    for shares, name in (((0, 1, 1, 0), "inverse and interpolation"), ((0, 0, 1, 0), "interpolation")):
        made = task(latent=(3, 3, 4, 2), tasks=shares)
        parts = batch(made.spec)
        made.loss(parts)
        with pytest.raises(InputError, match=f"training {name} needs the latents of later runs of frames"):
            made.loss(parts | {"runs": parts["runs"][:, :, :0]})
    made = task(parameters=("nu",), logarithmic=(False,))
    with pytest.raises(InputError, match=r"need 1 parameters \(nu\), got 2"):
        made.encoded_parameters(torch.rand(1, 2))
    with pytest.raises(InputError, match=r"the generator has no auto-encoder; give it one: task.attach"):
        made.forecast(point_frames(torch.rand(4, 2), torch.rand(3, 4, 1)), 2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"stride": 0}, "stride must be a whole number of at least 1, got 0"),
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"given": -1}, "given must be a whole number of at least 1, got -1"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"cases": -1}, "cases must be a whole number of at least 0, got -1"),
        ({"tasks": (1, 1, 1)}, "tasks needs four shares"),
        ({"tasks": (1.0, float("nan"), 0.0, 0.0)}, "tasks needs four shares"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"law": "normal"}, "law must be one of uniform, logit_normal, got 'normal'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        GenerateSettings(**wrong)
