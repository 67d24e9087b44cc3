"""Markdown: the text as it is, and the headings that are headings."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings

from pipeline.documents.load import load
from pipeline.documents.markdown import headings
from pipeline.types import Document, Heading, Place
from tests.documents.texts import TEXTS

ROOT = Path(__file__).parents[2]


def loaded(folder: Path, text: str) -> Document:
    path = folder / "the_notes.md"
    path.write_text(text)
    return load(path)


def test_headings_of_a_demo_document() -> None:
    document = load(ROOT / "configs/demo/documents/ferry.md")
    assert document.text == (ROOT / "configs/demo/documents/ferry.md").read_text()
    assert document.title == "The ferry to Tarn Island"
    assert [heading.title for heading in document.headings] == [document.title, "Timetable", "Fares", "History"]
    assert document.place(document.text.index("Ingrid")).heading == ("The ferry to Tarn Island", "History")
    assert document.place(document.text.index("Bicycles")) == Place(11, None, ("The ferry to Tarn Island", "Fares"))


def test_a_hash_inside_code_is_no_heading_and_an_underline_makes_one() -> None:
    text = "Set *it*\ntwo\n===\n\n```sh\n# no\n```\n\n    # no\n\n  ## `yes` [link](x) ##\n\n<div>\n# no\n</div>\n"
    assert headings(text) == (Heading(0, 1, "Set it two"), Heading(text.index("## `yes`"), 2, "yes link"))


def test_front_matter_gives_the_title_and_stays_in_the_text(tmp_path: Path) -> None:
    text = "---\ntitle: 'All harbours'\n# a comment\n---\n# First\n\nText.\n"
    document = loaded(tmp_path, text)
    assert (document.text, document.title) == (text, "All harbours")
    assert document.headings == (Heading(text.index("# First"), 1, "First"),)


def test_the_files_name_is_the_title_where_there_is_no_heading(tmp_path: Path) -> None:
    assert loaded(tmp_path, "Text.\n").title == "the notes"


@settings(deadline=None)
@given(TEXTS)
def test_every_heading_starts_at_its_own_line(text: str) -> None:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = headings(text)
    assert list(found) == sorted(found, key=lambda heading: heading.start)
    for heading in found:
        line_start = text.rfind("\n", 0, heading.start) + 1
        assert not text[line_start : heading.start].strip()
        assert not text[heading.start].isspace()
        assert 1 <= heading.level <= 6
