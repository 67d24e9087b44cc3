"""Are facts found, quoted and placed in files of every format? Prints one JSON line last.

    .venv/bin/python benchmarks/documents.py [--ocr-pages N]

Two folders are indexed with the default embedder and chunks, and searched by `retrieve.hybrid` (the first 8 passages):
the harbour (../shared/data/harbour, 52 mixed files and 17 questions with an answer) and one that the benchmark makes, a
file for each format with a fact in its text, one in a cell of a table of 40 rows, and one in a note where the format
has notes. No model answers, so that the figures are the readers' own.

Per format: `found`: a passage of the right file with the answer is among the first 8; `quote_right`: the sentence or
row of it that holds the answer has no markup and, for a cell, names its column and its row; `place_right`: the answer
has the place that a person finds it at. `ocr`: characters right (1 - edit distance / length) on pages at 150 dpi,
and seconds a page.
"""

from __future__ import annotations

import argparse
import email.message
import io
import json
import re
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.config import IndexSettings
from pipeline.documents.discover import discover
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import chunker, open_embedder
from pipeline.retrieval.hybrid import Hybrid
from pipeline.retrieval.open_index import open_index
from pipeline.text.sentences import sentences
from pipeline.types import Passage, Question

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
MARKUP = re.compile(r"\\[a-z']+|</?[a-z]+>|=(?:20|3D|0A)|\{\"|\|---")
N_ROWS = 40
FIRST = "Ada Bo Cy Dora Eli Fay Gus Hal Ines Jo".split()
LAST = "Quill Rook Slate Thorn".split()
COLOURS = "red blue green white black amber".split()
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Fact:
    """A question, its answer (several are parted by bars), the words that a quote must hold, and the answer's place.

    The place is "" where none is checked.
    """

    question: str
    answer: str
    beside: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True)
class Sample:
    """The planted facts of one file: `town` is a name that no other file has."""

    town: str
    number: int

    @property
    def person(self) -> str:
        return f"{FIRST[self.number % 10]} {LAST[self.number % 4]}son"

    @property
    def text(self) -> str:
        return f"The lock of {self.town} was rebuilt by {self.person} in {1900 + self.number}."

    @property
    def note(self) -> str:
        return f"The pilot of {self.town} keeps {self.number + 3} geese."

    @property
    def rows(self) -> list[Row]:
        n, town = self.number, self.town
        return [
            (f"{town}boat{i}", COLOURS[(n + i) % 6], f"{2 + (7 * n + 13 * i) % 97 / 10:.1f}") for i in range(N_ROWS)
        ]

    def facts(self, text: str = "", cell: str = "", note: str = "", has_note: bool = False) -> list[Fact]:
        ship, _, draught = self.rows[N_ROWS - 7]
        facts = [
            Fact(f"Who rebuilt the lock of {self.town}?", self.person, ("rebuilt",), text),
            Fact(f"What is the draught_m of {ship}?", draught, ("draught_m", ship), cell),
        ]
        geese = Fact(f"How many geese does the pilot of {self.town} keep?", f"{self.number + 3} geese", (), note)
        return [*facts, *([geese] if has_note else [])]


HEADER: Row = ("ship", "hull", "draught_m")
Make = Callable[[Path, Sample], list[Fact]]


def table(sample: Sample, delimiter: str) -> str:
    return "\n".join(delimiter.join(row) for row in [HEADER, *sample.rows])


def pipes(sample: Sample, rule: str) -> str:
    rows = [f"| {' | '.join(row)} |" for row in [HEADER, *sample.rows]]
    return "\n".join([rows[0], rule, *rows[1:]])


def make_csv(path: Path, sample: Sample) -> list[Fact]:
    path.write_text(table(sample, "\t" if path.suffix == ".tsv" else ",") + "\n")
    return sample.facts(cell=f"A{N_ROWS - 5}:C{N_ROWS - 5}, line {N_ROWS - 5}")[1:]


def make_text(path: Path, sample: Sample) -> list[Fact]:
    encoding = "utf-16-le" if "utf16" in path.name else "cp1252" if "cp1252" in path.name else "utf-8"
    path.write_bytes(f"Größe “of” things.\n\n{sample.text}\n\n{table(sample, ';')}\n".encode(encoding))
    return sample.facts("line 3")[:1]


