"""Clustered RAG: what it does to many alike passages, what it loses, and what the cache saves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from compressors.crag import Crag, vectors
from compressors.route import Route
from compressors.summaries import summarise
from pipeline.errors import ModelError
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.text.counting import counted
from pipeline.types import Passage, Question
from tests.compressors.workbench import passage, scripted_runtime

GIST = Question("What do people say about the phone?")
BATTERY = [f"The battery lasts long, {n} days or more." for n in range(2, 8)]
SCREEN = [f"The screen scratches quickly, after {n} weeks." for n in range(2, 6)]
NEEDLE = "A spare key lies under the third flower pot."


def reviews(texts: Sequence[str]) -> list[Passage]:
    return [passage(text, 0, f"{n}.txt") for n, text in enumerate(texts)]


def test_alike_passages_become_one_summary_that_stands_on_them(runtime: Pipeline) -> None:
    given = reviews([*BATTERY, *SCREEN])
    summaries = Crag(k=2).compress(GIST, given, runtime)
    assert [summary.title for summary in summaries] == ["Summary of 6 of 10 passages", "Summary of 4 of 10 passages"]
    assert [{span.source for span in summary.spans} for summary in summaries] == [
        {p.source for p in given[:6]},
        {p.source for p in given[6:]},
    ]
    assert all(
        summary.text.startswith(word) for summary, word in zip(summaries, ("The battery", "The screen"), strict=True)
    )
    assert "10 passages in 2 clusters of 6, 4" in runtime.take_notes()


def test_the_order_and_the_question_do_not_matter(runtime: Pipeline) -> None:
    given = reviews([*BATTERY, *SCREEN])
    summaries = Crag().compress(GIST, given, runtime)
    runtime.take_notes()
    assert Crag().compress(Question("Anything else?"), given[::-1], runtime) == summaries
    assert runtime.take_notes()[0] == "2 of 2 summaries were made before"


def test_the_cache_knows_another_text_another_length_and_a_torn_file(runtime: Pipeline) -> None:
    given = reviews(BATTERY)
    summarise([given], "Sum up.", 20, runtime)
    runtime.take_notes()
    for groups, instructions, n in (([given[:5]], "Sum up.", 20), ([given], "Sum.", 20), ([given], "Sum up.", 30)):
        summarise(groups, instructions, n, runtime)
        assert not any("made before" in note for note in runtime.take_notes())
    from pipeline.storage.cache import cache_folder

    for file in (cache_folder() / "summaries").rglob("*.json"):
        file.write_text("{")
    (again,) = summarise([given], "Sum up.", 20, runtime)
    assert again.text
    assert not any("made before" in note for note in runtime.take_notes())


def test_minority_facts_vanish_and_the_router_keeps_such_questions_away(runtime: Pipeline) -> None:
    given = reviews([*BATTERY, *SCREEN])
    given.insert(5, passage(f"{BATTERY[0]} {NEEDLE}", 0, "needle.txt"))
    assert not any("key" in result.text for result in Crag(k=2).compress(GIST, given, runtime))
    route = Route(facts=make("compress.sentences", {"top_k": 2, "score": "cosine"}), gist=make("compress.crag"))
    kept = route.compress(Question("Where does the spare key lie?"), given, runtime)
    assert NEEDLE in [result.text for result in kept]


def test_few_passages_stay_as_they_are(runtime: Pipeline) -> None:
    given = reviews(BATTERY[:2])
    assert Crag().compress(GIST, given, runtime) == given
    assert runtime.take_notes() == ("2 passages are too few for clusters: they stay as they are",)


@pytest.mark.parametrize(("n", "expected"), [(3, 2), (8, 2), (18, 3), (50, 5), (400, 8)])
def test_k_by_square_root(n: int, expected: int) -> None:
    points = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    assert len(set(Crag().labels(points).tolist())) == expected


def test_k_by_silhouette_finds_three_heaps() -> None:
    rng = np.random.default_rng(1)
    points = np.vstack([rng.normal(centre, 0.05, (10, 3)) for centre in np.eye(3)]).astype(np.float32)
    assert len(set(Crag(k="silhouette").labels(points).tolist())) == 3
    same = np.ones((5, 3), np.float32)
    assert set(Crag(k="silhouette").labels(same).tolist()) == {0}


def test_a_passage_longer_than_the_embedder_reads_is_the_mean_of_its_pieces(runtime: Pipeline) -> None:
    long = passage("battery screen " * 100)
    (row,) = vectors([long], runtime.embedder)
    assert np.linalg.norm(row) == pytest.approx(1)
    assert row @ runtime.embedder.embed(["battery screen"])[0] > 0.95


def test_what_does_not_fit_the_window_is_said_and_dropped() -> None:
    with scripted_runtime(80) as runtime:
        given = reviews([f"{text} " + "Very good. " * 6 for text in BATTERY])
        (summary,) = summarise([given], "Sum up.", 20, runtime)
        assert 1 <= len(summary.made_from) < 6
        left = 6 - len(summary.made_from)
        assert (
            f"{counted(left, 'passage')} dropped: the window that a summary is made from has no room"
            in runtime.take_notes()
        )
        with pytest.raises(
            ModelError, match="a passage of 208 tokens with its instructions does not fit the 60 tokens"
        ):
            summarise([[passage("word " * 200)]], "Sum up.", 20, runtime)
