"""The GGUF's own chat template, with the content of messages kept apart as data.

The template is rendered with a mark in the place of each content, and cut at the marks afterwards: so the template's
own text may hold control tokens, and what people, documents and models wrote cannot. A template is code from a file
that was downloaded; it runs in jinja's immutable sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from pipeline.errors import ModelError
from pipeline.types import Message, Prompt, Soft, Text

_MARK = re.compile("\ue000(\\d+)\ue001")
"""Private-use characters: no template has them, and filters such as `trim` leave them alone."""

_PLAIN = "{% for message in messages %}{{ message.content }}\n\n{% endfor %}Answer:"
"""For a base model, whose file brings no template."""


def render(template: str, messages: Sequence[Message], bos: str, specials: dict[str, str], where: str) -> Prompt:
    """The messages as the model was trained to read them, ending with the start of the assistant's turn.

    `bos` is put first where the vocabulary asks for it and the template did not. An empty template gives the contents,
    parted by blank lines, and `Answer:`. Raises ModelError when the template fails or leaves a content out; a template
    without a system role gets the system's content at the start of the first user turn.
    """
    text = _rendered(template or _PLAIN, messages, specials, where)
    if text is None:
        messages = _without_system(messages)
        text = _rendered(template or _PLAIN, messages, specials, where, must=True) or ""
    spans = _spans(text, messages, is_template=bool(template))
    missing = [n for n in range(len(messages)) if f"\ue000{n}\ue001" not in text]
    if missing:
        raise ModelError(f"{where}: its chat template leaves out the {messages[missing[0]].role}'s message")
    first = spans[0] if spans else None
    begins = isinstance(first, Text) and first.special and first.text.startswith(bos)
    return spans if begins or not bos else (Text(bos, special=True), *spans)


def _rendered(
    template: str, messages: Sequence[Message], specials: dict[str, str], where: str, must: bool = False
) -> str | None:
    """The template's text, or None where it does not take these roles and may be asked again without a system."""
    from jinja2.exceptions import TemplateError

    turns = [{"role": message.role, "content": f"\ue000{n}\ue001"} for n, message in enumerate(messages)]
    has_system = any(message.role == "system" for message in messages)
    try:
        text = str(_compiled(template).render(messages=turns, add_generation_prompt=True, tools=None, **specials))
    except (TemplateError, TypeError, ValueError) as error:
        if has_system and not must:
            return None
        raise ModelError(f"{where}: its chat template cannot be rendered: {error}") from error
    dropped_system = has_system and not must and any(f"\ue000{n}\ue001" not in text for n in range(len(messages)))
    return None if dropped_system else text


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system's content moved to the start of the first user turn."""
    system: list[Text | Soft] = [span for m in messages if m.role == "system" for span in m.content]
    rest = [m for m in messages if m.role != "system"]
    for n, message in enumerate(rest):
        if message.role == "user":
            rest[n] = Message("user", (*system, Text("\n\n", "system"), *message.content))
            return rest
    return [Message("user", tuple(system)), *rest]


def _spans(text: str, messages: Sequence[Message], is_template: bool) -> Prompt:
    spans: list[Text | Soft] = []
    at = 0
    for mark in _MARK.finditer(text):
        if mark.start() > at:
            spans.append(Text(text[at : mark.start()], special=is_template))
        spans.extend(
            span for span in messages[int(mark.group(1))].content if not (isinstance(span, Text) and not span.text)
        )
        at = mark.end()
    if at < len(text):
        spans.append(Text(text[at:], special=is_template))
    return tuple(spans)


@cache
def _compiled(template: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols],
        autoescape=False,
    )
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template)
