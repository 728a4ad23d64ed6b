"""Which dataset a folder holds: a published layout by its files, else a study."""

from __future__ import annotations

from pathlib import Path

from meshops.datasets.folder.description import FILE
from meshops.datasets.folder.find import description_of
from meshops.datasets.registry import AnyDataset, create, published_layout
from meshops.errors import InputError, MissingDataError


def open_data(name: str = "", *, root: str | Path | None = None, split: str = "all", **options_: object) -> AnyDataset:
    """Dataset by name, or by the files of a folder where no name is given.

    Raises:
        InputError: See :func:`create` and :func:`detect`.
    """
    if not name and root is None:
        raise InputError("which data: give a name, a folder, or both")
    return create(name or detect(str(root)), root=root, split=split, **options_)


def detect(root: str | Path) -> str:
    """Name of the dataset whose published layout ``root`` has.

    Raises:
        MissingDataError: No such folder.
        InputError: It holds nothing to learn from; says what was found.
    """
    path = Path(root).expanduser()
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return "study"
    if not path.is_dir():
        raise MissingDataError(f"no folder {path}; give the folder that holds the cases")
    if (path / FILE).is_file():
        return "study"
    name = published_layout(path)
    if name is not None:
        return name
    description_of(path)  # says what was found where there is nothing to learn from
    return "study"
