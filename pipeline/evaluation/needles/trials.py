"""A trial: one question over one long text, with the data to ask it by any method and to score the reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["uuid", "name", "number", "word"]
"""The kind of candidate to look for in a reply: see scoring.py."""


@dataclass(frozen=True, slots=True)
class NeedleTrial:
    """One question over the text `haystack`. Trials may share a text, identified by `haystack_name`.

    `needles` is the evidence, for the method oracle. `expected` are the answers, in order; with `is_set`, any order is
    right. `passed` are wrong values on the way to the answer, and `strays` other wrong values in the text. `cell`
    locates the trial in a grid: task, size (pairs or characters), and the task's other parameters.
    """

    id: str
    question: str
    haystack_name: str
    haystack: str
    needles: str
    expected: tuple[str, ...]
    cell: tuple[tuple[str, Any], ...]
    kind: Kind = "uuid"
    is_set: bool = False
    passed: tuple[str, ...] = ()
    strays: frozenset[str] = frozenset()
    depth: float | None = None

    @property
    def label(self) -> str:
        """The name of the trial's task, or of its part of the task."""
        return str(dict(self.cell)["task"])

    @property
    def fields(self) -> dict[str, Any]:
        """The plain values that a run's record keeps beside the question."""
        return {
            "haystack": self.haystack_name,
            "chars": len(self.haystack),
            "expected": list(self.expected),
            "passed": list(self.passed),
            "kind": self.kind,
            "is_set": self.is_set,
            "cell": dict(self.cell),
            "depth": self.depth,
        }
