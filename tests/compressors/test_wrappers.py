"""What only each wrapper does, by example. The scripted model probes: it attends to equal words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from compressors import if_faster
from compressors.if_faster import Speed, Work, measured
from compressors.protect import Protect
from compressors.route import Route
from pipeline.pipeline import Pipeline
from pipeline.registry import build, make
from pipeline.types import Passage, Question
from tests.compressors.workbench import passage

ANOTHER_EMBEDDER = (
    "compress.probe was calibrated with another embedder than word counts: its probabilities are a guess here; "
    "'similarity: false' goes by attention alone"
)
ONE: dict[str, Any] = {"compress.probe": {"model": None, "top_k": 1, "keep_ratio": None}}
FERRY = "The Merrow is a boat. She sails in winter at nine. Dogs do not sail. A ticket costs 6 marks. Ada is a cook."


def compressor(name: str, **settings: Any) -> Any:
    built, faults = build(f"compress.{name}", settings)
    assert built is not None, faults
    return built


def texts(passages: Sequence[Passage]) -> list[str]:
    return [part.text for part in passages]


@pytest.mark.parametrize("name", ["neighbours", "fallback", "protect", "if_faster", "highlight"])
def test_what_the_one_inside_needs_and_says_is_passed_on(name: str) -> None:
    with_similarity = {"compress.probe": {"model": None, "similarity": True, "top_k": 3}}
    outer, inner = compressor(name, of=with_similarity), compressor("probe", model=None, top_k=3)
    assert outer.needs_embedder
    assert inner.needs_embedder
    assert inner.why_dropped in outer.why_dropped
    assert not compressor(name, of={"compress.probe": {"similarity": False}}).needs_embedder


def test_neighbours_bring_the_bridge(runtime: Pipeline) -> None:
    question = Question("Which boat sails in winter?")
    given = [passage(FERRY)]
    assert texts(compressor("chain", of=[ONE]).compress(question, given, runtime)) == ["She sails in winter at nine."]
    kept = compressor("neighbours", of=ONE).compress(question, given, runtime)
    assert texts(kept) == ["The Merrow is a boat. She sails in winter at nine. Dogs do not sail."]


def test_a_chain_goes_on_with_what_is_left(runtime: Pipeline) -> None:
    two = {"compress.probe": {"model": None, "top_k": 2, "keep_ratio": None}}
    question = Question("winter ticket ticket")
    kept = compressor("chain", of=[two, "compress.reorder", ONE]).compress(question, [passage(FERRY)], runtime)
    assert len(kept) == 1
    assert kept[0].text in FERRY


def test_reorder_puts_the_best_at_both_ends(runtime: Pipeline) -> None:
    ranked = [passage(str(n), n) for n in range(1, 7)]
    ordered = compressor("reorder").compress(Question("?"), ranked, runtime)
    assert texts(ordered) == ["1", "3", "5", "6", "4", "2"]


@pytest.mark.parametrize(
    ("question", "kept_too"),
    [
        ("Is the winter ticket 6 marks?", "A ticket costs 6 marks."),
        ("Does the boat Ada sail in winter?", "Ada is a cook."),
        ("Do dogs sail in winter?", "Dogs do not sail."),
    ],
)
def test_protect_brings_back_what_the_question_turns_on(question: str, kept_too: str, runtime: Pipeline) -> None:
    winter = {"compress.sentences": {"top_k": 1, "score": "cosine"}}
    given = [
        passage(
            FERRY.replace(
                "She sails in winter at nine.", f"{question[:-1].lower().replace('6 ', '').replace('ada ', '')}."
            )
        )
    ]
    plain = compressor("chain", of=[winter]).compress(Question(question), given, runtime)
    assert kept_too not in " ".join(texts(plain))
    runtime.take_notes()
    kept = compressor("protect", of=winter).compress(Question(question), given, runtime)
    assert kept_too in " ".join(texts(kept))
    assert any(kept_too in note for note in runtime.take_notes())


def test_protected_words() -> None:
    words = Protect().words("Did Ada Lovelace pay 1,200 marks before 9:40 in Paris?")
    assert words == ["1,200", "9:40", "Ada", "Lovelace", "Paris"]
    assert Protect(names=False).words("Did Ada pay 3 marks?") == ["3"]


def test_fallback_gives_everything_and_says_so(runtime: Pipeline) -> None:
    nothing = {"compress.exit": {"threshold": 1.0}}
    given = [passage(FERRY)]
    assert compressor("chain", of=[nothing]).compress(Question("Why?"), given, runtime) == []
    assert compressor("fallback", of=nothing).compress(Question("Why?"), given, runtime) == given
    assert runtime.take_notes()[-1] == "compress.exit left 0 tokens, fewer than 1: the passages stay as they are"


def test_gate_compresses_where_it_saves_time(runtime: Pipeline) -> None:
    gated = compressor("if_faster", of=ONE)
    question, given = Question("Which boat sails in winter?"), [passage(FERRY)]
    compressed = gated.compress(question, given, runtime)
    assert texts(compressed) == ["She sails in winter at nine."]
    assert "compress.probe is timed on this question" in runtime.take_notes()
    speed = measured(runtime.reader, given)
    (work,) = speed.compressors.values()
    assert (work.tokens_in, work.tokens_out) == (24, 6)

    speed.reader, work.seconds = 10.0, 1.1  # 24 tokens: 2.4 s to read, 1.1 s to compress and 0.6 s for the rest
    assert gated.compress(question, given, runtime) == compressed
    assert runtime.take_notes() == (
        "compressed: expected 1.70 s with compress.probe (22 tokens/s, keeps 0.25), 2.40 s without (the reader's "
        "10 tokens/s)",
        ANOTHER_EMBEDDER,
    )
    speed.reader = 1000.0
    assert gated.compress(question, given, runtime) == given
    assert runtime.take_notes()[-1].startswith("not compressed: expected ")


def test_gate_knows_each_compressor_of_its_own(runtime: Pipeline) -> None:
    speed = if_faster._MEASURED[runtime.reader] = Speed(10.0, {})
    gated = compressor("if_faster", of=ONE)
    assert gated.pays(100, Work(1.0, 100, 30), speed.reader, runtime)
    assert not gated.pays(100, Work(8.0, 100, 30), speed.reader, runtime)
    assert not compressor("if_faster", of=ONE, least_gain=3).pays(100, Work(1.0, 100, 30), speed.reader, runtime)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What do people say about the battery?", "people say"),
        ("Summarise the reviews.", "Summarise"),
        ("What are the main complaints?", "main complaints"),
        ("Overall, is it any good?", "Overall"),
        ("What is the general opinion of the screen?", "opinion"),
        ("What are the pros and cons?", "pros and cons"),
        ("Who complained about the battery?", None),
        ("How many reviewers mention the battery?", None),
        ("Which reviewer returned it?", None),
        ("Did anyone find a cockroach?", None),
        ("When does the ferry leave?", None),
        ("What does a ticket cost?", None),
        ("Is the bridge open?", None),
    ],
)
def test_the_router_by_its_words(question: str, word: str | None) -> None:
    assert Route().gist_word(question) == word


def test_the_router_says_where_a_question_went(runtime: Pipeline) -> None:
    routed = compressor("route", facts=ONE, gist={"compress.reorder": {}}, gist_words=["vibe"])
    given = [passage(FERRY)]
    assert routed.compress(Question("What is the vibe on board?"), given, runtime) == given
    assert runtime.take_notes() == ("the question asks for the gist ('vibe'): compress.reorder",)
    assert len(routed.compress(Question("Which boat sails in winter?"), given, runtime)) == 1
    assert runtime.take_notes() == ("the question asks for a fact: compress.probe", ANOTHER_EMBEDDER)
    assert routed.facts == make("compress.probe", ONE["compress.probe"])
    with pytest.raises(ValueError, match=r"gist_words must be regular expressions: '\('"):
        Route(gist_words=("(",))
