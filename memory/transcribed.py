"""What all memories share: a transcript on disk, searched by words, exported, and forgotten without a trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory.units import forget_tiers
from memory.vectors import NAME as VECTORS
from pipeline.contracts import Model, Progress, Runtime
from pipeline.errors import DataError, StoreError
from pipeline.storage.whole import write_whole
from pipeline.text.normal import normal
from pipeline.transcript import FORMAT, Transcript, told
from pipeline.types import Item, Question, Recall, Recalled, Turn

_KIND = "longthread session"
_MAX_NUMBER = 1 << 62
"""SQLite's integers have 64 bits."""


class Transcribed:
    """A recollection whose turns stand in a transcript. Who inherits it says what is recalled."""

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

    def settle(self, runtime: Runtime, progress: Progress | None = None) -> None:
        """There is no other tier to move anything to."""

    def items(self) -> tuple[Item, ...]:
        return tuple(Item("sensory", said(turn), (turn.number,), turn.time) for turn in self.turns)

    def search(self, text: str, k: int = 10) -> tuple[Recalled, ...]:
        """By BM25 over the words of the turns."""
        from pipeline.retrieval.word_index import WordIndex

        turns = {turn.number: turn for turn in self.turns}
        found = WordIndex.build((n, said(turn)) for n, turn in turns.items()).search(text, k)
        weights = softmax([score for _, score in found])
        return tuple(
            Recalled("unit", said(turns[n]), 0, weight, (n,), turns[n].time)
            for (n, _), weight in zip(found, weights, strict=True)
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
            return tuple(turn.number for turn in self.turns if text in normal(said(turn)))
        unknown = sorted(set(turns or ()) - {turn.number for turn in self.turns})
        if unknown:
            raise DataError(f"there is no turn {', '.join(map(str, unknown))}: /memory show lists them")
        return tuple(sorted(set(turns or ())))

    def scrub(self) -> None:
        with told(self.transcript.folder):
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

    # ------------------------------------------------------------------------------- for memories with further tiers
    def _forget(self, numbers: tuple[int, ...], next_number: int | None = None) -> None:
        """Takes turns out of every tier and every file, also out of tiers of another memory that had the session."""
        with told(self.transcript.folder), self.transcript.transaction():
            self.transcript.delete(numbers, next_number)
            forget_tiers(self.transcript, numbers)
        self.scrub()

    def _drop_vectors(self) -> None:
        """Deletes the vectors of a memory that had the session earlier, by which nobody can tell what they are of. They
        can be made again.
        """
        for path in self.transcript.folder.glob(f"{VECTORS}*"):
            shutil.rmtree(path)

    def _lines(self) -> list[dict[str, Any]]:
        """What `export` writes, a line each, turns first."""
        return [{"kind": "turn", **asdict(turn)} for turn in self.turns]

    def _take(self, line: dict[str, Any]) -> None:
        """Takes in a line of an export, inside a transaction. Raises ValueError for one that it does not know."""
        if line["kind"] != "turn":
            return  # of a memory with more tiers: they are made again from the turns
        turn = Turn(int(line["number"]), line["question"], line["answer"], line["time"], line["finish"])
        if not self.next_number <= turn.number < _MAX_NUMBER or turn.finish not in ("stop", "length", "cancelled"):
            raise ValueError("its number or its finish is wrong")
        if not all(isinstance(value, str) for value in (turn.question, turn.answer, turn.time)):
            raise ValueError("question, answer and time must be texts")
        self.transcript.put(replace(turn, time=_utc(turn.time)))


def said(turn: Turn) -> str:
    """A turn as text: what was asked, and below it what was answered."""
    return "\n".join(part for part in (turn.question.strip(), turn.answer.strip()) if part)


def newest(turns: Sequence[Turn], room: int, reader: Model) -> tuple[Turn, ...]:
    """The last turns that fit `room` tokens of the reader, oldest first; none is cut."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        room -= reader.count_text(turn.question) + reader.count_text(turn.answer)
        if room < 0:
            break
        kept.insert(0, turn)
    return tuple(kept)


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Shares in [0, 1] that add up to 1; of no scores none."""
    from math import exp

    top = max(scores, default=0.0)
    each = [exp((score - top) / temperature) for score in scores]
    return [one / sum(each) for one in each]


def _time(text: str) -> str:
    """An ISO date or time as turns carry it. Raises DataError."""
    try:
        return _utc(text.strip())
    except (ValueError, OverflowError):
        raise DataError(f"'{text}' is not a date or a time such as 2026-01-31 or 2026-01-31T18:00") from None


def _utc(text: str) -> str:
    """An ISO time in UTC, to the second, so that two compare as strings. Raises ValueError and OverflowError."""
    time = datetime.fromisoformat(text)
    return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat(timespec="seconds")


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of an export, after its first line, which is checked."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    # Not `splitlines`, which also cuts at U+2028 and U+0085: a turn may hold these.
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or (number == 1 and found.get("kind") != _KIND):
            raise DataError(f"{path}:{number}: not a line of an exported session")
        if number > 1:
            yield number, found
        elif not isinstance(found.get("format"), int) or found["format"] > FORMAT:
            raise DataError(
                f"{path}: exported by a newer longthread (format {found.get('format')}, this one reads {FORMAT}): "
                "update longthread"
            )
