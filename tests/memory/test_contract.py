"""The promises of contracts.Recollection, for every registered memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.contracts import Recollection
from pipeline.conversation.transcript import read_turns
from pipeline.errors import DataError, StoreError
from pipeline.pipeline import Pipeline
from pipeline.registry import COMPONENTS, make
from pipeline.types import Question
from tests.memory.talks import turn

NAMES = sorted(name for name in COMPONENTS if name.startswith("memory."))
Open = Callable[[Path], Recollection]


@pytest.fixture(params=NAMES)
def opened(request: pytest.FixtureRequest, runtime: Pipeline) -> Iterator[Open]:
    """Opens the memory in a folder; closes what was opened."""
    component = make(request.param)
    all_opened: list[Recollection] = []

    def open_(folder: Path) -> Recollection:
        all_opened.append(component.open(folder, runtime))
        return all_opened[-1]

    yield open_
    for memory in all_opened:
        memory.close()
        memory.close()


def filled(memory: Recollection, runtime: Pipeline, n: int = 30) -> Recollection:
    for number in range(1, n + 1):
        memory.commit(turn(number, f"What is number {number}?", f"It is word{number}." + " more" * 30, day=number))
    memory.settle(runtime)
    return memory


def test_what_was_committed_is_there_when_opened_again(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(opened(tmp_path), runtime)
    turns, items = memory.turns, memory.items()
    memory.close()
    again = opened(tmp_path)
    assert again.turns == turns
    assert [item.number for item in turns] == list(range(1, 31))
    assert again.items() == items
    assert again.next_number == 31


def test_only_the_next_turn_is_taken(opened: Open, tmp_path: Path) -> None:
    memory = opened(tmp_path)
    with pytest.raises(ValueError, match="next turn is number 1, was: 2"):
        memory.commit(turn(2))
    assert memory.turns == ()


@pytest.mark.parametrize("room", [0, 10, 40, 100, 300, 5000])
def test_what_is_recalled_fits_the_room(opened: Open, runtime: Pipeline, tmp_path: Path, room: int) -> None:
    memory = filled(opened(tmp_path), runtime)
    recall = memory.recall(Question("What is number 7, and word7?"), runtime, room)
    count = runtime.reader.count_text
    used = sum(count(item.question) + count(item.answer) for item in recall.turns)
    used += sum(count(item.text) for item in recall.recalled)
    assert used <= room
    assert all(item.tokens == count(item.text) for item in recall.recalled)
    assert [item.number for item in recall.turns] == sorted(item.number for item in recall.turns)
    weights = [item.weight for item in recall.recalled if item.tier == "unit"]
    assert all(weight is not None and 0 <= weight <= 1 for weight in weights)


def test_the_same_question_recalls_the_same(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(opened(tmp_path), runtime)
    assert memory.recall(Question("word9"), runtime, 400) == memory.recall(Question("word9"), runtime, 400)


def test_an_empty_memory_recalls_nothing(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.settle(runtime)
    recall = memory.recall(Question("Anything?"), runtime, 500)
    assert (recall.turns, recall.recalled, memory.items(), memory.search("anything"), memory.undo()) == (
        (),
        (),
        (),
        (),
        None,
    )


def test_a_search_finds_the_turn(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(opened(tmp_path), runtime)
    recall = memory.search("word17", k=3)
    assert 17 in recall[0].turns
    assert len(recall) <= 3


@pytest.mark.parametrize(
    ("how", "gone"),
    [({"turns": [3, 29]}, {3, 29}), ({"before": "2026-01-05"}, {1, 2, 3, 4}), ({"matching": "WORD12."}, {12})],
    ids=str,
)
def test_what_is_forgotten_is_in_no_tier_and_in_no_byte(
    opened: Open, runtime: Pipeline, tmp_path: Path, how: dict[str, object], gone: set[int]
) -> None:
    folder = tmp_path / "session"
    memory = filled(opened(folder), runtime)
    assert set(memory.forget(**how)) == gone  # type: ignore[arg-type]
    assert {item.number for item in memory.turns} == set(range(1, 31)) - gone
    assert memory.next_number == 31
    words = [f"word{number}." for number in gone]
    for item in memory.items():
        assert not set(item.turns) & gone
        assert not any(word in item.text for word in words)
    for number in gone:
        assert not any(f"word{number}." in item.text for item in memory.search(f"word{number}"))
    assert traces(folder, words) == []
    memory.settle(runtime)
    memory.close()
    assert traces(folder, words) == []
    assert {item.number for item in opened(folder).turns} == set(range(1, 31)) - gone


def traces(folder: Path, words: list[str]) -> list[tuple[str, str]]:
    """Every file below the folder that holds the bytes of a word, as UTF-8 or as UTF-16."""
    return [
        (path.name, word)
        for path in folder.rglob("*")
        if path.is_file()
        for word in words
        for coded in (word.encode(), word.encode("utf-16-le"))
        if coded in path.read_bytes()
    ]


def test_the_search_for_traces_finds_them(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    filled(opened(tmp_path), runtime)
    assert traces(tmp_path, ["word12."])


def test_what_cannot_be_forgotten_is_said(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(opened(tmp_path), runtime, 3)
    with pytest.raises(DataError, match="there is no turn 7"):
        memory.forget(turns=[2, 7])
    with pytest.raises(DataError, match="'soon' is not a date"):
        memory.forget(before="soon")
    with pytest.raises(DataError, match="is empty"):
        memory.forget(matching=" ")
    with pytest.raises(ValueError, match="give one of"):
        memory.forget()
    assert memory.forget(matching="nobody said this") == ()
    assert len(memory.turns) == 3


def test_undo_gives_the_last_turn_back_and_frees_its_number(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(opened(tmp_path), runtime, 12)
    last = memory.turns[-1]
    assert memory.undo() == last
    assert memory.next_number == 12
    assert traces(tmp_path, ["word12."]) == []
    memory.commit(turn(12, "And now?", "Other."))
    assert memory.turns[-1].answer == "Other."


def test_an_export_is_taken_in_whole(opened: Open, runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(opened(tmp_path / "one"), runtime)
    memory.forget(turns=[5])
    assert memory.export(tmp_path / "a.jsonl") == 29
    other = opened(tmp_path / "other")
    assert other.import_(tmp_path / "a.jsonl") == 29
    other.settle(runtime)
    assert other.turns == memory.turns
    assert other.items() == memory.items()
    other.export(tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    with pytest.raises(StoreError, match="has turns already"):
        memory.import_(tmp_path / "a.jsonl")


def test_an_export_with_unusual_line_breaks_is_taken_in(opened: Open, tmp_path: Path) -> None:
    memory = opened(tmp_path / "first")
    memory.commit(replace(turn(1), question="One\u2028two\x85three\x0bfour\x1cfive\rsix\nseven"))
    memory.export(tmp_path / "a.jsonl")
    other = opened(tmp_path / "second")
    assert other.import_(tmp_path / "a.jsonl") == 1
    assert other.turns == memory.turns


def test_times_of_an_export_become_utc(opened: Open, tmp_path: Path) -> None:
    lines = [
        {"kind": "longthread session", "format": 1},
        {"kind": "turn", **asdict(replace(turn(1), time="2026-01-31T23:30:00-02:00"))},
        {"kind": "turn", **asdict(replace(turn(2), time="2026-02-01T09:00"))},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    memory = opened(tmp_path / "session")
    memory.import_(tmp_path / "a.jsonl")
    assert [item.time for item in memory.turns] == ["2026-02-01T01:30:00+00:00", "2026-02-01T09:00:00+00:00"]
    assert memory.named(before="2026-02-01T02:00") == (1,)


@pytest.mark.parametrize(
    ("name", "value"), [("time", "yesterday"), ("time", "0001-01-01T00:00:00+14:00"), ("number", 1 << 80)]
)
def test_a_turn_that_cannot_be_kept_is_refused(opened: Open, tmp_path: Path, name: str, value: object) -> None:
    lines = [{"kind": "longthread session", "format": 1}, {"kind": "turn", **asdict(turn(1)), name: value}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    memory = opened(tmp_path / "session")
    with pytest.raises(DataError, match=r"a\.jsonl:2: not a line of an exported session"):
        memory.import_(tmp_path / "a.jsonl")
    assert memory.turns == ()


def test_a_commit_that_fails_is_taken_back_and_the_next_is_kept(opened: Open, tmp_path: Path) -> None:
    """SQLite leaves the transaction of a COMMIT that failed open, here for a constraint that is checked at its end."""
    memory = opened(tmp_path)
    db = memory.transcript.db  # type: ignore[attr-defined]
    db.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    db.execute("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(StoreError, match="FOREIGN KEY"), memory.transcript.transaction():  # type: ignore[attr-defined]
        db.execute("INSERT INTO child VALUES (7)")
    memory.commit(turn(1))
    assert read_turns(tmp_path) == (turn(1),)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{}"], ":1: not a line of an exported session"),
        (['{"kind": "longthread session", "format": 99}'], "exported by a newer longthread .format 99"),
        (['{"kind": "longthread session", "format": 1}', "nonsense"], ":2: not a line"),
        (['{"kind": "longthread session", "format": 1}', '{"kind": "turn", "number": 1}'], ":2: not a line"),
    ],
    ids=["another kind", "newer", "no JSON", "incomplete"],
)
def test_a_wrong_export_is_refused_whole(opened: Open, tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "wrong.jsonl"
    good = [lines[0], json.dumps({"kind": "turn", **{k: getattr(turn(1), k) for k in turn(1).__slots__}}), *lines[1:]]
    path.write_text("\n".join(good if len(lines) > 1 else lines))
    memory = opened(tmp_path / "session")
    with pytest.raises(DataError, match=message.replace(":2:", ":3:")):
        memory.import_(path)
    assert memory.turns == ()


def test_a_store_of_a_newer_version_is_refused(opened: Open, tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.transcript.set("format", 99)  # type: ignore[attr-defined]
    memory.close()
    with pytest.raises(StoreError, match=r"newer longthread \(format 99, this one reads 1\): update longthread"):
        opened(tmp_path)


def test_a_damaged_store_is_refused(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "session.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        opened(tmp_path)
