"""Small sound files of every format that is read: what the fuzzer damages.

Meshes are those of the tests of the readers, data sets the stand-ins of their classes, checkpoints runs of a few steps.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyvista as pv
from scipy.io import savemat

from meshops.data.cells import Mesh
from tests.fuzz.targets import command


@dataclass(frozen=True)
class Seed:
    """A sound input.

    Attributes:
        name: Of it; the word before the colon is the reader it goes to.
        root: Folder it lies in, alone.
        files: That are damaged, one at a time.
        given: What the action is given; relative to the root.
        action: Of :mod:`tests.fuzz.targets`.
        data: Name of the data set.
    """

    name: str
    root: Path
    files: tuple[Path, ...]
    given: str
    action: str
    data: str = ""


def ball(resolution: int = 6) -> pv.PolyData:
    """A surface with a field at the points and one in the cells."""
    mesh = pv.Sphere(theta_resolution=resolution, phi_resolution=resolution)
    mesh.clear_data()
    mesh.point_data["T"] = np.arange(float(mesh.n_points))
    mesh.point_data["U"] = np.arange(3.0 * mesh.n_points).reshape(-1, 3)
    mesh.cell_data["p"] = np.arange(float(mesh.n_cells))
    return mesh


def _vtk(writer: object, mesh: object, path: Path) -> None:
    from tests.data.test_formats import write_vtk

    write_vtk(writer, mesh, path)


def _xml(path: Path, mesh: Mesh, mode: str = "Appended", packing: str = "ZLib") -> None:
    from vtkmodules import vtkIOXML

    writer = getattr(vtkIOXML, f"vtkXML{type(mesh).__name__}Writer")()
    getattr(writer, f"SetDataModeTo{mode}")()
    getattr(writer, f"SetCompressorTypeTo{packing}")()
    _vtk(writer, mesh, path)


def _gmsh() -> Iterator[tuple[str, Callable[[Path], object]]]:
    from tests.data.gmsh_files import write_msh
    from tests.data.test_gmsh import random_mesh

    mesh = random_mesh(1)
    rows = list(mesh.numbers)
    mesh.views = [("NodeData", "T", 0.5, 1, rows, [(float(i),) for i in range(len(rows))])]
    for version in ("2.2", "4.0", "4.1"):
        for binary in (False, True):
            raw = write_msh(mesh, version, binary=binary)
            yield f"gmsh: {version} {'binary' if binary else 'text'}.msh", lambda p, raw=raw: p.write_bytes(raw)
    one = "$NOD\n4\n1 0 0 0\n2 1 0 0\n3 1 1 0\n4 0 1 0\n$ENDNOD\n$ELM\n2\n1 2 7 1 3 1 2 3\n2 2 7 1 3 1 3 4\n$ENDELM\n"
    yield "gmsh: 1.msh", lambda p: p.write_text(one)


def _foam(path: Path, binary: bool, packed: bool) -> None:
    from tests.data.foam_cases import Writer, box, foam_mesh

    points, cells = box((2, 2, 2), (0, 0, 0), (1, 1, 1))
    mesh = foam_mesh(points, cells, lambda c, _: "low" if c[2] == 0 else "walls", {"low": "wall", "walls": "patch"},
                     {"low": ("floor",)})  # fmt: skip
    form = Writer(binary=binary, packed=packed)
    form.control(path)
    form.mesh(path / "constant" / "polyMesh", mesh)
    form.field(path / "1" / "p", "scalar", mesh, lambda x: x[:, :1])
    form.field(path / "1" / "U", "vector", mesh, lambda x: x, low="        type noSlip;\n")


def meshes() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """``reader: file`` -> writes it (and what belongs to it) under that path."""
    import meshio
    from vtkmodules import vtkIOParallelXML
    from vtkmodules.vtkIOGeometry import vtkGLTFWriter
    from vtkmodules.vtkIOHDF import vtkHDFWriter
    from vtkmodules.vtkIOIOSS import vtkIOSSWriter
    from vtkmodules.vtkIOXdmf2 import vtkXdmfWriter

    from tests.data.test_calculix import frd
    from tests.data.test_cgns import write_cgns
    from tests.data.test_formats import FLUENT, brick, write_ensight, write_meshio
    from tests.data.test_stl import text, triangles
    from tests.data.test_su2 import random_zone, write_su2

    rows = np.random.default_rng(0).random((9, 4))

    def table_of_points(mark: str) -> str:
        return "\n".join(mark.join(map(str, row)) for row in (("x", "y", "z", "p"), *rows.round(6).tolist()))

    def arrays(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["mesh/points"], file["p"] = rows[:, :3], rows[:, 3]

    yield "stl: binary.stl", lambda p: ball().save(p)
    yield "stl: text.stl", lambda p: p.write_text(text(triangles(12)))
    yield "stl: utf-16.stl", lambda p: p.write_text(text(triangles(8)), encoding="utf-16")
    yield "obj: plain.obj", lambda p: ball().save(p)
    yield (
        "obj: parts.obj",
        lambda p: p.write_text(
            "o a\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1\n"
            "o b\nf -4/1/1 -2/1/1 -1/1/1\n"
        ),
    )
    yield "ply: binary.ply", lambda p: ball().save(p)
    yield "ply: text.ply", lambda p: ball().save(p, binary=False)
    yield "su2: plane.su2", lambda p: p.write_bytes(write_su2([random_zone(1, 2)], 0))
    yield "su2: zones.su2", lambda p: p.write_bytes(write_su2([random_zone(1, 3), random_zone(2, 3)], 0))
    yield from _gmsh()
    for binary, packed in ((False, False), (True, False), (False, True)):
        how = f"{'binary' if binary else 'text'}{' packed' if packed else ''}"
        yield f"openfoam: {how}", lambda p, b=binary, g=packed: _foam(p, b, g)
    yield "calculix: a.frd", lambda p: frd(p, 4, materials=(1, 2))
    yield "points: blanks.txt", lambda p: p.write_text(table_of_points(" "))
    yield "points: commas.csv", lambda p: p.write_text(table_of_points(","))
    yield "arrays: a.npz", lambda p: np.savez(p, points=rows[:, :3], p=rows[:, 3], cells=np.array([[0, 1, 2, 3]]))
    yield "arrays: a.mat", lambda p: savemat(p, {"points": rows[:, :3], "p": rows[:, 3]})
    yield "arrays: a.h5", arrays
    yield "vtk: text.vtk", lambda p: ball().save(p, binary=False)
    yield "vtk: binary.vtk", lambda p: ball().save(p)
    yield "vtk: grid.vtk", lambda p: brick().save(p)
    for mode in ("Ascii", "Binary", "Appended"):
        yield f"vtkxml: {mode}.vtp", lambda p, mode=mode: _xml(p, ball(), mode)
        yield f"vtkxml: {mode}.vtu", lambda p, mode=mode: _xml(p, brick(), mode, "LZ4")
    plain = pv.ImageData(dimensions=(3, 4, 3))
    plain.point_data["T"] = np.arange(36.0)
    yield "vtkxml: a.vti", lambda p: plain.save(p)
    yield "vtkxml: a.vts", lambda p: plain.cast_to_structured_grid().save(p)
    yield "vtkxml: a.vtr", lambda p: plain.cast_to_rectilinear_grid().save(p)
    yield "vtkxml: a.vtm", lambda p: pv.MultiBlock({"one": ball(), "two": ball(4)}).save(p)

    def pieces(path: Path) -> None:
        writer = vtkIOParallelXML.vtkXMLPUnstructuredGridWriter()
        writer.SetNumberOfPieces(2)
        writer.SetEndPiece(1)
        _vtk(writer, brick(), path)

    def collection(path: Path) -> None:
        ball().save(path.with_name("one.vtp"))
        if path.suffix == ".series":
            path.write_text(json.dumps({"files": [{"name": "one.vtp", "time": t} for t in (0.0, 1.0)]}))
            return
        entry = '<DataSet timestep="{}" part="0" file="one.vtp"/>'
        entries = "".join(entry.format(t) for t in (0, 1))
        path.write_text(
            f'<?xml version="1.0"?>\n<VTKFile type="Collection"><Collection>{entries}</Collection></VTKFile>'
        )

    yield "vtkxml: a.pvtu", pieces
    yield "collection: a.pvd", collection
    yield "collection: a.vtp.series", collection
    yield "vtkhdf: a.vtkhdf", lambda p: _vtk(vtkHDFWriter(), brick(), p)
    yield "exodus: a.exo", lambda p: _vtk(vtkIOSSWriter(), brick(), p)
    yield "ensight: a.case", write_ensight
    yield "fluent: a.msh", lambda p: p.write_text(FLUENT)
    yield "xdmf: a.xmf", lambda p: _vtk(vtkXdmfWriter(), brick(), p)
    yield "gltf: a.gltf", lambda p: _vtk(vtkGLTFWriter(), pv.MultiBlock({"a": pv.MultiBlock({"b": ball()})}), p)
    grid = brick()
    corners = np.asarray(grid.cell_connectivity).reshape(-1, 8)
    yield (
        "cgns: a.cgns",
        lambda p: write_cgns(p, {"zone": (np.asarray(grid.points), corners, {"T": np.arange(60.0)}, {})}),
    )
    for file, name in (("a.inp", "abaqus"), ("a.bdf", "nastran"), ("a.dat", "tecplot"), ("a.med", "med"),
                       ("a.xdmf", "xdmf"), ("a.avs", "avsucd")):  # fmt: skip
        yield f"{name}: {file}", lambda p, name=name: write_meshio(p, name)

    def tetrahedra(path: Path, name: str) -> None:
        whole = pv.ImageData(dimensions=(3, 3, 3)).to_tetrahedra()
        made = meshio.Mesh(np.asarray(whole.points, float), [("tetra", whole.cell_connectivity.reshape(-1, 4))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.write(path, file_format=name)

    for file, name in (("a.mesh", "medit"), ("a.meshb", "medit"), ("a.lb8.ugrid", "ugrid"), ("a.f3grid", "flac3d"),
                       ("a.mdpa", "mdpa")):  # fmt: skip
        yield f"{name}: {file}", lambda p, name=name: tetrahedra(p, name)


DATASETS: dict[str, dict[str, int]] = {
    "ahmed_ml": {}, "airfrans": {"points": 300}, "cfdbench": {}, "eagle": {}, "elasticity": {}, "airfoil": {},
    "mesh_graph_nets": {}, "mesh_files": {}, "navier_stokes": {"resolution": 16}, "pdebench": {"resolution": 16},
    "pipe": {}, "plasticity": {}, "shapenet_car": {}, "store": {}, "study": {},
    "the_well": {"resolution": 16, "frames": 6},
}  # fmt: skip


def snapshots(kind: str) -> Callable[[Path], object]:
    """Arrays of all cases beside one mesh."""

    def write(root: Path) -> None:
        mesh = pv.ImageData(dimensions=(5, 5, 1)).cast_to_unstructured_grid()
        mesh.save(root / "mesh.vtu")
        values = np.random.default_rng(0).random((6, 25))
        path = root / f"p.{kind.removesuffix('7.3')}"
        if kind == "npy":
            np.save(path, values)
        elif kind == "npz":
            np.savez_compressed(path, p=values)
        elif kind in ("h5", "mat7.3"):
            with h5py.File(path, "w") as file:
                file.create_dataset("p", data=values, chunks=(2, 25), compression="gzip")
        elif kind == "mat":
            savemat(str(path), {"p": values})
        else:
            np.savetxt(path, values, delimiter=",")

    return write


def checkpoints(root: Path) -> Iterator[tuple[str, Path]]:
    """Runs of a few steps: of a body, of fields, and what ``fit`` chose."""
    from meshops.datasets.registry import dataset_class

    data = dataset_class("study").standin(root / "data", 8)
    body = "--train.steps 3 --model.channels 12 --model.depth 2 --task.potential_flow false --task.radii [0.2] "
    body += "--task.passes 1 --task.max_sources 256"
    runs = {
        "body": ["train", "demo", "--data.test", "", *body.split()],
        "fields": ["train", "--data.name", "study", "--data.root", str(data), "--model.name", "mppde",
                   "--model.channels", "8", "--train.steps", "3"],
        "fitted": ["fit", str(data), "--minutes", "0.2"],
    }  # fmt: skip
    for name, arguments in runs.items():
        command(*arguments, "--out", str(root / name))
        yield name, root / name


def build(folder: Path, *, runs: bool = True) -> list[Seed]:
    """Write all seeds below a folder."""
    from meshops.datasets.registry import dataset_class

    out = []
    for name, write in meshes():
        root = folder / name.replace(": ", " ").replace(" ", "_")
        root.mkdir(parents=True)
        path = root / name.partition(": ")[2]
        write(path)
        out.append(Seed(name, root, _files(root), path.name, "mesh"))
    for kind in ("npy", "npz", "h5", "mat", "mat7.3", "csv"):
        root = folder / f"snapshots_{kind}"
        root.mkdir()
        snapshots(kind)(root)
        out.append(Seed(f"snapshots: {kind}", root, _files(root), ".", "check"))
    for name, options in DATASETS.items():
        root = folder / f"data_{name}"
        dataset_class(name).standin(root, 4, **options)
        out.append(Seed(f"data: {name}", root, _files(root), ".", "check", name))
    for name, run in checkpoints(folder / "runs") if runs else ():
        root = folder / f"ckpt_{name}"
        root.mkdir()
        shutil.copy(run / "model.ckpt", root / "model.ckpt")
        out.append(Seed(f"checkpoint: {name}", root, _files(root), "model.ckpt", "load"))
        if (run / "checkpoints" / "last.ckpt").is_file():
            root = folder / f"run_{name}"
            shutil.copytree(run, root, ignore=shutil.ignore_patterns("*.html", "*.png"))
            out.append(Seed(f"run: {name}", root, _files(root), ".", "run"))
    return out


def known(folder: Path, *, runs: bool = True) -> list[Seed]:
    """The seeds of a folder; written where it has none."""
    index = folder / "seeds.json"
    if not index.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            [s.name, str(s.root), list(map(str, s.files)), s.given, s.action, s.data] for s in build(folder, runs=runs)
        ]
        index.write_text(json.dumps(rows))
    return [Seed(name, Path(root), tuple(map(Path, files)), *rest) for name, root, files, *rest in json.loads(
        index.read_text())]  # fmt: skip


def _files(root: Path) -> tuple[Path, ...]:
    return tuple(sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file() and p.stat().st_size))
