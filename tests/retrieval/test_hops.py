"""retrieve.hops: keys to values and names from sentence to sentence, with every hop in the ledger."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.evaluation.needles.table import TASKS
from pipeline.evaluation.needles.tasks.single import Single
from pipeline.evaluation.needles.tasks.thread import Thread
from pipeline.models.scripted import ScriptedModel
from pipeline.retrieval.embedder import open_embedder
from pipeline.retrieval.hops import Hops, keys_of, names_of
from pipeline.types import Passage, Question
from tests.retrieval.folders import read, update, write

A, B, C, D = (f"{letter * 8}-1111-4111-8111-{letter * 12}" for letter in "abcd")


class Workbench:
    """An index of texts by words alone, and the notes of a search."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.none = open_embedder("none")
        update(folder / "index", write(folder / "docs", files), self.none)
        self.folder = folder
        self.notes: list[str] = []

    def search(self, question: str, **settings: Any) -> list[Passage]:
        with read(self.folder / "index", self.none) as index:
            runtime: Any = SimpleNamespace(
                index=index,
                embedder=self.none,
                reader=ScriptedModel(),
                note=lambda text, once=False: self.notes.append(text),
            )
            found = Hops(**settings).search(Question(question), runtime)
            for passage in found:
                assert passage.text == index.document(passage.source).text[passage.start : passage.end]
            return found


def texts(passages: list[Passage]) -> list[str]:
    return [passage.text for passage in passages]


@pytest.mark.parametrize("task", ["single", "thread", "branched", "multithread"])
@pytest.mark.parametrize("direction", ["forward", "backward", "random"])
def test_every_pair_of_a_thread_in_the_order_of_its_hops(tmp_path: Path, task: str, direction: str) -> None:
    make: Any = TASKS[task]
    parameters = {"length": 6, "direction": direction} if task != "single" else {}
    haystack, asks = make(**parameters).make(300, 5, 2)
    bench = Workbench(tmp_path, {"haystack.txt": haystack.text})
    for ask in asks:
        found = texts(bench.search(ask.text))
        wanted = [f'"{key}": "{value}"' for key, value in ask.pairs(haystack)]
        if task == "branched":
            assert set(wanted) < set(found)
            assert found[-1] == wanted[-1]
        else:
            assert found == wanted
        ends = texts(bench.search(ask.text, give="end"))
        assert ends == [f'"{haystack.pairs[t[-1]][0]}": "{haystack.pairs[t[-1]][1]}"' for t in ask.threads]


def test_the_ledger_tells_every_hop_and_who_found_what(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, {"a.txt": f'{{"{A}": "{B}", "{C}": "{D}", "{B}": "{C}"}}'})
    bench.search(f"the end of {A}?", give="end")
    assert bench.notes == [
        f'hop 1: "{A}" -> "{B}" (a.txt, line 1, characters 1-79)',
        f'hop 2: "{B}" -> "{C}" (a.txt, line 1, characters 161-239)',
        f'hop 3: "{C}" -> "{D}" (a.txt, line 1, characters 81-159)',
        f'from "{A}" in 3 hops to "{D}", which is no key',
        "found by searching, not by the model, which copies it from the last pair",
    ]


def test_a_pair_that_a_chunk_cuts_in_two_is_found(tmp_path: Path) -> None:
    haystack, _ = Single().make(120, 1, 1)
    bench = Workbench(tmp_path, {"shifted.txt": "  x " + haystack.text})
    for key, value in haystack.pairs[::7]:
        assert texts(bench.search(f"what is {key}?")) == [f'"{key}": "{value}"']


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("INV-2024-17: paid-02", "INV-2024-17: paid-02"),
        ("let INV-2024-17 = 'x y'", "INV-2024-17 = 'x y'"),
        ("INV-2024-17 -> K9-alpha", "INV-2024-17 -> K9-alpha"),
        ("INV-2024-17,K9-alpha,3", "INV-2024-17,K9-alpha"),
    ],
)
def test_ways_to_write_a_pair(tmp_path: Path, line: str, pair: str) -> None:
    bench = Workbench(tmp_path, {"a.txt": f"Some words.\n{line}\n"})
    assert texts(bench.search("What became of INV-2024-17?", by="keys")) == [pair]


