"""A trial: one question over one long text, with all that is needed to ask it in any arm, and to score the reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["uuid", "name", "number", "word"]
"""What a reply is searched for: see scoring.py."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One question over the text `haystack`, which may serve several trials and is known by `haystack_name`.

    `needles` is what one needs to know to answer, for the oracle arm. `expected` are the answers, in order; `is_set`
    says that their order does not count. `passed` are wrong ones that stand on the way; `strays` other ones of the
    text. `cell` says where in a grid the trial belongs: task, size (pairs or characters), and what the task varies.
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
    def fields(self) -> dict[str, Any]:
        """What goes into the record of a run beside the question, as plain values."""
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
