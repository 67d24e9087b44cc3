"""Each format's text and places, from small files made here."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.documents import archives
from pipeline.documents.discover import discover
from pipeline.documents.formats import FORMATS, reader_version
from pipeline.documents.load import load
from pipeline.documents.pipes import read_pipe_table
from pipeline.documents.places import Places, marks_to_json, place_from_json
from pipeline.documents.tables import Grid
from pipeline.errors import DocumentError, LongthreadError
from pipeline.types import Document
from tests.documents.msg_file import BODY, HTML, SENDER, SENDER_ADDRESS, SUBJECT, SUBMIT_TIME, Value, msg
from tests.documents.pdf_file import pdf


def read(folder: Path, name: str, data: bytes | str) -> Document:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return load(path)


def place(document: Document, words: str) -> str:
    start = document.text.index(words)
    assert Places(document).at(start, start + 1) == document.place(start)
    return str(document.place(start))


def zipped(files: dict[str, bytes | str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def test_each_suffix_has_one_reader() -> None:
    suffixes = [suffix for format_ in FORMATS.values() for suffix in format_.suffixes]
    assert len(suffixes) == len(set(suffixes))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_row_of_a_csv_names_its_columns(tmp_path: Path, delimiter: str) -> None:
    rows = [["boat", "crew", "note"], ["Ida", "3", '"fast,\nred; small"'], ["Ruth", "12", ""]]
    document = read(tmp_path, "boats.csv", "\n".join(delimiter.join(row) for row in rows))
    assert document.text == "boat: Ida; crew: 3; note: fast, / red; small\nboat: Ruth; crew: 12"
    assert (place(document, "boat: Ida"), place(document, "boat: Ruth")) == ("A2:C2, line 2", "A3:C3, line 4")


def test_a_csv_with_lines_above_its_header_and_one_without_a_header(tmp_path: Path) -> None:
    document = read(tmp_path, "a.csv", "Crews of 2025\n\nboat,crew,year\nIda,3,1990\n")
    assert document.text == "Crews of 2025\nboat: Ida; crew: 3; year: 1990"
    assert read(tmp_path, "b.csv", "1,2,3\n4,5,6\n").text == "| 1 | 2 | 3 |\n| 4 | 5 | 6 |"
    assert read(tmp_path, "c.csv", "a,b,c\nx,y,\n").text == "| a | b | c |\na: x; b: y"


def test_a_csv_without_common_columns_is_text_and_says_so(tmp_path: Path) -> None:
    lines = "boat,port\nIda,Oslo,2,3\nRuth,Bergen\nMay,Lerwick,4\nZoe,Alta,5,6,7\n"
    ragged = read(tmp_path, "ragged.csv", lines)
    assert ragged.text == lines
    assert ragged.notes == ("read as plain text: no delimiter cuts most of its lines into the same number of fields",)
    assert read(tmp_path, "words.csv", "Ida\nRuth\nMay\n").notes == ()


def workbook(**sheets: list[list[object]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def test_a_workbook_has_sheets_ranges_and_notes_on_what_is_hidden(tmp_path: Path) -> None:
    import openpyxl
    from openpyxl.comments import Comment

    rows: list[list[object]] = [["Crews", None, None], ["boat", "crew", "share"], ["Ida", 3, 0.125], ["Ruth", 12, 0.5]]
    data = workbook(Boats=rows, Old=[["boat", "crew"], ["Eva", "=1+1"]])
    book = openpyxl.load_workbook(io.BytesIO(data))
    book["Boats"]["C3"].number_format = "0.0%"
    book["Boats"]["A3"].comment = Comment("sold in May", "k")
    book["Boats"].merge_cells("A1:C1")
    book["Boats"].row_dimensions[4].hidden = True
    book["Old"].sheet_state = "hidden"
    book.save(tmp_path / "a.xlsx")
    document = load(tmp_path / "a.xlsx")
    assert document.text == (
        "# Boats\n\nCrews\nBoats · boat: Ida; crew: 3; share: 12.5%\nBoats · boat: Ruth; crew: 12; share: 0.5\n\n"
        "Comment on Boats!A3: sold in May\n\n# Old\n\nOld · boat: Eva; crew: =1+1"
    )
    assert place(document, "Boats · boat: Ruth") == "Boats!A4:C4"
    assert document.place(document.text.index("Eva")).heading == ("Old",)
    assert document.notes == (
        "1 hidden row of 'Boats' read",
        "the sheet 'Old' is hidden, and was read",
        "1 formulas without a result: open the file in a spreadsheet and save it",
    )


ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:'
    'text:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)


def opendocument(kind: str, body: str) -> bytes:
    content = f"<office:document-content {ODF}><office:body>{body}</office:body></office:document-content>"
    return zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content})


def test_opendocument_text_and_sheet(tmp_path: Path) -> None:
    body = (
        '<office:text><text:h text:outline-level="1">Rules</text:h><text:p>The pier<text:s text:c="2"/>closes'
        "<text:note><text:note-body><text:p>in winter</text:p></text:note-body></text:note> at nine.</text:p>"
        "<text:list><text:list-item><text:p>no dogs</text:p></text:list-item></text:list></office:text>"
    )
    document = read(tmp_path, "a.odt", opendocument("text", body))
    assert document.text == "# Rules\n\nThe pier closes [note: in winter] at nine.\n\n- no dogs"
    row = "<table:table-row>%s</table:table-row>"
    cell = "<table:table-cell%s><text:p>%s</text:p></table:table-cell>"
    rows = row % (cell % ("", "berth") + cell % ("", "depth"))
    rows += row % (cell % (' table:number-rows-spanned="2"', "North") + cell % ("", "4"))
    rows += row % ("<table:covered-table-cell/>" + cell % ("", "6"))
    sheet = f'<office:spreadsheet><table:table table:name="Quays">{rows}</table:table></office:spreadsheet>'
    document = read(tmp_path, "b.ods", opendocument("spreadsheet", sheet))
    assert document.text.endswith("Quays · berth: North; depth: 4\nQuays · berth: North; depth: 6")
    assert place(document, "Quays · berth: North; depth: 6") == "Quays!A3:B3"


def test_rtf_is_its_text(tmp_path: Path) -> None:
    source = (
        r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title The keys}}{\header Confidential\par}"
        r"The k\'fcster has {\b 5} keys{\footnote One is lost.}.\par{\deleted gone}\u8364? 20\par"
        r"\trowd\cellx1\cellx2 key\cell door\cell\row\trowd\cellx1\cellx2 7\cell north\cell\row"
        r"\trowd\cellx1\cellx2 8\cell south\cell\row\pard End.\par}"
    )
    document = read(tmp_path, "a.rtf", source)
    assert document.text.startswith("The küster has 5 keys [footnote: One is lost.].\n\n€ 20")
    assert document.text.endswith("End.")
    assert "gone" not in document.text
    assert "north" in document.text
    assert document.title == "The keys"
    assert document.notes == ("not read: page headers", "tracked changes: read as if all were accepted")
    with pytest.raises(DocumentError, match=r"b\.rtf: not an RTF"):
        read(tmp_path, "b.rtf", "plain words")


MAIL = (
    "From: =?utf-8?q?J=C3=BCrgen?= <j@x.example>\nTo: ida@x.example\nSubject: The\n winch\nMIME-Version: 1.0\n"
    'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\n'
    "Content-Transfer-Encoding: quoted-printable\n\nIt costs =80 45 =96 no=\n more.\n--b\n"
    'Content-Type: text/csv; name="p.csv"\nContent-Disposition: attachment; filename="p.csv"\n\n'
    "part,price\nhook,7\n--b--\n"
)


def test_a_mail_has_headers_text_and_attachments_of_their_own(tmp_path: Path) -> None:
    document = read(tmp_path, "a.eml", MAIL)
    assert document.text == (
        "From: Jürgen <j@x.example>\nTo: ida@x.example\nSubject: The winch\n\nIt costs € 45 – no more."
    )
    assert (place(document, "Subject"), place(document, "It costs"), document.title) == ("headers", "text", "The winch")
    found = discover([str(tmp_path)])
    assert [path.relative_to(tmp_path).as_posix() for path in found.files] == ["a.eml", "a.eml/p.csv"]
    attached = load(found.files[1])
    assert (attached.text, attached.source) == ("part: hook; price: 7", f"{tmp_path}/a.eml/p.csv")


def test_a_mailbox_numbers_its_mails(tmp_path: Path) -> None:
    mail = "From ida@x Mon Nov  3 09:12:00 2025\nFrom: ida@x\nSubject: %s\n\n%s\n\n"
    document = read(tmp_path, "a.mbox", mail % ("One", ">From the pier.") + mail % ("Two", "From here on."))
    assert document.text == (
        "# One\n\nFrom: ida@x\nSubject: One\n\nFrom the pier.\n\n# Two\n\nFrom: ida@x\nSubject: Two\n\nFrom here on."
    )
    assert place(document, "From here") == "mail 2, text"
    assert read(tmp_path, "b.mbox", "no mail at all").text == "# Mail 1\n\nno mail at all"


def test_a_notebook_has_cells_and_no_pictures(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Waves\n", "As measured."]},
        {
            "cell_type": "code",
            "source": "print(7)",
            "outputs": [
                {"output_type": "stream", "text": ["7\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVBO" * 99, "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "ValueError", "evalue": "too high", "traceback": []},
            ],
        },
    ]
    document = read(tmp_path, "a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    assert document.text == "# Waves\nAs measured.\n\n```\nprint(7)\n```\n\n7\n\nValueError: too high"
    assert (place(document, "print"), place(document, "ValueError")) == ("cell 2", "cell 2, output")
    assert document.place(document.text.index("print")).heading == ("Waves",)
    assert document.notes == ("1 picture of outputs not read",)


def test_slides_have_titles_tables_and_notes(tmp_path: Path) -> None:
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Berths"
    grid = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for n, words in enumerate(["berth", "depth", "North", "6 m"]):
        grid.cell(n // 2, n % 2).text = words
    slide.notes_slide.notes_text_frame.text = "Say that dredging is late."
    deck.slides.add_slide(deck.slide_layouts[6])._element.set("show", "0")
    deck.save(str(tmp_path / "a.pptx"))
    document = load(tmp_path / "a.pptx")
    assert document.text == ("# Berths\n\nberth: North; depth: 6 m\n\nNotes: Say that dredging is late.\n\n# Slide 2")
    assert (place(document, "North"), place(document, "Say that")) == ("slide 1", "slide 1, notes")
    assert document.notes == ("slide 2 is hidden, and was read",)


def test_an_e_book_is_read_along_its_spine(tmp_path: Path) -> None:
    container = '<container><rootfiles><rootfile full-path="E/p.opf"/></rootfiles></container>'
    package = (
        "<package><metadata><title>Tales</title></metadata><manifest><item id='b' href='b.xhtml'/>"
        "<item id='a' href='a%20a.xhtml'/><item id='n' href='n.xhtml' properties='nav'/></manifest>"
        "<spine><itemref idref='n'/><itemref idref='b'/><itemref idref='a'/></spine></package>"
    )
    page = "<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>%s</h1><p>%s</p></body></html>"
    data = zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "E/p.opf": package,
            "E/a a.xhtml": page % ("Second", "The end."),
            "E/b.xhtml": page % ("First", "A whale."),
            "E/n.xhtml": page % ("Contents", "First, second"),
        }
    )
    document = read(tmp_path, "a.epub", data)
    assert document.text == "# First\n\nA whale.\n\n# Second\n\nThe end."
    assert (document.title, place(document, "The end")) == ("Tales", "chapter 2")


def test_values_stand_behind_the_path_of_their_keys(tmp_path: Path) -> None:
    data = '{\n "tide": {"host": "fjord",\n  "ports": [1, 2]},\n "ships": [\n  {"name": "Ida", "at": {"berth": 4}}]\n}'
    document = read(tmp_path, "a.json", data)
    assert document.text == "tide > host: fjord\ntide > ports: 1, 2\nships · name: Ida; at > berth: 4"
    assert place(document, "tide > ports") == "tide.ports, line 3"
    assert place(document, "ships") == "ships[0], line 5"
    lines = read(tmp_path, "a.jsonl", '{"t": 1, "ship": {"name": "Ida"}}\nbroken\n{"t": 2}\n')
    assert lines.text == "t: 1; ship > name: Ida\nbroken\nt: 2"
    assert (place(lines, "t: 2"), lines.notes) == ("line 3", ("1 line is no JSON: read as text",))
    twice = read(tmp_path, "twice.json", '{"port": 1, "port": 2}')
    assert twice.text == '{"port": 1, "port": 2}'
    assert "the key 'port' stands twice in an object" in twice.notes[0]
    broken = read(tmp_path, "b.json", '{"a": 1, // comment\n}')
    assert broken.text == '{"a": 1, // comment\n}'
    assert broken.notes[0].startswith("read as plain text, for it is no JSON: ")


def test_yaml_and_toml_keep_their_comments_and_say_their_keys(tmp_path: Path) -> None:
    source = "# nightly\nbackup:\n  hosts:\n    - fjord # old\n    - tarn\n  hour: 3\n"
    document = read(tmp_path, "a.yaml", source)
    assert document.text == source
    assert place(document, "tarn") == "backup.hosts[1], line 5"
    assert place(document, "hour") == "backup.hour, line 6"
    document = read(tmp_path, "a.toml", "[backup]\nhour = 3 # late\n[[host]]\nname.first = 'a'\n")
    assert (place(document, "3 # late"), place(document, "'a'")) == ("backup.hour, line 2", "host.name.first, line 4")
    assert read(tmp_path, "b.yaml", "a: [1\n").notes[0].startswith("read as plain text, for it is no YAML")


@pytest.mark.parametrize("is_nested", [False, True])
def test_aliases_of_a_yaml_file_are_entered_once(tmp_path: Path, is_nested: bool) -> None:
    if is_nested:  # each level holds the next one, and an alias of it
        value = "x"
        for n in range(60):
            value = f"[&a{n} {value}, *a{n}]"
        source = f"all: {value}\n"
    else:
        levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        source = "a0: &a0\n  - x\n" + "\n".join(levels) + "\nlast: 1\n"
    start = time.monotonic()
    document = read(tmp_path, "a.yaml", source)
    assert time.monotonic() - start < 20
    assert (document.text, document.notes) == (source, ())
    if not is_nested:
        assert place(document, "- x") == "a0[0], line 2"
        assert place(document, "last") == "last, line 14"
    assert place(read(tmp_path, "b.yaml", "a: &a\n  b: *a\nc: 1\n"), "c") == "c, line 3"


def test_counts_that_are_no_numbers_are_1(tmp_path: Path) -> None:
    many = "9" * 5000
    page = f"<ol start={many}><li>One</li></ol><table><tr><td rowspan={many}>a</td><td colspan=²>b</td></tr></table>"
    assert read(tmp_path, "a.html", page).text == "1. One\n| a | b |"
    heading = "<text:h text:outline-level='²'>Fares</text:h><text:p>a<text:s text:c='²'/>b</text:p>"
    assert read(tmp_path, "a.odt", opendocument("text", heading)).text == "# Fares\n\na b"
    row = f"<table:table-row><table:table-cell table:number-columns-repeated='{many}'/></table:table-row>"
    row += "<table:table-row table:number-rows-repeated='²'><table:table-cell><text:p>a</text:p></table:table-cell>"
    sheet = opendocument("spreadsheet", f"<table:table table:name='Sheet1'>{row}</table:table-row></table:table>")
    assert read(tmp_path, "a.ods", sheet).text == "a"


def test_a_notebook_of_odd_values_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "heading", "level": "high", "source": "Fares"},
        {"cell_type": "code", "source": "1", "outputs": 3},
        {"cell_type": "code", "source": "2", "outputs": [{"data": "x"}, {"data": None, "text": "two"}]},
    ]
    text = read(tmp_path, "a.ipynb", json.dumps({"cells": cells})).text
    assert text == "# Fares\n\n```\n1\n```\n\n```\n2\n```\n\ntwo"


def test_a_title_of_tex_ends_with_its_paragraph(tmp_path: Path) -> None:
    source = "\\section{Locks\n\nThe old lock.\n\n\\section{Keys}\nA key.\n\n\\section{Last word"
    document = read(tmp_path, "a.tex", source)
    assert document.text == "## Locks\n\nThe old lock.\n\n## Keys\n\nA key.\n\n## Last word"
    start = time.monotonic()
    assert "end" in read(tmp_path, "b.tex", "\\section{" * 3000 + "end").text
    assert time.monotonic() - start < 10


def test_a_long_line_of_dashes_costs_no_time() -> None:
    start = time.monotonic()
    lines = [f"|{'-' * 100_000}x|", f"|{' ' * 100_000}x|"]
    assert read_pipe_table(lines, 1) == Grid([("-" * 100_000 + "x",), ("x",)], [1, 2])
    assert time.monotonic() - start < 10
    assert read_pipe_table(["| a | b |", "|:--|--:|", "| 1 | 2 |"], 1) == Grid([("a", "b"), ("1", "2")], [1, 3], 1)
    assert read_pipe_table(["+--+", "| a|", "+==+", "| 1|", "+--+"], 1) == Grid([("a",), ("1",)], [2, 4], 1)


def test_xml_says_its_elements(tmp_path: Path) -> None:
    source = (
        '<?xml version="1.0" encoding="windows-1251"?>\n<fleet>\n<ship id="7"><name>Ида</name><crew>3</crew></ship>\n'
        "<rule>No <b>dogs</b> on deck.</rule></fleet>"
    )
    document = read(tmp_path, "a.xml", source.encode("cp1251"))
    assert document.text == "ship · id: 7; name: Ида; crew: 3\nrule: No dogs on deck."
    assert (place(document, "ship"), place(document, "rule")) == ("fleet/ship, line 3", "fleet/rule, line 4")
    nested = '<!DOCTYPE x [<!ENTITY a "aye"><!ENTITY b "&a; &a;">]><x><y>one</y><y>&b; sir</y></x>'
    assert read(tmp_path, "b.xml", nested).text == "y: one\ny: aye aye sir"


def test_subtitles_say_their_time(tmp_path: Path) -> None:
    vtt = (
        "WEBVTT\n\n1\n00:00.000 --> 00:04.000\n<v Ida>The bridge is\n\n"
        "2\n00:04.000 --> 00:07.000\n<v Ida>painted &amp; cleaned.\n\n01:00:05.500 --> 01:00:06.000\n<v Tom>When?\n"
    )
    document = read(tmp_path, "a.vtt", vtt)
    assert document.text == "Ida: The bridge is painted & cleaned.\nTom: When?"
    assert place(document, "painted") == "00:00:04, line 8"
    assert place(document, "Tom") == "01:00:05, line 11"
    srt = read(tmp_path, "a.srt", "1\n00:01:04,000 --> 00:01:06,000\n<i>Mind the gap.</i>\n")
    assert (srt.text, place(srt, "Mind")) == ("Mind the gap.", "00:01:04, line 2")


@pytest.mark.parametrize(
    ("name", "source", "text"),
    [
        ("a.rst", "Guide\n=====\n\nOne.\n\nLocks\n-----\nTwo.\n", "# Guide\n\nOne.\n\n## Locks\n\nTwo."),
        ("a.adoc", "= Guide\n\nOne.\n\n== Locks\nTwo.\n----\n= no title\n----\n",
         "# Guide\n\nOne.\n\n## Locks\n\nTwo.\n----\n= no title\n----"),
        ("a.org", "* Guide :tag:\nOne.\n** TODO Locks\n| lock | m |\n|------+---|\n| A | 4 |\nTwo.\n",
         "# Guide\n\nOne.\n\n## Locks\n\nlock: A; m: 4\n\nTwo."),
        ("b.org", "* Guide\n\n| lock | m |\n|------+---|\n| A | 4 |\n", "# Guide\n\nlock: A; m: 4"),
        ("a.tex", "\\documentclass{article} % no\n\\title{Guide}\n\\begin{document}\n\\section{Locks} The \\emph{old}"
         " lock is $4\\,m$ deep~\\cite{x}, 5\\% more.\n\nGr\\\"o{\\ss}e.\n\\end{document}",
         "# Guide\n\n## Locks\n\nThe old lock is $4\\,m$ deep [x], 5% more.\n\nGrö"),
    ],
)  # fmt: skip
def test_markup_has_headings_and_the_lines_of_the_file(tmp_path: Path, name: str, source: str, text: str) -> None:
    document = read(tmp_path, name, source)
    assert document.text.startswith(text)
    assert document.headings[0].title == "Guide"
    word = "deep" if "deep" in text else "A; m" if "A; m" in text else "Two"
    n_line = next(n for n, line in enumerate(source.split("\n"), 1) if word.split(";")[0] in line)
    assert place(document, word) == f"line {n_line}"


def test_mhtml_is_its_page(tmp_path: Path) -> None:
    data = (
        'MIME-Version: 1.0\nContent-Type: multipart/related; boundary="x"\n\n--x\n'
        "Content-Type: text/html; charset=utf-8\n"
        "Content-Transfer-Encoding: quoted-printable\n\n"
        "<html><body><h1>Pier</h1><p>Opens at=20nine.</p></body></html>\n"
        "--x\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBO\n--x--\n"
    )
    document = read(tmp_path, "a.mhtml", data)
    assert (document.text, place(document, "Opens")) == ("# Pier\n\nOpens at nine.", "Pier")


def test_a_markdown_table_names_its_columns_and_keeps_its_lines(tmp_path: Path) -> None:
    source = (
        "# Berths\n\nSee:\n\n| name | depth |\n|---|--:|\n| North | 4 \\| 5 m |\n| South | 6 m |\n\n## More\nEnd.\n"
    )
    document = read(tmp_path, "a.md", source)
    assert document.text == (
        "# Berths\n\nSee:\n\nname: North; depth: 4 | 5 m\nname: South; depth: 6 m\n\n## More\nEnd.\n"
    )
    assert (place(document, "name: South"), place(document, "End")) == ("line 8", "line 11")
    assert document.place(document.text.index("End")).heading == ("Berths", "More")


def test_a_table_of_a_page_repeats_spans_and_keeps_lists_in_cells(tmp_path: Path) -> None:
    page = (
        "<html><body><table><caption>Fares</caption><tr><th>Who</th><th colspan=2>Marks</th></tr>\n"
        "<tr><th></th><th>summer</th><th>winter</th></tr><tr><td rowspan=2>Dogs</td><td>6</td><td>4</td></tr>\n"
        "<tr><td>7</td><td><ul><li>5</li><li>free on Sundays</li></ul></td></tr></table></body></html>"
    )
    document = read(tmp_path, "a.html", page)
    assert document.text == (
        "Fares\n\nFares · Who: Dogs; Marks summer: 6; Marks winter: 4\n"
        "Fares · Who: Dogs; Marks summer: 7; Marks winter: 5, free on Sundays"
    )
    assert place(document, "Marks summer: 7") == "line 3"


def test_archives_are_folders_with_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = zipped({"deep/b.txt": "B.", "../c.txt": "C."})
    (tmp_path / "a.zip").write_bytes(zipped({"a.txt": "A.", "in.zip": inner, ".hidden": "x", "old.doc": b"\0" * 99}))
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("log.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"Log."))
    found = discover([str(tmp_path)])
    names = [path.relative_to(tmp_path).as_posix() for path in found.files]
    assert names == ["a.zip/a.txt", "a.zip/in.zip/deep/b.txt", "a.zip/old.doc", "t.tar.gz/log.txt"]
    assert dict(found.skipped) == {
        f"{tmp_path}/a.zip/.hidden": "left out: hidden in its archive",
        f"{tmp_path}/a.zip/in.zip/c.txt": "its name leads out of the archive",
    }
    assert [load(found.files[n]).text for n in (0, 1, 3)] == ["A.", "B.", "Log."]
    assert discover([f"{tmp_path}/a.zip/a.txt"]).files == (tmp_path / "a.zip/a.txt",)
    with pytest.raises(DocumentError, match=r"old\.doc: document of Word 97: save it as DOCX"):
        load(found.files[2])
    with pytest.raises(DocumentError, match=r"a\.zip/z\.txt: no such file in a\.zip"):
        load(tmp_path / "a.zip/z.txt")
    archives._unpacked.cache_clear()
    monkeypatch.setenv("LONGTHREAD_MAX_UNPACKED_MB", "0.000003")
    assert "and at most 3e-06 MB are unpacked" in dict(discover([str(tmp_path)]).skipped)[f"{tmp_path}/t.tar.gz"]


@pytest.mark.parametrize("is_installed", [True, False])
def test_a_mail_that_cannot_be_opened_takes_no_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    if not is_installed:
        monkeypatch.setitem(sys.modules, "oxmsg", None)
    broken = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600 + "__properties_version1.0".encode("utf-16-le")
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails/b.msg").write_bytes(broken)
    (tmp_path / "mails/a.zip").write_bytes(zipped({"a.txt": "A.", "b.msg": broken}))
    found = discover([str(tmp_path / "mails")])
    names = [path.relative_to(tmp_path / "mails").as_posix() for path in found.files]
    assert (names, found.skipped) == (["a.zip/a.txt", "a.zip/b.msg", "b.msg"], ())
    archives._unpacked.cache_clear()
    why = "a broken mail of Outlook" if is_installed else r"needs oxmsg: pip install 'longthread\[office\]'"
    for path in found.files[1:]:
        with pytest.raises(LongthreadError, match=rf"b\.msg: .*{why}"):
            load(path)


def test_labels_survive_a_store(tmp_path: Path) -> None:
    document = read(tmp_path, "a.csv", "boat,crew,year\nIda,3,1990\nRuth,12,1991\n")
    found = Places(document).at(0, len(document.text))
    stored = place_from_json(found.line, found.page, found.heading, found.paragraph, marks_to_json(found))
    assert (stored, stored.marks) == (found, found.marks)
    assert str(stored.after(document.text[: document.text.index("boat: Ruth")])) == "A3:C3, line 3"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("le.txt", "Tomas Reed. Über uns.\n".encode("utf-16-le"), "Tomas Reed. Über uns.\n"),
        ("be.md", "# Keeper\n\nTomas Reed.\n".encode("utf-16-be"), "# Keeper\n\nTomas Reed.\n"),
        ("ru.txt", "Смотритель: Томас Рид.\n".encode("utf-16-le"), "Смотритель: Томас Рид.\n"),
        ("nul.log", b"The lamp burns.\0 It costs 45 marks a night.\n", "The lamp burns. It costs 45 marks a night.\n"),
        ("a.html", b"<meta charset=iso-8859-1><p>\x93red\x94 \x80 \x81</p>", "“red” € \x81"),
        ("b.html", "<meta charset='gb2312'><p>镕基</p>".encode("gb18030"), "镕基"),
        ("c.html", b"<!--" + b"x" * 3000 + b"--><meta charset=latin5><p>\xfe\xf0</p>", "şğ"),
        ("d.html", "<meta charset='utf-8'><p>Das Café heißt Zoë Ångström, früher Müller.</p>".encode("latin-1"),
         "Das Café heißt Zoë Ångström, früher Müller."),
        ("f.html", b"<meta charset=hex><p>caf\xe9</p>", "café"),  # a codec of Python, and no charset
        ("g.html", b"<meta charset=undefined><p>caf\xe9</p>", "café"),
        ("h.html", b"<meta charset=punycode><p>caf\xe9</p>", "café"),
        ("e.eml", b"Subject: Tea\nContent-Type: text/plain; charset=rot13\n\ncaf\xe9\n", "Subject: Tea\n\ncafé"),
        ("e.html", "<meta charset='shift_jis'><p>①髙</p>".encode("cp932"), "①髙"),
    ],
)  # fmt: skip
def test_bytes_become_the_characters_that_are_meant(tmp_path: Path, name: str, data: bytes, text: str) -> None:
    document = read(tmp_path, name, data)
    assert document.text == text
    assert discover([str(tmp_path)]).files == (tmp_path / name,)


def test_a_text_that_speaks_of_pdf_is_text(tmp_path: Path) -> None:
    assert read(tmp_path, "a.md", "A PDF begins with `%PDF-1.7`, always.").kind == "markdown"
    assert read(tmp_path, "b.txt", pdf([["Page one."]])).kind == "pdf"
    with pytest.raises(DocumentError, match="a broken PDF"):
        read(tmp_path, "c.txt", b"\0\1junk in front%PDF-1.7")


@pytest.mark.parametrize("n_columns", [300, 20_000])
def test_a_table_of_many_columns_is_a_table(tmp_path: Path, n_columns: int) -> None:
    header, row = (",".join(f"{name}{n}" for n in range(n_columns)) for name in ("c", ""))
    document = read(tmp_path, "wide.csv", "\n".join([header, row, row, row]))
    assert document.notes == ()
    assert document.text.split("\n")[2].endswith(f"c{n_columns - 1}: {n_columns - 1}")


FEES: dict[int, Value] = {
    SUBJECT: "The mooring fee",
    BODY: "Dear Tom,\r\n\r\nthe fee is 14 pounds.\r\n",
    SENDER: "Ida Holm",
    SENDER_ADDRESS: "ida@x.example",
    SUBMIT_TIME: datetime(2025, 11, 3, 9, 12, tzinfo=UTC),
}


def test_a_mail_of_outlook_with_attachments(tmp_path: Path) -> None:
    long = b"word " * 2000
    files = {
        "fees.csv": b"boat,fee\nIda,14\nRuth,20\n",
        "long.txt": long,
        "old.msg": msg({SUBJECT: "Older", BODY: "No."}),
    }
    document = read(tmp_path, "a.msg", msg(FEES, [("Tom", "tom@x.example")], files))
    assert document.text == (
        'From: "Ida Holm" <ida@x.example>\nTo: Tom <tom@x.example>\nDate: 2025-11-03 09:12:00+00:00\n'
        "Subject: The mooring fee\n\nDear Tom,\n\nthe fee is 14 pounds."
    )
    assert (document.title, document.author, document.date) == (
        "The mooring fee", '"Ida Holm" <ida@x.example>', "2025-11-03"
    )  # fmt: skip
    assert place(document, "the fee is") == "text"
    assert [file.name for file in discover([str(tmp_path)]).files] == ["a.msg", "fees.csv", "long.txt", "old.msg"]
    assert load(tmp_path / "a.msg" / "fees.csv").text == "boat: Ida; fee: 14\nboat: Ruth; fee: 20"
    assert load(tmp_path / "a.msg" / "long.txt").text == long.decode()
    assert "Subject: Older" in load(tmp_path / "a.msg" / "old.msg").text


def test_a_mail_of_outlook_in_html_and_a_broken_one(tmp_path: Path) -> None:
    html = b"<html><body><h1>Fees</h1><p>It is <b>14</b> pounds.</p></body></html>"
    document = read(tmp_path, "a.msg", msg({SUBJECT: "Fee", HTML: html}))
    assert document.text.endswith("# Fees\n\nIt is 14 pounds.")
    data = msg(FEES)
    with pytest.raises(DocumentError, match=r"b\.msg: a broken mail of Outlook .*save it again as EML"):
        read(tmp_path, "b.msg", data[: len(data) // 2])


def test_without_ocr_a_picture_is_left_out_by_name(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 20), "white").save(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("A word.")
    why = "left out: a picture, and index.ocr is off"
    found = discover([str(tmp_path)], ocr=False)
    assert ([file.name for file in found.files], [reason for _, reason in found.skipped]) == (["b.txt"], [why])
    with pytest.raises(DocumentError, match=f"a.png: {why}"):
        load(tmp_path / "a.png", ocr=False)
    assert reader_version(tmp_path / "a.png", ocr=False) == "picture/1"
    assert reader_version(tmp_path / "b.txt", ocr=False) == reader_version(tmp_path / "b.txt")
