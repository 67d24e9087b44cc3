"""What every compressor promises, over the registry: a new one is tested the moment that it is listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.registry import COMPONENTS, build, make
from pipeline.stages import dropped
from pipeline.types import Passage, Question
from tests.compressors.workbench import passage, scripted_runtime

PROBE = {"compress.probe": {"model": None}}
WITHOUT_WEIGHTS: dict[str, dict[str, Any]] = {
    "compress.sentences": {"score": "cosine"},
    "compress.exit": {"threshold": 0.3},
    "compress.probe": {"model": None},
    "compress.surprisal": {"model": None},
    "compress.highlight": {"of": PROBE},
    "compress.chain": {"of": [PROBE, "compress.reorder"]},
    "compress.neighbours": {"of": PROBE},
    "compress.protect": {"of": PROBE},
    "compress.fallback": {"of": PROBE},
    "compress.if_faster": {"of": PROBE},
    "compress.route": {"facts": PROBE},
}
"""Settings with which a compressor needs no weights: the scripted model does its reading."""

TRAINED = {"compress.extensible"}
"""Compressors that read with weights trained for one model's file: test_extensible.py repeats the promises on it."""

NAMES = sorted(name for name in COMPONENTS if name.startswith("compress.") and name not in TRAINED)
ABSTRACTIVE = {"compress.crag", "compress.highlight"}
REORDERING = {"compress.reorder", "compress.chain", "compress.crag", "compress.highlight"}
QUESTION = Question("When does the ferry leave in winter?")
FERRY = (
    "The ferry sails from the quay. In winter it leaves at nine. In summer it leaves three times. "
    "A ticket costs six marks. Dogs pay too. The captain is old."
)
TOWN = "The town hall opens at eight. It was built in 1901. The mayor lives there. Winter is cold."


def component(name: str, **more: Any) -> Any:
    built, faults = build(name, {**WITHOUT_WEIGHTS.get(name, {}), **more})
    assert built is not None, faults
    return built


def compressed(name: str, passages: Sequence[Passage], question: Question = QUESTION, **more: Any) -> list[Passage]:
    with scripted_runtime(200_000) as runtime:
        kept: list[Passage] = component(name, **more).compress(question, passages, runtime)
        return kept


def check(kept: Sequence[Passage], given_: Sequence[Passage]) -> None:
    """Extractive results lie inside an input passage, with its text; others carry spans of input passages."""
    for result in kept:
        for span in result.spans:
            assert any(p.source == span.source and p.start <= span.start and span.end <= p.end for p in given_)
        if not result.spans:
            (outer, *_) = [
                p for p in given_ if p.source == result.source and p.start <= result.start and result.end <= p.end
            ]
            assert result.text == outer.text[result.start - outer.start : result.end - outer.start]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_nothing_out(name: str) -> None:
    assert compressed(name, []) == []


@pytest.mark.parametrize("name", NAMES)
def test_offsets_order_and_determinism(name: str) -> None:
    given_ = [passage(FERRY, 100, "a.txt", "Ferry"), passage(TOWN, 7, "b.txt"), passage("Boats rot. Nine do.", 0, "c")]
    kept = compressed(name, given_)
    check(kept, given_)
    assert kept
    assert kept == compressed(name, given_)
    if name not in REORDERING:
        places = [([p.source for p in given_].index(result.source), result.start) for result in kept]
        assert places == sorted(places)


@pytest.mark.parametrize("name", NAMES)
def test_a_follow_up_is_compressed_by_its_search_query(name: str) -> None:
    """A follow-up ("And in summer?") is searched in its rewritten wording, and compressed by the same wording."""
    given_ = [passage(FERRY, 100, "a.txt", "Ferry"), passage(TOWN, 7, "b.txt")]
    query = "When was the town hall built?"
    follow_up = Question("And what does a ticket cost?", search_query=query)
    assert compressed(name, given_, follow_up) == compressed(name, given_, Question(query))


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_counted_on(name: str) -> None:
    text = "One.\nTwo winter.\nThree.\n\nFour leaves the ferry.\nFive."
    for result in compressed(name, [passage(text)]):
        if not result.spans:
            assert result.place.line == 1 + text.count("\n", 0, result.start)


@pytest.mark.parametrize(
    "text",
    [
        "word " * 3000,
        "| boat | leaves |\n|---|---|\n| Merrow | 9:00 |\n| Ada | 12:15 |",
        "def leave(ferry):\n    return ferry.winter()\n\nx = leave(9)\n",
        '{"ferry": {"winter": ["9:00"], "summer": ["7:40", "12:15"]}}',
        "Vapur kışın saat dokuzda kalkar. İskele çok eski. Yazın üç kez kalkar. Kaptan yaşlı ve İzmirli.",
        "\n\n \t",
        "x",
    ],
    ids=["giant", "table", "code", "json", "turkish", "white", "letter"],
)
@pytest.mark.parametrize("name", NAMES)
def test_odd_texts(name: str, text: str) -> None:
    given_ = [passage(text), passage(FERRY, 0, "b.txt")]
    check(compressed(name, given_), given_)
    check(compressed(name, given_[:1]), given_[:1])


