"""The report is opened in a real browser, clicked through, and must neither load nor run anything of anybody's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.evaluation.compare import compare
from pipeline.evaluation.report.page import marked, write_page
from pipeline.evaluation.report.plots import picture, quality_of
from pipeline.evaluation.runs import Measures, read_all
from pipeline.types import Span
from tests.evaluation import chromium
from tests.evaluation.records import citation, dropped, line, passage, record, write_run

EVIL = "<script>window.wasRun = 1</script><img src=x onerror='window.wasRun = 1'></script><!-- {data} {csp} \u2028"
N = 8


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Measures]:
    folder = tmp_path_factory.mktemp("runs")

    def lines(n_right: int, tokens: int) -> list[object]:
        made: list[object] = []
        for n in range(N):
            shown = passage("docs/a.txt", 10, f"Fact {n} is here. {EVIL}")
            entry = record(
                f"gold {n} [1]" if n < n_right else f"{EVIL} no",
                [shown],
                [citation(1, shown), citation(7, None)],
                drops=[dropped("docs/a.txt", 400, f"dropped {EVIL}")],
                tokens=tokens + n,
                seconds=tokens / 100 + n,
            )
            gold = {"answers": [f"gold {n}"], "supports": [["docs/a.txt", 10, 15]]}
            made.append(line(n, entry, gold, text=f"What is fact {n}? {EVIL}"))
        made[-1] = line(N - 1, None, {"answers": ["x"]}, text="It fails", error=f"too long {EVIL}")
        return made

    folders = [
        write_run(folder / "plain", lines(2, 300)),  # type: ignore[arg-type]
        write_run(folder / "short", lines(5, 100)),  # type: ignore[arg-type]
    ]
    return read_all(folders)


@pytest.fixture(scope="module")
def page(runs: list[Measures], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, runs, compare(runs), f"plain and short {EVIL}", ["eight questions", EVIL])
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Chromium]:
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with chromium.Chromium(program, tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


def test_the_page_is_clicked_through(page: Path, browser: chromium.Chromium) -> None:
    browser.open(page)
    browser.wait("document.querySelectorAll('#questions tbody tr').length === 8")
    assert browser.texts("h1")[0].startswith("plain and short <script>")
    assert browser.texts("#runs tbody td:first-child") == ["plain", "short"]
    assert browser.run("document.querySelector('#plot img').naturalWidth") > 500

    browser.click("#runs th:nth-child(3) button")  # F1: the best first
    assert browser.texts("#runs tbody td:first-child") == ["short", "plain"]
    assert browser.texts("#runs th[aria-sort=descending]") == ["F1"]
    browser.click("#runs th:nth-child(3) button")
    assert browser.texts("#runs tbody td:first-child") == ["plain", "short"]

    browser.click("#differing")
    assert browser.texts("#count") == ["3 of 8 questions"]
    browser.click("#differing")
    browser.click("#filter")
    browser.write("fact 3")
    browser.wait("document.querySelectorAll('#questions tbody tr').length === 1")
    browser.click("#questions tr.question")
    browser.wait("document.querySelectorAll('.method').length === 2")
    plain, short = browser.texts(".method")
    assert "<script>window.wasRun" in plain
    assert "gold 3 [1]" in short
    assert "Kept: 1 passage" in short
    assert [text.strip() for text in browser.texts(".method mark")] == ["Fact", "Fact"]
    assert "[7] invalid: there is no such passage" in short
    browser.click(".method:nth-child(2) details:nth-of-type(2) summary")
    browser.wait("document.querySelector('.method:nth-child(2) details:nth-of-type(2)').open")
    assert "compress.sentences: not kept" in browser.texts(".method:nth-child(2) .dropped")[0]
    browser.click(".method:nth-child(2) details:nth-of-type(3) summary")
    browser.wait("document.querySelector('.method:nth-child(2) details:nth-of-type(3)').open")
    assert "generate.scripted" in browser.texts(".method:nth-child(2) table")[0]
    browser.click("#questions tr.question")
    browser.wait("document.querySelectorAll('.method').length === 0")

    browser.run("document.getElementById('filter').value = 'fails'")
    browser.run("document.getElementById('filter').dispatchEvent(new Event('input'))")
    browser.click("#questions tr.question")
    browser.wait("document.querySelectorAll('.method .error').length === 2")
    assert browser.texts(".method .error")[0].startswith("Failed in generate.llama: too long <script>")


def test_nothing_was_run_or_loaded_that_is_not_the_pages_own(page: Path, browser: chromium.Chromium) -> None:
    browser.open(page)
    browser.wait("document.querySelectorAll('#questions tbody tr').length === 8")
    assert browser.run("window.wasRun === undefined")
    assert browser.run("document.querySelectorAll('img').length") == 1
    assert browser.faults == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    injected = (
        "const s = document.createElement('script'); s.textContent = 'window.wasRun = 1'; document.body.append(s)"
    )
    browser.run(f"(() => {{ {injected} }})()")
    assert browser.run("window.wasRun === undefined")  # the page's own policy
    browser.call("Runtime.evaluate", expression="1")
    browser.faults.clear()


def test_the_page_needs_nothing_but_itself(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "<script>window" not in text
    assert "onerror='" not in text.replace("\\u003cimg src=x onerror='", "")
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("<script") == 2 + N  # the data, the page's script, a question each


def test_details_can_be_bounded(runs: list[Measures], tmp_path: Path) -> None:
    write_page(tmp_path / "r.html", runs, None, "t", n_detailed=3)
    assert (tmp_path / "r.html").read_text("utf-8").count("<script") == 2 + 3


def test_supporting_text_is_marked_at_its_characters() -> None:
    text = "é is 𝔸 letter"
    assert marked(text, Span("a", 100, 113), [Span("a", 105, 106), Span("b", 100, 113), Span("a", 90, 101)]) == [
        ("é", True),
        (" is ", False),
        ("𝔸", True),
        (" letter", False),
    ]
    assert marked(text, Span("a", 0, 13), [Span("a", 50, 60)]) == [(text, False)]
    assert marked(text, None, [Span("a", 0, 5)]) == [(text, False)]
    assert marked("", Span("a", 5, 5), []) == []


def test_the_picture(runs: list[Measures], tmp_path: Path) -> None:
    data = picture(runs)
    assert data is not None
    assert data.startswith(b"\x89PNG")
    assert data == picture(runs)  # the same again
    assert quality_of(runs) == "f1"
    assert quality_of(runs, "ndcg_at_10") is None
    assert picture(runs, "ndcg_at_10") is None


def test_without_matplotlib_the_page_says_what_to_install(
    runs: list[Measures], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_page(tmp_path / "r.html", runs, None, "t")
    assert "pip install 'longthread[plots]'" in (tmp_path / "r.html").read_text("utf-8")
