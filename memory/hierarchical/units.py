"""The tables of hierarchical memory beside the transcript: closed segments (units), facts, the running summary.

A unit is a run of turns; the transcript has their text. Nothing is overwritten: a superseded fact keeps its row and its
date, and points at its successor.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memory.hierarchical.facts import Fact
from pipeline.conversation.transcript import Transcript
from pipeline.documents.places import marks_to_json, place_from_json
from pipeline.types import Passage, Turn

_SCHEMA = """
CREATE TABLE IF NOT EXISTS units (
    id INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL, last INTEGER NOT NULL, summary TEXT
);
CREATE TABLE IF NOT EXISTS facts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, turn INTEGER NOT NULL, about TEXT NOT NULL, value TEXT NOT NULL,
    time TEXT NOT NULL, superseded_by INTEGER
);
CREATE TABLE IF NOT EXISTS pieces (
    turn INTEGER PRIMARY KEY, source TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    line INTEGER, page INTEGER, heading TEXT NOT NULL, title TEXT NOT NULL, paragraph INTEGER, marks TEXT NOT NULL
);
"""
_OLD_PIECES = (  # of before places had marks: each of them was a line
    "ALTER TABLE pieces RENAME TO old_pieces",
    *_SCHEMA.strip().split(";")[2:3],
    "INSERT INTO pieces SELECT *, NULL, '[true,[],[]]' FROM old_pieces",
    "DROP TABLE old_pieces",
)
_FACT = "SELECT turn, about, value, time, id, superseded_by FROM facts"


@dataclass(frozen=True, slots=True)
class Unit:
    """Turns `first` to `last`. `summary` is None until it is made."""

    id: int
    first: int
    last: int
    summary: str | None


@dataclass(frozen=True, slots=True)
class Running:
    """The running summary of all turns up to number `upto`. `by` is model or extract."""

    text: str = ""
    upto: int = 0
    by: str = ""
    time: str = ""


class UnitTables:
    """The tables in a transcript's file. Changes of several rows belong into `transcript.transaction()`."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.db = transcript.db
        for statement in filter(str.strip, _SCHEMA.split(";")):
            self.db.execute(statement)
        if not any(column == "marks" for _, column, *_ in self.db.execute("PRAGMA table_info(pieces)")):
            with self.transcript.transaction():
                for statement in _OLD_PIECES:
                    self.db.execute(statement)

    @property
    def closed(self) -> int:
        """The number of the last turn that belongs to a unit; 0 without units."""
        return int(self.transcript.get("closed", 0))

    @property
    def running(self) -> Running:
        return Running(**self.transcript.get("running", {}))

    @running.setter
    def running(self, value: Running) -> None:
        self.transcript.set("running", {name: getattr(value, name) for name in value.__slots__})

    def all(self) -> list[Unit]:
        return [Unit(*row) for row in self.db.execute("SELECT id, first, last, summary FROM units ORDER BY first")]

    def turns(self, unit: Unit) -> list[Turn]:
        """The turns of a unit that were not forgotten."""
        turns = self.transcript.turns
        numbers = [turn.number for turn in turns]
        return list(turns[bisect_left(numbers, unit.first) : bisect_right(numbers, unit.last)])

    def without_summary(self) -> list[Unit]:
        return [unit for unit in self.all() if unit.summary is None]

    def close(self, first: int, last: int, summary: str | None = None) -> None:
        """Makes a unit of open turns."""
        with self.transcript.transaction():
            self.db.execute("INSERT INTO units (first, last, summary) VALUES (?, ?, ?)", (first, last, summary))
            self.transcript.set("closed", max(last, self.closed))

    def set_summary(self, unit: Unit, summary: str) -> None:
        self.db.execute("UPDATE units SET summary = ? WHERE id = ?", (summary, unit.id))

    def delete(self, unit: Unit) -> None:
        self.db.execute("DELETE FROM units WHERE id = ?", (unit.id,))

    def facts(self) -> list[Fact]:
        return [Fact(*row) for row in self.db.execute(f"{_FACT} ORDER BY turn, id")]

    def add_fact(self, fact: Fact) -> Fact:
        row = (fact.turn, fact.about, fact.value, fact.time, fact.superseded_by)
        cursor = self.db.execute(
            "INSERT INTO facts (turn, about, value, time, superseded_by) VALUES (?, ?, ?, ?, ?)", row
        )
        return replace(fact, id=int(cursor.lastrowid or 0))

    def add_piece(self, number: int, piece: Passage) -> None:
        """Marks a turn as a piece of a document. The turn's question is the piece's text."""
        place = piece.place
        where = (place.line, place.page, json.dumps(place.heading))
        row = (number, piece.source, piece.start, piece.end, *where, piece.title, place.paragraph, marks_to_json(place))
        self.db.execute("INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def pieces(self) -> dict[int, Passage]:
        """The pieces of documents by the numbers of their turns."""
        query = (
            "SELECT p.turn, source, start, stop, question, title, line, page, heading, paragraph, marks "
            "FROM pieces p JOIN turns t ON t.number = p.turn ORDER BY p.turn"
        )
        pieces = {}
        for number, source, start, stop, text, title, line, page, heading, paragraph, marks in self.db.execute(query):
            place = place_from_json(line, page, json.loads(heading), paragraph, marks)
            pieces[number] = Passage(source, start, stop, text, place=place, title=title)
        return pieces

    def supersede(self, old: Fact, new: Fact) -> None:
        self.db.execute("UPDATE facts SET superseded_by = ? WHERE id = ?", (new.id, old.id))

    def forget(self, numbers: Sequence[int], facts: Sequence[Fact]) -> None:
        """Deletes these facts, and the facts and pieces of these turns. Facts that they superseded become current."""
        self.db.executemany("DELETE FROM facts WHERE turn = ?", [(number,) for number in numbers])
        self.db.executemany("DELETE FROM facts WHERE id = ?", [(fact.id,) for fact in facts])
        self.db.executemany("DELETE FROM pieces WHERE turn = ?", [(number,) for number in numbers])
        self.db.execute("UPDATE facts SET superseded_by = NULL WHERE superseded_by NOT IN (SELECT id FROM facts)")


def forget_tiers(transcript: Transcript, numbers: Sequence[int]) -> None:
    """Inside a transaction, for a memory without tiers: empties the tiers that memory.hierarchical left in the session.

    Deletes all facts and summaries, because those of these turns cannot be recognised without the embedder.
    memory.hierarchical makes them again when it opens the session next.
    """
    tables = {name for (name,) in transcript.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "units" not in tables:
        return
    transcript.db.executemany("DELETE FROM pieces WHERE turn = ?", [(number,) for number in numbers])
    transcript.db.execute("DELETE FROM facts")
    transcript.db.execute("UPDATE units SET summary = NULL")
    transcript.db.execute(
        "DELETE FROM units WHERE NOT EXISTS (SELECT 1 FROM turns WHERE number BETWEEN units.first AND units.last)"
    )
    transcript.db.execute("DELETE FROM meta WHERE key = 'running'")
    last = transcript.get("next_number", 1) - 1
    transcript.set("closed", min(transcript.get("closed", 0), last))
