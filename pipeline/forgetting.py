"""Forgetting: what a session is to forget is written down first, so that a forgetting that was killed is finished.

    plan -> the intent on disk -> the memory's tiers -> typed lines -> kept cells -> left-over files -> the intent goes

Each step may be repeated. The intent holds the forgotten text itself, because typed lines are compared with it; it is
the last file to go. `Conversation` finishes an intent that it finds when it opens the session.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pipeline.contracts import Recollection
from pipeline.errors import StoreError
from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.whole import is_left_over, write_whole
from pipeline.text.normal import normal
from pipeline.text.words import content_words, word_forms
from pipeline.transcript import read_turns
from pipeline.typed import TypedLine, forget_typed, read_typed
from pipeline.types import Turn

INTENT = "forget.json"
_OLD_LEFT_OVERS = {"aside.half", "typed.new", "chat.new"}
"""Half-written files of older versions."""


@dataclass(frozen=True)
class Forgetting:
    """What is to be forgotten.

    `words` are the content words of `turns` that no turn has which stays. `matching` is the text that was named, empty
    where turns were named by number or time.
    """

    turns: tuple[Turn, ...]
    matching: str = ""
    words: tuple[str, ...] = ()

    @cached_property
    def _turn_words(self) -> frozenset[str]:
        return _words_of(self.turns)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is to stand nowhere: the questions, the answers and the text that was named."""
        texts = [self.matching, *(text for turn in self.turns for text in (turn.question, turn.answer))]
        return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))

    def covers_turn(self, turn: Turn) -> bool:
        """Whether another session's turn is a copy of a forgotten one, or holds the text that was named."""
        is_copy = any(
            (turn.question, turn.answer, turn.time) == (gone.question, gone.answer, gone.time) for gone in self.turns
        )
        return is_copy or bool(self.matching and normal(self.matching) in normal(text_of(turn)))

    def covers_line(self, line: TypedLine) -> bool:
        """Whether a typed line was for a forgotten turn, or repeats it: text, words, or a command about them."""
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
class Held:
    """Another session that still holds what was forgotten: in these turns, and in so many typed lines.

    Without either it cannot be read.
    """

    name: str
    turns: tuple[int, ...]
    n_lines: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten in a session: the numbers of its turns, how many typed lines, and who still holds it."""

    what: Forgetting
    turns: tuple[int, ...]
    n_lines: int
    elsewhere: tuple[Held, ...] = ()


def plan(turns: Sequence[Turn], numbers: Sequence[int], matching: str = "") -> Forgetting:
    """What forgetting the turns of these numbers means; `turns` are all turns of the session."""
    gone = tuple(turn for turn in turns if turn.number in numbers)
    kept = [turn for turn in turns if turn.number not in numbers]
    return Forgetting(gone, matching, tuple(sorted(_words_of(gone) - _words_of(kept))))


def carry_out(folder: Path, memory: Recollection, what: Forgetting, forget_cells: Callable[[str], object]) -> int:
    """Forgets in the session of a folder that this process holds; gives the number of typed lines that went.

    `forget_cells` has loaded models forget a text. Raises StoreError where a file cannot be written. What is missing
    then is done when the session is opened next.
    """
    content = {"turns": [asdict(turn) for turn in what.turns], "matching": what.matching, "words": what.words}
    try:
        write_whole(folder / INTENT, json.dumps(with_checksum(content)), private=True)
    except OSError as error:
        raise StoreError(f"{folder / INTENT} cannot be written: {error.strerror}; nothing was forgotten") from None
    return _finish(folder, memory, what, forget_cells)


def is_pending(folder: Path) -> bool:
    """Whether a forgetting was begun in a session and is not finished."""
    return (folder / INTENT).exists()


def finish(folder: Path, memory: Recollection, forget_cells: Callable[[str], object]) -> int:
    """Like `carry_out`, for what was begun, if anything was."""
    path = folder / INTENT
    if not path.exists():
        return 0
    try:
        content = read_object(path)
        turns = tuple(Turn(**turn) for turn in content["turns"])
        what = Forgetting(turns, content["matching"], tuple(content["words"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}): it says what was to be forgotten. Delete it, and forget that again"
        ) from None
    return _finish(folder, memory, what, forget_cells)


def _finish(folder: Path, memory: Recollection, what: Forgetting, forget_cells: Callable[[str], object]) -> int:
    from pipeline.models.kept_cells import forget_since, forget_text

    # A number may have been given again meanwhile: only the very turn goes.
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
            forget_since(datetime.fromisoformat(min(turn.time for turn in what.turns)))
        sweep(folder)
        for damaged in folder.glob("*.damaged"):  # nobody can tell what they hold
            damaged.unlink()
        (folder / INTENT).unlink()
    except OSError as error:
        raise StoreError(
            f"{folder}: {error.strerror or error}: what is not forgotten yet will be when the session is opened next"
        ) from None
    return n_lines


def sweep(folder: Path) -> None:
    """Deletes half-written files that a killed process left. For whoever holds the session."""
    for path in folder.iterdir():
        if path.is_file() and (is_left_over(path) or path.name in _OLD_LEFT_OVERS):
            path.unlink()


def held_elsewhere(what: Forgetting, folders: Iterable[Path]) -> tuple[Held, ...]:
    """Which of other sessions, such as forks, still hold what was forgotten, or cannot be read and may hold it."""
    held = []
    for folder in folders:
        try:
            turns = read_turns(folder)
            numbers = tuple(turn.number for turn in turns if what.covers_turn(turn))
            there = plan(turns, numbers, what.matching)  # the numbers and the words of that session
            n_lines = sum(map(there.covers_line, read_typed(folder)))
        except StoreError:
            held.append(Held(folder.name, (), 0))
            continue
        if numbers or n_lines:
            held.append(Held(folder.name, numbers, n_lines))
    return tuple(held)


def text_of(turn: Turn) -> str:
    return f"{turn.question}\n{turn.answer}"


def _words_of(turns: Iterable[Turn]) -> frozenset[str]:
    return frozenset(word for turn in turns for word in content_words(text_of(turn)))
