"""Files that were made to do harm, a small one of each kind: sizes that are lies, files that name others, bombs."""

from __future__ import annotations

import gzip
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista as pv
import torch

from meshops import reader_process, tensor_files
from meshops.data import foam_files, readers, references
from meshops.data.contained import check_hdf5
from meshops.data.graph_store import read_graph, write_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.data.text_numbers import DamagedError
from meshops.datasets.folder.array_files import shapes_in, take
from meshops.datasets.folder.description import Description, Snapshot
from meshops.datasets.folder.patterns import matches
from meshops.datasets.formats import npy_rows
from meshops.datasets.formats.hdf5 import opened
from meshops.doctor.robust import center
from meshops.errors import CheckpointError, InputError
from meshops.io import read_json
from meshops.surrogate import read_checkpoint
from meshops.surrogate.checkpoint import as_written, digest_of, write_checkpoint
from tests.fuzz.seeds import ball

# ---- HDF5


def _external(file: Any, secret: Path) -> None:
    file.create_dataset("p", (4,), dtype="u1", external=[(str(secret), 0, 4)])


def _virtual(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[...] = h5py.VirtualSource(str(secret), "p", (4,))
    file.create_virtual_dataset("p", layout)


HDF5: dict[str, Callable[[Any, Path], object]] = {
    "external storage": _external,
    "virtual": _virtual,
    "external link": lambda file, secret: file.__setitem__("p", h5py.ExternalLink(str(secret), "/p")),
    "link below a loop": lambda file, secret: (
        file.create_group("g").__setitem__("up", file["/"]),
        file["g"].__setitem__("p", h5py.ExternalLink(str(secret), "/p")),
    ),
    "never stored": lambda file, secret: file.create_dataset("p", (2**40,), dtype="f4", chunks=True),
    "a chunk of terabytes": lambda file, secret: file.create_dataset("p", (2**33,), dtype="f4", chunks=(2**29,)),
}


@pytest.mark.parametrize("kind", HDF5)
def test_hdf5_that_reaches_for_other_files_or_lies(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x01\x02\x03\x04")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        HDF5[kind](file, secret)
    with pytest.raises(InputError, match=r"a\.h5: .*(other file|another file|declares)"):
        check_hdf5(path)
    with pytest.raises(InputError, match=r"a\.h5"), opened(path, "a set", "get it"):
        raise AssertionError("was opened")
    with pytest.raises(InputError, match=r"a\.h5"):
        shapes_in(path)
    with pytest.raises(InputError, match=r"a\.h5"):
        take(path, "p", None, 0)
    for name in ("a.vtkhdf", "a.med", "a.cgns"):
        with pytest.raises(InputError, match=rf"{name}: .*(other file|another file|declares)"):
            readers.read_mesh(path.rename(tmp_path / name))
        path = tmp_path / name


def test_sound_hdf5_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("p", data=np.random.default_rng(0).random((50, 8)), chunks=(10, 8), compression="gzip")
        file["q"] = h5py.SoftLink("/p")
        file.create_dataset("zeros", (1000, 1000), dtype="f4")
    check_hdf5(path)
    monkeypatch.setattr(reader_process, "the_worker", lambda: pytest.fail("asked again"))
    check_hdf5(path)
    assert shapes_in(path) == {"p": (50, 8), "zeros": (1000, 1000)}


# ---- XML and files that name others

BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>\n'
THEFT = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>\n'


@pytest.mark.parametrize("declared", [BOMB, THEFT, "<!-- a --><!DOCTYPE a SYSTEM 'http://x/y.dtd'>\n"])
@pytest.mark.parametrize("name", ["a.vtp", "a.vtu", "a.vtm", "a.pvd", "a.pvtu", "a.xdmf"])
def test_xml_that_declares_entities(name: str, declared: str, tmp_path: Path) -> None:
    kind = {"a.vtp": "PolyData", "a.vtu": "UnstructuredGrid", "a.vtm": "vtkMultiBlockDataSet", "a.pvd": "Collection",
            "a.pvtu": "PUnstructuredGrid", "a.xdmf": ""}[name]  # fmt: skip
    body = f'<VTKFile type="{kind}" version="1.0"></VTKFile>' if kind else "<Xdmf></Xdmf>"
    (tmp_path / name).write_text(declared + body)
    with pytest.raises(InputError, match=f"{name}: declares entities"):
        readers.read_mesh(tmp_path / name)
    (tmp_path / name).write_text(declared + body, encoding="utf-16")
    with pytest.raises(InputError, match=name):
        readers.read_mesh(tmp_path / name)


OUTSIDE = ("../secret.vtp", "/etc/hostname", "a/../../secret.vtp", "C:\\secret.vtp", "..\\secret.vtp", "file:///etc/x")


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_outside_of_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    ball().save(tmp_path / "secret.vtp")
    data = f'<DataSet timestep="0" file="{name}" index="0"/>'
    texts = {
        "a.pvd": f'<VTKFile type="Collection"><Collection>{data}</Collection></VTKFile>',
        "a.vtp.series": json.dumps({"files": [{"name": name, "time": 0.0}]}),
        "a.vtm": f'<VTKFile type="vtkMultiBlockDataSet" version="1.0"><vtkMultiBlockDataSet>{data}'
        "</vtkMultiBlockDataSet></VTKFile>",
        "a.pvtp": f'<VTKFile type="PPolyData"><PPolyData><Piece Source="{name}"/></PPolyData></VTKFile>',
        "a.pvts": f'<VTKFile type="PStructuredGrid"><PStructuredGrid WholeExtent="0 1 0 1 0 1"><Piece Source="{name}"/>'
        "</PStructuredGrid></VTKFile>",
        "a.xmf": f'<Xdmf><DataItem Format="HDF">{name}:/x</DataItem></Xdmf>',
        "b.xmf": f'<Xdmf xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{name}"/></Xdmf>',
        "a.case": f"FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: 1 {name}\n",
        "a.gltf": json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": name, "byteLength": 4}]}),
    }
    for file, text in texts.items():
        (folder / file).write_text(text)
        with pytest.raises(InputError, match=f"{file}: (names the file .*outside of its own folder|includes other)"):
            readers.read_mesh(folder / file)


def test_names_below_the_folder_are_followed(tmp_path: Path) -> None:
    assert references.named(tmp_path / "a.pvd", "parts/../parts/b.vtp") == tmp_path / "parts/../parts/b.vtp"
    assert references.named(tmp_path / "a.pvd", ".\\parts\\b.vtp") == tmp_path / "parts" / "b.vtp"
    for name in OUTSIDE[:5]:
        for entry in ({"files": name}, {"tables": (name,)}, {"snapshots": (Snapshot("p", name),)}):
            with pytest.raises(InputError, match="lies outside of the data"):
                Description(root=tmp_path, **entry)  # type: ignore[arg-type]


# ---- OpenFOAM


def _dictionary(text: str, path: Path) -> foam_files.Dictionary:
    return foam_files.read_dictionary(foam_files.FoamFile(path, text.encode()))


def test_dictionaries_that_grow_or_reach_out(tmp_path: Path) -> None:
    path = tmp_path / "case" / "0" / "p"
    (tmp_path / "case" / "system").mkdir(parents=True)
    (tmp_path / "case" / "system" / "controlDict").touch()
    path.parent.mkdir()
    (tmp_path / "secret").write_text("a 1;")
    (tmp_path / "case" / "common").write_text("speed 3;")
    assert _dictionary('#include "../common"\n', path).entries == {"speed": "3"}
    for name in ("../../secret", "/etc/hostname"):
        with pytest.raises(DamagedError, match="outside of the case"):
            _dictionary(f'#include "{name}"', path)
    lines = [f"a{i + 1} $a{i}{' '}$a{i};" for i in range(60)]
    with pytest.raises(DamagedError, match="grows to more than"):
        _dictionary("a0 x y;\n" + "\n".join(lines), path)
    nested = [f"a{i + 1} {{ b $a{i} $a{i}; }}" for i in range(60)]
    with pytest.raises(DamagedError, match="as a word"):
        _dictionary("a0 { x 1; }\n" + "\n".join(nested), path)
    for i in range(30):
        (path.parent / f"f{i}").write_text(f'#include "f{i + 1}"\n' * 2)
    (path.parent / "f30").write_text("x 1;")
    with pytest.raises(DamagedError, match="more than 200 files"):
        _dictionary('#include "f0"', path)


def test_lists_of_equal_values_take_no_memory(tmp_path: Path) -> None:
    rows, _ = foam_files.read_list(foam_files.FoamFile(tmp_path, b"900000000{(1 2 3)}"), 0, "vector")
    assert rows.shape == (900_000_000, 3) and rows.base is not None
    with pytest.raises(DamagedError, match="announces"):
        foam_files.read_list(foam_files.FoamFile(tmp_path, b"900000000{1}"), 0, "label")


def test_packed_files_that_unpack_beyond_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foam_files, "most_unpacked", lambda size: 200 * size)
    (tmp_path / "p.gz").write_bytes(gzip.compress(bytes(5_000_000)))
    with pytest.raises(DamagedError, match="holds more than"):
        foam_files.read_bytes(tmp_path / "p.gz")


# ---- arrays


def test_archives_of_arrays_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_rows, "MOST_PACKED", (1 << 20, 200))
    np.savez_compressed(tmp_path / "a.npz", p=np.zeros(500_000))
    with pytest.raises(InputError, match=r"a\.npz: 'p' unpacks from \d+ to 4000128 bytes"):
        shapes_in(tmp_path / "a.npz")
    head = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("p.npy", head + bytes(80))
    for read in (shapes_in, lambda path: take(path, "p", None, 0)):
        with pytest.raises(InputError, match=r"b\.npz"):
            read(tmp_path / "b.npz")


