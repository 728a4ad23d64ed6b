"""Files that crash a reader, never end or take all memory, and what becomes of the process that reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops import reader_process
from meshops.data import contained, formats, mesh_bytes, readers, wire, writers
from meshops.data.cells import Mesh, cells_of
from meshops.data.reading import MeshRead, ReadNotes
from meshops.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def ball(path: Path) -> Path:
    mesh = pv.Sphere(theta_resolution=6, phi_resolution=5)
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(float(mesh.n_cells))
    return writers.write_mesh(mesh, path)


def huge_count(path: Path) -> Path:
    """A text file of 300 bytes that says it has 10^12 points."""
    path.write_text(
        '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0"><PolyData><Piece NumberOfPoints="1000000000000" '
        'NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" NumberOfPolys="0"><Points><DataArray type="Float64" '
        'NumberOfComponents="3" format="ascii">0 0 0</DataArray></Points></Piece></PolyData></VTKFile>\n'
    )
    return path


def test_a_file_that_ends_the_reader_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    good, bad = ball(tmp_path / "good.vtp"), huge_count(tmp_path / "bad.vtp")
    for _ in range(2):
        with pytest.raises(InputError, match=r"bad.vtp: .*damaged"):
            readers.read_mesh(bad)
        assert readers.read_mesh(good).n_cells == 36


def test_a_read_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "endless.vtp"
    ball(pipe)
    readers.read_mesh(pipe)  # the process runs
    process = reader_process._worker.process
    assert process is not None
    monkeypatch.setattr(contained, "WALL_SECONDS", (1.0, 0.0))
    os.kill(process.pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(InputError, match="reading it did not end within"):
        readers.read_mesh(pipe)
    assert time.monotonic() - start < 30 and process.poll() is not None
    monkeypatch.undo()
    assert readers.read_mesh(pipe).n_cells == 36


def test_the_process_is_used_again(tmp_path: Path) -> None:
    path = ball(tmp_path / "a.vtp")
    readers.read_mesh(path)
    first = reader_process._worker.process
    readers.read_mesh(path)
    assert reader_process._worker.process is first


def test_the_process_is_started_ahead_for_files_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(reader_process.Worker, "start", lambda worker: started.append(1))
    reader_process.start_for(["a.stl", "case", "b.foam"])
    assert started == []
    reader_process.start_for(["a.stl", "b.VTU"])
    assert started == [1]
    monkeypatch.setenv(reader_process.SWITCH, "inprocess")
    reader_process.start_for(["b.vtu"])
    assert started == [1]
    assert {suffix for suffix, kind in formats.FORMATS.items() if kind.safe} == reader_process.OWN


def test_a_process_started_ahead_reads_and_is_ended_by_damage(tmp_path: Path) -> None:
    worker = reader_process.Worker()
    worker.start()
    first = worker.process
    worker.start()
    path = ball(tmp_path / "a.vtp")
    request = {"what": "mesh", "path": str(path), "limits": contained.limits_for(path), "region": None, "time": "last"}
    read = mesh_bytes.unpack(worker.ask(request, wire)["read"])
    assert worker.process is first and read.mesh.n_cells == 36
    bad = huge_count(tmp_path / "bad.vtp")
    answer = worker.ask({**request, "path": str(bad)}, wire)
    assert "read" not in answer and ("died" in answer or "error" in answer)
    worker.close()
    assert first is not None and first.poll() is not None


def test_reading_in_this_process_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ball(tmp_path / "a.vtp")
    there = readers.open_mesh(path)
    monkeypatch.setenv(reader_process.SWITCH, "inprocess")
    reader_process._worker.close()
    here = readers.open_mesh(path)
    assert reader_process._worker.process is None
    assert here.notes == there.notes and np.array_equal(here.mesh.points, there.mesh.points)
    assert np.array_equal(cells_of(here.mesh).nodes, cells_of(there.mesh).nodes)
    assert here.mesh.points.dtype == there.mesh.points.dtype


SCRIPT = """
import sys, time
from pathlib import Path
from meshops import reader_process
from meshops.data import readers
readers.read_mesh(sys.argv[1])
print(reader_process._worker.process.pid, flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["end", "SIGINT", "SIGKILL"])
def test_no_process_is_left_behind(how: str, tmp_path: Path) -> None:
    path = ball(tmp_path / "a.vtp")
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), "end" if how == "end" else "wait"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.stdout is not None
    child = int(run.stdout.readline())
    if how != "end":
        run.send_signal(getattr(signal, how))
    run.wait(30)
    for _ in range(100):
        if not running(child):
            break
        time.sleep(0.1)
    assert not running(child)


