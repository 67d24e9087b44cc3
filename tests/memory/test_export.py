"""Exports of hierarchical memory: every line is about turns that the export holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memory.hierarchical import Hierarchical
from memory.hierarchical.tiers import Tiers
from pipeline.errors import DataError
from pipeline.pipeline import Pipeline
from tests.memory.talks import turn

SETTINGS = Hierarchical(sensory_tokens=0, segment_tokens=15, dense_weight=0.0, summarise="extract")
HEAD = {"kind": "longthread session", "format": 1}
TURN = {"kind": "turn", "number": 1, "question": "Is it?", "answer": "It is.", "time": "2026-01-01", "finish": "stop"}


def filled(folder: Path, runtime: Pipeline, n: int = 6) -> Tiers:
    memory = SETTINGS.open(folder, runtime)
    for number in range(1, n + 1):
        memory.commit(turn(number, f"The weather on day {number} was neither warm nor cold.", "I see."))
    memory.settle(runtime)
    return memory


def test_what_is_imported_is_what_was_exported(runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(tmp_path / "a", runtime)
    memory.export(tmp_path / "a.jsonl")
    other = SETTINGS.open(tmp_path / "b", runtime)
    other.import_(tmp_path / "a.jsonl")
    assert other.items() == memory.items()
    assert other.units.closed == memory.units.closed
    other.export(tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_text() == (tmp_path / "a.jsonl").read_text()
    memory.close()
    other.close()


def test_a_unit_whose_last_turn_was_forgotten_does_not_take_the_next_turn(runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(tmp_path / "a", runtime)
    last = memory.units.all()[-1]
    assert (last.last, last.last - last.first) == (6, 1)
    memory.forget(turns=[6])
    memory.export(tmp_path / "a.jsonl")
    other = SETTINGS.open(tmp_path / "b", runtime)
    other.import_(tmp_path / "a.jsonl")
    assert (other.next_number, other.units.closed) == (6, 5)
    other.commit(turn(6, "My favourite colour is blue.", "I see."))
    assert [item.text for item in other.items() if item.tier == "sensory"] == ["My favourite colour is blue.\nI see."]
    memory.close()
    other.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"kind": "unit", "first": 2, "last": 9, "summary": "x"}, "the unit has no turns: there are none from 2 to 9"),
        ({"kind": "unit", "first": 1, "last": 0, "summary": "x"}, "the unit has no turns"),
        ({"kind": "unit", "first": 1, "last": 1, "summary": 3}, "the unit's summary must be a text, or null"),
        ({"kind": "fact", "turn": 7, "about": "a", "value": "b", "time": "t"}, "there is no turn 7"),
        ({"kind": "summary", "text": None, "upto": 1, "by": "model", "time": "t"}, "text, by and time must be texts"),
        ({"kind": "summary", "text": "x"}, "'by'"),
    ],
)
def test_a_line_that_is_about_no_turn_is_refused(
    runtime: Pipeline, tmp_path: Path, line: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in (HEAD, TURN, line)))
    memory = SETTINGS.open(tmp_path / "session", runtime)
    with pytest.raises(DataError, match=rf"a\.jsonl:3: not a line of an exported session \(.*{message}"):
        memory.import_(path)
    assert memory.turns == ()
    memory.close()


def test_a_unit_without_turns_of_an_older_import_is_passed_over(runtime: Pipeline, tmp_path: Path) -> None:
    memory = filled(tmp_path, runtime, 2)
    memory.units.close(40, 41, "nothing")
    assert [item.turns for item in memory.items() if item.tier == "unit"] == [(1, 2)]
    memory.close()
