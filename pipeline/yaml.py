"""Reads a YAML file as plain values with their lines. Safe by construction: only the core types exist.

The reader refuses tags, anchors and aliases, reports duplicate keys and tabs, and limits nesting and size. Nothing in a
file can name a Python object. ruamel.yaml parses the file; this module walks its nodes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.events import Event
    from ruamel.yaml.nodes import MappingNode, Node

MAX_BYTES = 1_000_000
MAX_DEPTH = 24

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """Formats a key path for messages: `stages[1].of.model`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


@dataclass(frozen=True)
class YamlFault:
    """A fault at a line (from 1; 0 is the file as a whole)."""

    line: int
    message: str


@dataclass
class YamlFile:
    """A parsed file: `value` consists of dict, list, str, int, float, bool and None; `lines` maps key paths to lines.

    If there are faults, the value is the readable part, or None.
    """

    path: str
    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[YamlFault] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Returns the line of the key path, or of the nearest key above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(path: str | Path) -> YamlFile:
    """Reads a file. Bad content never raises: it becomes faults with lines."""
    file = YamlFile(str(path))
    try:
        data = _read(path, MAX_BYTES + 1)
    except OSError as error:
        file.faults.append(YamlFault(0, f"cannot be read: {error.strerror or error}"))
        return file
    if len(data) > MAX_BYTES:
        file.faults.append(YamlFault(0, f"has more bytes than a pipeline file may have ({MAX_BYTES})"))
        return file
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        file.faults.append(YamlFault(line, f"is not UTF-8 (byte {error.start})"))
        return file
    _parse(text, file)
    return file


def _read(path: str | Path, max_bytes: int) -> bytes:
    """The first bytes of a file, which may have no end (/dev/zero). A pipe that nothing writes into is empty."""
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", buffering=0, opener=lambda name, mode: os.open(name, mode | flags)) as stream:
        data = b""
        while len(data) < max_bytes:
            part = stream.read(max_bytes - len(data))
            if part is None:  # a pipe whose writer has not written yet
                os.set_blocking(stream.fileno(), True)
                continue
            if not part:
                break
            data += part
    return data


def _parse(text: str, file: YamlFile) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        fault = _too_deep(YAML(typ="safe", pure=True).parse(text))
        if fault is not None:
            file.faults.append(fault)
            return
        yaml = YAML(typ="safe", pure=True)
        node = yaml.compose(text)
        if node is None:
            file.faults.append(YamlFault(0, "is empty"))
            return
        file.value = _Walk(yaml, file).value(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.problem, error.context) if part)
        if "\\t" in problem or "'\t'" in problem:
            problem = "a tab is used for indentation: YAML wants spaces"
        file.faults.append(YamlFault(mark.line + 1 if mark else 0, problem))
    except (YAMLError, ValueError) as error:
        file.faults.append(YamlFault(0, f"is not YAML: {str(error).splitlines()[0]}"))


def _too_deep(events: Iterable[Event]) -> YamlFault | None:
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return YamlFault(event.start_mark.line + 1, f"nests deeper than {MAX_DEPTH} levels")
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if getattr(event, "anchor", None) is not None:
            return YamlFault(event.start_mark.line + 1, "anchors and aliases are not allowed: write the value out")
    return None


class _Walk:
    """Converts nodes to plain values; collects lines and faults."""

    _CORE = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))

    def __init__(self, yaml: YAML, file: YamlFile) -> None:
        self.yaml = yaml
        self.file = file

    def value(self, node: Node, path: KeyPath) -> object:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        line = node.start_mark.line + 1
        self.file.lines.setdefault(path, line)
        tag = str(node.tag)
        if tag == "tag:yaml.org,2002:timestamp":
            return str(node.value)
        if tag not in self._CORE:
            short_tag = tag.replace("tag:yaml.org,2002:", "!!")
            self.fault(line, f"the tag or type {short_tag} is not allowed: a pipeline file holds plain values only")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        value: object = self.yaml.constructor.construct_object(node)
        return value

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key, str):
                self.fault(line, "a key must be a plain word")
                continue
            if key in result:
                first = self.file.lines.get((*path, key), line)
                self.fault(line, f"the key '{key}' stands twice, first in line {first}")
                continue
            self.file.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def fault(self, line: int, message: str) -> None:
        self.file.faults.append(YamlFault(line, message))
