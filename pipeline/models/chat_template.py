"""The GGUF's own chat template, with the content of messages kept apart as data.

The template sees one private-use character instead of each content, with its own whitespace around it, so that what
it trims is trimmed; the contents are put in afterwards. So the template's own text may hold control tokens, and what
people, documents and models wrote cannot. What it writes depends on the shape of the conversation alone, and comes
from another process (template_process.py), since a template is code from a file that was downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

from pipeline.errors import ModelError
from pipeline.models.template_process import Renderer, Rendering, TemplateLimitError
from pipeline.models.template_settings import DAY
from pipeline.types import Message, Prompt, PromptSpan, Text

THOUGHT_TAGS = ("<think>", "</think>", "[THINK]", "[/THINK]", "<seed:think>", "</seed:think>")
"""Tags by which templates cut thoughts out of earlier answers."""
_FIRST_MARK = 0xF0000
_MARK = re.compile("([\U000f0000-\U0010ffff])")
"""Private-use characters that represent contents: no filter changes or splits them."""
_TAG = re.compile("(" + "|".join(map(re.escape, THOUGHT_TAGS)) + ")")
_PLAIN = "{% for message in messages %}{{ message.content }}\n\n{% endfor %}Answer:"
"""The template of base models, whose files have none."""


def render(template: str, messages: Sequence[Message], bos: str, specials: dict[str, str], where: str) -> Prompt:
    """The messages in a template's words: see `ChatTemplate.render`."""
    return _compiled(template, bos, tuple(sorted(specials.items())), where).render(messages)


@cache
def _compiled(template: str, bos: str, specials: tuple[tuple[str, str], ...], where: str) -> ChatTemplate:
    return ChatTemplate(template, bos, specials, where)


@dataclass(frozen=True)
class ChatTemplate:
    """A template with the vocabulary's special texts.

    `bos` is put first where the vocabulary asks for it and the template did not. `specials` and `arguments` are names
    that the template may use, the latter the user's. `where` names the file in errors. `day` is today for the template.
    """

    source: str
    bos: str
    specials: tuple[tuple[str, str], ...]
    where: str
    arguments: tuple[tuple[str, object], ...] = ()
    day: str = DAY

    def render(self, messages: Sequence[Message], switches: Mapping[str, object] | None = None) -> Prompt:
        """Renders the messages in the model's trained format, ending with the start of the assistant's turn.

        `switches` are further arguments of the template. An empty template gives the contents, parted by blank lines,
        and `Answer:`. A system message goes to the start of the first user turn where the template refuses it, leaves
        it out, or puts it behind that turn (a prompt would not begin as the one of the turn before). Raises ModelError
        when the template fails, takes too long, or leaves a content out.
        """
        has_system = any(message.role == "system" for message in messages)
        if has_system and not self._keeps_system:
            messages, has_system = without_system(messages), False
        spans = self._spans(messages, switches or {}, must=not has_system)
        if spans is None:
            spans = self._spans(without_system(messages), switches or {}, must=True) or ()
        return self._begun(spans)

    @property
    def is_there(self) -> bool:
        """Whether the file brings a template, or the user named one."""
        return bool(self.source)

    def on(self, day: str) -> ChatTemplate:
        """Returns the template on another day."""
        return replace(self, day=day)

    def texts(self, shapes: Sequence[Sequence[Mapping[str, str]]], switches: Mapping[str, object]) -> list[Rendering]:
        """Renders messages of plain text, special tokens included, for inspecting a template.

        Raises ModelError if it takes too long or too much memory.
        """
        requests = [self._request(list(map(dict, messages)), switches) for messages in shapes]
        try:
            return self._renderer.render(requests)
        except TemplateLimitError as error:
            raise self._failed(str(error)) from None

    # ----------------------------------------------------------------------------------------------------- internals
    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self.source or _PLAIN, self.day)

    @cached_property
    def _keeps_system(self) -> bool:
        """Whether a system message stays before the first user turn when a second one comes."""
        roles = ("system", "user", "assistant", "user")
        turns = [{"role": role, "content": chr(_FIRST_MARK + n)} for n, role in enumerate(roles)]
        (long,) = self.texts([turns], {})
        marks = _MARK.findall(long.text)
        return bool(long.error) or marks[:2] == [turns[0]["content"], turns[1]["content"]]

    def _request(self, turns: list[dict[str, str]], switches: Mapping[str, object]) -> dict[str, object]:
        arguments = {**dict(self.specials), **dict(self.arguments), **switches}
        return {"messages": turns, "arguments": arguments}

    def _spans(self, messages: Sequence[Message], switches: Mapping[str, object], must: bool) -> Prompt | None:
        """Returns the prompt; None if the template fails or omits a message, unless `must` is set."""
        contents = list(_contents(messages))
        shapes = [[content.turn(is_bare) for content in contents] for is_bare in (False, True)]
        as_is, bare = self.texts(shapes if shapes[0] != shapes[1] else shapes[:1] * 2, switches)
        if as_is.error:
            if not must:
                return None
            raise self._failed(as_is.error)
        for content in contents:
            if content.marks and content.marks[-1].char not in as_is.text:
                if not must:
                    return None
                raise ModelError(f"{self.where}: its chat template leaves out the {content.message.role}'s message")
        marks = {mark.char: mark for content in contents for mark in content.marks}
        if unknown := [char for char in _MARK.findall(as_is.text + bare.text) if char not in marks]:
            raise self._failed(f"it writes the private-use character U+{ord(unknown[0]):X}")
        return tuple(_filled(as_is.text, bare.text, marks, is_template=self.is_there))

    def _begun(self, spans: Prompt) -> Prompt:
        first = spans[0] if spans else None
        if not self.bos or not isinstance(first, Text) or not first.special:
            return (Text(self.bos, special=True), *spans) if self.bos else spans
        return spans if first.text.startswith(self.bos) else (replace(first, text=self.bos + first.text), *spans[1:])

    def _failed(self, why: str) -> ModelError:
        return ModelError(
            f"{self.where}: its chat template cannot be rendered: {why}. Set 'chat_template' to a file with another one"
        )


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Moves the system's content to the start of the first user turn."""
    system: list[PromptSpan] = [span for m in messages if m.role == "system" for span in m.content]
    rest = [m for m in messages if m.role != "system"]
    for n, message in enumerate(rest):
        if message.role == "user":
            rest[n] = Message("user", (*system, Text("\n\n", "system"), *message.content))
            return rest
    return [Message("user", tuple(system)), *rest]


