"""The process in which chat templates run: it imports jinja and nothing of ours, and holds no data of the user.

A template is code from a file that was downloaded. It may loop for ever, ask for all memory, or end the interpreter by
deep nesting; here it ends this process at worst. `template_process.py` starts it, writes one JSON object a line, and
reads one back: {"template", "day", "requests": [{"messages", "arguments"}]} -> [{"text"} or {"error"}].

The environment is that of transformers: its extensions, its `tojson`, `raise_exception`, `strftime_now`. Two things are
ours: the day is given, and a default system prompt (a constant of DEFAULT_PROMPT characters or more that the template
assigns to a name) is blank, since every prompt of ours has instructions of its own.
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
"""Characters from which a constant is a default system prompt: the shortest of the zoo has 1058, role texts have 70."""
LONGEST = 1_000_000
"""Characters that a template may write beside the contents."""


class Generation(Extension):
    """`{% generation %}`, with which training marks the assistant's words: here its body and nothing more."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Environment(ImmutableSandboxedEnvironment):
    """transformers' environment, for templates whose default system prompt is left blank."""

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
    """The string constants that are put together to the value of an expression."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, nodes.Add):
        yield from constants(node.left)
        yield from constants(node.right)
    elif isinstance(node, nodes.Concat):
        for part in node.nodes:
            yield from constants(part)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


@lru_cache(8)
def compiled(source: str, day: str) -> jinja2.Template:
    return Environment(day).from_string(source)


def render(source: str, day: str, request: dict[str, Any]) -> dict[str, str]:
    """The text, or the error that the template raised; MemoryError is the caller's."""
    try:
        template = compiled(source, day)
        text = template.render(messages=request["messages"], add_generation_prompt=True, **request["arguments"])
    except MemoryError:
        raise
    except Exception as error:  # a template can raise whatever Python can
        return {"error": str(error) or type(error).__name__}
    if len(text) > LONGEST:
        return {"error": f"it writes {len(text)} characters beside the contents"}
    return {"text": text}


def main(memory: int) -> None:
    """Answers lines until the other side closes; exits with 3 where `memory` bytes of address space did not suffice."""
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
