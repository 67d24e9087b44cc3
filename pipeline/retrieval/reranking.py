"""What the rerankers share: passages in the order of their new scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import SettingError
from pipeline.types import Passage


def ranked(passages: Sequence[Passage], scores: Sequence[float], k: int | None) -> list[Passage]:
    """The k best passages, best first, with these scores; of equals the one that came first. None: all."""
    best_first = sorted(range(len(passages)), key=lambda n: (-scores[n], n))
    return [replace(passages[n], score=float(scores[n])) for n in best_first[:k]]


def titled(passage: Passage) -> str:
    """A passage's text behind its title."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def check_k(k: int | None) -> None:
    """Raises ValueError for a k out of range."""
    if k is not None and k < 1:
        raise SettingError("k", f"must be at least 1, was: {k}")


def why_dropped(k: int | None) -> str:
    """What the ledger says of the passages that are left out."""
    return "not kept" if k is None else f"ranked below the {k} best"
