"""Forgets turns in every file of a session. The plan is written to disk first, so that a killed process is resumed.

    plan -> the intent on disk -> the memory's tiers -> typed lines -> kept cells -> left-over files -> no intent

Each step may be repeated. The intent holds the forgotten text, because typed lines are compared with it, so it is
deleted last. `Conversation` resumes an intent when it opens the session.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pipeline.contracts import Recollection
from pipeline.conversation.transcript import read_begun, read_turns
from pipeline.conversation.typed import TypedLine, forget_typed, read_typed
from pipeline.errors import StoreError
from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.whole import is_left_over, write_whole
from pipeline.text.normal import normal
from pipeline.text.words import content_words, word_forms
from pipeline.types import Turn

INTENT = "forget.json"
_OLD_LEFT_OVERS = {"aside.half", "typed.new", "chat.new"}
"""Names of half-written files of older versions."""


@dataclass(frozen=True)
class Forgetting:
    """What is to be forgotten.

    `words` are the content words of `turns` that no remaining turn has. `matching` is the text that the person named;
    it is empty if turns were named by number or time. `since` is a time before the first of the turns was asked:
    `Turn.time` is that of its commit, and the model kept cells of its prompt before. `carry_out` fills it.
    """

    turns: tuple[Turn, ...]
    matching: str = ""
    words: tuple[str, ...] = ()
    since: str = ""

    @cached_property
    def _turn_words(self) -> frozenset[str]:
        return _words_of(self.turns)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to remove everywhere: the questions, the answers, and the named text."""
        texts = [self.matching, *(text for turn in self.turns for text in (turn.question, turn.answer))]
        return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))

    def covers_turn(self, turn: Turn) -> bool:
        """Whether another session's turn is a copy of a forgotten one, or contains the named text."""
        content = (turn.question, turn.answer, turn.time)
        is_copy = any(content == (mine.question, mine.answer, mine.time) for mine in self.turns)
        return is_copy or bool(self.matching and normal(self.matching) in normal(text_of(turn)))

    def covers_line(self, line: TypedLine) -> bool:
        """Whether a typed line belongs to a forgotten turn, or repeats its text, its words, or a command with them."""
        if any(line.turn == turn.number for turn in self.turns):
            return True
        texts = [self.matching, *(turn.question for turn in self.turns)]
        text = normal(line.text)
        if any(normal(part.strip()) in text for part in texts if part.strip()):
            return True
        forms = word_forms(line.text)
        if forms & set(self.words):
            return True
        argument = line.text.strip().partition(" ")[2] if line.text.strip().startswith("/") else ""
        words = set(content_words(argument))
        return bool(words) and words <= self._turn_words


