"""PPTX, read by python-pptx: the slides in order with their tables, notes and text boxes; the place is the slide."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.documents.limits import check_unpacked_data
from pipeline.documents.tables import Cells, Grid, table_lines
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.errors import DocumentError
from pipeline.types import Document


def load_pptx(path: Path, data: bytes) -> Document:
    """Each slide's title as a heading, then its shapes from top to bottom, then its notes. Hidden slides are noted.

    Raises DocumentError for a file that is broken.
    """
    import pptx

    writer = Writer()
    notes: list[str] = []
    n_pictures = 0
    try:
        check_unpacked_data(str(path), data)
        presentation = pptx.Presentation(io.BytesIO(data))
        for number, slide in enumerate(presentation.slides, 1):
            label = f"slide {number}"
            title = slide.shapes.title
            named = _words(title.text_frame.text) if title is not None and title.has_text_frame else ""
            writer.heading(named or f"Slide {number}", 1, label)
            for shape in _shapes(slide.shapes):
                if title is None or shape.shape_id != title.shape_id:
                    n_pictures += _write(writer, shape, label)
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                spoken = slide.notes_slide.notes_text_frame.text.strip()
                writer.block(f"Notes: {_lines(spoken)}" if spoken else "", f"{label}, notes")
            if slide._element.get("show") == "0":
                notes.append(f"slide {number} is hidden, and was read")
        title_of_file = str(presentation.core_properties.title or "")
    except DocumentError:
        raise
    except Exception as error:
        # python-pptx raises whatever its XML reader, zipfile or a dictionary raises: any means a broken file.
        raise DocumentError(f"{path}: a broken PPTX ({error}): open it in a viewer and save it again") from None
    if n_pictures:
        notes.append(f"{n_pictures} picture{'s' if n_pictures > 1 else ''} not read")
    first = next((h.title for h in writer.headings if not h.title.startswith("Slide ")), "")
    is_named = title_of_file and title_of_file != "PowerPoint Presentation"
    return writer.document(path, "pptx", title_of_file if is_named else first or readable_name(path), notes)


def _shapes(shapes: Any) -> Iterator[Any]:
    """The shapes from top to bottom and from left to right, those of a group in its place."""
    for shape in sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0)):
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _write(writer: Writer, shape: Any, label: str) -> int:
    """Writes a shape; the number of pictures without words in it."""
    if getattr(shape, "has_table", False) and shape.has_table:
        rows = [tuple(_cell(cell) for cell in row.cells) for row in shape.table.rows]
        n_marked = int(bool(shape.table.first_row) and len(rows) > 1)
        for row in table_lines(Grid(rows, range(len(rows)), n_marked)):
            writer.block(row.text, label, is_tight=True)
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        for row in table_lines(_chart(shape.chart)):
            writer.block(row.text, label, is_tight=True)
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            words = _lines(paragraph.text)
            bullet = "  " * paragraph.level + "- " if paragraph.level or len(shape.text_frame.paragraphs) > 1 else ""
            writer.block(bullet + words if words else "", label, is_tight=bool(bullet))
    elif shape.shape_type is not None and shape.shape_type.name == "PICTURE":
        return 1
    return 0


def _chart(chart: Any) -> Grid:
    """A chart's numbers: a row for each category, a column for each series."""
    plot = chart.plots[0]
    categories = [str(category) for category in plot.categories]
    series = list(plot.series)
    rows: list[Cells] = [("", *(str(line.name or "") for line in series))]
    for n, category in enumerate(categories):
        values = (line.values[n] if n < len(line.values) else None for line in series)
        rows.append((category, *("" if value is None else f"{value:.15g}" for value in values)))
    return Grid(rows, range(len(rows)), 1)


def _cell(cell: Any) -> str:
    if cell.is_spanned:
        return ""
    return _lines(cell.text_frame.text)


def _lines(text: str) -> str:
    return " / ".join(filter(None, (_words(line) for line in text.replace("\v", "\n").split("\n"))))


def _words(text: str) -> str:
    return " ".join(text.split())
