"""The base of all memories: a transcript on disk that can be searched by words, exported, and forgotten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import Any

from memory.hierarchical.units import forget_tiers
from memory.hierarchical.vectors import NAME as VECTORS
from pipeline.contracts import Model, Progress, Runtime
from pipeline.conversation.transcript import FORMAT, Transcript, session_errors
from pipeline.errors import DataError, StoreError
from pipeline.storage.whole import write_whole
from pipeline.text.normal import normal
from pipeline.types import Item, Question, Recall, Recalled, Turn

_KIND = "longthread session"
_MAX_NUMBER = 1 << 62
"""SQLite's integers have 64 bits."""


class Transcribed:
    """A recollection whose turns are in a transcript. Subclasses implement `recall`."""

    def __init__(self, folder: Path) -> None:
        self.transcript = Transcript(folder)
        self._is_closed = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.transcript.turns

    @property
    def next_number(self) -> int:
        return self.transcript.next_number

    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        return Recall()

    def commit(self, turn: Turn) -> None:
        self.transcript.commit(turn)

    def warm_up(self) -> None:
        """Imports nothing."""

    def settle(self, runtime: Runtime, progress: Progress | None = None) -> None:
        """Does nothing: there is one tier."""

    def items(self) -> tuple[Item, ...]:
        return tuple(Item("sensory", turn_text(turn), (turn.number,), turn.time) for turn in self.turns)

    def search(self, text: str, k: int = 10) -> tuple[Recalled, ...]:
        """Ranks the turns by BM25 over their words."""
        from pipeline.retrieval.word_index import WordIndex

        turns = {turn.number: turn for turn in self.turns}
        ranked = WordIndex.build((n, turn_text(turn)) for n, turn in turns.items()).search(text, k)
        weights = softmax([score for _, score in ranked])
        return tuple(
            Recalled("unit", turn_text(turns[n]), 0, weight, (n,), turns[n].time)
            for (n, _), weight in zip(ranked, weights, strict=True)
        )

    def forget(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> tuple[int, ...]:
        numbers = self.named(turns, before, matching)
        if numbers:
            self._forget(numbers)
        return numbers

    def named(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> tuple[int, ...]:
        if [turns, before, matching].count(None) != 2:
            raise ValueError("give one of turns, before, matching")
        if before is not None:
            return tuple(turn.number for turn in self.turns if turn.time < _time(before))
        if matching is not None:
            if not matching.strip():
                raise DataError("the text to forget is empty")
            text = normal(matching.strip())
            return tuple(turn.number for turn in self.turns if text in normal(turn_text(turn)))
        unknown = sorted(set(turns or ()) - {turn.number for turn in self.turns})
        if unknown:
            raise DataError(f"there is no turn {', '.join(map(str, unknown))}: /memory show lists them")
        return tuple(sorted(set(turns or ())))

    def scrub(self) -> None:
        with session_errors(self.transcript.folder):
            self._drop_vectors()
        self.transcript.scrub()

    def undo(self) -> Turn | None:
        if not self.turns:
            return None
        last = self.turns[-1]
        self._forget((last.number,), next_number=last.number)
        return last

    def export(self, path: Path) -> int:
        lines = [{"kind": _KIND, "format": FORMAT}, *self._lines()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from None
        return len(self.turns)

    def import_(self, path: Path) -> int:
        if self.turns:
            raise StoreError(f"{self.transcript.folder}: the session has turns already: import into a new session")
        with self.transcript.transaction():
            for number, line in _read(path):
                try:
                    self._take(line)
                except (KeyError, TypeError, ValueError, OverflowError) as error:
                    raise DataError(f"{path}:{number}: not a line of an exported session ({error})") from None
        return len(self.turns)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.transcript.close()

    def _forget(self, numbers: tuple[int, ...], next_number: int | None = None) -> None:
        """Takes turns out of every tier and every file. Subclasses with tiers extend it.

        The tiers of another memory that had the session earlier are included.
        """
        with session_errors(self.transcript.folder), self.transcript.transaction():
            self.transcript.delete(numbers, next_number)
            forget_tiers(self.transcript, numbers)
        self.scrub()

    def _drop_vectors(self) -> None:
        """Deletes the vectors of a memory that had the session earlier.

        Without that memory nobody knows which turns they belong to. It makes them again.
        """
        for path in self.transcript.folder.glob(f"{VECTORS}*"):
            shutil.rmtree(path)

    def _lines(self) -> list[dict[str, Any]]:
        """The lines that `export` writes: the turns first."""
        return [{"kind": "turn", **asdict(turn)} for turn in self.turns]

    def _take(self, line: dict[str, Any]) -> None:
        """Takes in a line of an export, inside a transaction. Raises ValueError for a wrong turn."""
        if line["kind"] != "turn":
            return  # a line of a memory with more tiers, which makes them again from the turns
        turn = Turn(int(line["number"]), line["question"], line["answer"], line["time"], line["finish"])
        if not self.next_number <= turn.number < _MAX_NUMBER or turn.finish not in ("stop", "length", "cancelled"):
            raise ValueError("its number or its finish is wrong")
        if not all(isinstance(value, str) for value in (turn.question, turn.answer, turn.time)):
            raise ValueError("question, answer and time must be texts")
        self.transcript.put(replace(turn, time=_utc(turn.time)))


def turn_text(turn: Turn) -> str:
    """A turn as text: the question, and below it the answer."""
    return "\n".join(part for part in (turn.question.strip(), turn.answer.strip()) if part)


def newest(turns: Sequence[Turn], room: int, reader: Model) -> tuple[Turn, ...]:
    """The last turns that fit `room` tokens of the reader, oldest first. No turn is cut."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        room -= reader.count_text(turn.question) + reader.count_text(turn.answer)
        if room < 0:
            break
        kept.insert(0, turn)
    return tuple(kept)


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Shares in [0, 1] that add up to 1; empty for no scores."""
    top = max(scores, default=0.0)
    powers = [exp((score - top) / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def _time(text: str) -> str:
    """An ISO date or time in the form of a turn's time. Raises DataError."""
    try:
        return _utc(text.strip())
    except (ValueError, OverflowError):
        raise DataError(f"'{text}' is not a date or a time such as 2026-01-31 or 2026-01-31T18:00") from None


def _utc(text: str) -> str:
    """An ISO time in UTC, to the second, which compares as a string. Raises ValueError and OverflowError."""
    time = datetime.fromisoformat(text)
    return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat(timespec="seconds")


def _read(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """(line number, object) of each line of an export after the first, which is checked."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    # `splitlines` would also cut at U+2028 and U+0085, which a turn may contain.
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or (number == 1 and value.get("kind") != _KIND):
            raise DataError(f"{path}:{number}: not a line of an exported session")
        if number > 1:
            yield number, value
        elif not isinstance(value.get("format"), int) or value["format"] > FORMAT:
            raise DataError(
                f"{path}: exported by a newer longthread (format {value.get('format')}, this one reads {FORMAT}): "
                "update longthread"
            )
