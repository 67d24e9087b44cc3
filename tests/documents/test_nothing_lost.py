"""What a file holds and its reader could lose without a word: read, or named with the reason."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.documents.discover import discover
from pipeline.documents.load import load
from pipeline.errors import DocumentError
from pipeline.types import Document


def read(folder: Path, name: str, data: bytes | str) -> Document:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return load(path)


def texts_of(path: Path) -> dict[str, str]:
    """The text of each document below a path, by its name."""
    return {file.relative_to(path).as_posix(): load(file).text for file in discover([str(path)]).files}


def test_text_behind_an_entity_of_the_file_is_read(tmp_path: Path) -> None:
    source = (
        '<!DOCTYPE log [<!ENTITY pilot "Ines Roth"><!ENTITY both "&pilot; &amp; <b>Olaf</b>">]>\n'
        "<log><p>On watch: &pilot; until six.</p><q>Aboard: &both;, <i>wet</i>&pilot;.</q></log>"
    )
    document = read(tmp_path, "a.xml", source)
    assert document.text == "p: On watch: Ines Roth until six.\nq: Aboard: Ines Roth & Olaf, wetInes Roth."
    assert document.notes == ()


def test_many_entities_between_elements_are_read_in_their_places_and_quickly(tmp_path: Path) -> None:
    body = "a&e;b<i>c&e;</i>d&e;e&e;<!-- --><i/>&e;f " + "the keepers of the g&e;" * 40000
    started = time.process_time()
    document = read(tmp_path, "a.xml", f'<!DOCTYPE d [<!ENTITY e "-">]><d>{body}</d>')
    assert time.process_time() - started < 10, "each copies the text before it"
    assert document.text.count("-") == 40005
    assert document.text.startswith("d: a-bc-d-e--f the keepers of the g-the keepers")


def test_entities_of_another_file_stay_as_written_and_nothing_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("SECRET")
    source = (
        f'<!DOCTYPE b PUBLIC "-//B" "b.dtd" [<!ENTITY s SYSTEM "{tmp_path}/secret.txt">]>'
        "<b>Tea &mdash; hot&nbsp;&s; end &ch1; here.</b>"
    )
    document = read(tmp_path, "a.xml", source)
    assert document.text == "b: Tea — hot &s; end &ch1; here."
    assert document.notes == ("defined in another file, which is not read: &s;, &ch1;",)


@pytest.mark.parametrize(
    "entities",
    [
        '<!ENTITY a "' + "x" * 100_000 + '">',
        '<!ENTITY z "0123456789">'
        + "".join(f'<!ENTITY {outer} "{f"&{inner};" * 40}">' for inner, outer in pairwise("zedcba")),
        '<!ENTITY a "&b;"><!ENTITY b "&a;">',
    ],
)  # fmt: skip
def test_entities_that_expand_without_end_are_refused(tmp_path: Path, entities: str) -> None:
    with pytest.raises(DocumentError, match="not well formed"):
        read(tmp_path, "a.xml", f"<!DOCTYPE d [{entities}]><d>{'&a;' * 200}</d>")


def test_an_entity_in_a_document_of_libreoffice(tmp_path: Path) -> None:
    office = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    text = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    content = (
        f'<!DOCTYPE c [<!ENTITY k "Ines">]><office:document-content {office} {text}><office:body><office:text>'
        "<text:p>Ask &k; first.</text:p></office:text></office:body></office:document-content>"
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", content)
    assert read(tmp_path, "a.odt", target.getvalue()).text == "Ask Ines first."


TURKISH = "Kaptan Şükrü Öğüt: liman ışığı söndü, çıpa İzmir'de kaldı."


def test_turkish_of_windows_is_told_by_its_letters(tmp_path: Path) -> None:
    document = read(tmp_path, "a.txt", TURKISH.encode("cp1254"))
    assert (document.text, document.language) == (TURKISH, "tr")
    assert document.notes == ("not UTF-8: decoded as cp1254, which is a guess",)
    table = "İsim;Ücret\nIşıl;1,5\nOya;2,25\n".encode("cp1254")
    assert read(tmp_path, "a.csv", table).text == "İsim: Işıl; Ücret: 1,5\nİsim: Oya; Ücret: 2,25"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Það er gott að búa hér, sagði Þórður og lýsti því.", "cp1252"),
        ("Die Brücke heißt Große Brücke, und über ihr steht ein schöner Turm.", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy, byl to dobrý den.", "cp1250"),
    ],
)
def test_other_languages_are_not_read_as_turkish(tmp_path: Path, text: str, encoding: str) -> None:
    document = read(tmp_path, "a.txt", text.encode(encoding))
    assert document.text == text


def test_a_line_from_elsewhere_leaves_the_rest_in_utf8(tmp_path: Path) -> None:
    lines = "Jörg, Zoë und Björn fahren.\n".encode() + "Die Fähre fährt.\n".encode("cp1252")
    document = read(tmp_path, "a.log", lines)
    assert document.text == "Jörg, Zoë und Björn fahren.\nDie Fähre fährt.\n"
    assert document.notes == ("2 bytes are no UTF-8: read as windows-1252, which is a guess",)
    torn = read(tmp_path, "b.log", "Zoë ist da, Jörg".encode()[:-2] + b"\xc3")
    assert torn.text == "Zoë ist da, Jö\ufffd"


@pytest.mark.parametrize("encoding", ["gb18030", "shift_jis", "euc_kr", "big5"])
def test_encodings_of_east_asia_are_no_broken_utf8(tmp_path: Path, encoding: str) -> None:
    text = {
        "gb18030": "渡轮每天早上七点四十分从北码头出发，周日渡轮不运行。",
        "shift_jis": "図書館は月曜日に休みます。館長は山田花子です。入館料は三百円です。",
        "euc_kr": "도서관은 월요일에 닫습니다. 관장은 김하나입니다.",
        "big5": "渡輪每天早上七點四十分從北碼頭出發，週日渡輪不運行。",
    }[encoding]
    document = read(tmp_path, "a.html", f'<meta charset="{encoding}"><p>{text}'.encode(encoding))
    assert document.text == text


ALTERNATIVE = """From: a@example.org
Subject: Plans
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=A

