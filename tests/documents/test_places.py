"""Where a reader is sent: to the line of the file as an editor counts it, to the page, to the paragraph."""

import html
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.documents.chunking import Chunker
from pipeline.documents.html import lay_out, parse, render
from pipeline.documents.lines import mark_lines
from pipeline.documents.load import load
from pipeline.documents.places import Places, marks_to_json, place_from_json
from pipeline.types import Document, Heading, Passage, Place
from tests.documents.docx_file import docx, paragraph, table
from tests.documents.pdf_file import pdf

PAGE = """<!DOCTYPE html>
<!-- A comment
     over <b>two</b> lines -->
<html>
<head>
  <title>The
  lighthouse</title>
  <style>
    p > b { color: red }
  </style>
  <script>
    if (1 < 2) document.write("<p>nowhere</p>");
  </script>
</head>
<body
  class="page"
  title="a > b">
<h1>The
lighthouse</h1>
<p>The tower is 34 metres high,
and was built
in <b>1871</b> by
Augusta Renn.<br>The lamp burns oil.</p>
<!-- <p>The tower
is gone.</p> -->
<ul>
  <li>A visit takes
      one hour
  <li>Dogs stay&nbsp;outside
</ul>
<table>
<tr><th>Day</th>
    <th>Hours</th></tr>
<tr><td>Tuesday</td><td>ten to
four</td></tr></table>
<pre>
first line
  second line
</pre>
<p><img
 src="tower.png"
 alt="Tower at
 dusk"> seen from the south.</p>
<p>A tail.</p>
</body>
</html>
"""


def loaded(folder: Path, name: str, data: str | bytes) -> Document:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return load(path)


def line_of(document: Document, words: str) -> int | None:
    return document.place(document.text.index(words)).line


# ------------------------------------------------------------------------------------------------------------- HTML
@pytest.mark.parametrize(
    "words",
    "The tower is|metres high|and was built|1871|Augusta|The lamp burns|A visit|one hour|Dogs|outside|"
    "Tuesday|ten to|four|first line|second line|seen from|A tail".split("|"),
)
def test_the_line_is_that_of_the_file(tmp_path: Path, words: str) -> None:
    document = loaded(tmp_path, "page.html", PAGE)
    lines = PAGE.split("\n")
    right = [n for n, line in enumerate(lines, 1) if words in html.unescape(line)]
    assert [line_of(document, words)] == right


def test_the_name_of_a_column_has_the_line_of_the_cell_behind_it(tmp_path: Path) -> None:
    document = loaded(tmp_path, "page.html", PAGE)
    for words in ("Tuesday", "ten to"):
        row = document.text.rindex("\n", 0, document.text.index(words)) + 1
        name = max(row, document.text.rfind("; ", 0, document.text.index(words)))
        assert document.place(name + 2).line == line_of(document, words)


def test_a_title_over_two_lines_begins_on_the_first(tmp_path: Path) -> None:
    document = loaded(tmp_path, "page.html", PAGE)
    assert document.headings == (Heading(0, 1, "The lighthouse"),)
    assert (document.place(0).line, line_of(document, "lighthouse")) == (18, 19)


def test_what_stands_in_an_attribute_has_no_line(tmp_path: Path) -> None:
    document = loaded(tmp_path, "page.html", PAGE)
    assert document.place(document.text.index("Tower at")) == Place(None, None, ("The lighthouse",))
    assert str(document.place(document.text.index("Tower at"))) == "The lighthouse"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_line_ends_of_windows_and_old_macs_are_one_line_each(tmp_path: Path, newline: str) -> None:
    document = loaded(tmp_path, "page.html", PAGE.replace("\n", newline))
    assert line_of(document, "Augusta") == 23


def test_the_marks_change_nothing_about_the_text(tmp_path: Path) -> None:
    """Random tag soup: with marks it gives the same text, and no word has a line on which it does not stand."""
    draw = random.Random(7)
    tags = "p b /p /i td tr table /table li ul /ul h2 /h2 pre /pre style /style /div br a&href=x'y> !-->".split()
    pieces = [f"<{tag.replace('&', ' ').removesuffix('>')}>" for tag in tags]
    pieces += ["\n", " ", "\n\n", "&nbsp;", "&#8195;", "&lt;p&gt;", "&copy", "a < b", "5<6", "<", ">", '"', "'"]
    pieces += ["<div class='a>b'>", "<a href='\n'>", "<img alt=pic>", "<sup>2</sup>", "<!-- x\ny -->"]
    pieces += ["<script>a<b\nc</script>", "<?pi?>", "<![CDATA[x]]>"]
    n_lines = 0
    for _ in range(600):
        body = "".join(draw.choice(pieces) if draw.random() < 0.6 else f"w{n} " for n in range(draw.randrange(3, 40)))
        source = f"<html><body>{body}</body></html>"
        plain = lay_out(render(parse(tmp_path, source))[0])
        marked = lay_out(render(parse(tmp_path, mark_lines(source)), is_marked=True)[0])
        assert (marked.text, marked.headings) == (plain.text, plain.headings), source
        if not marked.text.strip():
            continue
        document = loaded(tmp_path, "soup.html", source)
        for word in re.finditer(r"w\d+", document.text):
            line = document.place(word.start()).line
            assert line in (None, source.count("\n", 0, source.index(f"{word[0]} ")) + 1), source
            n_lines += line is not None
    assert n_lines > 1000