def test_a_key_that_stands_as_a_value_or_inside_another_is_none(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, {"a.txt": f'{{"{B}": "{A}", "x{A}": "{C}", "{D}": "last1"}}'})
    found = bench.search(f"{A}?", by="keys")
    assert f'no passage holds "{A}" as a key' in bench.notes
    assert "nothing to follow: a plain search by words" in bench.notes
    assert len(found) == 1


def test_a_ring_ends_where_it_began(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, {"a.txt": f'{{"{A}": "{B}", "{B}": "{C}", "{C}": "{A}"}}'})
    assert texts(bench.search(A)) == [f'"{A}": "{B}"', f'"{B}": "{C}"']


def test_hops_and_k_are_limits(tmp_path: Path) -> None:
    haystack, (ask,) = Thread(8).make(60, 0, 1)
    bench = Workbench(tmp_path, {"a.txt": haystack.text})
    assert len(bench.search(ask.text, hops=3)) == 3
    assert any("as far as hops = 3 goes" in note for note in bench.notes)
    assert len(bench.search(ask.text, k=5)) == 5


STORY = {
    "one.txt": "It was a cold year. One day Tanya gave the amber flower to Malik. Nobody saw it.\n",
    "two.txt": "Ships came and went. After much thought Diego let Patricia keep it. The harbour froze.\n",
    "three.txt": "Some days later Malik left it in the care of Diego. The flower was forgotten.\n",
    "four.txt": "An amber flower is rare. Many people like flowers of amber.\n",
}


def test_names_lead_from_sentence_to_sentence(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, STORY)
    question = "They say that Tanya gave the amber flower to somebody, who gave it away again. Who had it in the end?"
    assert texts(bench.search(question)) == [
        "One day Tanya gave the amber flower to Malik.",
        "Some days later Malik left it in the care of Diego.",
        "After much thought Diego let Patricia keep it.",
    ]
    assert "which names Malik" in bench.notes[0]
    assert "which names nothing new" not in " ".join(bench.notes)
    assert texts(bench.search(question, give="end")) == ["After much thought Diego let Patricia keep it."]
    assert len(bench.search(question, whole=True)[0].text) > 60


def test_without_a_name_the_best_sentence_begins(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, STORY)
    found = texts(bench.search("whose thought was it to let somebody keep it?"))
    assert found[0] == "After much thought Diego let Patricia keep it."
    assert "Some days later Malik left it in the care of Diego." in found


def test_fill_adds_what_a_plain_search_finds(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, STORY)
    question = "Who got the amber flower of Tanya in the end?"
    plain, filled = bench.search(question), bench.search(question, fill=True)
    assert filled[: len(plain)] == plain
    assert len(filled) > len(plain)
    assert [passage.score for passage in filled] == sorted((p.score for p in filled), reverse=True)


def test_a_model_that_names_none_of_the_choices_is_overruled_aloud(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, STORY)
    found = bench.search("Tanya gave the amber flower away. Who had it in the end?", namer="reader")
    assert len(found) == 3
    assert any(note.endswith('taken: "Malik"') for note in bench.notes)


def test_keys_and_names() -> None:
    assert keys_of(f'Key: "{A}" and INV-2024-17, 2024, harbour, a1') == [A, "INV-2024-17"]
    assert keys_of(f'Key: "*{A[1:]}"') == [f"*{A[1:]}"]
    text = "Then Anna Berg met Carl of Oslo. The Sea was calm. Nobody, said Dora's aunt, knew."
    assert names_of(text) == ["Anna Berg", "Carl of Oslo", "Sea", "Dora"]


@pytest.mark.parametrize("name", ["k", "hops", "pool", "branches"])
def test_says_what_is_out_of_range(name: str) -> None:
    settings: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, was: 0"):
        Hops(**settings)


def test_only_a_first_search_by_meaning_needs_vectors() -> None:
    assert not Hops().needs_embedder
    assert Hops(first="hybrid").needs_embedder
