from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshops.data.tensor_cache import cached_tensors, fingerprint
from meshops.errors import CheckpointError


def test_tensors_are_made_once_and_of_what_is_said(tmp_path: Path) -> None:
    path, made = tmp_path / "x.pt", []

    def make() -> dict[str, Tensor]:
        made.append(1)
        return {"a": torch.arange(3)}

    def cached(reuse: bool = True, mesh: str = "1") -> Tensor:
        made_of = {"another mesh": mesh}
        return cached_tensors(path, made_of, make, what="numbers", reuse=reuse)["a"]

    assert torch.equal(cached(), cached()) and len(made) == 1
    cached(reuse=False)
    assert len(made) == 2
    with pytest.raises(CheckpointError, match="holds numbers of another mesh and cannot be used here; remove it"):
        cached(mesh="2")
    torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match="not a cache of numbers"):
        cached()
    path.write_bytes(b"no cache")
    with pytest.raises(CheckpointError, match="not a readable cache of numbers"):
        cached()


def test_a_fingerprint_is_of_words_names_and_bits() -> None:
    plain = fingerprint("words", [("a", torch.ones(2))])
    assert plain == fingerprint("words", [("a", torch.ones(2))])
    others = [
        fingerprint("word", [("a", torch.ones(2))]),
        fingerprint("words", [("b", torch.ones(2))]),
        fingerprint("words", [("a", torch.zeros(2))]),
    ]
    assert len({plain, *others}) == 4
