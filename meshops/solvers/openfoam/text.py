"""Dictionaries and fields of OpenFOAM as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from meshops.io import write_text

Entry: TypeAlias = "str | float | int | bool | tuple[Any, ...] | list[Any] | Mapping[str, Any]"
Array = np.ndarray[Any, Any]
KINDS = {"U": "vector", "p": "scalar", "k": "scalar", "omega": "scalar", "nut": "scalar"}
DIMENSIONS = {
    "U": "[0 1 -1 0 0 0 0]", "p": "[0 2 -2 0 0 0 0]", "k": "[0 2 -2 0 0 0 0]", "omega": "[0 0 -1 0 0 0 0]",
    "nut": "[0 2 -1 0 0 0 0]",
}  # fmt: skip


def write_dictionary(path: Path, content: Mapping[str, Entry], *, kind: str = "dictionary") -> None:
    """Write a file with its head; a mapping is a block, a tuple a list in brackets."""
    write_text(path, _head(kind, path.name) + entries(content))


def write_field_file(path: Path, inside: Array | float | tuple[float, ...], patches: Mapping[str, Any]) -> None:
    """Write a field: one value, or one for every cell (``[c]`` or ``[c, 3]``), and what holds at the patches."""
    kind = KINDS[path.name]
    text = f"dimensions {DIMENSIONS[path.name]};\n\ninternalField {value_of(inside, kind)};\n\n"
    write_text(path, _head(f"vol{kind.capitalize()}Field", path.name) + text + entries({"boundaryField": patches}))


def value_of(values: Array | float | tuple[float, ...], kind: str) -> str:
    """``uniform ...`` for one value, ``nonuniform List<...>`` for an array of rows."""
    if not isinstance(values, np.ndarray):
        return f"uniform {_word(values)}"
    rows = values.reshape(len(values), -1)
    if kind == "scalar":
        lines = [f"{x:.9g}" for x in rows[:, 0].tolist()]
    else:
        lines = [f"({a:.9g} {b:.9g} {c:.9g})" for a, b, c in rows.tolist()]
    return f"nonuniform List<{kind}>\n{len(rows)}\n(\n" + "\n".join(lines) + "\n)\n"


def entries(content: Mapping[str, Entry], depth: int = 0) -> str:
    """Lines of a block."""
    out, indent = [], "    " * depth
    for key, value in content.items():
        if isinstance(value, Mapping):
            out.append(f"{indent}{_key(key)}\n{indent}{{\n{entries(value, depth + 1)}{indent}}}\n")
        else:
            out.append(f"{indent}{_key(key)} {_word(value)};\n")
    return "".join(out)


def _key(key: str) -> str:
    return f'"{key}"' if any(sign in key for sign in "|*") else key


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "(" + " ".join(_word(each) for each in value) + ")"
    if isinstance(value, Mapping):
        return "{ " + " ".join(f"{_key(k)} {_word(v)};" for k, v in value.items()) + " }"
    return value if isinstance(value, str) else f"{value:.10g}"


def _head(kind: str, name: str) -> str:
    return f"FoamFile\n{{\n    version 2.0;\n    format ascii;\n    class {kind};\n    object {name};\n}}\n\n"