def test_a_store_that_declares_what_it_does_not_hold(tmp_path: Path) -> None:
    write_graph(tmp_path / "a.zarr", MeshGraph(pos=torch.rand(10, 3), y=torch.rand(10, 1)))
    meta = tmp_path / "a.zarr" / "pos" / "zarr.json"
    meta.write_text(meta.read_text().replace("10,", "10000000000,", 1))
    with pytest.raises(InputError, match=r"a\.zarr: .*declares 120000000000 bytes"):
        read_graph(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{", "\x00", '{"a": 1}x', "[1e999"])
def test_json_that_is_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json: is no JSON file"):
        read_json(path)
    path.write_bytes(b'"\xff\xfe"')
    with pytest.raises(InputError, match=r"a\.json: is no JSON file"):
        read_json(path)


def test_no_pattern_takes_long() -> None:
    from pathlib import PurePosixPath as Path_

    start = time.process_time()
    assert not matches(Path_("a" * 200 + "b/" + "a" * 200), "*a" * 60 + "c/" + "*a" * 60 + "c")
    assert not matches(Path_("/".join("a" * 100)), "**/a/" * 40 + "b")
    assert time.process_time() - start < 1.0
    assert matches(Path_("a/b/c.vtu"), "**/*.vtu") and matches(Path_("c.vtu"), "**/*.vtu")
    assert not matches(Path_("a/c.vtu"), "*.vtu") and matches(Path_("r[1]/x"), "r[[]1]/?")


# ---- checkpoints


def _reach(path: Path) -> None:
    """A tensor that says it is larger than the bytes that are kept for it."""
    torch.save({"a": torch.zeros(4), "b": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, body in members.items():
            new.writestr(name, body.replace(b"K\x04", b"J\x00\x00\x00\x40") if name.endswith("data.pkl") else body)


def _packed(path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, body in members.items():
            new.writestr(name, body)


def _doubled(path: Path) -> None:
    value: Any = ["x"]
    for _ in range(40):
        value = [value, value]
    torch.save(value, path)


def _deep(path: Path) -> None:
    value: Any = []
    for _ in range(200):
        value = [value]
    torch.save(value, path)


LIES: dict[str, Callable[[Path], object]] = {
    "reaches beyond its bytes": _reach,
    "packed": _packed,
    "values that are not there": lambda path: torch.save(torch.zeros(1).expand(10**6, 10**6), path),
    "on no device": lambda path: torch.save({"a": torch.empty(10**6, 10**6, device="meta")}, path),
    "lists of lists": _doubled,
    "deep": _deep,
    "no archive": lambda path: torch.save([1], path, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("kind", LIES)
def test_checkpoints_that_lie_about_their_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    LIES[kind](path)
    with pytest.raises(Exception, match=r"is nested|not there|packed|repeats|layout|archive|setStorage|size") as error:
        tensor_files.load_tensors(path)
    assert not isinstance(error.value, MemoryError | AssertionError)
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_checkpoint(path)


def test_content_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.ckpt", {"weights": {"w": torch.arange(3.0)}, "spec": {"n": (1, None, "a")}})
    content = read_checkpoint(path)
    assert as_written(content)
    assert as_written({key: value for key, value in content.items() if key != "digest"})  # of an older version
    for key, value in (("n", (1, None, "b")), ("n", (1.0, None, "a")), ("m", (1, None, "a"))):
        assert not as_written({**content, "spec": {key: value}})
    assert digest_of({"a": torch.zeros(2)}) != digest_of({"a": torch.zeros(2, 1)})
    content["weights"]["w"][1] = 7.0
    assert not as_written(content)


# ---- what follows from values


def test_values_that_are_not_finite_do_not_end_the_comparison_of_cases() -> None:
    rows = np.array([[1.0, np.nan], [2.0, np.inf], [np.inf, np.nan], [1.5, np.inf]])
    assert center(rows)[0] == pytest.approx(1.5)


def test_a_half_written_line_of_the_log_is_dropped(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from meshops.training.callbacks import LogLines

    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 10}\n{"step": 20}\n{"step": 30, "los\xff')
    run: Any = SimpleNamespace(is_global_zero=True, global_step=20)
    LogLines(path).on_train_start(run, None)  # type: ignore[arg-type]
    assert path.read_text() == '{"step": 10}\n{"step": 20}\n'


def test_a_harmful_file_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "good.vtp", tmp_path / "bad.vtp"
    ball().save(good)
    bad.write_text(
        '<VTKFile type="PolyData" version="1.0"><PolyData><Piece NumberOfPoints="1000000000000" NumberOfPolys="0">'
        '<Points><DataArray type="Float64" NumberOfComponents="3" format="ascii">0 0 0</DataArray></Points></Piece>'
        "</PolyData></VTKFile>"
    )
    with pytest.raises(InputError, match=r"bad\.vtp") as first:
        readers.read_mesh(bad)
    with monkeypatch.context() as patch:
        patch.setattr(reader_process, "the_worker", lambda: pytest.fail("read again"))
        with pytest.raises(InputError) as second:
            readers.read_mesh(bad)
    assert str(first.value) == str(second.value)
    bad.write_bytes(good.read_bytes())
    assert readers.read_mesh(bad).n_cells == pv.read(good).n_cells


HEADS = (b"{'descr': '<f8', 'shape': (3,", b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3,)}", b"(((((((",
         b"{'a': 1L}", b"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", b"\xff\xfe")  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_heads_of_arrays_that_python_cannot_read(head: bytes, tmp_path: Path) -> None:
    from meshops.datasets.geo_fno.files import open_npy

    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head + b"\n").to_bytes(2, "little") + head + b"\n" + bytes(24))
    for read in (npy_rows.npy_member, lambda path: open_npy(path, "a set", "get it"), shapes_in):
        with pytest.raises(InputError, match=r"a\.npy"):
            read(path)
