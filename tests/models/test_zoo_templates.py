"""Every real chat template: what we render is what plain jinja renders in the environment of transformers."""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.errors import ModelError
from pipeline.models.chat_template import ChatTemplate
from pipeline.models.template_settings import DAY
from pipeline.types import Message, Prompt, Text
from tests.models import zoo

TEMPLATES = zoo.templates()
SPECIALS = (("bos_token", "<s>"), ("eos_token", "</s>"))
SYSTEM, USER, ANSWER, NEXT = "You are terse.", "What is red?", "A colour.", "And blue?"
TALKS: dict[str, list[tuple[Any, str]]] = {
    "one question": [("user", USER)],
    "system": [("system", SYSTEM), ("user", USER)],
    "second turn": [("system", SYSTEM), ("user", USER), ("assistant", ANSWER), ("user", NEXT)],
    "second turn without system": [("user", USER), ("assistant", ANSWER), ("user", NEXT)],
    "thoughts in history": [
        ("system", SYSTEM),
        ("user", USER),
        ("assistant", f"<think>\nred, hmm\n</think>\n\n{ANSWER}"),
        ("user", NEXT),
    ],
    "whitespace": [
        ("system", f" {SYSTEM}\n"),
        ("user", f"\n{USER}\n\n"),
        ("assistant", f"\n {ANSWER} "),
        ("user", NEXT),
    ],
    "empty answer": [("system", SYSTEM), ("user", USER), ("assistant", ""), ("user", NEXT)],
    "empty question": [("system", SYSTEM), ("user", "")],
    "quotes": [("system", 'Say "no" & <b>.'), ("user", "{{ x }} {% raw %} \\n ü 你 \ue000")],
}
WITH_DEFAULT_PROMPT = ("command-r-plus", "Cohere2MoE", "GigaChat3", "Mistral-Small-3.2", "Ministral-3", "Devstral")
MOVES_SYSTEM = ("Mistral-Nemo",)
"""Templates that put the system message before the last user message."""


class Generation(Extension):
    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@cache
def reference(path: Path) -> jinja2.Template:
    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **kwargs: json.dumps(value, **{"ensure_ascii": False, **kwargs})
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = datetime.fromisoformat(DAY).strftime
    return environment.from_string(path.read_text())


def plain(path: Path, talk: list[tuple[Any, str]]) -> str:
    turns = [{"role": role, "content": content} for role, content in talk]
    return reference(path).render(messages=turns, add_generation_prompt=True, **dict(SPECIALS))


def ours(path: Path, talk: list[tuple[Any, str]]) -> Prompt:
    messages = [Message(role, (Text(text[:3], "passages"), Text(text[3:], "question"))) for role, text in talk]
    return ChatTemplate(path.read_text(), "", SPECIALS, path.name).render(messages)


def joined(prompt: Prompt) -> str:
    return "".join(span.text for span in prompt if isinstance(span, Text))


@pytest.mark.skipif(not TEMPLATES, reason=zoo.WHY_NOT)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_a_template_renders_as_in_transformers(path: Path, talk: list[tuple[Any, str]]) -> None:
    if any(name in path.name for name in MOVES_SYSTEM) and talk[0][0] == "system":
        talk = [("user", f"{talk[0][1]}\n\n{talk[1][1]}"), *talk[2:]]
    try:
        expected = plain(path, talk)
    except Exception:  # whatever a template raises
        try:
            assert talk[-1][1] in joined(ours(path, talk)), "without a system role its text goes into the first turn"
        except ModelError as error:
            assert path.name in str(error)  # noqa: PT017 - either way is right
        return
    prompt = ours(path, talk)
    text = joined(prompt)
    if text != expected:
        assert any(name in path.name for name in WITH_DEFAULT_PROMPT)
        assert is_cut(text, expected)
    for _, content in talk:
        assert content.strip() in text or content.startswith("<think>")
    markers = [span.text for span in prompt if isinstance(span, Text) and span.special]
    assert not any(content.strip() in text for _, content in talk if content.strip() for text in markers)


def is_cut(text: str, expected: str) -> bool:
    """Whether the text is the expected one without one long stretch."""
    n_same = next((n for n, (a, b) in enumerate(zip(text, expected, strict=False)) if a != b), len(text))
    return len(expected) - len(text) >= 400 and any(
        expected.endswith(text[n:]) for n in range(n_same, max(0, n_same - 50), -1)
    )


@pytest.mark.skipif(not TEMPLATES, reason=zoo.WHY_NOT)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_next_turn_begins_as_this_one_did(path: Path) -> None:
    """Up to the end of the first user's content, so that its cells are read once."""
    try:
        first, second = (joined(ours(path, TALKS[name])) for name in ("system", "second turn"))
    except ModelError:
        pytest.skip("the template does not render without tools")
    end = first.index(USER) + len(USER)
    assert second[:end] == first[:end]


@pytest.mark.skipif(not TEMPLATES, reason=zoo.WHY_NOT)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_default_prompt_stands_beside_ours(path: Path) -> None:
    """Tool instructions of templates that are made for tools remain: they are not prose of 1500 characters."""
    try:
        prompt = ours(path, TALKS["system"])
    except ModelError:
        pytest.skip("the template does not render without tools")
    n_chars = sum(len(span.text) for span in prompt if isinstance(span, Text) and span.special)
    assert n_chars < (3000 if "tool_use" in path.name else 900)
