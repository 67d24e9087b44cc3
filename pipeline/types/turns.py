"""The turns of a conversation, and the results of recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.types.passages import Passage
from pipeline.types.sampling import Finish


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer in a conversation. `number` counts from 1; `time` is ISO 8601 in UTC, to the second.

    `finish` says how the answer ended; a cancelled one keeps its text so far.
    """

    number: int
    question: str
    answer: str
    time: str
    finish: Finish = "stop"


Tier = Literal["sensory", "summary", "unit", "fact"]
"""The tier of a memory: verbatim turns, a running summary, long-term units, facts extracted from them."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A text that memory puts into a prompt. `tokens` are the reader's, of the text alone.

    `turns` are the numbers of the turns that it stands for; `time` that of the last of them. `weight` is its share, in
    [0, 1], among the units that were recalled together (a softmax of their scores); None for the summary.
    """

    tier: Literal["summary", "unit"]
    text: str
    tokens: int
    weight: float | None
    turns: tuple[int, ...]
    time: str


@dataclass(frozen=True, slots=True)
class Recall:
    """The recall for one question: the verbatim turns, oldest first, and the recalled texts.

    The summary, if any, comes first in `recalled`; then units in the order of their turns. `passages` come from
    documents that the memory read, best first: their score is their weight, and they are cited like others.
    """

    turns: tuple[Turn, ...] = ()
    recalled: tuple[Recalled, ...] = ()
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One memory, for listings. `superseded_by` is the text and date of the memory that replaced it.

    A turn is listed once: as `sensory` while it is repeated verbatim, later as part of a `unit`.
    """

    tier: Tier
    text: str
    turns: tuple[int, ...]
    time: str
    superseded_by: str = ""
