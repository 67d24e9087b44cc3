"""sentences: who has a thing in the end, told by sentences that are hidden in a book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.evaluation.needles.haystack import Direction
from pipeline.evaluation.needles.prose import ProseShape, trials
from pipeline.evaluation.needles.task import Sources, chars_of, check_parameters, over_texts
from pipeline.evaluation.needles.trials import NeedleTrial


@dataclass(frozen=True)
class SentenceThread:
    """One thread of sentences, hidden in a text.

    :param length: sentences of the thread.
    :param direction: whether they are placed in the order of the hops, in reverse, or neither.
    """

    name: ClassVar[str] = "sentences"
    data: ClassVar[str] = ""
    has_limit: ClassVar[bool] = True
    has_association: ClassVar[bool] = False
    length: int = 1
    direction: Direction = "forward"

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def smallest(self) -> int:
        return 1

    def check(self, pairs: int) -> None:
        """A text that is too short is noticed when it is made: the lengths of the sentences differ."""

    def trials(self, pairs: int, seed: int, n: int, sources: Sources) -> list[NeedleTrial]:
        shape = ProseShape(self.length, self.direction, self.has_association)
        return over_texts(lambda seed, n: trials(shape, chars_of(pairs), seed, n, sources.book_text), seed, n)