--A
Content-Type: text/plain; charset=utf-8

See the list.
--A
Content-Type: multipart/mixed; boundary=M

--M
Content-Type: text/html

<p>See the</p>
--M
Content-Type: text/csv; name="p.csv"
Content-Disposition: attachment; filename="p.csv"

part,price
hook,7
--M
Content-Type: text/html

<p>list.</p>
--M--
--A
Content-Type: text/calendar; charset=utf-8

SUMMARY:Launch at nine
--A--
"""


def test_attachments_inside_one_form_of_the_text_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_text(ALTERNATIVE)
    texts = texts_of(tmp_path)
    assert texts.pop("a.eml").endswith("See the list.")
    assert texts == {"a.eml/p.csv": "part: hook; price: 7", "a.eml/attachment-2.calendar": "SUMMARY:Launch at nine"}


def test_outputs_of_a_notebook_in_whatever_form_they_have(tmp_path: Path) -> None:
    traceback = ["\x1b[31mline 12\x1b[0m of a.py", "KeyError: 'mast'"]
    page = "<table><tr><th>boat<th>crew<tr><td>Ida<td>3</table>"
    outputs = [
        {"output_type": "error", "ename": "KeyError", "evalue": "'mast'", "traceback": traceback},
        {"output_type": "error", "ename": "OSError", "evalue": "no disk", "traceback": []},
        {"output_type": "display_data", "data": {"text/html": [page]}},
        {"output_type": "display_data", "data": {"text/latex": "$h = 4$"}},
        {"output_type": "display_data", "data": {"application/json": {"depth": 9}}},
    ]
    cells = [{"cell_type": "code", "source": None, "outputs": outputs}]
    document = read(tmp_path, "a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    assert document.text.split("\n\n") == [
        "line 12 of a.py\nKeyError: 'mast'",
        "OSError: no disk",
        "boat: Ida; crew: 3",
        "$h = 4$",
        '{"depth": 9}',
    ]


def test_frames_of_a_saved_page(tmp_path: Path) -> None:
    def part(page: str) -> str:
        return f"--B\nContent-Type: text/html; charset=utf-8\n\n{page}\n"

    data = (
        "Content-Type: multipart/related; boundary=B\n\n" + part("<h1>Port</h1><p>Open daily.") + part("<h2>Fees</h2>")
    )
    document = read(tmp_path, "a.mhtml", data + part("<script>x</script>") + "--B--\n")
    assert document.text == "# Port\n\nOpen daily.\n\n## Fees"
    assert [document.text[heading.start :][:7] for heading in document.headings] == ["# Port\n", "## Fees"]


def test_a_footnote_of_latex_ends_and_files_that_it_takes_in_are_named(tmp_path: Path) -> None:
    source = "\\begin{document}\nDeep\\footnote{At \\emph{low} tide.} water.\n\\input{maps/north}\n\\end{document}"
    document = read(tmp_path, "a.tex", source)
    assert document.text == "Deep (footnote: At low tide.) water."
    assert document.notes == ("made of other files, which are read if they are named: maps/north",)


def test_names_in_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("logs\\may.txt", "C:\\up.txt"):  # as some programs of Windows write them
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name, 0
            archive.writestr(info, "Calm.")
        for name in (".git/a", ".git/b", "__MACOSX/._x", "..odd.txt"):
            archive.writestr(name, "Calm.")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for name, kind in (("up", tarfile.SYMTYPE), ("same", tarfile.LNKTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    zipfile.ZipFile(tmp_path / "c.zip", "w").close()
    found = discover([str(tmp_path)])
    assert [file.relative_to(tmp_path).as_posix() for file in found.files] == ["a.zip/..odd.txt", "a.zip/logs/may.txt"]
    assert {name.removeprefix(f"{tmp_path}/"): why for name, why in found.skipped} == {
        "a.zip/up.txt": "its name leads out of the archive",
        "a.zip/.git": "left out: hidden in its archive",
        "a.zip/__MACOSX": "left out: hidden in its archive",
        "b.tar/up": "a link in its archive: unpack it",
        "b.tar/same": "a link in its archive: unpack it",
        "c.zip": "an empty archive",
    }


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.adoc", "[%header,cols=2*]\n|===\n|pier |metres\n|East\n|90\n\n|West |120 at\nlow tide\n|===\nEnd."),
        ("b.adoc", "|===\n|pier |metres\n\n|East |90\n|West |120 at low tide\n|===\nEnd."),
        (
            "a.rst",
            "====  =======\npier  metres\n====  =======\nEast  90\n\nWest  120 at\n      low tide\n"
            "====  =======\n\nEnd.",
        ),
        ("a.org", "| pier | metres |\n|------+-----|\n| East | 90 |\n| West | 120 at low tide |\nEnd."),
    ],
)
def test_rows_of_tables_in_markup_name_their_columns(tmp_path: Path, name: str, source: str) -> None:
    source = f"Piers:\n\n{source}"
    document = read(tmp_path, name, source)
    lines = [line for line in document.text.split("\n") if line and not line.startswith("[")]
    assert lines == ["Piers:", "pier: East; metres: 90", "pier: West; metres: 120 at low tide", "End."]
    for line in lines[1:3]:
        pier = line.split(";")[0].removeprefix("pier: ")
        place = document.place(document.text.index(line))
        assert place.line is not None
        assert pier in source.split("\n")[place.line - 1]


def test_a_table_whose_cells_span_others_stays_text(tmp_path: Path) -> None:
    source = "|===\n2+|both\n|a |b\n|==="
    assert read(tmp_path, "a.adoc", source).text == source


def test_org_names_its_file(tmp_path: Path) -> None:
    assert read(tmp_path, "a.org", "#+title: Log of the Ida\n* May\nCalm.").title == "Log of the Ida"


def test_pages_that_a_book_lacks_and_chart_sheets_are_noted(tmp_path: Path) -> None:
    from openpyxl import Workbook
    from openpyxl.chart import BarChart

    container = '<container><rootfiles><rootfile full-path="p.opf"/></rootfiles></container>'
    order = '<manifest><item id="a" href="a.xhtml"/><item id="b" href="b.xhtml"/></manifest><spine>{}</spine>'
    names = "".join(f'<itemref idref="{name}"/>' for name in "cba")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("p.opf", f"<package>{order.format(names)}</package>")
        archive.writestr("a.xhtml", "<p>Only this.</p>")
    book = read(tmp_path, "a.epub", target.getvalue())
    assert (book.text, book.notes) == ("Only this.", ("missing in the file, though the book names them: 2 pages",))
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet["A1"] = "Fee"
    workbook.create_chartsheet("Trend").add_chart(BarChart())
    workbook.save(tmp_path / "a.xlsx")
    assert load(tmp_path / "a.xlsx").notes == ("the chart sheet 'Trend' is not read",)


def test_a_mailbox_without_a_suffix_is_mail(tmp_path: Path) -> None:
    mail = (
        "From: a@example.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed;\n boundary=M\n\n--M\nContent-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: base64\n\nRGllIELDvHJvcw==\n--M\nContent-Type: text/csv\n"
        "Content-Disposition: attachment; filename=p.csv\n\na,b\n--M--\n"
    )
    single = read(tmp_path, "saved.txt", mail)
    assert (single.kind, single.title, single.text.split("\n")[-1]) == ("eml", "Grüße", "Die Büros")
    assert single.notes == ("1 attachment not read: name the file saved.txt.eml",)
    box = read(tmp_path, "Inbox", f"From a@example.org Mon Jan  1 10:00:00 2024\n{mail}")
    assert (box.kind, box.text.split("\n")[-1]) == ("mbox", "Die Büros")
    assert box.notes == ("1 attachment not read: name the file Inbox.mbox",)


@pytest.mark.parametrize(
    "text",
    [
        "From here on, 2024 was calm.\nSubject: wind",
        "From: Ida\nSubject: wind\n\nMime-Version: no header.",
        "note: a\n" * 900,
    ],
)
def test_text_that_speaks_of_mail_stays_text(tmp_path: Path, text: str) -> None:
    document = read(tmp_path, "a.txt", text)
    assert (document.kind, document.text) == ("text", text)


def test_xml_of_another_name_is_told_by_its_beginning(tmp_path: Path) -> None:
    feed = '<?xml version="1.0"?>\n<rss><item><title>Ferry &amp; dogs</title><fee>6</fee></item></rss>'
    assert read(tmp_path, "a.rss", feed).text == "item · title: Ferry & dogs; fee: 6"
    broken = read(tmp_path, "b.rss", feed[:-6])
    assert (broken.kind, broken.text) == ("text", feed[:-6])
    assert broken.notes[0].startswith("read as plain text, for it is no XML")


@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_folder_that_may_not_be_entered_stops_nothing(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a.txt").write_text("Calm.")
    closed = tmp_path / "lost+found"
    closed.mkdir()
    (closed / "b.txt").write_text("Wind.")
    script = (
        "import sys\nfrom pipeline.documents.discover import discover\nfound = discover([sys.argv[1]])\n"
        "print([path.name for path in found.files], [(name[-10:], why) for name, why in found.skipped])"
    )
    as_user = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if as_user and shutil.which("setpriv") is None:
        pytest.skip("root may enter every folder, and setpriv is not installed")
    closed.chmod(mode)
    try:
        done = subprocess.run(
            [*as_user, sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
        )
    finally:
        closed.chmod(0o755)
    if mode:  # its names can be listed, and loading says why its files are not read
        assert done.stdout == "['a.txt', 'b.txt'] []\n"
    else:
        assert done.stdout == "['a.txt'] [('lost+found', 'cannot be entered: Permission denied')]\n"


def test_the_parts_of_a_book_in_latex_are_named_once_and_counted(tmp_path: Path) -> None:
    body = "".join(f"\\input{{part{n % 11}}} One.\n" for n in range(30))
    names = ", ".join(f"part{n}" for n in range(8))
    (note,) = read(tmp_path, "a.tex", body).notes
    assert note == f"made of other files, which are read if they are named: {names} and 3 more"
