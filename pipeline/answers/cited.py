"""assemble.cited: numbered passages that cannot forge one another, and never more than fits.

The stable part comes first (instructions), then the passages, then the question, so that a follow-up reuses the KV
cache of what did not change. Passages stand between tags whose name occurs in none of them and not in the question, so
no text can close its own delimiter or open another's. All of it is data: special-token parsing is off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from pipeline.contracts import Model, Tools
from pipeline.errors import WindowError
from pipeline.types import Message, Part, Passage, Prompt, Soft, State, Text

MIN_PROSE_CHARS = 40
_OWN_LINE = re.compile(r"\s|$|[-*+>|#`~]|\d+[.)]\s")

INSTRUCTIONS = (
    "Answer the question from the passages, briefly, in one sentence. After the answer write the number of the "
    "passage that it stands in, such as [1]. If the passages do not hold the answer, say: Not in the documents."
)


@dataclass(frozen=True)
class Cited:
    """Asks for an answer with the numbers of the passages that it stands on.

    :param instructions: what the model is told before the passages.
    :param order: `rank` numbers the passages best first; `source` keeps the order they have in their documents, and
        the documents in the order of their best passage.
    :param show_titles: whether a passage is preceded by its document's title and its heading path.
    :param unwrap: whether the line breaks of hard-wrapped prose are given to the model as spaces (a small model stops
        at a line's end). Words, lists, tables and code stay as they are; citations point at the source as it is.
    """

    instructions: str = INSTRUCTIONS
    order: Literal["rank", "source"] = "source"
    show_titles: bool = True
    unwrap: bool = True

    def assemble(self, state: State, tools: Tools, reserve: int) -> State:
        """Numbers the passages that fit beside `reserve` free cells in the ledger's window.

        Raises WindowError when not one does, or when not all do and the budget's rule is to refuse.
        """
        reader = tools.reader
        room = state.ledger.window - reserve
        ranked = distinct(state.passages)
        empty = self.prompt(state.question.text, (), reader)
        if reader.count(empty) > room:
            raise WindowError(_too_long(reader.count(empty), state.ledger.window, reserve, "the question alone"))
        n = _largest(len(ranked), lambda k: reader.count(self.prompt(state.question.text, ranked[:k], reader)) <= room)
        if n < len(ranked) and (tools.on_overflow == "refuse" or n == 0):
            whole = reader.count(self.prompt(state.question.text, ranked, reader))
            raise WindowError(_too_long(whole, state.ledger.window, reserve, f"{len(ranked)} passages"))
        shown = self.arrange(ranked[:n])
        while shown and reader.count(self.prompt(state.question.text, shown, reader)) > room:
            n -= 1
            shown = self.arrange(ranked[:n])
        prompt = self.prompt(state.question.text, shown, reader)
        ledger = replace(state.ledger, parts=parts(prompt, reader))
        return replace(state, shown=shown, prompt=prompt, ledger=ledger)

    def arrange(self, passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
        if self.order == "rank":
            return passages
        sources = list(dict.fromkeys(passage.source for passage in passages))
        return tuple(sorted(passages, key=lambda p: (sources.index(p.source), p.start)))

    def prompt(self, question: str, passages: Sequence[Passage], reader: Model) -> Prompt:
        """The rendered prompt for these passages in this order."""
        heads = [self.head(passage) for passage in passages]
        tag = free_tag([question, *heads, *(passage.text for passage in passages)])
        content: list[Text | Soft] = []
        for number, (head, passage) in enumerate(zip(heads, passages, strict=True), 1):
            text = unwrapped(passage.text.strip()) if self.unwrap else passage.text.strip()
            content.append(Text(f"<{tag} {number}>\n{f'{head}: ' if head else ''}{text}\n</{tag}>\n", "passages"))
        content.append(Text(f"\nQuestion: {question.strip()}", "question"))
        system = Message("system", (Text(self.instructions, "system"),))
        return reader.render([system, Message("user", tuple(content))])

    def head(self, passage: Passage) -> str:
        if not self.show_titles:
            return ""
        path = list(dict.fromkeys(part for part in (passage.title, *passage.place.heading) if part))
        return " > ".join(" ".join(part.split()) for part in path)


def distinct(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """The passages without those that lie wholly inside a better-ranked one."""
    kept: list[Passage] = []
    for passage in passages:
        inside = any(
            other.source == passage.source and other.start <= passage.start and passage.end <= other.end
            for other in kept
            if not other.spans and not passage.spans
        )
        if not inside:
            kept.append(passage)
    return tuple(kept)


def unwrapped(text: str) -> str:
    """The text with a space for each line break inside a paragraph of prose: between two lines that both look like it.

    A line that is indented, short (below 40 characters, as in verse and lists), or starts with a mark of lists, tables,
    quotes or headings keeps its break.
    """
    lines = text.splitlines()
    result = lines[:1]
    for before, line in pairwise(lines):
        joins = len(before) >= MIN_PROSE_CHARS and not _OWN_LINE.match(before) and not _OWN_LINE.match(line)
        result.append(f" {line}" if joins else f"\n{line}")
    return "".join(result)


def free_tag(texts: Sequence[str]) -> str:
    """A tag name that no text opens or closes: `passage`, or `passage2`, `passage3`, ... where that is taken."""
    together = "\n".join(texts).casefold()
    n = 1
    while True:
        name = "passage" if n == 1 else f"passage{n}"
        if f"<{name}" not in together and f"</{name}" not in together:
            return name
        n += 1


def parts(prompt: Prompt, reader: Model) -> tuple[tuple[Part, int], ...]:
    """Tokens of each part of the prompt, in the order of first appearance; they add up to the prompt's."""
    found: dict[Part, int] = {}
    for span in prompt:
        found[span.part] = found.get(span.part, 0) + reader.count((span,))
    total = reader.count(prompt)
    rest = total - sum(found.values())
    if rest:
        found["template"] = found.get("template", 0) + rest
    return tuple(found.items())


def _largest(n: int, fits: Callable[[int], bool]) -> int:
    """The largest k in [0, n] with fits(k), for a `fits` that is true up to some k and false from there on."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _too_long(tokens: int, window: int, reserve: int, what: str) -> str:
    return (
        f"{what}: {tokens} tokens, but the window holds {window} and {reserve} of them are kept for the answer. "
        "Raise budget.window or n_ctx, lower max_tokens, or retrieve less"
    )