@pytest.mark.parametrize("n_sentences", [2000, pytest.param(10000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_sentences(name: str, n_sentences: int) -> None:
    chapter = "".join(f"Sentence {n} says that boat {n % 7} sails. " for n in range(n_sentences // 5)).strip()
    given_ = [passage(chapter, 0, f"{n}.txt") for n in range(5)]
    kept = compressed(name, given_, Question("Which boat sails in sentence 321?"))
    check(kept, given_)
    assert kept


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ABSTRACTIVE | {"compress.exit"}])
def test_equal_sentences_are_kept_from_the_first_on(name: str) -> None:
    given_ = [passage("A boat sails. " * 8)]
    kept = compressed(name, given_)
    check(kept, given_)
    assert kept[0].start == 0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ABSTRACTIVE])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(st.text(alphabet="ab .\n!?#|é", max_size=60), max_size=4))
def test_any_text(name: str, texts: list[str]) -> None:
    given_ = [passage(text, 3, f"{n}.txt") for n, text in enumerate(texts)]
    check(compressed(name, given_), given_)


@pytest.mark.parametrize("budget", [1, 8, 15, 1000])
@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.split(".")[1] in ("sentences", "probe", "attention", "exit", "surprisal")]
)
def test_a_budget_holds(name: str, budget: int) -> None:
    given_ = [passage(FERRY), passage(TOWN, 0, "b.txt")]
    more: dict[str, Any] = {"budget": budget} | ({"top_k": None} if name == "compress.sentences" else {})
    kept = compressed(name, given_, **more)
    with scripted_runtime() as runtime:
        n_tokens = sum(runtime.reader.count_text(result.text) for result in kept)
        longest = max(runtime.reader.count_text(sentence) for sentence in FERRY.split(". "))
    assert 0 < n_tokens <= max(budget, longest)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_dropped_can_be_accounted_for(name: str) -> None:
    given_ = [passage(FERRY, 10), passage(TOWN, 0, "b.txt")]
    with scripted_runtime() as runtime:
        kept = component(name).compress(QUESTION, given_, runtime)
        drops = dropped(given_, kept, runtime.reader, "why")
    covered = {(s.source, n) for result in kept for s in result.spans or (result.span,) for n in range(s.start, s.end)}
    lost = {(drop.span.source, n) for drop in drops for n in range(drop.span.start, drop.span.end)}
    everything = {(p.source, n) for p in given_ for n in range(p.start, p.end) if not p.text[n - p.start].isspace()}
    assert not covered & lost
    assert everything <= covered | lost


@pytest.mark.parametrize("name", NAMES)
def test_a_compressor_survives_the_way_to_another_process(name: str) -> None:
    import pickle

    built = component(name)
    assert pickle.loads(pickle.dumps(built)) == built  # noqa: S301


@pytest.mark.parametrize("name", [name for name in NAMES if name != "compress.reorder"])
def test_each_says_why_it_drops(name: str) -> None:
    assert len(component(name).why_dropped) > 10


def test_a_text_without_sentences_is_said_to_have_none() -> None:
    with scripted_runtime() as runtime:
        component("compress.probe").compress(
            QUESTION, [passage("| a | b |\n| ferry | 9 |"), passage(FERRY, 0, "b")], runtime
        )
        lines, embedder = runtime.take_notes()
        assert lines == "1 of 2 passages have no sentences: they are taken line by line"
        assert embedder.startswith("compress.probe was calibrated with another embedder than word counts")


def test_faults_of_an_inner_compressor_are_told_with_its_name() -> None:
    _, faults = build("compress.neighbours", {"of": {"compress.exit": {"treshold": 1}}})
    assert [fault.message.split(", was")[0] for fault in faults] == [
        "compress.exit.treshold: compress.exit has no such field, did you mean 'threshold'?"
    ]
    _, faults = build("compress.fallback", {"of": "retrieve.dense"})
    assert faults[0].message.startswith("there is no compressor 'retrieve.dense'")
    chain, _ = build("compress.chain", {"of": ["compress.reorder", {"compress.exit": {"threshold": 0.25}}]})
    assert chain is not None
    assert chain.of == (make("compress.reorder"), make("compress.exit", {"threshold": 0.25}))
