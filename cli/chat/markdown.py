"""Markdown for a terminal: nothing of the text is lost, and no text can drive the terminal.

Rich leaves HTML out of what it shows; here it is shown as it was written. A control character (an escape sequence in a
document, say) is shown as a mark instead of being sent.
"""

from __future__ import annotations

from markdown_it import MarkdownIt
from rich.markdown import Markdown

from pipeline.text.visible import visible

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


def rendered(text: str) -> Markdown:
    """The text as Markdown that a console prints. Links are written out rather than hidden behind their words."""
    markdown = Markdown("", hyperlinks=False)
    markdown.markup = visible(text)
    markdown.parsed = _PARSER.parse(markdown.markup)
    return markdown
