"""Parameters in JSON, YAML, TOML and lines of ``name = value`` as the header and rows of a table.

A mapping of numbers is one row; a mapping or list of alike mappings a row each, a mapping of lists of one length a
column each. Of nested names the end that is enough to tell them apart is kept, ``{value: 3, unit: mm}`` is a
number with a unit, and short lists of numbers get a column per number.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshops.errors import InputError
from meshops.io import read_json
from meshops.plain_yaml import load_yaml

SUFFIXES = (".json", ".yaml", ".yml", ".toml")
ASSIGNED = (".txt", ".ini", ".cfg", ".par", ".prm")  # may hold lines of name = value
ASSIGNMENT = re.compile(
    r"\s*(?P<name>[^\W\d][^=:#;]*?)\s*(?:\[(?P<inside>[^\]]*)\]\s*)?[=:]\s*(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"\s*(?P<unit>[^\s#;,\d][^\s#;,]*)?\s*[;,]?\s*(?:(?:#|;|//|%|!).*)?"
)
MOST_TEXT = 1 << 20
LONGEST_LIST = 6  # numbers of a list that get columns of their own
FEWEST_ROWS = 3  # alike mappings in a mapping, to be the rows of cases rather than the parts of one
DEEPEST = 6
ADVICE = "correct it, or take it out of 'tables'"
Rows = tuple[list[str], list[list[str]]]


def mapping_rows(path: Path) -> Rows:
    """Header and rows of a file of JSON or YAML; units stand in brackets behind the names.

    Raises:
        InputError: It cannot be read, or holds no named values.
    """
    content = _content(path)
    rows = [(label, dict(_leaves(item, ()))) for label, item in _items(content)]
    if not any(row for _, row in rows):
        raise InputError(f"{path}: expected named values, or a list of them, got {type(content).__name__}; {ADVICE}")
    keys = list(dict.fromkeys(key for _, row in rows for key in row))
    units = {key: unit for _, row in rows for key, (_, unit) in row.items() if unit}
    ends = Counter(key[-depth:] for key in keys for depth in range(1, len(key) + 1))
    header = [".".join(next((e for d in range(1, len(k)) if ends[e := k[-d:]] == 1), k)) for k in keys]
    header = [f"{name} [{units[key]}]" if key in units else name for key, name in zip(keys, header, strict=True)]
    body = [[row.get(key, ("", ""))[0] for key in keys] for _, row in rows]
    if any(label for label, _ in rows):
        header, body = ["case", *header], [[label, *row] for (label, _), row in zip(rows, body, strict=True)]
    return header, body


def _content(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_json(path, ADVICE)
    if suffix != ".toml":
        return load_yaml(path, advice=ADVICE)
    try:
        if path.stat().st_size > MOST_TEXT:
            raise InputError(f"{path}: larger than {MOST_TEXT >> 20} MB, which no parameters are; {ADVICE}")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is no TOML ({str(error)[:200]}); {ADVICE}") from None


def assigned(text: str) -> Rows | None:
    """The row of a text that is made of lines ``name = value`` or ``name: value``; None: it is another text.

    Example:
        >>> assigned("speed = 30 m/s  # at the inlet")
        (['speed [m/s]'], [['30']])
    """
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;%!/[*-="]
    found = [match for line in lines if (match := ASSIGNMENT.fullmatch(line)) is not None]
    if not found or 2 * len(found) < len(lines):  # others may hold words: solver = simpleFoam
        return None
    units = [match["inside"] or match["unit"] or "" for match in found]
    header = [f"{match['name']} [{unit}]" if unit else match["name"] for match, unit in zip(found, units, strict=True)]
    return header, [[match["value"] for match in found]]


def _items(content: Any) -> list[tuple[str, Any]]:
    """The rows, each with what it is called."""
    if isinstance(content, list):
        return [("", item) for item in content if isinstance(item, Mapping)]
    if not isinstance(content, Mapping):
        return []
    if len(content) == 1:  # {cases: [...]}
        only = next(iter(content.values()))
        if isinstance(only, Mapping) or (isinstance(only, list) and any(isinstance(item, Mapping) for item in only)):
            return _items(only)
    inner = list(content.values())
    if len(inner) >= FEWEST_ROWS and all(isinstance(item, Mapping) for item in inner) and _alike(inner):
        return [(str(label), item) for label, item in content.items()]
    lengths = {len(item) for item in inner if isinstance(item, list)}
    if inner and all(isinstance(item, list) for item in inner) and len(lengths) == 1 and min(lengths) >= FEWEST_ROWS:
        return [("", {key: column[i] for key, column in content.items()}) for i in range(min(lengths))]
    return [("", content)]


def _alike(items: list[Any]) -> bool:
    """Whether mappings name the same things, all but a few."""
    names = [set(item) for item in items]
    return 2 * len(set.intersection(*names)) >= len(set.union(*names)) > 0 and not _is_quantity(items[0])


def _is_quantity(item: Any) -> bool:
    """Whether a mapping is a number with its unit."""
    return (
        isinstance(item, Mapping)
        and isinstance(item.get("value"), int | float)
        and set(item) <= {"value", "unit", "units", "description", "name", "comment"}
    )


def _leaves(item: Any, key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, str]]]:
    """Values below an item: where they stand, as text, and their unit."""
    if _is_quantity(item):
        yield key or ("value",), (_text(item["value"]), str(item.get("unit", item.get("units")) or ""))
    elif isinstance(item, Mapping) and len(key) < DEEPEST:
        for name, value in item.items():
            yield from _leaves(value, (*key, str(name).strip()))
    elif isinstance(item, list) and key:
        if len(item) <= LONGEST_LIST and all(isinstance(value, int | float) for value in item):
            for place, value in enumerate(item):
                yield (*key[:-1], f"{key[-1]}_{place}"), (_text(value), "")
    elif key and (item is None or isinstance(item, str | int | float)):
        yield key, (_text(item), "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value).strip()
