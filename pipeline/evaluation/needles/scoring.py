"""What a reply is worth: strictly, the reply is the answer and nothing else; tolerantly, the answer is what it ends on.

Strict: the whole reply, white space, quotes and a full stop apart, is the answer; of several answers it is a list of
them (separated by commas or lines, in brackets or not), in order where the question asks for one. Tolerant: the last
answer-like thing in the reply is the answer; of several answers all of them are there, and no others. `begins` is the
rule of the paper's data: the first characters of the reply are the answer (https://arxiv.org/abs/2411.05000).

The effective context goes by the tolerant score, as in the paper, which has a model take the answer out of the reply
before it compares: how a model words its answer is no question of context.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(UUID)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_STRIP = " \t\r\n\"'`“”"

Fault = Literal["", "format_error", "intermediate_hop", "distractor_value", "invented_value", "incomplete"]
"""Why a reply is wrong: nothing in it can be an answer; it is a value on the way; another value of the text; one that
stands nowhere; right as far as it goes, but not all."""

FAULTS: tuple[Fault, ...] = (
    "format_error",
    "intermediate_hop",
    "distractor_value",
    "invented_value",
    "incomplete",
)


@dataclass(frozen=True, slots=True)
class Score:
    """`found` is the share of the answers that stand in the reply, `f1` of the set that it gives; `first` says whether
    the first answer-like thing is the (first) answer.
    """

    strict: bool
    tolerant: bool
    begins: bool
    first: bool
    found: float
    f1: float
    fault: Fault


def score(reply: str, fields: dict[str, Any], strays: frozenset[str] | None = None) -> Score:
    """The score of a reply by a trial's fields (see Trial.fields). `strays` are other values of its text, if known."""
    expected, passed = list(fields["expected"]), list(fields["passed"])
    said = candidates(reply, fields["kind"], [*expected, *passed, *(strays or ())])
    is_set = bool(fields["is_set"])
    if len(expected) == 1:
        strict = bare(reply, fields["kind"]) == bare(expected[0], fields["kind"])
        tolerant = said[-1:] == expected
    else:
        parts = listed(reply)
        strict = sorted(parts) == sorted(expected) if is_set else parts == expected
        once = list(dict.fromkeys(said))
        tolerant = sorted(once) == sorted(expected) if is_set else once == expected
    hits = len(set(said) & set(expected))
    f1 = 2 * hits / (len(set(said)) + len(set(expected))) if said else 0.0
    return Score(
        strict=strict,
        tolerant=tolerant or strict,
        begins=reply.strip(_STRIP).startswith(expected[0]),
        first=said[:1] == expected[:1],
        found=hits / len(set(expected)),
        f1=f1,
        fault="" if tolerant or strict else _fault(said, expected, passed, strays),
    )


def candidates(reply: str, kind: str, names: Sequence[str]) -> list[str]:
    """What in a reply can be an answer, in its order: UUIDs, numbers, or the names and words of the trial."""
    if kind == "uuid":
        return _UUID.findall(reply.lower())
    if kind == "number":
        return [number.rstrip(".,") for number in _NUMBER.findall(reply)]
    if kind == "word":
        return re.findall(r"[^\W\d_]+", reply.lower())
    known = sorted(set(names), key=len, reverse=True)
    return re.findall("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in known), reply) if known else []


def bare(reply: str, kind: str) -> str:
    """A reply without what surrounds an answer: white space, quotes, a full stop; case, where it does not matter."""
    text = reply.strip(_STRIP)
    text = text.removesuffix(".").rstrip(_STRIP)
    text = text.strip("<>") if kind == "number" else text
    return text.lower() if kind in ("uuid", "word") else text


def listed(reply: str) -> list[str]:
    """A reply as a list of answers, as strict parsing sees it: brackets, quotes and commas or line breaks."""
    text = reply.strip().removeprefix("[").removesuffix("]")
    return [part.strip(_STRIP + "-*") for part in re.split(r"[,\n]", text) if part.strip(_STRIP + "-*")]


def _fault(said: Sequence[str], expected: Sequence[str], passed: Sequence[str], strays: frozenset[str] | None) -> Fault:
    if not said:
        return "format_error"
    wrong = [one for one in said if one not in expected]
    if not wrong:
        return "incomplete"
    if wrong[-1] in passed:
        return "intermediate_hop"
    return "distractor_value" if strays is None or wrong[-1] in strays else "invented_value"
