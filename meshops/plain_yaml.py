"""YAML files of plain values, read under limits of size, depth and of what anchors repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from meshops.errors import InputError

MOST_BYTES = 4 * 1024**2
MOST_DEPTH = 20
MOST_NODES = 100_000  # values of a file, those an alias repeats counted again


class _Loader(yaml.SafeLoader):
    """Plain values alone: no aliases (they grow without end), no key twice, no endless nesting."""

    aliases = False
    depth = 0

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if self.aliases and node is not None:
            _count(node, {})
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        if not self.aliases and self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases (&, *) are not allowed")
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise yaml.YAMLError(f"nested more than {MOST_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [str(key.value) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"'{twice}' is there twice")
        return super().construct_mapping(node, deep)


class _AliasLoader(_Loader):
    """The same with aliases, as long as they do not repeat very much."""

    aliases = True


def _count(node: Any, known: dict[int, int | None]) -> int:
    """Values below a node, those of aliases each time."""
    if id(node) in known:
        before = known[id(node)]
        if before is None:
            raise yaml.YAMLError("an anchor holds itself")
        return before
    known[id(node)] = None
    below: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        below = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    total = 1 + sum(_count(each, known) for each in below)
    if total > MOST_NODES:
        raise yaml.YAMLError(f"its aliases repeat more than {MOST_NODES} values")
    known[id(node)] = total
    return total


def load_yaml(path: Path, *, aliases: bool = False, advice: str = "correct it") -> Any:
    """What a YAML file of plain values holds.

    Args:
        path: File.
        aliases: Allow anchors and aliases.
        advice: What to do about a file that cannot be read, for the message.

    Raises:
        InputError: Not readable, too large, too deep, or no YAML of plain values.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES // 1024**2} MB, which no such file is; {advice}")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_AliasLoader if aliases else _Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: is no YAML of plain values ({reason}); {advice}") from None
