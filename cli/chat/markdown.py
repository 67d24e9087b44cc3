"""Markdown for a terminal: nothing of the text is lost, and no text can drive the terminal.

Rich leaves HTML out of what it shows; here it is shown as it was written. A control character (an escape sequence in a
document, say) is shown as a mark instead of being sent.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from rich.markdown import Markdown

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


def visible(text: str) -> str:
    """The text with a mark for each control character but tab and line break."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def rendered(text: str) -> Markdown:
    """The text as Markdown that a console prints. Links are written out rather than hidden behind their words."""
    markdown = Markdown("", hyperlinks=False)
    markdown.markup = visible(text)
    markdown.parsed = _PARSER.parse(markdown.markup)
    return markdown


def finished(text: str) -> int:
    """How many characters at the beginning of an unfinished Markdown text are whole blocks that nothing can change.

    The last line is not looked at before its end has come: `-` may be a list, or the beginning of `-1`. The last block
    is never finished: the next line may still belong to it.
    """
    lines = text.split("\n")[:-1]
    tokens = _PARSER.parse("\n".join(lines))
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map and token.nesting >= 0]
    return sum(len(line) + 1 for line in lines[: starts[-1]]) if len(starts) > 1 else 0
