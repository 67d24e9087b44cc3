from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.yaml import MAX_DEPTH, YamlFile, read_yaml


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str | bytes], YamlFile]:
    def _read(text: str | bytes) -> YamlFile:
        path = tmp_path / "file.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path)

    return _read


def test_plain_values_and_the_line_of_each_key(read: Callable[[str | bytes], YamlFile]) -> None:
    file = read("a: 1\nb:\n  - x: 2.5\n  - null\nc: on\n")
    assert file.value == {"a": 1, "b": [{"x": 2.5}, None], "c": "on"}
    assert file.faults == []
    assert file.line(("b", 0, "x")) == 3
    assert file.line(("b", 0, "unknown")) == 3
    assert file.line(("c",)) == 5


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands twice, first in line 1"),
        ("a:\n\tb: 1\n", 2, "a tab is used for indentation"),
        ("x: 1\na: !!python/object/apply:os.system ['true']\n", 2, "!!python/object/apply:os.system is not allowed"),
        ("a: !thing 3\n", 1, "!thing is not allowed"),
        ("a: &x 1\nb: *x\n", 1, "anchors and aliases are not allowed"),
        ("[" * 1_000_000, 1, f"nests deeper than {MAX_DEPTH} levels"),
        ("{a: " * 200_000, 1, f"nests deeper than {MAX_DEPTH} levels"),
        ("a: '" + "x" * 1_000_001 + "'", 0, "more bytes than a pipeline file may have (1000000)"),
        ("", 0, "is empty"),
        ("a: [1, 2\n", 2, "expected ',' or ']'"),
        (b"a: \xff\n", 1, "is not UTF-8"),
        ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
        ("? [a]\n: 1\n", 1, "a key must be a plain word"),
    ],
)
def test_each_fault_has_its_line(
    read: Callable[[str | bytes], YamlFile], text: str | bytes, line: int, message: str
) -> None:
    (fault, *_) = read(text).faults
    assert message in fault.message
    assert fault.line == line


def test_a_missing_file_is_a_fault() -> None:
    assert [fault.message for fault in read_yaml("/nowhere/at/all.yaml").faults] == [
        "cannot be read: No such file or directory"
    ]
