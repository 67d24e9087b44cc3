"""Links by name: a second hop that shares no word with the question, and what must not count as one."""

from __future__ import annotations

import numpy as np
import pytest

from compressors.calibration.labelled import units_of
from compressors.links import Links
from compressors.probe import Probe
from compressors.selection import Units
from pipeline.pipeline import Pipeline
from pipeline.types import Passage, Place
from tests.compressors.workbench import passage

FIRST = passage("Velmar Press printed it. It was founded by Ada Quill.", 0, "a.txt", "Velmar Press")
SECOND = passage("She was a botanist. She studied in Torun.", 0, "b.txt", "Ada Quill (printer)")
OTHER = passage("He was a botanist. He studied in Lund.", 0, "c.txt", "Bo Holm")


def strengths(passages: list[Passage], best: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """With one unit twice as likely, in odds, as each other."""
    units = units_of(passages)
    logits = np.zeros(len(units))
    logits[best] = np.log(2)
    return Links.of(units).strengths(logits)


def test_the_passage_that_the_best_sentence_names_is_raised_and_no_other() -> None:
    values = strengths([FIRST, SECOND, OTHER], best=1)
    assert values[:, 0] == pytest.approx([0, 0, 1, 1, 0, 0])
    assert values[:, 1] == pytest.approx([0, 0.5, 0, 0, 0, 0]), "it names a passage whose best unit has half its odds"


def test_a_link_is_as_strong_as_the_sentence_that_names() -> None:
    assert strengths([FIRST, SECOND, OTHER], best=4)[:, 0] == pytest.approx([0, 0, 0.5, 0.5, 0, 0])


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("She met Ada Quillfeather.", "Ada Quill"),
        ("It is of the kind.", "Of the"),
        ("Ada Quill wrote this.", "Ada Quill"),
        ("No title here.", ""),
    ],
    ids=["part of a word", "stop words", "its own document", "without a title"],
)
def test_what_is_no_link(text: str, title: str) -> None:
    candidate = passage(text, 0, "a.txt", title if text.startswith("Ada") else "Elsewhere")
    assert not strengths([candidate, passage("She wrote.", 0, "b.txt", title)], best=0).any()


def test_a_heading_is_a_name_too() -> None:
    place = Place(line=1, heading=("Trade", "The Guild of Dyers"))
    section = Passage("b.md", 0, 9, "It is old", place=place, title="Notes")
    naming = passage("He led the guild of dyers for years.", 0, "a.txt", "A life")
    assert strengths([naming, section], best=0)[:, 0] == pytest.approx([0, 1])


def test_thousands_of_units_are_linked_as_one_by_one() -> None:
    """Against the definition, on random texts whose titles are words of them."""
    rng = np.random.default_rng(0)
    words = [f"w{n}x" for n in range(60)]
    passages = [
        passage(". ".join(" ".join(rng.choice(words, 6)) for _ in range(4)) + ".", 0, f"{n}", str(rng.choice(words)))
        for n in range(80)
    ]
    units = units_of(passages)
    logits = rng.normal(size=len(units))
    odds = np.exp(logits - logits.max())
    expected = np.zeros((len(units), 2))
    for k in range(len(units)):
        for r in range(len(units)):
            mine, theirs = passages[units.owners[k]].title, passages[units.owners[r]].title
            if mine != theirs and mine in units.parts[r].text.split(".")[0].split():
                expected[k, 0] = max(expected[k, 0], odds[r])
                expected[r, 1] = max(expected[r, 1], odds[k])
    assert Links.of(units).strengths(logits) == pytest.approx(expected)


def test_the_probe_raises_the_second_hop(real: Pipeline) -> None:
    """Both lives are worded alike, and the question names neither; the first hop names one of the two."""
    units = Units.of([FIRST, SECOND, OTHER], real)
    assert [units.parts[n].text for n in (3, 5)] == ["She studied in Torun.", "He studied in Lund."]
    question = "In which town did the founder of Velmar Press study?"

    def odds_of_the_linked(links: bool) -> float:
        scores = Probe(model=None, links=links).scores(question, units, real)
        odds = scores / (1 - scores)
        return float(odds[3] / odds[5])

    assert odds_of_the_linked(True) > 1.5 * odds_of_the_linked(False)