@dataclass(frozen=True, slots=True)
class HeldElsewhere:
    """Another session that still holds the forgotten text, in these turns and in `n_lines` typed lines.

    A session without either cannot be read.
    """

    name: str
    turns: tuple[int, ...]
    n_lines: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result: the numbers of the forgotten turns, the number of typed lines, and sessions that still hold it."""

    what: Forgetting
    turns: tuple[int, ...]
    n_lines: int
    elsewhere: tuple[HeldElsewhere, ...] = ()


def plan(turns: Sequence[Turn], numbers: Sequence[int], matching: str = "") -> Forgetting:
    """Plans to forget the turns of these numbers. `turns` are all turns of the session."""
    forgotten = tuple(turn for turn in turns if turn.number in numbers)
    kept = [turn for turn in turns if turn.number not in numbers]
    return Forgetting(forgotten, matching, tuple(sorted(_words_of(forgotten) - _words_of(kept))))


def carry_out(folder: Path, memory: Recollection, what: Forgetting, forget_cells: Callable[[str], object]) -> int:
    """Forgets in a session that this process holds. Returns the number of deleted typed lines.

    `forget_cells` makes loaded models forget a text. Raises StoreError if a file cannot be written. The rest is then
    forgotten when the session is opened next.
    """
    what = replace(what, since=_start_of(folder, memory.turns, what.turns))
    content = {**asdict(what), "turns": [asdict(turn) for turn in what.turns]}
    try:
        write_whole(folder / INTENT, json.dumps(with_checksum(content)), private=True)
    except OSError as error:
        raise StoreError(f"{folder / INTENT} cannot be written: {error.strerror}; nothing was forgotten") from None
    return _finish(folder, memory, what, forget_cells)


def is_pending(folder: Path) -> bool:
    """Whether a session still has something to forget."""
    return (folder / INTENT).exists()


def finish(folder: Path, memory: Recollection, forget_cells: Callable[[str], object]) -> int:
    """Resumes what `carry_out` began, if there is anything."""
    path = folder / INTENT
    if not path.exists():
        return 0
    try:
        content = read_object(path)
        turns = tuple(Turn(**turn) for turn in content["turns"])
        # Intents of older versions have no `since`.
        since = str(content.get("since") or _start_of(folder, memory.turns, turns))
        what = Forgetting(turns, content["matching"], tuple(content["words"]), since)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}): it says what was to be forgotten. Delete it, and forget that again"
        ) from None
    return _finish(folder, memory, what, forget_cells)


def _finish(folder: Path, memory: Recollection, what: Forgetting, forget_cells: Callable[[str], object]) -> int:
    from pipeline.storage.kept_cells import forget_since, forget_text

    # A number may be in use again: only the same turn is forgotten.
    numbers = [turn.number for turn in what.turns if turn in memory.turns]
    try:
        if numbers:
            memory.forget(turns=numbers)
        else:
            memory.scrub()
        n_lines = forget_typed(folder, what.covers_line)
        for text in what.texts:
            forget_cells(text)
            forget_text(text)
        if what.turns:
            forget_since(datetime.fromisoformat(what.since))
        sweep(folder)
        for damaged in folder.glob("*.damaged"):  # their content is unknown
            damaged.unlink()
        (folder / INTENT).unlink()
    except OSError as error:
        raise StoreError(
            f"{folder}: {error.strerror or error}: what is not forgotten yet will be when the session is opened next"
        ) from None
    return n_lines


def _start_of(folder: Path, turns: Sequence[Turn], forgotten: Sequence[Turn]) -> str:
    """A time before the first forgotten turn was asked: the commit of the turn before it, or the session's begin.

    Times are to the second and rounded down, so that this errs towards earlier.
    """
    if not forgotten:
        return ""
    first = min(forgotten, key=lambda turn: turn.number)
    before = [turn.time for turn in turns if turn.number < first.number]
    # An imported turn may be older than its session.
    return min(before[-1] if before else read_begun(folder), *(turn.time for turn in forgotten))


def sweep(folder: Path) -> None:
    """Deletes half-written files of killed processes. Only for the process that holds the session."""
    for path in folder.iterdir():
        if path.is_file() and (is_left_over(path) or path.name in _OLD_LEFT_OVERS):
            path.unlink()


def held_elsewhere(what: Forgetting, folders: Iterable[Path]) -> tuple[HeldElsewhere, ...]:
    """Other sessions, such as forks, that still hold the forgotten text, or cannot be read and may hold it."""
    held = []
    for folder in folders:
        try:
            turns = read_turns(folder)
            numbers = tuple(turn.number for turn in turns if what.covers_turn(turn))
            its_plan = plan(turns, numbers, what.matching)  # with the numbers and words of that session
            n_lines = sum(map(its_plan.covers_line, read_typed(folder)))
        except StoreError:
            held.append(HeldElsewhere(folder.name, (), 0))
            continue
        if numbers or n_lines:
            held.append(HeldElsewhere(folder.name, numbers, n_lines))
    return tuple(held)


def text_of(turn: Turn) -> str:
    return f"{turn.question}\n{turn.answer}"


def _words_of(turns: Iterable[Turn]) -> frozenset[str]:
    return frozenset(word for turn in turns for word in content_words(text_of(turn)))