def make_markdown(path: Path, sample: Sample) -> list[Fact]:
    path.write_text(f"# On {sample.town}\n\n{sample.text}\n\n{pipes(sample, '|---|---|---|')}\n")
    return sample.facts("line 3", f"line {N_ROWS}")


def make_html(path: Path, sample: Sample) -> list[Fact]:
    rows = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in sample.rows)
    head = "".join(f"<th>{cell}</th>" for cell in HEADER)
    page = f"<html><body><h1>On {sample.town}</h1>\n<p>{sample.text}</p>\n<table><tr>{head}</tr>\n{rows}</table></body>"
    if path.suffix == ".html":
        path.write_text(page)
        return sample.facts("line 2", f"line {N_ROWS - 3}")
    message = email.message.EmailMessage()
    message.set_content(page, subtype="html", cte="quoted-printable")
    path.write_bytes(b"MIME-Version: 1.0\n" + message.as_bytes())
    return sample.facts(f"On {sample.town}", f"On {sample.town}")


def make_markup(path: Path, sample: Sample) -> list[Fact]:
    titles = {".rst": "On {0}\n=======================", ".adoc": "= On {0}", ".org": "* On {0}"}
    if path.suffix == ".tex":
        words = sample.text.replace("lock", "\\emph{lock}")
        body = f"\\begin{{document}}\n\\section{{On {sample.town}}}\n{words}\n"
        path.write_text(f"\\documentclass{{article}}\n{body}\\end{{document}}\n")
        return sample.facts("line 4")[:1]
    text = f"{titles[path.suffix].format(sample.town)}\n\n{sample.text}\n"
    if path.suffix != ".org":
        path.write_text(text)
        return sample.facts(f"line {text[: text.index('The lock')].count(chr(10)) + 1}")[:1]
    path.write_text(f"{text}\n{pipes(sample, '|---+---+---|')}\n")
    return sample.facts("line 3", f"line {N_ROWS}")


def make_xlsx(path: Path, sample: Sample) -> list[Fact]:
    import openpyxl
    from openpyxl.comments import Comment

    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = sample.town
    for cells in [(sample.text,), (), HEADER, *sample.rows]:
        sheet.append([float(c) if re.fullmatch(r"\d+\.\d", c) else c for c in cells])
    sheet["A5"].comment = Comment(sample.note, "k")
    book.save(path)
    row = N_ROWS - 3
    return sample.facts(f"{sample.town}!A1", f"{sample.town}!A{row}:C{row}", f"{sample.town}!A5", has_note=True)


def make_opendocument(path: Path, sample: Sample) -> list[Fact]:
    names = "office text table".split()
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    cells = ("".join(f"<table:table-cell><text:p>{c}</text:p></table:table-cell>" for c in r)
             for r in [HEADER, *sample.rows])  # fmt: skip
    rows = "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
    grid = f'<table:table table:name="{sample.town}">{rows}</table:table>'
    note = f"<text:note><text:note-body><text:p>{sample.note}</text:p></text:note-body></text:note>"
    is_text = path.suffix == ".odt"
    text = f'<text:h text:outline-level="1">On {sample.town}</text:h><text:p>{sample.text}{note}</text:p>'
    kind = "text" if is_text else "spreadsheet"
    body = f"<office:{kind}>{text if is_text else ''}{grid}</office:{kind}>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body>{body}</office:body></office:document-content>",
        )
    row = N_ROWS - 5
    if not is_text:
        return sample.facts(cell=f"{sample.town}!A{row}:C{row}")[1:]
    place = f"On {sample.town}, paragraph"
    return sample.facts(f"{place} 1", f"{place} {N_ROWS - 5}", f"{place} 1", has_note=True)


def make_docx(path: Path, sample: Sample) -> list[Fact]:
    w = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

    def paragraph(text: str, more: str = "") -> str:
        return f"<w:p><w:r><w:t>{text}</w:t></w:r>{more}</w:p>"

    rows = "".join(
        f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in [HEADER, *sample.rows]
    )
    reference = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    body = f"{paragraph(sample.text, reference)}<w:tbl>{rows}</w:tbl>"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{types}.document.main+xml"/>'
        f'<Override PartName="/word/footnotes.xml" ContentType="{types}.footnotes+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{w}"><w:body>{body}</w:body></w:document>',
        "word/footnotes.xml": f'<w:footnotes xmlns:w="{w}"><w:footnote w:id="2">{paragraph(sample.note)}</w:footnote>'
        "</w:footnotes>",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return sample.facts("paragraph 1", f"paragraph {N_ROWS - 5}", "paragraph 1", has_note=True)