@dataclass(frozen=True)
class _Mark:
    """A stretch of a content that one character represents while the template is rendered.

    `before` and `after` are the literal text of the content on either side of it, up to the next mark.
    """

    char: str
    spans: Prompt
    before: Prompt
    after: Prompt


@dataclass(frozen=True)
class _Content:
    """A message's content as the template sees it: marks with whitespace and thought tags between them."""

    message: Message
    text: str
    bare: str
    marks: tuple[_Mark, ...]

    def turn(self, is_bare: bool) -> dict[str, str]:
        return {"role": self.message.role, "content": self.bare if is_bare else self.text}


def _contents(messages: Sequence[Message]) -> Iterator[_Content]:
    n_marks = 0
    for message in messages:
        text = "".join(span.text if isinstance(span, Text) else "\ufffc" for span in message.content)
        parts = _TAG.split(text) if message.role == "assistant" else [text]
        stretches: list[tuple[int, int]] = []
        offset = 0
        for n, part in enumerate(parts):
            if n % 2 == 0 and part.strip():
                start = offset + len(part) - len(part.lstrip())
                stretches.append((start, start + len(part.strip())))
            offset += len(part)
        chars = [chr(_FIRST_MARK + n_marks + n) for n in range(len(stretches))]
        n_marks += len(stretches)
        edges = [0, *(edge for stretch in stretches for edge in stretch), len(text)]
        gaps = [(edges[n], edges[n + 1]) for n in range(0, len(edges), 2)]
        seen = "".join(text[low:high] + char for (low, high), char in zip(gaps, [*chars, ""], strict=True))
        bare = seen if len(parts) > 1 else "".join(chars) or text
        marks = tuple(
            _Mark(
                char,
                _cut(message.content, *stretch),
                _cut(message.content, *gaps[n]),
                _cut(message.content, *gaps[n + 1]),
            )
            for n, (char, stretch) in enumerate(zip(chars, stretches, strict=True))
        )
        yield _Content(message, seen, bare, marks)


def _cut(spans: Prompt, start: int, end: int) -> Prompt:
    """The part [start, end) of a content, in characters, a soft span counting as one; whole spans stay themselves."""
    cut: list[PromptSpan] = []
    offset = 0
    for span in spans:
        n = len(span.text) if isinstance(span, Text) else 1
        low, high = max(start - offset, 0), min(end - offset, n)
        offset += n
        if low < high:
            if isinstance(span, Text) and high - low < n:
                span = replace(span, text=span.text[low:high])
            cut.append(span)
    return tuple(cut)


def _filled(text: str, bare: str, marks: Mapping[str, _Mark], is_template: bool) -> Iterator[PromptSpan]:
    """Yields the template's text with contents in place of the marks.

    `bare` is the same without whitespace at the ends of contents: additional characters of `text` belong to a content.
    A thought tag beside a content that holds one is data as well.
    """
    parts, bare_parts = _MARK.split(text), _MARK.split(bare)
    if parts[1::2] != bare_parts[1::2]:
        bare_parts = parts
    for n in range(0, len(parts), 2):
        left = marks[parts[n - 1]].after if n else ()
        right = marks[parts[n + 1]].before if n + 1 < len(parts) else ()
        kept_left, fixed, kept_right = _shares(parts[n], bare_parts[n], left, right)
        yield from kept_left
        is_tagged = bool(_TAG.search(_text(left) + _text(right)))
        for piece in filter(None, _TAG.split(fixed) if is_tagged else [fixed]):
            yield Text(piece, special=is_template and not (is_tagged and _TAG.fullmatch(piece)))
        yield from kept_right
        if n + 1 < len(parts):
            yield from marks[parts[n + 1]].spans


def _shares(gap: str, bare: str, left: Prompt, right: Prompt) -> tuple[Prompt, str, Prompt]:
    """Splits the text between two marks into the content before, the template's own text, and the content after."""
    before, after = _text(left), _text(right)
    surplus = len(gap) - len(bare)
    for n in range(min(len(before), surplus), -1, -1) if surplus else ():
        rest = after[len(after) - (surplus - n) :] if surplus > n else ""
        if len(rest) == surplus - n and before[:n] + bare + rest == gap:
            return _cut(left, 0, n), bare, _cut(right, len(after) - len(rest), len(after))
    return (), gap, ()


def _text(spans: Prompt) -> str:
    return "".join(span.text for span in spans if isinstance(span, Text))
