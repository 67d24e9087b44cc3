"""DOCX: headings, lists and tables as text, and a word on what is not read."""

from __future__ import annotations

from pathlib import Path

from pipeline.documents.load import load
from pipeline.types import Document, Heading, Place
from tests.documents.docx_file import docx, paragraph, properties, table


def loaded(folder: Path, data: bytes, name: str = "the_report.docx") -> Document:
    path = folder / name
    path.write_bytes(data)
    return load(path)


def test_headings_tables_and_places(tmp_path: Path) -> None:
    body = (
        paragraph("Harbour", "heading1")
        + paragraph("5 < 6 & “more”.")
        + paragraph("Fares", "heading2")
        + table(("Who", "Marks"), ("Dog", "6"))
        + "<w:p><w:r><w:t>One wo</w:t></w:r><w:r><w:t>rd, 10</w:t></w:r>"
        + '<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r></w:p>'
    )
    document = loaded(tmp_path, docx(body))
    text = "# Harbour\n\n5 < 6 & “more”.\n\n## Fares\n\n| Who | Marks |\n| Dog | 6 |\n\nOne word, 10^6"
    fares = text.index("## Fares")
    assert (document.text, document.kind, document.title, document.notes) == (text, "docx", "Harbour", ())
    assert document.headings == (Heading(0, 1, "Harbour"), Heading(fares, 2, "Fares"))
    assert document.place(text.index("Dog")) == Place(None, None, ("Harbour", "Fares"), 2)


def test_the_title_is_that_of_its_properties(tmp_path: Path) -> None:
    data = docx(paragraph("On harbours", "Title"), **{"docProps/core.xml": properties("All  harbours")})
    assert loaded(tmp_path, data).title == "All harbours"
    assert loaded(tmp_path, docx(paragraph("On harbours", "Title"))).title == "On harbours"
    assert loaded(tmp_path, docx(paragraph("Text."))).title == "the report"


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    data = docx(paragraph("Text."), **{"word/header1.xml": "<x/>", "word/comments.xml": "<x/>"})
    assert loaded(tmp_path, data).notes == ("not read: page headers, comments",)


def test_deleted_text_is_not_there_and_inserted_text_is(tmp_path: Path) -> None:
    body = "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>"
    assert loaded(tmp_path, docx(body)).text == "new"


def test_its_parts_make_a_docx_not_its_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, docx(paragraph("Text.")), "copy.bin").kind == "docx"
