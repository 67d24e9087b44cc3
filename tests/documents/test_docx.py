"""DOCX: headings, lists and tables as text, and a word on what is not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.documents.load import load
from pipeline.errors import DocumentError
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
    text = "# Harbour\n\n5 < 6 & “more”.\n\n## Fares\n\nWho: Dog; Marks: 6\n\nOne word, 10^6"
    fares = text.index("## Fares")
    assert (document.text, document.kind, document.title, document.notes) == (text, "docx", "Harbour", ())
    assert document.headings == (Heading(0, 1, "Harbour"), Heading(fares, 2, "Fares"))
    assert document.place(text.index("Dog")) == Place(None, None, ("Harbour", "Fares"), 1)


def test_the_title_is_that_of_its_properties(tmp_path: Path) -> None:
    data = docx(paragraph("On harbours", "Title"), **{"docProps/core.xml": properties("All  harbours")})
    assert loaded(tmp_path, data).title == "All harbours"
    assert loaded(tmp_path, docx(paragraph("On harbours", "Title"))).title == "On harbours"
    assert loaded(tmp_path, docx(paragraph("Text."))).title == "the report"


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def test_notes_comments_and_page_headers_are_read_where_they_belong(tmp_path: Path) -> None:
    body = (
        '<w:p><w:r><w:t>The fee is 7 marks</w:t></w:r><w:r><w:footnoteReference w:id="3"/></w:r>'
        '<w:r><w:t xml:space="preserve"> a night.</w:t></w:r><w:r><w:commentReference w:id="1"/></w:r></w:p>'
    )
    parts = {
        "word/footnotes.xml": f'<w:notes {W}><w:footnote w:id="3">{paragraph("8 in June")}</w:footnote></w:notes>',
        "word/comments.xml": f'<w:comments {W}><w:comment w:id="1">{paragraph("Too low!")}</w:comment></w:comments>',
        "word/header1.xml": f"<w:hdr {W}>{paragraph('Draft of the council')}</w:hdr>",
    }
    document = loaded(tmp_path, docx(body, **parts))
    assert document.text == (
        "The fee is 7 marks [note: 8 in June] a night. [comment: Too low!]\n\nPage header: Draft of the council"
    )
    assert document.notes == ("1 comment read in the places where they stand",)


def test_moved_text_stands_once_and_a_text_box_behind_its_paragraph(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{paragraph('In the box: 42.')}</w:txbxContent>"
    body = (
        f"<w:p><w:r><w:t>Before.</w:t></w:r><w:r><w:pict>{box}</w:pict></w:r></w:p>"
        "<w:p><w:moveFrom><w:r><w:t>The rope is 9 m.</w:t></w:r></w:moveFrom></w:p>"
        "<w:p><w:r><w:t>After</w:t></w:r><w:r><w:softHyphen/><w:t>wards, a co</w:t>"
        "<w:noBreakHyphen/><w:t>op.</w:t></w:r></w:p>"
        "<w:p><w:moveTo><w:r><w:t>The rope is 9 m.</w:t></w:r></w:moveTo></w:p>"
    )
    document = loaded(tmp_path, docx(body))
    assert document.text == "Before.\n\nIn the box: 42.\n\nAfterwards, a co-op.\n\nThe rope is 9 m."
    assert document.notes == (
        "tracked changes: read as if all were accepted",
        "1 text box read behind the paragraphs that hold them",
    )


def test_a_table_in_a_cell_and_a_field_without_a_beginning_lose_nothing(tmp_path: Path) -> None:
    inner = table(("inner", "3.1 m"))
    body = table(("Berth", "Depth"), ("North", "6.5 m")).replace("</w:tbl>", "") + (
        f"<w:tr><w:tc>{paragraph('West')}</w:tc><w:tc>{inner}{paragraph('')}</w:tc></w:tr></w:tbl>"
        '<w:p><w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>The sum is 82.</w:t></w:r></w:p>'
    )
    document = loaded(tmp_path, docx(body))
    assert document.text == "Berth: North; Depth: 6.5 m\nBerth: West; Depth: inner, 3.1 m\n\nThe sum is 82."
    assert document.notes == ()


def test_deleted_text_is_not_there_and_inserted_text_is(tmp_path: Path) -> None:
    body = "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>"
    document = loaded(tmp_path, docx(body))
    assert (document.text, document.notes) == ("new", ("tracked changes: read as if all were accepted",))


def test_its_parts_make_a_docx_not_its_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, docx(paragraph("Text.")), "copy.bin").kind == "docx"


def test_a_broken_part_that_is_not_read_is_an_error_of_ours(tmp_path: Path) -> None:
    data = bytearray(docx(paragraph("Text."), **{"word/styles.xml": "<w:styles/>" + "x" * 50}))
    data[data.index(b"x" * 50) + 3] ^= 1
    with pytest.raises(DocumentError, match="a broken DOCX"):
        loaded(tmp_path, bytes(data))
