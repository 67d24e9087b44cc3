"""Jupyter notebooks: the cells in order, with the text of their outputs, whose pictures are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pipeline.documents.markdown import headings
from pipeline.documents.tables import count_of
from pipeline.documents.text import decode, readable_name
from pipeline.documents.writer import Writer
from pipeline.errors import DocumentError
from pipeline.types import Document, Heading

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_OUTPUT_CHARS = 20_000
_SHOWN = ("text/markdown", "text/plain", "text", "text/latex", "latex")
"""What of an output is read: the first that it has. HTML and JSON are read where there is none of these."""


def load_notebook(path: Path, data: bytes) -> Document:
    """Markdown as it is, code and its output; the place is the cell's number, counted from 1. Formats 3 and 4.

    Raises DocumentError for a file that is no notebook.
    """
    text, notes = decode(path, data)
    try:
        notebook = json.loads(text)
        sheets = notebook.get("worksheets") or [notebook]
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        raise DocumentError(f"{path}: no notebook ({error}): open it in Jupyter and save it again") from None
    writer = Writer()
    n_pictures = n_cut = 0
    for number, cell in enumerate(filter(_is_mapping, cells), 1):
        source = _joined(cell.get("source", cell.get("input", "")))
        kind = cell.get("cell_type")
        start = writer.start_of_next
        if kind == "heading":  # format 3
            writer.heading(source, count_of(str(cell.get("level")), 6), f"cell {number}")
            continue
        if kind == "code" and source.strip():
            writer.block(f"```\n{source}\n```", f"cell {number}")
        else:
            writer.block(source, f"cell {number}")
            shift = start - (len(source) - len(source.lstrip("\n")))
            writer.headings += [
                Heading(heading.start + shift, heading.level, heading.title)
                for heading in (headings(source) if kind == "markdown" else ())
            ]
        outputs = cell.get("outputs")
        for output in filter(_is_mapping, outputs if isinstance(outputs, list) else ()):
            shown, n = _output(output)
            n_pictures += n
            n_cut += len(shown) > _OUTPUT_CHARS
            writer.block(shown[:_OUTPUT_CHARS], f"cell {number}, output")
    if n_pictures:
        notes += (f"{n_pictures} picture{'s' if n_pictures > 1 else ''} of outputs not read",)
    if n_cut:
        notes += (f"{n_cut} outputs cut after {_OUTPUT_CHARS} characters",)
    title = writer.headings[0].title if writer.headings else readable_name(path)
    return writer.document(path, "ipynb", title, notes)


def _output(output: Mapping[str, object]) -> tuple[str, int]:
    """An output's text, and how many pictures it shows beside or instead of it."""
    kind = output.get("output_type")
    if kind == "stream":
        return _plain(output.get("text", "")), 0
    if kind in ("error", "pyerr"):
        error = f"{output.get('ename', '')}: {output.get('evalue', '')}"
        traceback = output.get("traceback")
        lines = [_plain(line) for line in traceback] if isinstance(traceback, list) else []
        return "\n".join(lines if any(error in line for line in lines) else [*lines, error]), 0
    data = output.get("data")
    data = data if isinstance(data, dict) else output  # format 3 has the texts in the output itself
    n_pictures = any(str(name).startswith("image") or name in ("png", "jpeg", "svg") for name in data)
    text = next((data[kind] for kind in _SHOWN if data.get(kind)), "")
    if not text and (page := data.get("text/html") or data.get("html")):
        text = _words_of_page(_joined(page))
    if not text and "application/json" in data:
        text = json.dumps(data["application/json"], ensure_ascii=False)
    return ("" if n_pictures and _is_repr(_plain(text)) else _plain(text)), int(n_pictures)


def _words_of_page(source: str) -> str:
    """The text of an output that is HTML alone; as it is written without the library that reads pages."""
    if find_spec("lxml") is None:
        return source
    from pipeline.documents.html import parse, render

    blocks, _ = render(parse(Path("output"), source))
    return "\n".join(block.text for block in blocks)


def _is_repr(text: str) -> bool:
    """Whether a text only names the object of a picture: `<Figure size 640x480 with 1 Axes>`."""
    return text.startswith("<") and text.rstrip().endswith(">")


def _plain(text: object) -> str:
    return _COLOURS.sub("", _joined(text))


def _joined(text: object) -> str:
    parts = text if isinstance(text, list) else [text]
    return "".join(str(part) for part in parts if part is not None)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)
