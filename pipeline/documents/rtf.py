"""RTF, read by striprtf: its text with tables as records. What that library leaves out is noted, footnotes are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.documents.tables import Grid, table_lines
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.errors import DocumentError
from pipeline.types import Document

_CODE_PAGE = re.compile(rb"\\ansicpg(\d+)")
_ESCAPED_BRACE = re.compile(r"\\[\\{}]")
_LEFT_OUT = {"header": "page headers", "footer": "page footers", "annotation": "comments"}


def load_rtf(path: Path, data: bytes) -> Document:
    """The paragraphs in order. The title: that of the file's properties, else its name.

    Raises DocumentError for a file that is no RTF or is broken.
    """
    from striprtf.striprtf import rtf_to_text

    page = _CODE_PAGE.search(data[:1000])
    encoding = f"cp{int(page[1])}" if page and int(page[1]) not in (0, 65001) else "cp1252"
    source = data.decode("latin-1")
    if not source.lstrip().startswith("{\\rtf"):
        raise DocumentError(f"{path}: not an RTF, for it does not begin with {{\\rtf: save it again as RTF")
    source, notes = _prepare(source)
    try:
        text = rtf_to_text(source, encoding=encoding, errors="replace")
        titles = [rtf_to_text(f"{{\\rtf1 {group[7:]}", encoding=encoding, errors="replace").strip()
                  for group in _groups(source, "title")]  # fmt: skip
    except Exception as error:
        # striprtf raises whatever a codec, a dictionary or a conversion raises: any of them means a broken file.
        raise DocumentError(f"{path}: a broken RTF ({error}): open it in a word processor and save it again") from None
    writer = Writer()
    rows: list[tuple[str, ...]] = []
    for line in [*text.replace("\xa0", " ").split("\n"), ""]:
        if line.rstrip().endswith("|"):
            rows.append(tuple(cell.strip() for cell in line.rstrip()[:-1].split("|")))
            continue
        for row in table_lines(Grid(rows, range(len(rows)))):
            writer.block(row.text, is_tight=True)
        rows = []
        writer.block(line)
    return writer.document(path, "rtf", next(filter(None, titles), readable_name(path)), notes)


def _prepare(source: str) -> tuple[str, list[str]]:
    """The source with its footnotes as text and without what was deleted, and notes on what is not in the text."""
    notes = [f"not read: {what}" for word, what in _LEFT_OUT.items() if next(_groups(source, word), "")]
    for group in list(_groups(source, "footnote")):
        source = source.replace(group, "{ [" + group[1:-1].replace("\\footnote", "footnote:", 1) + "]}", 1)
    deleted = list(_groups(source, "deleted"))
    for group in deleted:
        source = source.replace(group, "", 1)
    if deleted or "\\revised" in source:
        notes.append("tracked changes: read as if all were accepted")
    if re.search(r"\\v(?![a-z0-9])", source):
        notes.append("holds hidden text, which was read")
    return source, notes


def _groups(source: str, word: str) -> Iterator[str]:
    """Each group that begins with a control word, braces included."""
    plain = _ESCAPED_BRACE.sub("..", source)
    for match in re.finditer(rf"\{{(?:\\\*)?\\{word}(?![a-z])", plain):
        depth = 0
        for brace in re.finditer(r"[{}]", plain[match.start() :]):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                yield source[match.start() : match.start() + brace.end()]
                break
