"""Detects how a model thinks before it answers, by rendering its chat template with and without switches.

A profile holds what opens and closes a thought, which of the template's arguments switch thinking off and on, and the
text to add if the template has no switch. thoughts.py uses it to separate thoughts from answers, token by token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ModelError
from pipeline.models.chat_template import ChatTemplate
from pipeline.types import Message, Prompt, Text

if TYPE_CHECKING:
    from pipeline.models.weights import Vocabulary

BRIEF_TOKENS = 128
"""Limit of a thought, in tokens, for a model whose template can only request short ones (gpt-oss)."""
CLOSING_ROOM = 16
"""Cells for closing a thought that has used up its budget."""

TAGS = (
    ("<think>", "</think>", ""),  # Qwen, DeepSeek, GLM, Nemotron and most others
    ("[THINK]", "[/THINK]", ""),  # Ministral, Magistral
    ("<seed:think>", "</seed:think>", ""),
    ("<mm:think>", "</mm:think>", ""),  # MiniMax
    ("<think:opensource>", "</think:opensource>", ""),  # Hunyuan
    ("<|START_THINKING|>", "<|END_THINKING|>", ""),  # Command A
    ("<|channel>thought", "<channel|>", ""),  # Gemma 4
    ("<|inner_prefix|>", "<|inner_suffix|>", ""),  # Apertus
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>", "<|open|>response<|sep|>"),  # Kimi K3
    ("<|think|>", "<|end|>", "<|begin|>assistant<|content|>"),  # Solar
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", ""),  # Apriel
)
"""Text that opens a thought, closes it, and precedes the answer. The first ones in a template's output are its tags."""
START, CHANNEL, MESSAGE, END = "<|start|>", "<|channel|>", "<|message|>", "<|end|>"
"""gpt-oss's marks: each message has a header with a channel, and only the channel `final` is the answer."""
FINAL = f"{CHANNEL}final{MESSAGE}"

_SWITCHES: tuple[tuple[str, tuple[object, ...], tuple[object, ...]], ...] = (
    ("enable_thinking", (False,), (True,)),
    ("thinking", (False,), (True,)),
    ("reasoning", (False,), (True,)),
    ("thinking_mode", ("disabled",), ("enabled",)),
    ("reasoning_effort", ("no_think", "none", "minimal", "low"), ("medium", "high")),
    ("thinking_budget", (0,), ()),
)
"""Names of the switch in templates, with values that may switch thinking off and on, best first."""
_DEGREES = ("reasoning_effort", "thinking_budget")
"""Switches whose least value may still allow thinking."""
_USER = "\U000f0000"


@dataclass(frozen=True)
class Profile:
    """The marks of thoughts and their switches. `kind` is `none` for a model without signs of thinking.

    A thought stands between `open` and `close`; `then` may precede the answer. `off` and `on` are arguments of the
    template. `off_text` is appended to the prompt if the template cannot close a thought in advance, and `forced`
    closes one that has used up its budget. `is_brief`: thoughts can only be shortened. `is_known`: the marks are in the
    vocabulary and not in the template.
    """

    kind: Literal["none", "tags", "channels"] = "none"
    open: str = ""
    close: str = ""
    then: str = ""
    off: tuple[tuple[str, object], ...] = ()
    on: tuple[tuple[str, object], ...] = ()
    off_text: str = ""
    forced: str = ""
    is_brief: bool = False
    is_known: bool = False

    @property
    def is_there(self) -> bool:
        return self.kind != "none"

    def state(self, text: str) -> Literal["open", "closed", ""]:
        """Returns whether a prompt that ends with this text has an open or a closed thought; empty for neither."""
        opened, closed = text.rfind(self.open), text.rfind(self.close)
        if self.kind != "tags" or opened == closed or (opened < 0 and self.close == END):
            return ""  # <|end|> ends every message of its models
        return "open" if opened > closed else "closed"

    def switched(self, is_on: bool) -> dict[str, object]:
        """Returns the template's arguments that switch thinking on or off."""
        return dict(self.on if is_on else self.off)

    def closed(self, prompt: Prompt) -> Prompt:
        """Completes a prompt without thoughts with the text that its template cannot write."""
        if not self.off_text:
            return prompt
        last = prompt[-1] if prompt else None
        if isinstance(last, Text) and last.special:
            return (*prompt[:-1], replace(last, text=last.text + self.off_text))
        return (*prompt, Text(self.off_text, special=True))

    def prompt(self, template: ChatTemplate, messages: Sequence[Message], thinks: bool, begin: str = "") -> Prompt:
        """Renders the messages for an answer with or without thoughts; one without may begin with given words."""
        prompt = template.render(messages, self.switched(thinks))
        if thinks and self.is_there:
            return prompt
        prompt = self.closed(prompt)
        if begin and self.kind == "channels":
            prompt = (*prompt, Text(FINAL, special=True))
        return (*prompt, Text(begin, "answer")) if begin else prompt

    def before_answer(self, prompt: Prompt, thinks: bool) -> Prompt:
        """Returns the prompt with an empty thought, if its answer followed a thought."""
        tail = tail_of(prompt)
        if self.kind == "channels":
            is_begun = tail.endswith(MESSAGE) or not tail
            return prompt if is_begun else (*prompt, Text(FINAL, special=True))
        state = self.state(tail)
        if self.kind == "none" or state == "closed" or not (thinks or state == "open"):
            return prompt
        opening = "" if state == "open" else self.open
        return (*prompt, Text(f"{opening}{self.forced}", special=True))

    def __str__(self) -> str:
        """Describes the profile: `thinks between <think> and </think>; off by enable_thinking=False`."""
        if not self.is_there:
            return "shows no sign of thinking"
        if self.kind == "channels":
            marks = "thinks in channels, of which 'final' is the answer"
        else:
            marks = f"thinks between {self.open} and {self.close}"
        if self.is_known:
            return f"{marks}, known from its vocabulary; its template does not speak of it"
        switch = ", ".join(f"{name}={value}" for name, value in self.off)
        if self.is_brief:
            return f"{marks}; cannot be switched off" + (f", kept short by {switch}" if switch else ", only kept short")
        if self.off_text:
            return f"{marks}; off by writing a closed thought"
        return f"{marks}; off " + (f"by {switch}" if switch else "unless asked for")


