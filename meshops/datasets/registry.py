"""Datasets by name: register one, create one, list them, or know the layout of a folder.

    @register_dataset("my_cars", layout=("car_*/surface.vtp",))
    class MyCars(CaseDataset): ...

The class tells what its cases are: :class:`~meshops.datasets.base.CaseDataset` finished cases,
:class:`~meshops.datasets.trajectory.TrajectoryDataset` trajectories on grids,
:class:`~meshops.datasets.mesh_trajectory.MeshTrajectoryDataset` trajectories on meshes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from meshops.datasets.base import CaseDataset
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, MeshopsError, did_you_mean, listing

AnyDataset: TypeAlias = CaseDataset | TrajectoryDataset | MeshTrajectoryDataset
T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Registered:
    """A dataset by name.

    Attributes:
        maker: Class; takes ``root`` (unless shipped), ``split`` and options.
        layout: Patterns of files below the root, any of which gives the layout away.
        last: Recognised only where no other layout fits.
        opener: Called instead of the class, where what is opened depends on the files; None: the class.
    """

    maker: Callable[..., AnyDataset]
    layout: tuple[str, ...] = ()
    last: bool = False
    opener: Callable[..., AnyDataset] | None = None

    @property
    def makes(self) -> Callable[..., AnyDataset]:
        """What is called to open it."""
        return self.opener or self.maker


_DATASETS: dict[str, Registered] = {}


def register_dataset(
    name: str, *, layout: Sequence[str] = (), last: bool = False, opener: Callable[..., AnyDataset] | None = None
) -> Callable[[T], T]:
    """Decorator: make a dataset class available by its name, and recognisable by its files.

    Args:
        name: In lower case with ``_``.
        layout: See :class:`Registered`.
        last: See there.
        opener: See there.
    """

    def register(maker: T) -> T:
        _DATASETS[name] = Registered(maker, tuple(layout), last, opener)
        return maker

    return register


def names(kind: type | None = None) -> tuple[str, ...]:
    """Registered names, sorted; those of a class of datasets only where ``kind`` is given."""
    known = _DATASETS.items()
    return tuple(
        sorted(n for n, r in known if kind is None or (isinstance(r.maker, type) and issubclass(r.maker, kind)))
    )


def dataset_class(name: str) -> type[AnyDataset]:
    """Class of a dataset.

    Raises:
        InputError: Unknown name.
    """
    return cast("type[AnyDataset]", _registered(name)[1].maker)


def options(name: str) -> tuple[str, ...]:
    """Options that :func:`create` takes for a dataset beside ``root`` and ``split``.

    Raises:
        InputError: Unknown name.
    """
    parameters = inspect.signature(_registered(name)[1].makes).parameters
    return tuple(option for option in parameters if option not in ("root", "split"))


def create(name: str, root: str | Path | None = None, split: str = "train", **options_: object) -> AnyDataset:
    """Dataset by name.

    Args:
        name: One of :func:`names`; ``-`` and ``_`` are the same.
        root: Folder of the data; left out for a set that is shipped with the package.
        split: ``"train"``, ``"test"``, ``"all"``, where the set has one also ``"val"``.
        **options_: Keyword arguments of the dataset's class.

    Raises:
        InputError: Unknown name or option, or no folder; lists what is allowed.

    Example:
        >>> create("ahmed_mini", split="test").cases[-1]
        'run_30'
    """
    key, known = _registered(name)
    allowed = inspect.signature(known.makes).parameters
    unknown = sorted(set(options_) - set(allowed))
    if unknown:
        raise InputError(
            f"{key}: unknown option {listing(unknown)}; {did_you_mean(unknown[0], options(key))}"
            f"allowed: {listing(options(key))}"
        )
    if "root" not in allowed:
        if root is not None:
            raise InputError(f"{key} is shipped with meshops and takes no folder, got root={str(root)!r}; leave it out")
        return _made(known.makes, key, split=split, **options_)
    if root is None:
        raise InputError(f"{key}: the folder of the data is needed; give root=... (--data.root FOLDER)")
    return _made(known.makes, str(root), root, split=split, **options_)


def _made(makes: Callable[..., AnyDataset], label: str, *args: object, **options_: object) -> AnyDataset:
    """A dataset; whatever a damaged file does to its reader is an ``InputError``."""
    try:
        return makes(*args, **options_)
    except MeshopsError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{label}: cannot be opened ({reason}); a file in it is damaged, get it again") from error


def published_layout(root: str | Path) -> str | None:
    """Name of the dataset most of whose patterns the files of a folder have; None: no known one."""
    path = Path(root).expanduser()
    found = {
        name: (not known.last, sum(next(path.glob(pattern), None) is not None for pattern in known.layout))
        for name, known in _DATASETS.items()
    }
    best = max(found, key=lambda name: (found[name][1] > 0, *found[name]))
    return best if found[best][1] else None


def _registered(name: str) -> tuple[str, Registered]:
    key = name.lower().replace("-", "_")
    if key not in _DATASETS:
        raise InputError(f"no dataset '{name}'; {did_you_mean(key, _DATASETS)}known: {listing(names(), 40)}")
    return key, _DATASETS[key]
