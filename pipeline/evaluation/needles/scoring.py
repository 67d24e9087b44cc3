"""Scores a reply. Strict: the reply is the answer and nothing else. Tolerant: the reply ends with the answer.

Strict ignores white space, quotes and a full stop. Several answers must be a list of them (separated by commas or
lines, with or without brackets), in order if the question asks for one. Tolerant takes the last candidate in the reply
as the answer. Several answers must all be there, and no other candidate. `begins` is the rule of the paper's data: the
reply starts with the answer (https://arxiv.org/abs/2411.05000).

The effective context uses the tolerant score. In the paper a model extracts the answer from the reply before it is
compared, for the same reason: how a model words its answer does not depend on the context's length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(UUID)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_STRIP = " \t\r\n\"'`“”"

ReplyFault = Literal["", "format_error", "intermediate_hop", "distractor_value", "invented_value", "incomplete"]
"""Why a reply is wrong. In this order: it is right; it has no candidate; its last wrong candidate is a value on the way
to the answer, another value of the text, or a value that is not in the text; it has not all of the answers."""

FAULTS: tuple[ReplyFault, ...] = (
    "format_error",
    "intermediate_hop",
    "distractor_value",
    "invented_value",
    "incomplete",
)


@dataclass(frozen=True, slots=True)
class Score:
    """A reply's score. `found` is the share of the answers in the reply, and `f1` that of the set of its candidates.

    `first` says whether the first candidate is the (first) answer.
    """

    strict: bool
    tolerant: bool
    begins: bool
    first: bool
    found: float
    f1: float
    fault: ReplyFault


def score(reply: str, fields: Mapping[str, Any], strays: frozenset[str] | None = None) -> Score:
    """Scores a reply by its trial's fields (see Trial.fields). `strays` are other values of the text, if known."""
    expected, passed = list(fields["expected"]), list(fields["passed"])
    answers = candidates(reply, fields["kind"], [*expected, *passed, *(strays or ())])
    is_set = bool(fields["is_set"])
    if len(expected) == 1:
        strict = bare(reply, fields["kind"]) == bare(expected[0], fields["kind"])
        tolerant = answers[-1:] == expected
    else:
        parts = listed(reply)
        strict = sorted(parts) == sorted(expected) if is_set else parts == expected
        once = list(dict.fromkeys(answers))
        tolerant = sorted(once) == sorted(expected) if is_set else once == expected
    hits = len(set(answers) & set(expected))
    f1 = 2 * hits / (len(set(answers)) + len(set(expected))) if answers else 0.0
    return Score(
        strict=strict,
        tolerant=tolerant or strict,
        begins=reply.strip(_STRIP).startswith(expected[0]),
        first=answers[:1] == expected[:1],
        found=hits / len(set(expected)),
        f1=f1,
        fault="" if tolerant or strict else _fault(answers, expected, passed, strays),
    )


def candidates(reply: str, kind: str, names: Sequence[str]) -> list[str]:
    """The candidates in a reply, in order: UUIDs, numbers, or names and words of the trial."""
    if kind == "uuid":
        return _UUID.findall(reply.lower())
    if kind == "number":
        return [number.rstrip(".,") for number in _NUMBER.findall(reply)]
    if kind == "word":
        return re.findall(r"[^\W\d_]+", reply.lower())
    known = sorted(set(names), key=len, reverse=True)  # a pattern takes the first alternative that matches
    return re.findall("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in known), reply) if known else []


def bare(reply: str, kind: str) -> str:
    """Strips white space, quotes and a full stop from a reply. Lowercases it if case does not matter."""
    text = reply.strip(_STRIP)
    text = text.removesuffix(".").rstrip(_STRIP)
    text = text.strip("<>") if kind == "number" else text
    return text.lower() if kind in ("uuid", "word") else text


def listed(reply: str) -> list[str]:
    """Parses a reply strictly as a list of answers: brackets, quotes, and commas or line breaks."""
    text = reply.strip().removeprefix("[").removesuffix("]")
    return [part.strip(_STRIP + "-*") for part in re.split(r"[,\n]", text) if part.strip(_STRIP + "-*")]


def _fault(
    answers: Sequence[str], expected: Sequence[str], passed: Sequence[str], strays: frozenset[str] | None
) -> ReplyFault:
    if not answers:
        return "format_error"
    wrong = [answer for answer in answers if answer not in expected]
    if not wrong:
        return "incomplete"
    if wrong[-1] in passed:
        return "intermediate_hop"
    return "distractor_value" if strays is None or wrong[-1] in strays else "invented_value"
