"""``study.yaml``: written with a comment for every guess, read under limits, unknown entries refused."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from meshops.aero.conditions import FlowConditions
from meshops.datasets.folder.description import FILE, Description, FieldEntry, Quantity, Snapshot
from meshops.errors import InputError, MissingDataError, did_you_mean, listing
from meshops.io import write_text
from meshops.plain_yaml import load_yaml

HEAD = """\
# What this folder of simulations holds. Comments say why an entry was guessed; correct what is wrong.
# Used by: meshops look, meshops fit, and meshops train with data: {name: study, root: study.yaml}
"""
ENTRIES = ("data", *(entry.name for entry in fields(Description) if entry.name not in ("root", "guesses")))


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file of plain values, under limits of size, depth and aliases.

    Raises:
        InputError: No such file, no YAML, or no mapping.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; give a {FILE} or a folder of simulations")
    content = load_yaml(path, advice="correct it or let meshops look write it")
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold entries such as 'data: .' and 'files: run_*.vtu', got {content!r:.80}")
    return content


def read_study(path: Path) -> Description:
    """See :meth:`Study.load`."""
    path = path / FILE if path.is_dir() else path
    content = read_yaml(path)
    _known(content, ENTRIES, str(path))
    root = Path(str(content.pop("data", "."))).expanduser()
    root = root if root.is_absolute() else path.parent / root
    if not root.is_dir():
        raise MissingDataError(f"{path}: data: there is no folder {root}; give it relative to this file")
    makers: dict[str, Callable[[Any], Any]] = {
        "fields": lambda value: _named(FieldEntry, value),
        "conditions": lambda value: _named(Quantity, value),
        "numbers": lambda value: _named(Quantity, value),
        "snapshots": lambda value: _named(Snapshot, value),
        "flow": _flow,
        "test": lambda value: _texts(value) if _is_text(value) else float(value),
        "time": lambda value: str(value) if value in ("last", "all") else float(value),
        "seed": int,
        "scale": float,
        "flow_stated": _truth,
    }
    values: dict[str, Any] = {"root": root}
    for name, value in content.items():
        if value is None and name != "flow":
            continue
        plural = name in ("tables", "left_out", "inputs")
        make: Callable[[Any], Any] = makers.get(name, _texts if plural else _text)
        try:
            values[name] = make(value)
        except InputError as error:
            raise InputError(f"{path}: {name}: {error}") from None
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"{path}: {name}: cannot use {value!r:.80} ({error})") from None
    try:
        return Description(**values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_study(study: Description, path: Path) -> Path:
    """See :meth:`Study.save`."""
    path = path / FILE if path.is_dir() else path
    root, here = study.root.resolve(), path.parent.resolve()
    try:
        data = os.path.relpath(root, here)
    except ValueError:  # another drive
        data = str(root)
    values = {"data": Path(data).as_posix(), **{name: getattr(study, name) for name in ENTRIES if name != "data"}}
    empty = Description(root=root)
    blocks = []
    for name, value in values.items():
        why = study.guesses.get(name, "")
        if name == "snapshots" and not value:
            continue
        if name in ("region", "scale", "time") and value == getattr(empty, name) and not why:
            continue
        blocks.append(_block(name, value, why, study.guesses))
    return write_text(path, HEAD + "\n" + "\n".join(blocks))


def _block(name: str, value: Any, why: str, guesses: Mapping[str, str]) -> str:
    lines = _comment(why, "")
    if isinstance(value, tuple) and value and not isinstance(value[0], str):
        lines.append(f"{name}:")
        for entry in value:
            lines += _comment(guesses.get(f"{name}.{entry.name}", ""), "  ")
            rest = {key: v for key, v in asdict(entry).items() if key != "name" and v not in ("", ())}
            lines.append(f"  {_plain(entry.name)}: {_plain(rest)}")
    elif isinstance(value, tuple) and name in ("left_out", "test") and value:
        lines.append(f"{name}:")
        for entry in value:
            lines += _comment(guesses.get(f"{name}.{entry}", ""), "  ")
            lines.append(f"  - {_plain(entry)}")
    elif isinstance(value, FlowConditions):
        lines.append(f"{name}:")
        for key, v in value.to_dict().items():
            lines += _comment(guesses.get(f"{name}.{key}", ""), "  ")
            lines.append(f"  {key}: {_plain(v)}")
    elif isinstance(value, tuple) and not value and name in ("fields", "conditions", "numbers"):
        lines.append(f"{name}: {{}}")
    else:
        lines.append(f"{name}: {_plain(value)}")
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    """Comment lines; characters that would end a line or leave the comment become blanks."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return textwrap.wrap(clean, 116, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")


def _plain(value: Any) -> str:
    """A value on one line of YAML."""
    plain = _lists(value)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(v) for key, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, tuple | list) else value


def _known(given: Mapping[Any, Any], allowed: Sequence[str], where: str) -> None:
    for name in given:
        if name not in allowed:
            hint = did_you_mean(str(name), allowed)
            raise InputError(f"{where}: there is no entry '{name}'; {hint}allowed: {listing(allowed, 40)}")


def _named(kind: type[Any], value: Any) -> tuple[Any, ...]:
    """Entries of a mapping ``name: {unit: Pa}``, or of a list of names."""
    if isinstance(value, str):
        value = [value]
    pairs = value.items() if isinstance(value, dict) else [(name, {}) for name in value]
    allowed = tuple(entry.name for entry in fields(kind) if entry.name != "name")
    out = []
    for name, rest in pairs:
        rest = {} if rest is None else rest
        if not isinstance(rest, dict):
            raise InputError(f"'{name}' must be {{{', '.join(f'{key}: ...' for key in allowed)}}}, got {rest!r:.60}")
        _known(rest, allowed, f"'{name}'")
        made = {key: int(v) if key == "size" else tuple(map(str, v)) if key == "axes" else str(v or "") for key, v in
                rest.items()}  # fmt: skip
        out.append(kind(str(name), **made))
    return tuple(out)


def _flow(value: Any) -> FlowConditions | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError(f"must name numbers such as {{speed: 38.9, density: 1.2}}, got {value!r:.60}")
    allowed = {entry.name: entry for entry in fields(FlowConditions)}
    _known(value, tuple(allowed), "flow")
    made: dict[str, Any] = {}
    for name, given in value.items():
        kind = str(allowed[name].type)
        if given is None:
            made[name] = None
        elif name in ("flow", "up"):
            made[name] = tuple(float(v) for v in given)
        elif kind == "bool":
            made[name] = _truth(given)
        else:
            made[name] = str(given) if name == "area_rule" else int(given) if kind == "int" else float(given)
    return FlowConditions(**made)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"must be true or false, got {value!r}")
    return value


def _is_text(value: Any) -> bool:
    """Whether it is a list or a text that is no number."""
    try:
        float(value)
    except (TypeError, ValueError):
        return isinstance(value, list | str)
    return False


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise InputError(f"must be one text, got {value!r:.60}")
    return str(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        raise InputError(f"must be a list of names, got {value!r:.60}")
    return (str(value),) if not isinstance(value, list) else tuple(str(entry) for entry in value)
