"""PDF: text with pages and lines, bookmarks as headings, and a word on pages without text."""

from __future__ import annotations

from pathlib import Path

from pipeline.documents.load import load
from pipeline.types import Document, Heading, Place
from tests.documents.pdf_file import pdf


def loaded(folder: Path, data: bytes, name: str = "the_handbook.pdf") -> Document:
    path = folder / name
    path.write_bytes(data)
    return load(path)


def test_pages_and_bookmarks(tmp_path: Path) -> None:
    first = ["Handbook", "The mirror is washed in", "March (with soap)."]
    second = ["Visits", "Come on “Thursdays”."]
    document = loaded(tmp_path, pdf([first, second], "Korrin", [(0, "Handbook"), (1, "Visits"), (1, "Nowhere")]))
    text = "\n".join(first) + "\n\n" + "\n".join(second)
    visits = text.index("Visits")
    assert (document.text, document.kind, document.title) == (text, "pdf", "Korrin")
    assert document.pages == (0, visits)
    assert document.headings == (Heading(0, 1, "Handbook"), Heading(visits, 1, "Visits"))
    assert document.notes == ()
    assert document.place(text.index("washed")) == Place(None, 1, ("Handbook",))
    assert document.place(text.index("Thursdays")) == Place(None, 2, ("Visits",))


def test_a_sentence_may_run_on_over_a_page(tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([["The comet that she found"], ["returns."], ["The end."]]))
    assert document.text == "The comet that she found\nreturns.\n\nThe end."
    assert document.pages == (0, 25, 35)


def test_a_page_without_text_is_told_and_keeps_its_number(tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([["One."], [], ["Three."]]))
    assert document.place(document.text.index("Three")).page == 3
    assert document.notes == ("page 2 without text: if these are scans, run them through OCR first (ocrmypdf)",)


def test_text_outside_of_the_page_is_left_out_and_told(tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([["One."] * 60, ["Two."]]))
    n_visible = len("".join(document.text[: document.pages[1]].split()))
    assert 200 < n_visible < 240
    assert document.notes == (f"{240 - n_visible} characters outside of the edges of page 1 left out",)


def test_a_word_broken_at_a_lines_end_is_joined_where_the_document_knows_it(tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([["A comet and a long-", "term plan. The com-", "et returns."]]))
    assert document.text == "A comet and a long-term plan. The comet returns."


def test_the_files_name_is_the_title_where_the_pdf_has_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, pdf([["One."]])).title == "the handbook"
    assert loaded(tmp_path, pdf([["One."]], "Microsoft Word - a.doc")).title == "the handbook"


def test_its_first_bytes_make_a_pdf_not_its_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, pdf([["One."]]), "scan.txt").kind == "pdf"