def test_a_page_that_holds_private_characters_has_headings_for_places(tmp_path: Path) -> None:
    document = loaded(tmp_path, "icons.html", "<h1>Icons</h1>\n<p>\U000f0001 of a font.</p>")
    assert "\U000f0001 of a font." in document.text
    assert document.place(document.text.index("of a")) == Place(None, None, ("Icons",))


def test_a_page_of_many_lines(tmp_path: Path) -> None:
    n = 140_000
    document = loaded(tmp_path, "log.html", "<pre>\n" + "\n".join(f"entry{i}" for i in range(2, n)) + "\n</pre>")
    assert [line_of(document, f"entry{i}\n") for i in (2, 65_533, 65_534, 65_535, 131_066)] == [
        2, 65_533, 65_534, 65_535, 131_066
    ]  # fmt: skip
    assert line_of(document, "entry131067\n") is None


# ------------------------------------------------------------------------------------------------------ DOCX and PDF
def test_a_paragraph_of_a_docx_is_counted_from_its_heading(tmp_path: Path) -> None:
    body = paragraph("Before.") + paragraph("Fares", "heading1") + paragraph("Six marks.") + paragraph("No dogs.")
    body += table(("Who", "Marks"), ("Dog", "6")) + paragraph("Hours", "heading2") + paragraph("Ten to four.")
    document = loaded(tmp_path, "a.docx", docx(body))
    places = {
        words: document.place(document.text.index(words)) for words in ("Before", "Fares", "No dogs", "Dog;", "Ten")
    }
    assert {words: str(place) for words, place in places.items()} == {
        "Before": "paragraph 1",
        "Fares": "Fares",
        "No dogs": "Fares, paragraph 2",
        "Dog;": "Fares, paragraph 3",
        "Ten": "Fares > Hours, paragraph 1",
    }
    assert all(place.line is None and place.page is None for place in places.values())


def test_a_sentence_of_a_passage_over_two_pages_stands_on_its_own_page(tmp_path: Path) -> None:
    document = loaded(tmp_path, "a.pdf", pdf([["The comet that she found"], ["returns. It is green."]]))
    [chunk] = Chunker(60).chunk(document, words, 60)
    start = document.text.index("It is")
    assert (str(chunk.place), str(chunk.part(start, chunk.end).place)) == ("p. 1", "p. 2")


# ----------------------------------------------------------------------------------------------------------- passages
def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def documents(folder: Path) -> list[Document]:
    markdown = "# A\n\nOne two.\n\n## B\n\nThree\nfour five.\n\n# C\n\nSix seven.\n"
    body = paragraph("Before.") + paragraph("Fares", "heading1") + paragraph("Six marks.") + paragraph("No dogs.")
    return [
        loaded(folder, "a.md", markdown),
        loaded(folder, "page.html", PAGE),
        loaded(folder, "a.docx", docx(body)),
        loaded(folder, "a.pdf", pdf([["One two."], ["Three four.", "Five."], [], ["Six."]], "T", [(1, "Three four.")])),
    ]


def test_every_part_of_every_passage_has_the_place_of_its_first_character(tmp_path: Path) -> None:
    for document in documents(tmp_path):
        whole = Places(document)
        for chunk in Chunker(6).chunk(document, words, 60):
            assert chunk.place == document.place(chunk.start) == whole.at(chunk.start, chunk.end)
            for start in range(chunk.start, chunk.end):
                part = chunk.part(start, chunk.end)
                assert part.place == document.place(start), (document.source, start)
                middle = (start + chunk.end) // 2
                assert part.part(middle, chunk.end).place == document.place(middle), "a part of a part"


def test_a_place_survives_a_store(tmp_path: Path) -> None:
    for document in documents(tmp_path):
        end = len(document.text)
        place = Places(document).at(0, end)
        stored = place_from_json(place.line, place.page, place.heading, place.paragraph, marks_to_json(place))
        assert (stored, stored.marks, stored.counts_newlines) == (place, place.marks, place.counts_newlines)
        passage = Passage(document.source, 0, end, document.text, place=stored)
        assert passage.part(end - 1, end).place == document.place(end - 1)
