"""Models by name."""

from __future__ import annotations

import pytest

from meshops.errors import InputError
from meshops.models import MSPT, create_model, list_models


def test_names() -> None:
    assert "mspt" in list_models()
    assert list_models("mspt_*") == sorted(list_models("mspt_*")) and len(list_models("mspt_*")) == 7


def test_architectures_and_published_sizes() -> None:
    sizes, plain = list_models(published=True), list_models(published=False)
    assert sorted(sizes + plain) == list_models() and not set(sizes) & set(plain)
    assert {"fno", "mspt", "echogenerator"} <= set(plain) and {"iap_2d", "mspt_darcy", "mp_pde_e1"} <= set(sizes)
    assert list_models("fn*", published=False) == ["fno"]


def test_a_published_size_takes_changes() -> None:
    model = create_model("mspt_elasticity", depth=2, patch_size=64)
    assert isinstance(model, MSPT)
    assert len(model.blocks) == 2
    assert (model.patch_size, model.num_patches) == (64, None)


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="unknown model 'mspt_elastic'; did you mean 'mspt_elasticity'"):
        create_model("mspt_elastic")


@pytest.mark.parametrize("name", ["mspt", "mspt_darcy"])
def test_unknown_argument(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' has no argument 'chanels'; did you mean 'channels'.*'depth'"):
        create_model(name, in_channels=1, out_channels=1, chanels=64)
