"""What `ask` prints: the answer first, then a line for each citation, then one line of account."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cli.printing import print_state
from pipeline.types import Answer, Citation, Generation, Ledger, Passage, Place, Question, StageEntry, State
from tests.cli.conftest import DEMO, OFFLINE, Run
from tests.documents.docx_file import docx, paragraph
from tests.documents.pdf_file import pdf

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = str(DEMO / "documents")
CLOCK = "Who repaired the clock in 1987?"
ANSWER = "In 1987 it was repaired by Lucia Ferrand, a maker of music boxes"
CITED = f'town-hall.txt, line 7: "{ANSWER}, who asked for no money but only for the old pendulum."'
NEAREST = (
    'town-hall.txt, line 7, near the question: "The clock in the tower stopped on the night of the great storm of 1953 '
    "and stood "
)
ACCOUNT = r"\d+ tokens read, \d+ written in \d+\.\d s(, \d of \d passages left out)?, --account shows all"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files that can be read, and three that cannot."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "good.md").write_text("# Keys\n\nThe key of the tower is 7431.\n")
    (folder / "other.txt").write_text("The gate of the garden is green.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is all there is")
    (folder / "empty.txt").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    return folder


def piped(*arguments: str, given: str | bytes = b"", cache: Path) -> subprocess.CompletedProcess[str]:
    """The command with its output in a pipe, in a terminal of 80 columns as far as the environment says."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "ask", *arguments, "--config", OFFLINE],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", "LONGTHREAD_CACHE": str(cache)},
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


# ----------------------------------------------------------------------------------------------------------- the order
def test_the_answer_is_first_and_the_account_is_one_line(run: Run) -> None:
    done = run("ask", CLOCK, DOCUMENTS, "--config", OFFLINE)
    answer, cited, nearest, account = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert answer.startswith(ANSWER)
    assert re.fullmatch(r"\[\d\] .*" + re.escape(CITED), cited)
    assert re.match(r"\[\d\] .*" + re.escape(NEAREST), nearest)
    assert re.fullmatch(ACCOUNT, account)


def test_the_tables_come_with_account_and_the_texts_with_diff(run: Run) -> None:
    done = run("ask", CLOCK, DOCUMENTS, "--config", OFFLINE, "--account", "--diff")
    assert done.out.startswith(ANSWER)
    assert re.search(r"^stage +passages +tokens", done.out, re.MULTILINE)
    assert "retrieve.bm25" in done.out
    assert re.search(r"^\+ \[1\] ", done.out, re.MULTILINE)
    assert "--account shows all" not in done.out


def test_quiet_is_the_answer_and_its_citations_alone(run: Run, folder: Path) -> None:
    done = run("ask", "What is the key of the tower?", str(folder), "--config", OFFLINE, "-q")
    answer, cited = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert answer == "The key of the tower is 7431. [1]"
    assert re.fullmatch(r'\[1\] .*good\.md, line 3: "The key of the tower is 7431\."', cited)


def test_a_refusal_says_what_was_searched(run: Run) -> None:
    done = run("ask", "Quinoa?", DOCUMENTS, "--config", OFFLINE)
    assert done.code == 0
    assert done.out.splitlines()[0] == "The documents do not hold the answer."
    assert done.out.splitlines()[1].startswith("searched ")
    assert re.fullmatch(r"nothing was read by a model, in \d+\.\d s, --account shows all", done.out.splitlines()[-1])
    assert run("ask", "Quinoa?", DOCUMENTS, "--config", OFFLINE, "-q").out == "The documents do not hold the answer.\n"


# ----------------------------------------------------------------------------------------------------------- pipes
def test_through_a_pipe_nothing_is_wrapped_and_nothing_is_coloured(tmp_path: Path) -> None:
    doors = "the gate beside it, the mill below, the barn on the hill, the shed of the gardener, the cellar with the "
    rooms = "barrels, the attic, the old brewery across the road and the boathouse where the ferry lies in winter"
    sentence = f"The key of the tower, {doors}{rooms} is 7431."
    (tmp_path / "a.md").write_text(f"# Keys\n\n{sentence}\n")
    done = piped("What is the key of the tower?", str(tmp_path / "a.md"), cache=tmp_path / "cache")
    answer, cited, account = done.stdout.splitlines()
    assert len(sentence) > 200
    assert answer == f"{sentence} [1]"
    assert cited.endswith(f'a.md, line 3: "{sentence}"')
    assert re.fullmatch(ACCOUNT, account)
    assert "\x1b" not in done.stdout + done.stderr