def make_pptx(path: Path, sample: Sample) -> list[Fact]:
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = f"On {sample.town}", sample.text
    slide.notes_slide.notes_text_frame.text = sample.note
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Ships"
    rows = [HEADER, *sample.rows]
    grid = slide.shapes.add_table(len(rows), 3, Inches(1), Inches(2), Inches(6), Inches(4)).table
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            grid.cell(y, x).text = cell
    deck.save(str(path))
    return sample.facts("slide 1", "slide 2", "slide 1, notes", has_note=True)


def make_rtf(path: Path, sample: Sample) -> list[Fact]:
    rows = "".join(
        "\\trowd\\cellx1\\cellx2\\cellx3 " + "".join(f"{cell}\\cell " for cell in row) + "\\row\n"
        for row in [HEADER, *sample.rows]
    )
    text = f"{sample.text[:9]}{{\\b {sample.text[9:20]}}}{sample.text[20:]}{{\\footnote {sample.note}}}"
    path.write_text(f"{{\\rtf1\\ansi\\ansicpg1252 {text}\\par\n{rows}\\pard End.\\par}}")
    return sample.facts("paragraph 1", f"paragraph {N_ROWS - 5}", "paragraph 1", has_note=True)


def make_mail(path: Path, sample: Sample) -> list[Fact]:
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = "Ida <ida@x.example>", f"About {sample.town}"
    message.set_content(f"Dear Tom,\n\n{sample.text}\n", cte="base64")
    message.add_attachment(table(sample, ",").encode(), maintype="text", subtype="csv", filename="ships.csv")
    data = message.as_bytes()
    is_box = path.suffix == ".mbox"
    path.write_bytes(b"From ida@x Mon Nov  3 09:12:00 2025\n" + data + b"\n" if is_box else data)
    return sample.facts("mail 1, text" if is_box else "text", f"A{N_ROWS - 5}:C{N_ROWS - 5}, line {N_ROWS - 5}")


def make_notebook(path: Path, sample: Sample) -> list[Fact]:
    output = {"output_type": "stream", "name": "stdout", "text": [sample.note]}
    picture = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * 400}}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"# On {sample.town}\n", sample.text]},
        {"cell_type": "code", "metadata": {}, "source": "print(geese)", "outputs": [picture, output]},
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    text, _, note = sample.facts("cell 1", "", "cell 2, output", has_note=True)
    return [text, note]


def make_keyed(path: Path, sample: Sample) -> list[Fact]:
    rows = [dict(zip(HEADER, row, strict=True)) for row in sample.rows]
    lock = {sample.town: {"lock": {"rebuilt": f"by {sample.person}"}}}
    text = Fact(f"Who rebuilt the lock of {sample.town}?", sample.person, ("rebuilt",))
    cell, row = sample.facts()[1], N_ROWS - 7
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
        return [Fact(cell.question, cell.answer, cell.beside, f"line {row + 1}")]
    if path.suffix == ".json":
        path.write_text(json.dumps({**lock, "ships": rows}, indent=1))
        place = f"{sample.town}.lock.rebuilt, line 4"
        cell_place = f"ships[{row}], line {8 + 5 * row}"
        return [Fact(text.question, text.answer, text.beside, place),
                Fact(cell.question, cell.answer, cell.beside, cell_place)]  # fmt: skip
    if path.suffix == ".toml":
        path.write_text(f"# locks\n[{sample.town}.lock]\nrebuilt = 'by {sample.person}'\n")
        return [Fact(text.question, text.answer, text.beside, f"{sample.town}.lock.rebuilt, line 3")]
    path.write_text(f"# locks\n{sample.town}:\n  lock:\n    rebuilt: by {sample.person}\n")
    return [Fact(text.question, text.answer, text.beside, f"{sample.town}.lock.rebuilt, line 4")]


def make_xml(path: Path, sample: Sample) -> list[Fact]:
    rows = "\n".join(
        f"<berth>{''.join(f'<{n}>{c}</{n}>' for n, c in zip(HEADER, row, strict=True))}</berth>" for row in sample.rows
    )
    path.write_text(f"<port>\n<text>{sample.text}</text>\n{rows}</port>")
    return sample.facts("port/text, line 2", f"port/berth, line {N_ROWS - 4}")


