"""The process that runs chat templates. It imports jinja and nothing of longthread, and holds no user data.

A template is code from a downloaded file. It may loop forever, allocate all memory, or crash the interpreter by deep
nesting; here it can end only this process. `template_process.py` starts it, writes one JSON object per line, and reads
one back: {"template", "day", "requests": [{"messages", "arguments"}]} -> [{"text"} or {"error"}].

The environment is that of transformers: its extensions, its `tojson`, `raise_exception`, `strftime_now`. There are two
differences: the date is given, and a default system prompt (a constant of at least DEFAULT_PROMPT characters that the
template assigns to a name) is blank, since longthread's prompts have their own instructions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

DEFAULT_PROMPT = 400
"""Least length of a default system prompt: the shortest of the zoo has 1058 characters, role texts have 70."""
LONGEST = 1_000_000
"""Limit of a template's output without contents, in characters."""


class Generation(Extension):
    """`{% generation %}`, which marks the assistant's words for training: here it renders only its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Environment(ImmutableSandboxedEnvironment):
    """transformers' environment, with a blank default system prompt."""

    def __init__(self, day: str) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
        self.filters["tojson"] = to_json
        self.globals["raise_exception"] = raise_exception
        self.globals["strftime_now"] = datetime.fromisoformat(day).strftime

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(nodes.Assign):
            if sum(len(text) for text in constants(node.node)) >= DEFAULT_PROMPT:
                node.node = nodes.Const("", lineno=node.lineno)
        for block in tree.find_all(nodes.AssignBlock):
            data = [part.data for output in block.body for part in output.find_all(nodes.TemplateData)]
            if sum(len(text) for text in data) >= DEFAULT_PROMPT:
                block.body = []
        return tree


def constants(node: nodes.Node) -> Iterator[str]:
    """Yields the string constants that an expression concatenates."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, nodes.Add):
        yield from constants(node.left)
        yield from constants(node.right)
    elif isinstance(node, nodes.Concat):
        for part in node.nodes:
            yield from constants(part)


def to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Converts to plain JSON; jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


@lru_cache(8)
def compiled(source: str, day: str) -> jinja2.Template:
    return Environment(day).from_string(source)


def render(source: str, day: str, request: dict[str, Any]) -> dict[str, str]:
    """Renders a request; returns the text or the template's error. MemoryError passes to the caller."""
    try:
        template = compiled(source, day)
        text = template.render(messages=request["messages"], add_generation_prompt=True, **request["arguments"])
    except MemoryError:
        raise
    except Exception as error:  # a template can raise any exception
        return {"error": str(error) or type(error).__name__}
    if len(text) > LONGEST:
        return {"error": f"it writes {len(text)} characters beside the contents"}
    return {"text": text}


def main(memory: int) -> None:
    """Answers lines until the input closes; exits with 3 if `memory` bytes of address space do not suffice."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, OSError, ValueError):  # Windows and macOS: the limit of time remains
        pass
    for line in sys.stdin:
        work = json.loads(line)
        try:
            results = [render(work["template"], work["day"], request) for request in work["requests"]]
            reply = json.dumps(results)
        except MemoryError:
            sys.exit(3)
        sys.stdout.write(f"{reply}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
