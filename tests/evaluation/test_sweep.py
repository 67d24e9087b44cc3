from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.evaluate import EvalListener, EvalOptions
from pipeline.evaluation.sweep import Point, _with_front, run_sweep, rungs
from pipeline.evaluation.sweep_file import Halving, load_sweep, locate, put, short_names, spelt_out, word
from tests.evaluation.layouts import write

PIPELINE = {
    "stages": [
        "retrieve.bm25",
        {"compress.chain": {"of": ["compress.reorder", {"compress.sentences": {"top_k": 3}}]}},
        {"compress.sentences": {"top_k": 3}},
        {"compress.sentences": {"top_k": 5}},
        "assemble.cited",
        {"generate.scripted": None},
    ]
}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("retrieve.bm25.k", ("stages", 0, "retrieve.bm25", "k")),
        ("stages[0].k", ("stages", 0, "retrieve.bm25", "k")),
        ("stages[2].compress.sentences.top_k", ("stages", 2, "compress.sentences", "top_k")),
        ("stages[2]", ("stages", 2)),
        ("index.chunk_tokens", ("index", "chunk_tokens")),
        (
            "compress.chain.of[1].compress.sentences.top_k",
            ("stages", 1, "compress.chain", "of", 1, "compress.sentences", "top_k"),
        ),
        ("compress.chain.of", ("stages", 1, "compress.chain", "of")),
    ],
)
def test_a_dotted_text_means_a_path_of_keys(text: str, path: tuple[str | int, ...]) -> None:
    value = spelt_out(PIPELINE)
    assert locate(value, text) == path
    changed: Any = put(value, path, 99)
    for key in path:
        changed = changed[key]
    assert changed == 99
    assert value == spelt_out(PIPELINE)  # the original is left as it is


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compress.sentence.top_k", "has no 'compress.sentence', did you mean 'compress.sentences'"),
        ("compress.sentences.top_k", r"has compress.sentences 2 times: write stages\[n\].compress.sentences.top_k"),
        ("stages[7].k", "'stages' is a list of 6: go on with a number in brackets, from 0"),
        ("stages.k", "'stages' is a list of 6"),
        ("retrieve.bm25.k.z", "has no 'k.z'"),
        ("index.chunk_tokens.z", "has no 'chunk_tokens.z'"),
        ("stages[x]", "must be names with dots between"),
    ],
)
def test_what_means_nothing_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        locate(spelt_out(PIPELINE), text)


def test_variants_have_names_that_tell_them_apart() -> None:
    assert short_names(["retrieve.bm25.k", "index.chunk_tokens"]) == {
        "retrieve.bm25.k": "k",
        "index.chunk_tokens": "chunk_tokens",
    }
    names = short_names(["stages[2].top_k", "stages[3].top_k"])
    assert len(set(names.values())) == 2
    assert word(0.25) == "0.25"
    assert word({"compress.probe": {"keep_ratio": 0.3}}) == "compress.probe-keep-ratio-0.3"
    assert word("a/b c") == "a-b-c"
    assert word(None) == "null"


def test_rungs_grow_up_to_the_whole_sample() -> None:
    assert rungs(200, None, 8) == [200]
    assert rungs(200, Halving(25, 2), 8) == [25, 50, 100, 200]
    assert rungs(200, Halving(25, 2), 3) == [25, 50, 200]  # one is left after two rounds
    assert rungs(20, Halving(25, 2), 8) == [20]
    assert rungs(200, Halving(25, 3), 1) == [200]


def front(*points: tuple[float, float, float]) -> list[bool]:
    nobody: Any = SimpleNamespace()
    made = [Point(nobody, nobody, quality, (tokens, seconds)) for quality, tokens, seconds in points]
    return [point.is_front for point in _with_front(made)]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.5, 100, 1.0), (0.6, 200, 2.0), (0.4, 50, 0.5)], [True, True, True]),
        ([(0.5, 100, 1.0), (0.4, 100, 1.0)], [True, False]),
        ([(0.5, 100, 1.0), (0.5, 90, 1.0)], [False, True]),
        ([(0.5, 100, 1.0), (0.6, 90, 1.1)], [True, True]),  # slower, but better and shorter
        ([(0.5, 100, 1.0), (0.5, 100, 1.0)], [True, True]),  # equal ones do not beat each other
    ],
)
def test_the_front_is_what_nothing_beats(points: Sequence[Any], expected: list[bool]) -> None:
    assert front(*points) == expected


def test_halving_keeps_the_best_and_never_asks_a_question_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With k 1 the passage that answers is not always found: with k 3 it is."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    facts = [f"The keeper of tower {n} is named Person{n}x." for n in range(12)]
    items = [
        {"question": f"Who is keeper of tower {n}?", "answer": f"Person{n}x", "documents": [{"text": fact}]}
        for n, fact in enumerate(facts)
    ]
    write(tmp_path / "q.jsonl", items, as_lines=True)
    (tmp_path / "p.yaml").write_text(
        "index: {embedder: none}\nstages:\n  - retrieve.bm25: {k: 3}\n  - assemble.cited\n  - generate.scripted\n"
    )
    (tmp_path / "s.yaml").write_text(
        "pipeline: p.yaml\ndata: q.jsonl\nkind: jsonl\nmetric: contained\nvary:\n  retrieve.bm25.k: [3, 4, 5, 6]\n"
        "halving: {start: 3, factor: 2}\n"
    )
    sweep = load_sweep(tmp_path / "s.yaml")
    data = read_data("jsonl", sweep.data)
    notes: list[str] = []
    points = run_sweep(sweep, data, tmp_path / "out", EvalOptions(), EvalListener(on_note=notes.append))
    assert notes == ["after 3 questions: 2 of 4 variants go on", "after 6 questions: 1 of 2 variants go on"]
    assert [(len(p.measures.rows), p.is_finalist) for p in points] == [(12, True), (6, False), (3, False), (3, False)]
    for point in points:
        lines = (point.measures.folder / "records.jsonl").read_text().splitlines()
        assert len(lines) == len(point.measures.rows)
