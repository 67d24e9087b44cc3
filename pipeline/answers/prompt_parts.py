"""What prompts of passages are made of: distinct passages, safe tags, earlier turns, and an account of their tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from pipeline.contracts import Model
from pipeline.types import Message, Part, Passage, Prompt, PromptSpan, Recalled, Soft, Text, Turn

MIN_PROSE_CHARS = 40


_OWN_LINE = re.compile(r"\s|$|[-*+>|#`~]|\d+[.)]\s")


def distinct(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Removes passages that lie wholly inside a better-ranked one."""
    outermost: list[Passage] = []
    for passage in passages:
        inside = any(
            other.source == passage.source and other.start <= passage.start and passage.end <= other.end
            for other in outermost
            if not other.spans and not passage.spans
        )
        if not inside:
            outermost.append(passage)
    return tuple(outermost)


def unwrapped(text: str) -> str:
    """Replaces the line breaks inside paragraphs of hard-wrapped prose with spaces.

    A break stays beside a line that is indented, short (below 40 characters, as in verse and lists), or begins with a
    mark of lists, tables, quotes or headings.
    """
    lines = text.splitlines()
    result = lines[:1]
    for before, line in pairwise(lines):
        joins = len(before) >= MIN_PROSE_CHARS and not _OWN_LINE.match(before) and not _OWN_LINE.match(line)
        result.append(f" {line}" if joins else f"\n{line}")
    return "".join(result)


def free_tag(texts: Sequence[str], word: str = "passage") -> str:
    """Returns a tag name that no text opens or closes: `passage`, or `passage2`, `passage3`, ... if it is taken."""
    together = "\n".join(texts).casefold()
    n = 1
    while True:
        name = word if n == 1 else f"{word}{n}"
        if f"<{name}" not in together and f"</{name}" not in together:
            return name
        n += 1


def parts(prompt: Prompt, reader: Model) -> tuple[tuple[Part, int], ...]:
    """Counts the tokens of each part of the prompt, in order of first appearance; they add up to the prompt's."""
    n_tokens: dict[Part, int] = {}
    for span in prompt:
        n_tokens[span.part] = n_tokens.get(span.part, 0) + reader.count((span,))
    total = reader.count(prompt)
    rest = total - sum(n_tokens.values())
    if rest:
        n_tokens["template"] = n_tokens.get("template", 0) + rest
    return tuple(n_tokens.items())


def soft_cells(prompt: Prompt) -> tuple[int, int]:
    """Returns the number of soft vectors in the prompt, and the number of tokens that they replace."""
    soft = [span for span in prompt if isinstance(span, Soft)]
    return sum(len(span.vectors) for span in soft), sum(span.stands_for for span in soft)


def messages_of(turns: Sequence[Turn]) -> list[Message]:
    """Earlier turns word for word, as messages of user and assistant."""
    messages = []
    for turn in turns:
        messages.append(Message("user", (Text(f"\nQuestion: {turn.question.strip()}", "history"),)))
        messages.append(Message("assistant", (Text(turn.answer.strip(), "history"),)))
    return messages


def opened_by(opening: Sequence[PromptSpan], messages: Sequence[Message]) -> list[Message]:
    """Puts spans at the beginning of the first message."""
    first, *others = messages
    return [replace(first, content=(*opening, *first.content)), *others]


def remembered(memory: Recalled, tag: str) -> Text:
    """Wraps a recalled text in its tags, with the time to the minute, so that the model can tell which is later."""
    about = "summary" if memory.tier == "summary" else memory.time.replace("T", " ")[:16]
    return Text(f"<{tag} {about}>\n{memory.text.strip()}\n</{tag}>\n", "memory")


def largest(n: int, fits: Callable[[int], bool]) -> int:
    """Returns the largest k in [0, n] with fits(k), by bisection, n first; `fits` must be monotone."""
    if fits(n):
        return n
    low, high = 0, max(n - 1, 0)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