def test_standard_input_is_a_document_that_is_not_kept(tmp_path: Path) -> None:
    text = (DEMO / "documents/town-hall.txt").read_text("utf-8")
    done = piped(CLOCK, "-", "-q", given=text, cache=tmp_path / "cache")
    assert done.stdout.splitlines()[1].endswith(CITED.replace("town-hall.txt", "standard input"))
    assert (done.returncode, done.stderr) == (0, "")
    other = piped(CLOCK, "-", "-q", given="The clock was repaired in 1987 by Odd Rae.", cache=tmp_path / "cache")
    assert "Odd Rae" in other.stdout
    assert "Lucia" not in other.stdout, "the second text, not the first one"
    assert list((tmp_path / "cache").rglob("*")) == []


def test_standard_input_beside_files_and_in_other_formats(tmp_path: Path) -> None:
    page = "<html><body><h1>Lamps</h1>\n<p>The lamp was lit\nby Augusta Renn.</p></body></html>"
    done = piped("Who lit the lamp at the tower?", "-", DOCUMENTS, "--json", given=page, cache=tmp_path / "cache")
    record = json.loads(done.stdout)
    first, nearest = record["citations"]
    assert (first["by"], first["source"], first["quote"]["line"]) == ("model", "standard input", 2)
    assert (nearest["by"], nearest["source"].endswith("town-hall.txt")) == ("question", True)
    assert {found["source"].rpartition("/")[2] for found in record["found"]} > {"standard input"}


@pytest.mark.parametrize("given", [b"", b" \n", bytes(range(256))])
def test_standard_input_without_a_text_is_refused(tmp_path: Path, given: bytes) -> None:
    done = piped(CLOCK, "-", given=given, cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"longthread: standard input: (holds no text|a binary file)", done.stderr)


# -------------------------------------------------------------------------------------------- files that were not read
def test_files_met_in_a_folder_are_one_line_and_no_failure(run: Run, folder: Path) -> None:
    for _ in range(2):  # at every question
        done = run("ask", "What is the key of the tower?", str(folder), "--config", OFFLINE)
        assert (done.code, done.out.splitlines()[0]) == (0, "The key of the tower is 7431. [1]")
        assert done.err == f"3 files were not read: longthread index {folder} --skipped --config {OFFLINE} lists them\n"
    listed = run(*done.err.split(": longthread ")[1].removesuffix(" lists them\n").split())
    assert listed.code == 0
    assert [line.rpartition("/")[2].partition(":")[0] for line in listed.out.splitlines()] == [
        "broken.pdf",
        "empty.txt",
        "picture.png",
    ]
    files = json.loads(run("index", str(folder), "--skipped", "--config", OFFLINE, "--json").out)["files"]
    assert files[2][0] == str(folder / "picture.png")
    assert files[2][1].startswith(("a broken picture", "reading PICTURE needs rapidocr"))


def test_a_file_that_was_named_and_cannot_be_read_is_a_failure(run: Run, folder: Path) -> None:
    named = str(folder / "broken.pdf")
    done = run("ask", "What is the key of the tower?", str(folder / "good.md"), named, "--config", OFFLINE, "-q")
    assert done.code == 2
    assert done.out.startswith("The key of the tower is 7431. [1]\n"), "what could be read was asked"
    assert re.fullmatch(r"longthread: .*broken\.pdf: a broken PDF, .*\n", done.err)


def test_nothing_that_can_be_read_is_told_with_the_reasons(run: Run, folder: Path) -> None:
    done = run("ask", CLOCK, str(folder / "broken.pdf"), "--config", OFFLINE)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"longthread: nothing could be read:\n.*broken\.pdf: a broken PDF, .*\n", done.err)


def test_what_index_refuses(run: Run, folder: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("index", str(folder)), "name the files and the folder of the index"),
        (("index", "-", "--index", str(tmp_path / "i")), "standard input cannot be kept in an index"),
        (("index", "--skipped"), "name what was indexed"),
        (("index", str(folder), "--skipped", "--config", OFFLINE), f"{folder}: not indexed yet"),
        (("index", "--index", str(tmp_path / "i"), "--skipped"), "there is no index here"),
    ):
        done = run(*arguments)
        assert (done.code, done.out) == (2, "")
        assert message in done.err


