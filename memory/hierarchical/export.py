"""Writes and reads the tiers of a session as the lines of an export, beside the lines of its turns."""

from __future__ import annotations

from typing import Any

from memory.hierarchical.digest import Digest
from memory.hierarchical.facts import Fact
from memory.hierarchical.units import Running, UnitTables
from pipeline.documents.places import marks_to_json, place_from_json
from pipeline.types import Passage


def tier_lines(units: UnitTables) -> list[dict[str, Any]]:
    """The pieces, units, facts and the running summary as JSON values."""
    pieces = [_piece_line(number, piece) for number, piece in units.pieces().items()]
    closed = [{"kind": "unit", "first": unit.first, "last": unit.last, "summary": unit.summary} for unit in units.all()]
    facts = [
        {"kind": "fact", "turn": fact.turn, "about": fact.about, "value": fact.value, "time": fact.time}
        for fact in units.facts()
    ]
    running = units.running
    summary = {"kind": "summary", **{name: getattr(running, name) for name in running.__slots__}}
    return [*pieces, *closed, *facts, *([summary] if running.text else [])]


def take_line(line: dict[str, Any], units: UnitTables, digest: Digest) -> bool:
    """Takes in a line of a tier, inside a transaction; False for a line of another kind.

    Raises ValueError, KeyError or TypeError for a line that is wrong: the turns come first, and every other line is
    about some of them.
    """
    kind = line["kind"]
    if kind == "unit":
        _take_unit(line, units)
    elif kind == "piece":
        _take_piece(line, units)
    elif kind == "fact":
        fact = Fact(_turn(line["turn"], units), str(line["about"]), str(line["value"]), str(line["time"]))
        digest.add_facts([fact])
    elif kind == "summary":
        text, by, time = line["text"], line["by"], line["time"]
        if not all(isinstance(value, str) for value in (text, by, time)):
            raise ValueError("text, by and time must be texts")
        units.running = Running(text, min(int(line["upto"]), units.transcript.next_number - 1), by, time)
    else:
        return False
    return True


def _take_unit(line: dict[str, Any], units: UnitTables) -> None:
    """Closes the turns of a unit. Its bounds may name forgotten turns: it takes those that are left."""
    first, last, summary = int(line["first"]), int(line["last"]), line["summary"]
    numbers = [turn.number for turn in units.transcript.turns if first <= turn.number <= last]
    if not numbers:
        raise ValueError(f"the unit has no turns: there are none from {first} to {last}")
    if summary is not None and not isinstance(summary, str):
        raise ValueError("the unit's summary must be a text, or null")
    # A unit that ended with a forgotten turn must not reach the number that the next turn gets here.
    units.close(numbers[0], numbers[-1], summary)


def _take_piece(line: dict[str, Any], units: UnitTables) -> None:
    marks = line.get("marks", "[true,[],[]]")  # exports from before places had marks
    place = place_from_json(line["line"], line["page"], line["heading"], line.get("paragraph"), marks)
    span = str(line["source"]), int(line["start"]), int(line["end"])
    units.add_piece(_turn(line["turn"], units), Passage(*span, "", place=place, title=str(line["title"])))


def _turn(value: Any, units: UnitTables) -> int:
    """The number of a turn that the export holds."""
    number = int(value)
    if all(turn.number != number for turn in units.transcript.turns):
        raise ValueError(f"there is no turn {number}")
    return number


def _piece_line(number: int, piece: Passage) -> dict[str, object]:
    place = piece.place
    return {
        "kind": "piece", "turn": number, "source": piece.source, "start": piece.start, "end": piece.end,
        "line": place.line, "page": place.page, "heading": place.heading, "title": piece.title,
        "paragraph": place.paragraph, "marks": marks_to_json(place),
    }  # fmt: skip