def find_profile(template: ChatTemplate, vocabulary: Vocabulary) -> Profile:
    """Detects the profile of a template, or of its vocabulary if the template has no mark.

    A template that cannot be rendered has no profile: its error is raised with the first prompt.
    """
    source = template.source
    try:
        if all(mark in source and _is_token(mark, vocabulary) for mark in (START, CHANNEL, MESSAGE)):
            return _channels(template)
        looks = [_look(template)], list(_looks(template, 1)), list(_looks(template, 2))
        written = "".join([source, *(look.text for group in looks for look in group)])
        for marks in TAGS:
            if marks[0] in written or (marks[1] in written and marks[1] != END):
                return _tags(Profile("tags", *marks), *looks)
    except ModelError:
        return Profile()
    for marks in TAGS:
        if _is_token(marks[0], vocabulary) and _is_token(marks[1], vocabulary):
            return Profile("tags", *marks, forced=_closing(marks[0], marks[1]), is_known=True)
    return Profile()


def tail_of(prompt: Prompt) -> str:
    """Returns the template's own text at the end of a prompt, before the given first words of an answer."""
    spans = [span for span in prompt[-3:] if not (isinstance(span, Text) and span.part == "answer")]
    tail = ""
    while spans and isinstance(last := spans.pop(), Text) and last.special:
        tail = last.text + tail
    return tail


def profile_of_file(path: Path) -> Profile:
    """Detects a file's profile from its vocabulary and template alone. Raises ModelError for a damaged file."""
    from pipeline.models.templates import template_of
    from pipeline.models.weights import Vocabulary

    vocabulary = Vocabulary(path)
    try:
        return find_profile(template_of(vocabulary), vocabulary)
    finally:
        vocabulary.close()


def _channels(template: ChatTemplate) -> Profile:
    usual = _look(template)
    effort = next((look.switch for look in _looks(template, 1) if "low" in look.switch.values() and look != usual), {})
    forced = f"{END}{START}assistant{FINAL}"
    return Profile("channels", off=tuple(effort.items()), forced=forced, is_brief=True)


def _tags(profile: Profile, usuals: list[_Look], offs: list[_Look], ons: list[_Look]) -> Profile:
    """Finds the switches: off closes a thought, else changes the prompt; on opens one, else changes the prompt."""
    (usual,) = usuals
    state = {look: profile.state(look.tail) for look in (usual, *offs, *ons)}
    closed = [look for look in (usual, *offs) if state[look] == "closed"]
    other = [look for look in offs if look.text != usual.text and state[look] == "" and look.name not in _DEGREES]
    more = [look for look in ons if look.text != usual.text and state[look] != "closed"]
    opened = [look for look in (usual, *more) if state[look] == "open"]
    off = [*closed, *other, usual][0]
    on = [*opened, *([] if closed and closed[0] != usual else more), usual][0]
    is_switched = bool(closed or other or (more and state[usual] == ""))
    off_text = ""
    if state[off] == "open":
        off_text = _closing(profile.open, profile.close) + profile.then
    elif not is_switched:
        line = "\n" if _has_lines(profile.open) else ""
        off_text = profile.open + line + _closing(profile.open, profile.close) + profile.then
    return replace(
        profile,
        off=tuple(off.switch.items()),
        on=tuple(on.switch.items()),
        off_text=off_text,
        forced=_closing(profile.open, profile.close) + profile.then,
    )


@dataclass(frozen=True)
class _Look:
    """A template's output for a question with one argument set, and the part behind the question."""

    text: str
    tail: str
    name: str = ""
    value: Any = None

    @property
    def switch(self) -> dict[str, object]:
        return {self.name: self.value} if self.name else {}


def _looks(template: ChatTemplate, which: int) -> Iterator[_Look]:
    """Yields a look per value of each switch that the template names: of those for off (1) or for on (2)."""
    for switch in _SWITCHES:
        if re.search(rf"\b{switch[0]}\b", template.source) and switch[0] not in dict(template.arguments):
            for value in switch[which]:
                look = _look(template, switch[0], value)
                if look.text:
                    yield look


def _look(template: ChatTemplate, name: str = "", value: object = None) -> _Look:
    (rendering,) = template.texts([[{"role": "user", "content": _USER}]], {name: value} if name else {})
    return _Look(rendering.text, rendering.text.rpartition(_USER)[2], name, value)


def _closing(opening: str, closing: str) -> str:
    """Returns the text that ends an empty or a long thought. Models with tags such as `<think>` expect blank lines."""
    return f"\n{closing}\n\n" if _has_lines(opening) else closing


def _has_lines(opening: str) -> bool:
    return opening.startswith("<") and "|" not in opening


def _is_token(text: str, vocabulary: Vocabulary) -> bool:
    return len(vocabulary.tokenize(text, special=True)) == 1