def test_an_index_of_which_all_was_read(run: Run, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    assert run("index", DOCUMENTS, "--index", index, "--config", OFFLINE).err == ""
    assert run("index", "--index", index, "--skipped").out == "All files were read.\n"


# ------------------------------------------------------------------------------------------------------------- places
def test_places_are_those_of_the_format(run: Run, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(pdf([["Nothing here."], ["The mast is 40 metres high."]]))
    body = paragraph("Pets", "heading1") + paragraph("Cats may stay.") + paragraph("Parrots must be silent at night.")
    (tmp_path / "lease.docx").write_bytes(docx(body))
    (tmp_path / "page.html").write_text("<html>\n<body>\n<p>The cellar\nholds nine barrels of cider.</p></body></html>")
    for question, cited, place in (
        ("How high is the mast?", "report.pdf, p. 2: ", (None, 2, None, [])),
        ("When must parrots be silent?", "lease.docx, Pets, paragraph 2: ", (None, None, 2, ["Pets"])),
        ("How many barrels does the cellar hold?", "page.html, line 3: ", (3, None, None, [])),
    ):
        done = run("ask", question, str(tmp_path), "--config", OFFLINE, "-q")
        assert cited in done.out.splitlines()[1]
        record = json.loads(run("ask", question, str(tmp_path), "--config", OFFLINE, "--json").out)
        quote = record["citations"][0]["quote"]
        assert (quote["line"], quote["page"], quote["paragraph"], quote["heading"]) == place
        assert (record["by"], record["said"], record["faults"]) == ("model", "", [])
        assert record["citations"][0]["drop"] is None


# ----------------------------------------------------------------------------------------------------- forms of answers
QUOTE = Passage("/docs/town.txt", 10, 60, "Lucia Ferrand repaired the clock, and took no money.", place=Place(7))
SHOWN = replace(QUOTE, start=0, end=90)
LEDGER = Ledger(
    stages=(StageEntry("retrieve.bm25", 0.2, 0, 2, 0, 40), StageEntry("generate.llama", 1.5, 1, 1, 20, 20)),
    model="small.gguf",
    generation=Generation("", "stop", 194, 0, 21, 1.0, 0.5),
)


def cited(by: str, support: float = 1.0) -> Citation:
    return Citation(1, by, SHOWN, QUOTE, support)  # type: ignore[arg-type]


def printed(answer: Answer, quiet: bool = False, terminal: bool = False) -> str:
    other = Passage("/docs/other.txt", 0, 10, "Other text")
    state = State(Question("Who?"), shown=(SHOWN,), found=(SHOWN, other), answer=answer, ledger=LEDGER)
    out = io.StringIO()
    console = Console(file=out, width=400, force_terminal=terminal, color_system="truecolor" if terminal else None)
    print_state(state, console, quiet=quiet)
    return out.getvalue()


LINE = '[1] /docs/town.txt, line 7: "Lucia Ferrand repaired the clock, and took no money."\n'
END = "194 tokens read, 21 written in 1.7 s, 1 of 2 passages left out, --account shows all\n"


@pytest.mark.parametrize("by", ["match", "model", "attribution"])
def test_an_answer_with_evidence_needs_no_introduction(by: str) -> None:
    assert printed(Answer("Lucia.", (cited(by),))) == f"Lucia.\n{LINE}{END}"


def test_an_answer_that_nothing_supports_is_not_said_to_stand_anywhere() -> None:
    answer = Answer("Ada did, in 1990.", (cited("question"),), unsupported=("1990", "Ada"), faults=("cut", "looped"))
    told = "Nothing that was shown says this. The nearest sentence:\n"
    lacking = "Not in the documents that were shown: 1990, Ada\n"
    assert printed(answer) == f"Ada did, in 1990.\n{told}{LINE}{lacking}cut; looped\n{END}"
    assert printed(answer, quiet=True) == f"Ada did, in 1990.\n{told}{LINE}{lacking}"
    assert printed(Answer("Ada.")) == f"Ada.\nNothing that was shown says this.\n{END}"


def test_several_nearest_sentences_are_counted() -> None:
    two = (cited("question"), replace(cited("question"), number=2))
    assert "The nearest 2 sentences:\n" in printed(Answer("The documents do not hold the answer.", two, True))
    assert "Nothing that was shown says this. The nearest 2 sentences:\n" in printed(Answer("Ada.", two))


def test_a_number_that_no_passage_has_is_invalid() -> None:
    answer = Answer("Lucia [7].", (cited("match"), Citation(7, "model", None, None)))
    assert printed(answer) == f"Lucia [7].\n{LINE}[7] names no passage: the model was shown 1 to 1\n{END}"


def test_a_quote_takes_the_place_of_an_answer_without_a_use() -> None:
    said = "The answer is: " * 40
    looped = ("the model repeated itself",)
    answer = Answer(QUOTE.text, (cited("question"),), by="quote", said=said, why="no words are left", faults=looped)
    head = "The model (small.gguf) gave no usable answer. The sentence nearest to the question:\n"
    lines = printed(answer).splitlines(keepends=True)
    assert lines[:2] == [head, LINE]
    assert re.fullmatch(r'The model wrote: "(The answer is: )+.*? \.\.\. \(shortened here\)"\n', lines[2])
    assert len(lines[2]) < 170
    assert lines[3:] == ["the model repeated itself\n", END]
    assert printed(answer, quiet=True) == head + LINE


def test_where_quotes_lead_the_sentence_is_the_answer() -> None:
    answer = Answer(QUOTE.text, (cited("question"),), by="quote", said="Ada did.")
    place = LINE.partition(': "')[0] + ": this sentence\n"
    assert printed(answer) == f'{QUOTE.text}\n{place}The model wrote: "Ada did."\n{END}'
    assert printed(answer, quiet=True) == f"{QUOTE.text}\n{place}"


def test_an_abstention_shows_the_nearest_sentence() -> None:
    answer = Answer(
        "The documents do not hold the answer.",
        (cited("question"),),
        True,
        "searched 2 passages",
        by="gate",
        said="Ada.",
    )
    first, nearest = "The documents do not hold the answer.\n", "The nearest sentence:\n"
    assert printed(answer) == f'{first}searched 2 passages\n{nearest}{LINE}The model wrote: "Ada."\n{END}'
    assert printed(answer, quiet=True) == first + nearest + LINE


def test_a_long_quote_is_shortened_and_that_is_said() -> None:
    long = replace(QUOTE, text="word " * 200)
    out = printed(Answer("Word.", (replace(cited("match"), quote=long),))).splitlines()[1]
    assert out.endswith('word ... (shortened here)"')
    assert len(out) < 400


def test_a_terminal_gets_links_to_the_files_and_nothing_that_drives_it() -> None:
    hostile = replace(QUOTE, text="Lucia \x1b[2J\x1b]0;title\x07 came.", source="/docs/a b.txt")
    out = printed(Answer("\x1b[31mLucia", (replace(cited("match"), quote=hostile),)), terminal=True)
    assert re.search(r"\x1b\]8;id=\d+;file:///docs/a%20b\.txt\x1b\\", out)
    assert "\x1b[2J" not in out
    assert "\x1b]0;" not in out
    assert "\x1b[31mLucia" not in out
    assert "\x1b]8" not in printed(Answer("Lucia.", (cited("match"),)))


# ---------------------------------------------------------------------------------------------------- what is searched
def test_a_filter_keeps_to_the_documents_that_match(run: Run) -> None:
    done = run("ask", CLOCK, DOCUMENTS, "--config", OFFLINE, "--filter", "kind=text and year>2000", "--json")
    assert {passage["source"].rpartition("/")[2] for passage in json.loads(done.out)["found"]} == {"town-hall.txt"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind=docx", "the filter 'kind=docx' leaves none of 4 documents to search. What there is: kind is "),
        ("kind docx", "filter 'kind docx': expected an operator behind 'kind', one of = != ~ in, got 'docx' at "),
        ("year=MMXX", "filter 'year=MMXX': year is compared with a whole number, was: 'MMXX'"),
    ],
)
def test_a_filter_that_leaves_nothing_or_cannot_be_read_is_told(run: Run, text: str, message: str) -> None:
    done = run("ask", CLOCK, DOCUMENTS, "--config", OFFLINE, "--filter", text)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
