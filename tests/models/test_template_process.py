"""Templates that loop, ask for memory, nest or forge: each is an error with the file, and none hangs or ends us."""

import time
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.models import template_process
from pipeline.models.chat_template import ChatTemplate
from pipeline.types import Message, Text

TALK = (Message("system", (Text("Be brief."),)), Message("user", (Text("Why?"),)))
DEEP = "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}"
HOSTILE = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "power": "{{ 9**9**9 }}",
    "greater power": "{{ 9**(9**9) }}",
    "power of a variable": "{% set a = messages | length + 7 %}{{ a**(a**a) }}",
    "long text": "{{ 'a' * 10**10 }}",
    "long output": "{{ 'a' * 10**7 }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "nesting": DEEP,
    "overflow": "{{ 10.0 ** 400 }}",
    "division": "{{ 1 / 0 }}",
    "undefined": "{{ messages[7].content.x }}",
    "key": "{{ messages[0]['content'].format_map({}).x.y }}",
    "type": "{{ messages + 1 }}",
    "index": "{{ [][1].a }}",
    "range": "{{ range(10**9) | list }}",
    "forged mark": "{% for m in messages %}{{ m.content }}{% endfor %}\ue0000\ue001\U000f0007",
    "forged by format": "{% for m in messages %}{{ m.content }}{% endfor %}{{ '%c' | format(983047) }}",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    monkeypatch.setattr(template_process, "SECONDS", 1.5)


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_an_error_that_names_the_file(source: str) -> None:
    template = ChatTemplate(source, "", (), "evil.gguf")
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"^evil\.gguf: its chat template (cannot be rendered|leaves out)"):
        template.render(TALK)
    assert time.monotonic() - start < 30
    with pytest.raises(ModelError, match=r"evil\.gguf"):
        template.render(TALK)


def test_the_next_template_is_rendered_after_one_that_was_ended() -> None:
    with pytest.raises(ModelError, match="more than"):
        ChatTemplate("{{ 9**(9**9) }}", "", (), "evil.gguf").render(TALK)
    spans = ChatTemplate("{% for m in messages %}{{ m.content }};{% endfor %}", "", (), "a.gguf").render(TALK)
    assert [span.text for span in spans if isinstance(span, Text)] == ["Be brief.", ";", "Why?", ";"]


def test_what_was_rendered_once_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    first = ChatTemplate(source, "", (), "a.gguf").render(TALK)

    def no_process(*_: object) -> None:
        raise AssertionError("a process was asked")

    monkeypatch.setattr(template_process.Worker, "ask", no_process)
    other = (Message("system", (Text("Say more."),)), TALK[1])
    again = ChatTemplate(source, "", (), "a.gguf").render(other)
    assert [span.text for span in again if isinstance(span, Text)] == ["<system>", "Say more.", "<user>", "Why?"]
    assert len(first) == len(again)


def test_a_damaged_file_in_the_cache_is_rendered_anew(tmp_path: Path) -> None:
    source = "{% for m in messages %}{{ m.content }}{% endfor %}"
    first = ChatTemplate(source, "", (), "a.gguf").render(TALK)
    (path,) = (tmp_path / "templates").iterdir()
    path.write_text('{"x": 3}')
    assert ChatTemplate(source, "", (), "a.gguf").render(TALK) == first
