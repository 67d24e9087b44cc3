"""Author, date and language of each format that says them, out of small files made here."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.documents.load import load
from pipeline.documents.properties import iso_date, language_code, mail_date, pdf_date
from tests.documents.pdf_file import pdf

Known = tuple[str, str, str]
LATIN = "The ferry leaves the harbour at noon and it is the last one of the day."


def known(path: Path, data: bytes) -> Known:
    path.write_bytes(data)
    document = load(path)
    return document.author, document.date, document.language


def office(tmp_path: Path, suffix: str) -> Known:
    """A file made by the format's own library."""
    path = tmp_path / f"x{suffix}"
    if suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook()
        book.create_sheet("Sheet 2").append([LATIN])
        book.properties.creator = "Ada Byron"
        book.save(path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        stamp = parts["docProps/core.xml"].split(b"modified")[1].split(b">")[1][:20]
        parts["docProps/core.xml"] = parts["docProps/core.xml"].replace(stamp, b"2024-05-17T08:00:00Z")
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    else:
        from pptx import Presentation

        show = Presentation()
        show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = LATIN
        show.core_properties.author = "Ada Byron"
        show.core_properties.modified = datetime(2024, 5, 17, 8)
        show.save(path)
    return known(path, path.read_bytes())


def open_document() -> bytes:
    ns = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    ns += 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    ns += 'xmlns:meta="urn:oasis:names:tc:opendocument:xmlns:meta:1.0"'
    content = f"<office:document-content {ns}><office:body><office:text><text:p>{LATIN}</text:p></office:text>"
    content += "</office:body></office:document-content>"
    meta = f"<office:document-meta {ns}><office:meta><meta:initial-creator>Ada &amp; Odd</meta:initial-creator>"
    meta += (
        "<dc:date>2024-05-17T08:00:00</dc:date><dc:language>en-GB</dc:language></office:meta></office:document-meta>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", content)
        archive.writestr("meta.xml", meta)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".xlsx", ".pptx"])
def test_office_files_have_an_author_and_the_day_of_their_last_change(tmp_path: Path, suffix: str) -> None:
    assert office(tmp_path, suffix) == ("Ada Byron", "2024-05-17", "en")


def test_a_pdf_has_an_author_and_the_day_on_which_it_was_made(tmp_path: Path) -> None:
    data = pdf([[LATIN]], about="/Author (Ada Byron) /CreationDate (D:20240517093000+02'00') /ModDate (D:20260101)")
    assert known(tmp_path / "x.pdf", data) == ("Ada Byron", "2024-05-17", "en")


def test_an_open_document_says_it_in_its_meta_file(tmp_path: Path) -> None:
    assert known(tmp_path / "x.odt", open_document()) == ("Ada & Odd", "2024-05-17", "en")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.md", f"---\ntitle: T\nauthor: 'Ada Byron'\ndate: 2024-05-17\nlang: de-AT\n---\n{LATIN}",
         ("Ada Byron", "2024-05-17", "de")),
        ("y.md", f"author: Ada\n\n{LATIN}", ("", "", "en")),
        ("x.html", f'<html lang="tr"><head><meta name="author" content="Ada"><meta property="article:published_time" '
         f'content="2024-05-17T10:00:00+02:00"></head><body><p>{LATIN}</p></body></html>', ("Ada", "2024-05-17", "tr")),
        ("x.eml", f"From: Ada <ada@x.org>\nDate: Fri, 17 May 2024 23:30:00 -0500\nSubject: S\n\n{LATIN}\n",
         ("Ada <ada@x.org>", "2024-05-17", "en")),
        ("x.eml", f"From: Ada <ada@x.org>\nDate: nonsense\nSubject: S\n\n{LATIN}\n", ("Ada <ada@x.org>", "", "en")),
        ("x.rtf", "{\\rtf1\\ansi{\\info{\\author Ada Byron}{\\creatim\\yr2024\\mo5\\dy7\\hr1}}" + LATIN + "\\par}",
         ("Ada Byron", "2024-05-07", "en")),
        ("x.tex", "\\author{Ada Byron}\n\\date{17 May 2024}\n\\begin{document}\n" + LATIN + "\n\\end{document}",
         ("Ada Byron", "2024", "en")),
        ("x.org", f"#+AUTHOR: Ada\n#+DATE: <2024-05-17 Fri>\n\n* H\n{LATIN}\n", ("Ada", "2024-05-17", "en")),
        ("x.rst", f"Title\n=====\n\n:Author: Ada\n:Date: 2024-05\n\n{LATIN}\n", ("Ada", "2024-05", "en")),
        ("x.adoc", f"= Title\n:author: Ada\n:revdate: 2024-05-17\n\n{LATIN}\n", ("Ada", "2024-05-17", "en")),
        ("x.txt", "Die Fähre fährt um neun Uhr, und sie ist nicht die letzte. Wer hat das Boot gesehen?",
         ("", "", "de")),
        ("x.txt", "Паром уходит в полдень и это последний рейс сегодня вечером.", ("", "", "ru")),
        ("x.txt", "渡船は正午に出発します。 これは今日の最後の便です。 次の便は 明日の 朝です。", ("", "", "ja")),
        ("x.txt", "12 13 14 ferry 15", ("", "", "")),
        ("x.py", "def the_ferry():\n    return 'it is the last one of the day'\n", ("", "", "")),
    ],
)  # fmt: skip
def test_text_formats_say_it_in_their_own_way(tmp_path: Path, name: str, text: str, expected: Known) -> None:
    assert known(tmp_path / name, text.encode()) == expected


def test_what_is_no_date_or_language_is_empty() -> None:
    days = ("2024-05-17T1", "20240517", "2024", "2024-13-01", "soon", "", "17 May 1999")
    assert [iso_date(text) for text in days] == [
        "2024-05-17", "2024-05-17", "2024", "", "", "", "1999",
    ]  # fmt: skip
    assert [pdf_date(text) for text in ("D:20240517093000Z", "20240517", "D:2024", "D:20241399", "x")] == [
        "2024-05-17", "2024-05-17", "2024", "", "",
    ]  # fmt: skip
    assert mail_date("Fri, 17 May 2024 10:00:00 +0200") == "2024-05-17"
    assert [language_code(name) for name in ("de-AT", "German", "EN_us", "und", "x", "", "a b")] == [
        "de", "de", "en", "", "", "", "",
    ]  # fmt: skip