def make_subtitles(path: Path, sample: Sample) -> list[Fact]:
    words, mark = sample.text.split(), "," if path.suffix == ".srt" else "."
    cues = [
        f"{n}\n00:0{n}:00{mark}000 --> 00:0{n}:09{mark}000\n{' '.join(part)}"
        for n, part in ((1, ["Good", "evening."]), (2, words[:6]), (3, words[6:]))
    ]
    path.write_text(("WEBVTT\n\n" if path.suffix == ".vtt" else "") + "\n\n".join(cues) + "\n")
    return sample.facts(f"00:03:00, line {12 if path.suffix == '.vtt' else 10}")[:1]


def make_epub(path: Path, sample: Sample) -> list[Fact]:
    page = (
        f"<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>On {sample.town}</h1><p>{sample.text}</p></body></html>"
    )
    package = "<package><manifest><item id='a' href='a.xhtml'/></manifest><spine><itemref idref='a'/></spine></package>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml", "<container><rootfiles><rootfile full-path='p.opf'/></rootfiles></container>"
        )
        archive.writestr("p.opf", package)
        archive.writestr("a.xhtml", page)
    return sample.facts("chapter 1")[:1]


def make_archive(path: Path, sample: Sample) -> list[Fact]:
    data = table(sample, ",").encode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("in/ships.csv", data)
    else:
        with tarfile.open(path, "w:gz") as tar:
            info = tarfile.TarInfo("in/ships.csv")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sample.facts(cell=f"A{N_ROWS - 5}:C{N_ROWS - 5}, line {N_ROWS - 5}")[1:]


MADE: dict[str, Make] = {
    "a.csv": make_csv, "a.tsv": make_csv, "utf16.txt": make_text, "cp1252.txt": make_text, "a.md": make_markdown,
    "a.html": make_html, "a.mhtml": make_html, "a.rst": make_markup, "a.adoc": make_markup, "a.org": make_markup,
    "a.tex": make_markup, "a.xlsx": make_xlsx, "a.ods": make_opendocument, "a.odt": make_opendocument,
    "a.docx": make_docx, "a.pptx": make_pptx, "a.rtf": make_rtf, "a.eml": make_mail, "a.mbox": make_mail,
    "a.ipynb": make_notebook, "a.json": make_keyed, "a.jsonl": make_keyed, "a.yaml": make_keyed, "a.toml": make_keyed,
    "a.xml": make_xml, "a.vtt": make_subtitles, "a.srt": make_subtitles, "a.epub": make_epub, "a.zip": make_archive,
    "a.tar.gz": make_archive,
}  # fmt: skip
TOWNS = [
    f"{a}{b}" for a in ("Orla", "Tarn", "Vels", "Brim", "Kolt", "Fenn") for b in ("by", "holm", "wick", "sund", "mar")
]


@dataclass
class Score:
    n: int = 0
    found: int = 0
    quote_right: int = 0
    place_right: int = 0

    def to_dict(self) -> dict[str, float]:
        shares = {name: round(getattr(self, name) / self.n, 3) for name in ("found", "quote_right", "place_right")}
        return {"n": self.n, **shares}


def find_answer(text: str, answer: str) -> re.Match[str] | None:
    """Where one of the answers, parted by bars, stands in a text as whole words."""
    forms = "|".join(map(re.escape, answer.split("|")))
    return re.search(rf"(?<![\w.])(?:{forms})(?!\w)", text)


def quote_of(passages: Sequence[Passage], source: str, fact: Fact) -> Passage | None:
    """The sentence or row with the answer: the first that holds also what must stand beside it."""
    parts = [
        passage.part(passage.start + start, passage.start + end)
        for passage in passages
        if source in passage.source
        for start, end in sentences(passage.text)
    ]
    holding = [part for part in parts if find_answer(part.text, fact.answer)]
    return next((p for p in holding if all(word in p.text for word in fact.beside)), holding[0] if holding else None)


