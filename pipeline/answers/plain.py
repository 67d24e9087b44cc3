"""assemble.plain: the unchanged passages, a line break, the question. For prompts of a benchmark's protocol.

Needle threading uses this prompt (https://arxiv.org/abs/2411.05000): haystack, line break, question. Prefer
assemble.cited elsewhere: it numbers the passages and asks the model where an answer stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.answers.prompt_parts import distinct, free_tag, parts, soft_cells
from pipeline.contracts import Model, Runtime
from pipeline.errors import SettingError, WindowError
from pipeline.models.capabilities import render_answer
from pipeline.registry import check_types
from pipeline.text.counting import counted
from pipeline.types import Message, Passage, Prompt, Soft, State, Text

_PASSAGES, _QUESTION, _LEAD = "{passages}", "{question}", "{lead}"
_TO_VALUE = re.compile(r".*(?::|=>|=|->|→)\s*[\"']?(?=\S)", re.DOTALL)


@dataclass(frozen=True)
class Plain:
    r"""Asks with passages and question alone, without numbers, citations and advice.

    Passages are data: special-token parsing is off. With `tags` they stand between tags that occur in none of them.

    Example: `assemble.plain: {template: "{passages}\n\nQuestion: {question}", order: source}`

    :param instructions: instruction at the beginning of the prompt; empty: none.
    :param template: the prompt, in which `{passages}` and `{question}` are replaced; each must stand in it once, in
        either order.
    :param separator: text between two passages.
    :param order: `rank` keeps the order of the search; `source` takes that of their documents.
    :param begin: beginning of the answer, from which the model goes on. It is not part of the answer. `{lead}` stands
        for the last passage up to its value, where it is a pair such as `"key": "value"`.
    :param tags: whether each passage stands between tags.
    """

    instructions: str = ""
    template: str = "{passages}\n{question}"
    separator: str = "\n"
    order: Literal["rank", "source"] = "rank"
    begin: str = ""
    tags: bool = False

    def __post_init__(self) -> None:
        check_types(self, Plain)
        if any(self.template.count(name) != 1 for name in (_PASSAGES, _QUESTION)):
            raise SettingError("template", f"must hold {_PASSAGES} and {_QUESTION} once each, was: {self.template!r}")

    def assemble(self, state: State, runtime: Runtime, reserve: int) -> State:
        """Takes as many of the best passages as fit beside `reserve` free cells in the ledger's window.

        Raises WindowError if no passage fits, or if one does not fit and the budget's rule is to refuse.
        """
        reader, room = runtime.reader, state.ledger.window - reserve
        ranked = list(distinct(state.passages))
        n = len(ranked)
        prompt = self.prompt(state, self.arrange(ranked), reader)
        whole = reader.count(prompt)
        while reader.count(prompt) > room:
            n -= 1
            if n < 1 or runtime.on_overflow == "refuse":
                raise WindowError(
                    f"{counted(len(ranked), 'passage')} and the question have {whole} tokens, but the window holds "
                    f"{state.ledger.window} and {reserve} of them are kept for the answer. Raise budget.window or "
                    "n_ctx (beyond what the model was trained on with rope_scaling), or give it less"
                )
            prompt = self.prompt(state, self.arrange(ranked[:n]), reader)
        ledger = replace(state.ledger, parts=parts(prompt, reader), recalled=state.recalled, soft=soft_cells(prompt))
        return replace(state, shown=tuple(self.arrange(ranked[:n])), prompt=prompt, ledger=ledger)

    def arrange(self, passages: Sequence[Passage]) -> Sequence[Passage]:
        if self.order == "rank":
            return passages
        sources = list(dict.fromkeys(passage.source for passage in passages))
        return sorted(passages, key=lambda p: (sources.index(p.source), p.start))

    def prompt(self, state: State, passages: Sequence[Passage], reader: Model) -> Prompt:
        """Renders the prompt. Recalled memory stands before the passages."""
        messages = [Message("system", (Text(self.instructions, "system"),))] if self.instructions else []
        for turn in state.turns:
            messages.append(Message("user", (Text(turn.question, "history"),)))
            messages.append(Message("assistant", (Text(turn.answer, "history"),)))
        recalled = tuple(Text(f"{memory.text.strip()}\n", "memory") for memory in state.recalled)
        spans = self.filled(self.spans(passages), state.question.text)
        filled = [span for span in spans if not isinstance(span, Text) or span.text]
        begin = self.begin.replace(_LEAD, lead(passages[-1].text) if passages else "")
        return render_answer(reader, [*messages, Message("user", (*recalled, *filled))], begin)

    def filled(self, passages: Prompt, question: str) -> Prompt:
        """Fills the template; returns spans: the passages with the text before them, and the rest."""
        before, _, rest = self.template.partition(_PASSAGES)
        if _QUESTION in before:
            head, _, lead = before.partition(_QUESTION)
            return (Text(head + question, "question"), *_led(lead, passages), Text(rest, "question"))
        after, _, tail = rest.partition(_QUESTION)
        return (*_led(before, passages), Text(after + question + tail, "question"))

    def spans(self, passages: Sequence[Passage]) -> Prompt:
        """Joins the passages with separators: one text, except for soft passages."""
        tag = free_tag([passage.text for passage in passages]) if self.tags else ""
        spans: list[Text | Soft] = []
        text = ""
        for n, passage in enumerate(passages, 1):
            text += (self.separator if n > 1 else "") + (f"<{tag} {n}>\n" if tag else "")
            if passage.soft is None:
                text += passage.text.strip() if tag else passage.text
            else:
                spans += [Text(text, "passages"), passage.soft]
                text = ""
            text += f"\n</{tag}>" if tag else ""
        return (*spans, Text(text, "passages"))


def _led(lead: str, passages: Prompt) -> Prompt:
    """Puts a text before the passages' spans, inside the first one if it is a text."""
    first = passages[0]
    return (
        (Text(lead + first.text, "passages"), *passages[1:])
        if isinstance(first, Text)
        else (Text(lead, "passages"), *passages)
    )


def lead(pair: str) -> str:
    """Returns a `key: value` pair up to its value, with the opening quote; empty for other text."""
    match = _TO_VALUE.match(pair)
    return match[0] if match else ""