def running(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_copy_made_by_fork_reads_with_its_own_process(tmp_path: Path) -> None:
    path = ball(tmp_path / "a.vtp")
    code = (
        "import os, sys\nfrom meshops import reader_process\nfrom meshops.data import readers\n"
        "readers.read_mesh(sys.argv[1])\n"
        "mine = reader_process._worker.process.pid\nchild = os.fork()\n"
        "ok = readers.read_mesh(sys.argv[1]).n_cells == 36\n"
        "if child == 0:\n    other = reader_process._worker.process.pid\n    reader_process._worker.close()\n"
        "    os._exit(0 if ok and other != mine else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert ok and reader_process._worker.process.pid == mine\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment, timeout=120)


def test_limits_grow_with_the_file_and_what_it_names(tmp_path: Path) -> None:
    path = ball(tmp_path / "a.vtp")
    small = contained.limits_for(path)
    (tmp_path / "b.vtm").write_text("x")
    (tmp_path / "more.bin").write_bytes(bytes(1_000_000))
    large = contained.limits_for(tmp_path / "b.vtm")
    assert contained.limits_for(path) == small  # it names no other file
    assert large["memory"] >= small["memory"] + 64 * 900_000 and large["seconds"] > small["seconds"]


def test_a_small_file_of_a_large_grid_is_read(tmp_path: Path) -> None:
    grid = pv.ImageData(dimensions=(131, 131, 131))
    grid.cell_data["p"] = np.zeros(grid.n_cells, dtype=np.float32)
    grid.save(tmp_path / "a.vti")
    assert (tmp_path / "a.vti").stat().st_size < 100_000
    assert contained.limits_for(tmp_path / "a.vti")["memory"] > 1.5e9
    assert readers.read_mesh(tmp_path / "a.vti").n_cells == grid.n_cells


def polyhedron() -> pv.UnstructuredGrid:
    cube = pv.Cube(clean=True)
    faces = cube.faces.reshape(-1, 5)
    return pv.UnstructuredGrid(np.r_[2 + faces.size - 1, 6, faces.ravel()], [42], np.asarray(cube.points))


def mixed_poly() -> pv.PolyData:
    points = np.random.default_rng(0).random((9, 3))
    mesh = pv.PolyData(points, faces=[3, 0, 1, 2, 5, 2, 3, 4, 5, 6, 4, 1, 2, 3, 4], lines=[3, 6, 7, 8],
                       verts=[1, 0, 1, 8], strips=[4, 0, 1, 2, 3])  # fmt: skip
    mesh.cell_data["id"] = np.arange(mesh.n_cells)
    mesh.field_data["time"] = [2.5]
    mesh.field_data["text"] = ["a", "bc"]
    return mesh


@pytest.mark.parametrize("mesh", [mixed_poly(), polyhedron(), pv.PolyData(np.zeros((2, 3), np.float32))])
def test_meshes_travel_whole(mesh: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "message"
    read = MeshRead(mesh, ReadNotes(format="f", times=(1.0, 2.0), remarks=["r"]), np.arange(mesh.n_cells))
    with path.open("wb") as file:
        wire.send(file, mesh_bytes.pack(read))
    with path.open("rb") as file:
        back = mesh_bytes.unpack(wire.receive(file))
    assert type(back.mesh) is type(mesh) and back.notes == read.notes
    assert back.mesh.points.dtype == mesh.points.dtype and np.array_equal(back.mesh.points, mesh.points)
    for a, b in zip(vars(cells_of(mesh)).values(), vars(cells_of(back.mesh)).values(), strict=True):
        assert np.array_equal(a, b)
    for data in ("point_data", "cell_data", "field_data"):
        there, here = getattr(mesh, data), getattr(back.mesh, data)
        assert set(there.keys()) == set(here.keys())
        assert all(np.array_equal(there[key], here[key]) for key in there)
    with path.open("rb") as file, pytest.raises(EOFError):
        file.seek(9)
        wire.receive(file)


@pytest.mark.parametrize(
    "name",
    ["segv_grid.vtk", "segv_poly.vtk", "hang_text_grid.vtk", "fpe_lz4.vtu", "abort_count.vtp", "abort_length.vtp",
     "abort_blocks.vtu", "segv_xml.vtp", "memory.vtp", "segv.obj", "index.obj", "index_poly.vtk", "negative.vtk",
     "faces.vtu", "hang_grid.vtk"],
)  # fmt: skip
def test_hostile_files_are_errors(name: str, shared_data: Path) -> None:
    path = shared_data / "fuzz" / "mesh" / name
    with pytest.raises(InputError) as caught:
        readers.read(path)
    assert str(caught.value).startswith(str(path)) and str(caught.value).count("\n") <= 2


@pytest.mark.parametrize("name", ["hang_xml.vtp", "hang_count.vtp"])
def test_endless_files_are_errors(name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained, "CPU_SECONDS", (2.0, 0.0))
    with pytest.raises(InputError, match="reading it did not end within 2 s"):
        readers.read(shared_data / "fuzz" / "mesh" / name)
