"""TFRecord files without TensorFlow: published checksums, round trips, laziness, damage."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from meshops.datasets.formats.tfrecord import (
    TFRecordFile,
    crc32c,
    encode_example,
    masked_crc,
    parse_example,
    write_records,
)
from meshops.errors import InputError

PAYLOADS = [b"first", b"", bytes(range(256)) * 5]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_records(tmp_path / "a.tfrecord", PAYLOADS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ],
)
def test_known_checksums(content: bytes, expected: int) -> None:
    assert crc32c(content) == crc32c(memoryview(content)) == expected


def test_checksums_equal_a_slow_obvious_version() -> None:
    content = np.random.default_rng(0).bytes(1000)
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(content) == crc ^ 0xFFFFFFFF


def test_an_empty_record_has_the_bytes_of_the_published_format(tmp_path: Path) -> None:
    # 12 bytes: length 0, masked CRC of eight zero bytes; then the masked CRC of nothing, 0xA282EAD8.
    written = write_records(tmp_path / "b.tfrecord", [b""]).read_bytes()
    assert written[:8] == bytes(8) and len(written) == 16
    assert written[8:12] == struct.pack("<I", masked_crc(bytes(8)))
    assert written[12:] == struct.pack("<I", 0xA282EAD8)


def test_round_trip_and_pickling(path: Path) -> None:
    file = TFRecordFile(path)
    assert len(file) == 3 and [bytes(file[i]) for i in range(3)] == PAYLOADS
    again = pickle.loads(pickle.dumps(file))
    assert bytes(again[2]) == PAYLOADS[2]
    assert not list(path.parent.glob(".*"))


def test_a_record_is_a_view_of_the_file(path: Path) -> None:
    file = TFRecordFile(path)
    assert isinstance(file[2], memoryview) and file[2].readonly and file[2].obj is file[0].obj


def test_examples_round_trip_and_other_kinds_are_passed_over() -> None:
    features = {"cells": b"abc", "long": bytes(70_000), "empty": b""}
    parsed = parse_example(encode_example(features), "x")
    assert {name: b"".join(parts) for name, parts in parsed.items()} == features
    numbers = bytes.fromhex("0a0c 0a0a 0a0178 1205 1a03 0a0105")  # {"x": int64_list [5]}
    assert parse_example(numbers, "x") == {}
    later = numbers + b"\x18\x01" + b"\x25" + bytes(4) + b"\x29" + bytes(8)  # fields that are no bytes
    assert parse_example(later, "x") == {}


def test_several_values_of_a_feature_are_kept_apart() -> None:
    values = b"\x0a\x01a\x0a\x02bc"  # two fields 1
    feature = b"\x0a" + bytes([len(values)]) + values
    entry = b"\x0a\x01x\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    message = b"\x0a" + bytes([len(features)]) + features
    assert [bytes(part) for part in parse_example(message, "x")["x"]] == [b"a", b"bc"]


def test_truncated_files_are_named(path: Path) -> None:
    whole = path.read_bytes()
    for cut in (1, 5, len(whole) - 21 - 16 - 7):
        path.write_bytes(whole[:-cut])
        with pytest.raises(InputError, match=r"a\.tfrecord: ends within record 2; it is truncated, download it again"):
            TFRecordFile(path)


def test_wrong_checksums_are_named(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-10] ^= 1
    path.write_bytes(whole)
    file = TFRecordFile(path)
    assert bytes(file[0]) == PAYLOADS[0]
    with pytest.raises(InputError, match="the checksum of record 2 is wrong; download the file again"):
        file[2]
    assert len(TFRecordFile(path, verify=False)[2]) == len(PAYLOADS[2])
    whole[0] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="the checksum of the length of record 0 is wrong; it is no TFRecord file"):
        TFRecordFile(path)


def test_a_file_cut_while_it_is_in_use_is_named(path: Path) -> None:
    file = TFRecordFile(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="is shorter than when it was opened"):
        file[2]


@pytest.mark.parametrize("content", [b"\x0a", b"\x0a\x05ab", b"\xff" * 12, b"\x0b"])
def test_what_is_no_example_is_named(content: bytes) -> None:
    with pytest.raises(InputError, match=r"file, record 4 is no tf\.Example message"):
        parse_example(content, "file, record 4")
