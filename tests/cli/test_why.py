"""`longthread why`: a row for each passage that makes a difference, the same as JSON, and what it took."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.why import bar, explanation
from pipeline.answers.attribution import Attribution, Grounds, PassageDrop, QuoteDrop
from pipeline.types import Answer, Passage, State
from tests.cli.conftest import DEMO, OFFLINE, Run

QUESTION = "How many beehives does the garden have?"
DOCUMENTS = str(DEMO / "documents")


def test_the_passage_that_the_answer_is_copied_from_stands_first(run: Run) -> None:
    done = run("why", QUESTION, "-c", OFFLINE, "--docs", DOCUMENTS, "-q")
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if line.startswith("█")]
    assert "garden.html" in rows[0]
    assert "passages and sentences left out in turn (cells hidden" in done.out
    assert "reading the prompt took" in done.out


def test_as_json_with_its_cost_in_the_ledger(run: Run) -> None:
    done = run("why", QUESTION, "-c", OFFLINE, "--docs", DOCUMENTS, "--json", "-q")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    (grounds,) = found["why"]["sentences"]
    drops = [one["drop"] for one in grounds["passages"]]
    assert drops == sorted(drops, reverse=True)
    assert [one["number"] for one in grounds["passages"]] != []
    assert found["why"]["method"] == "cells"
    assert found["ledger"]["stages"][-1]["stage"] == "why"
    assert found["ledger"]["stages"][-1]["notes"] == [
        f"{found['why']['variants']} passages and sentences left out in turn "
        f"(cells hidden, {found['why']['tokens']} tokens read again)"
    ]
    best = grounds["passages"][0]
    for sentence in best["sentences"]:
        assert best["start"] <= sentence["start"] < sentence["end"] <= best["end"]


def test_exact_reads_a_prompt_for_each(run: Run) -> None:
    done = run("why", QUESTION, "-c", OFFLINE, "--docs", DOCUMENTS, "--exact", "--account", "-q")
    assert done.code == 0, done.err
    assert "prompts read anew" in done.out
    assert "generate.scripted" in done.out


def test_what_no_model_answered_cannot_be_explained(run: Run) -> None:
    done = run("why", "Which zeppelin crossed Greenland?", "-c", OFFLINE, "--docs", DOCUMENTS, "-q")
    assert done.code == 0, done.err
    assert "No model answered from passages here: there is nothing to explain." in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "the question is empty"),
        (("Why?",), "nothing to answer from"),
        (("Why?", "--docs", "no-such-file.md"), "no-such-file.md"),
    ],
    ids=["no question", "no documents", "no such file"],
)
def test_what_is_wrong_is_said_as_for_ask(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run("why", *arguments, "-c", OFFLINE, "-q")
    assert done.code == 2
    assert message in done.err


# ------------------------------------------------------------------------------------------------------- how it looks
def shown(grounds: Grounds, width: int = 100) -> str:
    out = StringIO()
    console = Console(file=out, width=width)
    state = State(question=None, answer=Answer(grounds.text))  # type: ignore[arg-type]
    for block in explanation(state, Attribution((grounds,), "cells", 4, 120, 0.5)):
        console.print(block)
    return out.getvalue()


def passage(n: int, drop: float, *quotes: tuple[str, float]) -> PassageDrop:
    whole = Passage(f"{n}.txt", 0, 4, "text")
    return PassageDrop(n, whole, drop, tuple(QuoteDrop(Passage(f"{n}.txt", 0, len(q), q), d) for q, d in quotes))


def test_bars_are_as_long_as_the_drops() -> None:
    assert bar(10, 10, 8) == "█" * 8
    assert bar(5, 10, 8) == "█" * 4
    assert bar(0.01, 10, 8) == "▏"
    assert bar(-1, 10, 8) == bar(0, 0, 8) == ""


def test_small_drops_are_counted_and_negative_ones_shown() -> None:
    text = shown(Grounds("It is so.", -1.0, 9.0, (passage(2, 8.0), passage(1, 0.1), passage(4, 0.2), passage(3, -2.0))))
    assert "8.00 [2] 2.txt" in text
    assert "-2.00 [3] 3.txt" in text
    assert "[1]" not in text
    assert "without 2 other passages: less than 0.5 nats each" in text


def test_sentences_stand_below_their_passage() -> None:
    quotes = (("It is so, they say.", 7.5), ("Nothing else.", 0.1))
    text = shown(Grounds("It is so.", -1.0, 9.0, (passage(1, 8.0, *quotes),)))
    assert '7.50     "It is so, they say."' in text
    assert "Nothing else" not in text


def test_where_no_passage_matters_it_says_why() -> None:
    small = (passage(1, 0.1), passage(2, 0.2))
    assert "7.00 nats less likely: several say it" in shown(Grounds("So.", -1.0, 7.0, small), 200)
    assert "the model says it without the documents" in shown(Grounds("So.", -1.0, 0.2, small), 200)


@pytest.mark.parametrize(
    ("without_all", "why"),
    [(7.0, "7.00 nats less likely: several say it"), (0.2, "the model says it without the documents")],
)
def test_passages_that_speak_against_a_sentence_are_not_called_without_difference(without_all: float, why: str) -> None:
    text = shown(Grounds("So.", -1.0, without_all, (passage(1, 0.1), passage(2, -3.0))), 200)
    assert "-3.00 [2] 2.txt" in text
    assert "No passage supports it by itself (the one above makes it less likely), " in text
    assert why in text
    several = shown(Grounds("So.", -1.0, without_all, (passage(1, -2.0), passage(2, -3.0))), 200)
    assert "No passage supports it by itself (those above make it less likely), " in several


def test_its_quiet_option_is_the_ordinary_one(run: Run) -> None:
    assert "-q, --quiet Show no progress." in " ".join(run("why", "--help").out.split())


def test_it_is_in_the_help(run: Run, tmp_path: Path) -> None:
    assert "show which passages and sentences support" in " ".join(run("why", "--help").out.split())