def measure(
    folder: Path, index_folder: Path, facts: Sequence[tuple[str, str, Fact]]
) -> tuple[dict[str, Score], list[str]]:
    """Scores by format of the facts (format, a part of the source's path, fact), and those that went wrong."""
    settings = IndexSettings()
    embedder = open_embedder(settings)
    scores: dict[str, Score] = defaultdict(Score)
    wrong: list[str] = []
    with open_index(index_folder, embedder, chunker(settings), mode="write") as index:
        report = index.update(discover([str(folder)]), lambda what, done, total: None)
        wrong += [f"{path}: {why}" for path, why in report.failed]
        runtime: Any = SimpleNamespace(index=index, embedder=embedder, note=lambda text, once=False: None)
        for kind, source, fact in facts:
            quote = quote_of(Hybrid().search(Question(fact.question), runtime), source, fact)
            score = scores[kind]
            is_right = quote is not None and all(w in quote.text for w in fact.beside) and not MARKUP.search(quote.text)
            answer = find_answer(quote.text, fact.answer) if quote else None
            place = str(quote.place.after(quote.text[: answer.start()])) if quote and answer else ""
            is_placed = quote is not None and fact.place in ("", place)
            score.n += 1
            score.found += quote is not None
            score.quote_right += is_right
            score.place_right += is_placed
            if not (is_right and is_placed):
                shown = "not found" if quote is None else f"{place} (not {fact.place}): {quote.text[:200]!r}"
                wrong.append(f"{source}: {fact.question}: {shown}")
    return dict(scores), wrong


def harbour_facts() -> list[tuple[str, str, Fact]]:
    lines = (DATA / "harbour" / "questions.jsonl").read_text().splitlines()
    items = [item for item in map(json.loads, lines) if item.get("answerable", True)]
    return [
        (Path(item["source"]).suffix[1:], f"/{item['source']}", Fact(item["question"], "|".join(item["answers"])))
        for item in items
    ]


def measure_ocr(n_pages: int) -> dict[str, float]:
    """Characters right on pages of a book, rendered at 150 dpi."""
    from PIL import Image, ImageDraw, ImageFont

    from pipeline.documents.ocr import recognise

    words = (DATA / "gutenberg" / "1661.txt").read_text(encoding="utf-8-sig")[20_000:].split()
    right = n_chars = 0
    seconds = 0.0
    recognise(Image.new("RGB", (200, 60), "white"))
    for page in range(n_pages):
        lines = [" ".join(words[400 * page + 10 * n : 400 * page + 10 * n + 10]) for n in range(40)]
        picture = Image.new("RGB", (1240, 1754), "white")  # A4 at 150 dpi
        font = ImageFont.load_default(23)  # 11 points
        for n, line in enumerate(lines):
            ImageDraw.Draw(picture).text((120, 120 + 38 * n), line, "black", font)
        started = perf_counter()
        text = recognise(picture).text
        seconds += perf_counter() - started
        expected = "\n".join(lines)
        right += len(expected) - distance(expected, text)
        n_chars += len(expected)
    return {
        "pages": n_pages, "characters_right": round(right / n_chars, 4), "seconds_a_page": round(seconds / n_pages, 2)
    }  # fmt: skip


def distance(a: str, b: str) -> int:
    """Levenshtein's edit distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ocr-pages", type=int, default=2, help="0 leaves OCR out")
    arguments = parser.parse_args()
    switch_off_telemetry()
    result: dict[str, Any] = {"benchmark": "documents", "formats": len(MADE)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "docs"
        folder.mkdir()
        facts: list[tuple[str, str, Fact]] = []
        for number, (name, make) in enumerate(MADE.items()):
            path = folder / f"{TOWNS[number]}-{name}"
            facts += [(name.partition(".")[2], path.name, fact) for fact in make(path, Sample(TOWNS[number], number))]
        sets = [("made", folder, facts)]
        if (DATA / "harbour").is_dir():
            sets.append(("harbour", DATA / "harbour" / "docs", harbour_facts()))
        for name, docs, items in sets:
            scores, wrong = measure(docs, Path(temporary) / f"index-{name}", items)
            print(*wrong, sep="\n")
            total = Score(*(sum(getattr(s, f) for s in scores.values()) for f in Score.__dataclass_fields__))
            result[name] = {**total.to_dict(), "by_format": {k: s.to_dict() for k, s in sorted(scores.items())}}
    if arguments.ocr_pages:
        result["ocr"] = measure_ocr(arguments.ocr_pages)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
