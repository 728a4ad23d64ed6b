"""Numbers in the text of files, however they were printed."""

from __future__ import annotations

import pytest

from meshops.data.text_numbers import DamagedError, numbers_of


def test_numbers_printed_as_objects() -> None:
    assert numbers_of(b"1 np.float64(300.011307012201)\n2 np.float32(-1e-3) np.int64(7)\n").tolist() == [
        1.0, 300.011307012201, 2.0, -1e-3, 7.0]  # fmt: skip


@pytest.mark.parametrize("text", [b"1 np.float64(x)", b"1 two", b"np.sqrt(2)"])
def test_text_is_no_number(text: bytes) -> None:
    with pytest.raises(DamagedError, match="text where numbers belong"):
        numbers_of(text)
