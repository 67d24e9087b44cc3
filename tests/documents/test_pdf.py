"""PDF: text with pages and lines, bookmarks as headings, and a word on pages without text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.documents import ocr
from pipeline.documents.load import load
from pipeline.documents.page_layout import Line, has_cells, lay_out, lay_out_page, titles_of
from pipeline.documents.pdf import load_pdf
from pipeline.errors import ConfigError
from pipeline.text.sentences import sentences
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


PROSE = ["The harbour office keeps regular hours and", "publishes them at the gate. It is closed on", "Mondays."]


def test_gaps_and_larger_letters_part_paragraphs(tmp_path: Path) -> None:
    lines = ["Hours", *PROSE, "", "Dogs pay half. They may", "", "not enter the shed.", *PROSE]
    document = loaded(tmp_path, pdf([lines], large=["Hours"]))
    assert document.text.split("\n\n") == [
        "Hours",
        "\n".join(PROSE),
        "\n".join(["Dogs pay half. They may", "not enter the shed.", *PROSE]),  # a sentence that goes on
    ]
    first = next(text for start, end in sentences(document.text) if "regular" in (text := document.text[start:end]))
    assert first == "The harbour office keeps regular hours and\npublishes them at the gate."


def test_short_lines_in_larger_letters_are_headings(tmp_path: Path) -> None:
    title = "A harbour and"
    pages = [[title, "its hours", *PROSE, *PROSE], ["Dogs", *PROSE, *PROSE], ["Not one.", *PROSE]]
    document = loaded(tmp_path, pdf(pages, large=[title, "its hours", "Dogs", "Not one."]))
    dogs = document.text.index("Dogs")
    assert document.headings == (Heading(0, 1, "A harbour and its hours"), Heading(dogs, 1, "Dogs"))
    assert document.place(document.text.rindex("Mondays")).heading == ("Dogs",)
    marked = loaded(tmp_path, pdf(pages, bookmarks=[(1, "Dogs")], large=[title, "its hours", "Dogs"]))
    assert marked.headings == (Heading(dogs, 1, "Dogs"),)


def test_what_heads_every_page_and_a_poster_are_no_headings(tmp_path: Path) -> None:
    head = "Harbour office"
    pages = [[head, f"Part {number}", *PROSE] for number in ("one", "two", "three")]
    document = loaded(tmp_path, pdf(pages, large=[head, "Part two"]))
    assert [heading.title for heading in document.headings] == ["Part two"]
    poster = ["Come", "and see", *PROSE, "Now", "or", *PROSE[:1], "never"]
    assert loaded(tmp_path, pdf([poster], large=["Come", "Now", "never"])).headings == ()


TITLES = [
    "Why we changed the harbour dues", "Fees", "The old crane", "A berth for a night", "Nothing is free in Hull",
    "i", "W W W", "Dogs and other guests of the shed", "Who pays?", "Wind - rain - tides", "An index to everything",
]  # fmt: skip


@pytest.mark.parametrize("title", TITLES)
def test_the_size_of_a_line_is_found_whatever_its_words_are(title: str, tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([[title, *PROSE, *PROSE]], large=[title]))
    assert document.headings == (Heading(0, 1, title),)


def test_a_heading_is_a_whole_line(tmp_path: Path) -> None:
    lines = ["Dogs are let in on", "Mondays.", "", "Dogs", *PROSE]
    document = loaded(tmp_path, pdf([lines], large=["Dogs"]))
    assert document.headings == (Heading(document.text.index("Dogs\n"), 1, "Dogs"),)


def column(*lines: tuple[str, float, float]) -> list[Line]:
    """Lines of a page, each as its text, the size of its letters and its distance from the one above."""
    y, result = 50.0, []
    for text, size, distance in lines:
        y += distance
        result.append(Line(text, 72, y - size, 72 + 5 * len(text), y, size, y))
    return result


def test_small_print_parts_no_sentence_of_the_body() -> None:
    body = [
        "Der Vorstand beschloss im Mai die neue",
        "Satzung und legte sie dem",
        "Amtsgericht vor.",
        "Es trug sie ein.",
    ]
    notes = [f"{n} Vgl. das Protokoll, S. {n}." for n in range(1, 9)]
    page = column(*((text, 12.0, 14.4) for text in body), *((text, 8.0, 9.6) for text in notes))
    assert lay_out_page(page) == "\n".join(body) + "\n\n" + "\n".join(notes)


def test_wide_lines_are_a_paragraph_too() -> None:
    close = [("The office keeps regular hours and", 12.0, 14.0), ("closes at four.", 12.0, 14.0)] * 3
    wide = [("It was led by Doctor", 12.0, 28.0), ("Smith of the Harbour Board in", 12.0, 28.0), ("Hull.", 12.0, 28.0)]
    said = "It was led by Doctor\nSmith of the Harbour Board in\nHull."
    assert lay_out_page(column(*close, *wide)).split("\n\n")[-1] == said
    assert lay_out_page(column(*wide)) == said


def test_a_number_belongs_to_its_heading_and_a_bullet_to_its_line() -> None:
    lines: list[Line] = []
    numbered = [("1", "Introduction", 14.0), ("2", "Methods", 14.0), ("•", "Dogs", 12.0)]
    for n, (number, title, size) in enumerate(numbered):
        y = 60.0 * n + 50
        lines += [
            Line(number, 72, y, 80, y + size, size, y + size),
            Line(title, 95, y, 95 + 6 * len(title), y + size, size, y + size),
            Line("It is closed on Mondays, and", 72, y + 20, 250, y + 32, 12.0, y + 32),
            Line("dogs pay half.", 72, y + 34, 160, y + 46, 12.0, y + 46),
        ]
    text = lay_out_page(lines)
    assert text.startswith("1 Introduction\n\nIt is closed on Mondays, and\ndogs pay half.\n\n2 Methods\n\n")
    assert "• Dogs\n" in text
    assert titles_of([lay_out(lines)]) == [(0, 1, "1 Introduction"), (0, 1, "2 Methods")]


def test_a_sentence_may_run_on_over_a_page(tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([["The comet that she found"], ["returns."], ["The end."]]))
    assert document.text == "The comet that she found\nreturns.\n\nThe end."
    assert document.pages == (0, 25, 35)


def test_a_page_without_text_is_told_and_keeps_its_number(tmp_path: Path) -> None:
    document = loaded(tmp_path, pdf([["One."], [], ["Three."]]))
    assert document.place(document.text.index("Three")).page == 3
    assert document.notes == ("page 2 without text",)


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


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    left = [
        "The first column says this and",
        "goes on to the end of it all,",
        "where the mast was found in",
        "a shed behind the old pier",
        "by the keeper of the light.",
    ]
    right = [words.replace("the", "its") for words in left]
    lines = [Line("A title over both of the columns of this page", 50, 10, 500, 20)]
    for n, (a, b) in enumerate(zip(left, right, strict=True)):
        lines += [Line(a, 50, 40 + n * 12, 250, 50 + n * 12), Line(b, 300, 40 + n * 12, 500, 50 + n * 12)]
    assert lay_out_page(lines) == "\n".join([lines[0].text, *left, *right])


def test_rows_of_a_table_name_their_columns() -> None:
    rows = [("Quarter", "Revenue"), ("Q1", "812"), ("Q2", "1,077")]
    lines = [Line("Figures of the year.", 50, 10, 200, 20)]
    for n, (a, b) in enumerate(rows, 2):
        lines += [Line(a, 50, n * 15, 90, n * 15 + 10), Line(b, 200, n * 15, 240, n * 15 + 10)]
    assert has_cells(lines)
    assert lay_out_page(lines) == "Figures of the year.\nQuarter: Q1; Revenue: 812\nQuarter: Q2; Revenue: 1,077"


def test_a_scanned_page_is_read_by_ocr(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    from PIL import Image, ImageDraw, ImageFont

    words = ["The mooring fee is 475 euros.", "Gate B opens at six."]
    page = Image.new("RGB", (1240, 600), "white")
    for n, line in enumerate(words):
        ImageDraw.Draw(page).text((100, 100 + 80 * n), line, "black", ImageFont.load_default(32))
    page.save(tmp_path / "a.png")
    page.save(tmp_path / "a.pdf", resolution=150)
    for name in ("a.png", "a.pdf"):
        document = load(tmp_path / name)
        assert document.text == "\n".join(words)
        assert document.place(40).page == 1
        assert re.fullmatch(r"1 page read by OCR with a confidence of (0\.9\d|1\.00)", document.notes[0])
    page.rotate(180).save(tmp_path / "b.png")
    assert load(tmp_path / "b.png").text == "\n".join(words)


def test_pages_beyond_the_limit_are_left_out_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pdf([[f"This is page {n}."] for n in range(1, 6)])
    monkeypatch.setenv("LONGTHREAD_MAX_PDF_PAGES", "3")
    document = loaded(tmp_path, data)
    assert document.text.split("\n\n") == [f"This is page {n}." for n in (1, 2, 3)]
    assert document.notes == ("the last 2 of 5 pages were not read: set LONGTHREAD_MAX_PDF_PAGES higher to read them",)
    assert document.limits == ("LONGTHREAD_MAX_PDF_PAGES",)
    monkeypatch.setenv("LONGTHREAD_MAX_PDF_PAGES", "many")
    with pytest.raises(
        ConfigError, match="LONGTHREAD_MAX_PDF_PAGES must be a whole number of pages above 0, was: many"
    ):
        loaded(tmp_path, data)


def test_scans_are_recognised_up_to_a_limit_and_not_at_all_without_ocr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "is_installed", lambda: True)
    monkeypatch.setattr(ocr, "recognise", lambda image: ocr.Recognised("A sign.", 1.0))
    monkeypatch.setenv("LONGTHREAD_MAX_OCR_PAGES", "1")
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf([["Typed."], [], []]))
    document = load(path)
    assert document.text == "Typed.\n\nA sign.\n\n"
    assert document.notes == (
        "page 3 not recognised: set LONGTHREAD_MAX_OCR_PAGES higher to read them",
        "1 page read by OCR with a confidence of 1.00",
    )
    assert document.limits == ("LONGTHREAD_MAX_OCR_PAGES",)
    document = load(path, ocr=False)
    assert document.limits == ()
    assert document.notes == ("pages 2, 3 without text: if these are scans, index.ocr: auto reads them",)


@pytest.mark.parametrize("is_installed", [True, False])
def test_a_page_whose_text_lies_outside_of_its_edges_is_no_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    """Neither OCR nor a higher limit finds text on it."""
    monkeypatch.setattr(ocr, "is_installed", lambda: is_installed)
    hidden = [""] * 60 + ["A sign."]
    for use_ocr in (True, False):
        document = load_pdf(tmp_path / "a.pdf", pdf([["Typed."], hidden]), use_ocr)
        assert document.notes == (
            "page 2 without text",
            "6 characters outside of the edges of page 2 left out",
        )
        assert document.limits == ()


def test_a_tiff_names_the_limit_that_cut_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    monkeypatch.setattr(ocr, "recognise", lambda image: ocr.Recognised("A sign.", 1.0))
    frames = [image.new("RGB", (40, 20), "white") for _ in range(3)]
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
    data = (tmp_path / "a.tiff").read_bytes()
    assert ocr.load_picture(tmp_path / "a.tiff", data).limits == ()
    monkeypatch.setenv("LONGTHREAD_MAX_OCR_PAGES", "2")
    document = ocr.load_picture(tmp_path / "a.tiff", data)
    assert document.limits == ("LONGTHREAD_MAX_OCR_PAGES",)
    assert document.notes[-1] == "the last 1 of 3 pages were not read: set LONGTHREAD_MAX_OCR_PAGES higher to read them"
