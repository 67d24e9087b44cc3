from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.compare import RunComparison, as_json, compare
from pipeline.evaluation.runs import read_all
from tests.evaluation.records import line, record, write_run

N = 24


def answers(right: set[int], n: int = N, tokens: int = 100, failed: set[int] = frozenset()) -> list[dict[str, Any]]:  # type: ignore[assignment]
    """Question n's known answer is `gold n`; it is right for the numbers that are named."""
    return [
        line(
            i,
            None if i in failed else record(f"gold {i}" if i in right else "wrong", tokens=tokens + i),
            {"answers": [f"gold {i}"]},
            error="too long" if i in failed else "",
        )
        for i in range(n)
    ]


def of(tmp_path: Path, **runs: Any) -> RunComparison:
    folders = [write_run(tmp_path / name, lines) for name, lines in runs.items()]
    return compare(read_all(folders))


def difference(comparison: RunComparison, metric: str, second: str) -> Any:
    return next(d for d in comparison.differences if (d.metric.name, d.second) == (metric, second))


def test_a_difference_is_paired_and_said_in_words(tmp_path: Path) -> None:
    comparison = of(tmp_path, plain=answers(set(range(4))), better=answers(set(range(16)), tokens=60))
    em = difference(comparison, "em", "better")
    assert em.paired.difference.mean == pytest.approx(12 / N)
    assert (em.paired.wins, em.paired.losses, em.paired.ties) == (12, 0, N - 12)
    assert em.p < 0.001
    assert em.words == "more than plain: better (p < 0.001)"
    tokens = difference(comparison, "prompt_tokens", "better")
    assert tokens.paired.difference.mean == -40
    assert (tokens.paired.wins, tokens.words) == (N, "less than plain: better (p < 0.001)")
    assert difference(comparison, "seconds", "better").words == "no difference on any question"
    turned = of(tmp_path / "turned", better=answers(set(range(16)), tokens=60), plain=answers(set(range(4))))
    assert difference(turned, "em", "plain").words == "less than better: worse (p < 0.001)"
    verdicts = {name: difference(turned, name, "plain").verdict for name in ("em", "prompt_tokens", "seconds")}
    assert verdicts == {"em": "worse", "prompt_tokens": "worse", "seconds": "no difference on any question"}
    assert difference(turned, "em", "plain").p_words == "< 0.001"


def test_what_may_be_chance_is_no_significant_difference(tmp_path: Path) -> None:
    comparison = of(tmp_path, one=answers({0, 1, 2, 3}), other=answers({2, 3, 4, 5, 6}))
    em = difference(comparison, "em", "other")
    assert (em.paired.wins, em.paired.losses) == (3, 2)
    assert not em.is_significant
    assert em.words == "no significant difference (p 1.000)"


def test_many_comparisons_are_corrected(tmp_path: Path) -> None:
    """Six wins of six: p is 2 / 2**6 alone, and three times that beside two others."""
    some = set(range(6))
    alone = of(tmp_path / "1", none=answers(set()), six=answers(some))
    assert difference(alone, "em", "six").p == pytest.approx(2 / 64)
    assert difference(alone, "em", "six").is_significant
    three = of(tmp_path / "3", none=answers(set()), six=answers(some), again=answers({0}), other=answers({1}))
    em = difference(three, "em", "six")
    assert (em.paired.p, em.p) == pytest.approx((2 / 64, 6 / 64))
    assert em.words == "no significant difference (p 0.031, 0.094 corrected for 3 comparisons)"


def test_a_failed_question_is_left_out_of_its_pair_and_counted(tmp_path: Path) -> None:
    comparison = of(tmp_path, one=answers({0}), other=answers({0, 1}, failed={2, 3}))
    em = difference(comparison, "em", "other")
    assert (em.paired.difference.n, em.n_left_out) == (N - 2, 2)
    assert as_json(comparison)["differences"][0]["n_left_out"] == 2


OTHERS: list[tuple[str, Any, dict[str, Any], str]] = [
    (
        "models",
        answers({0}),
        {"model": {"name": "qwen", "sha256": "bb"}},
        "read with different models: one smol, other",
    ),
    ("indexes", answers({0}), {"index_hash": "j"}, "searched different indexes: one i, other j"),
    ("indexes", answers({0}), {"index_hash": None}, "one i, other none, the documents came with the questions"),
    ("questions", answers({0}, n=N - 4), {}, rf"different questions: {N} and {N - 4}, 4 of them in one only \(q20, "),
]


@pytest.mark.parametrize(("what", "lines", "about", "message"), OTHERS)
def test_what_differs_is_refused_unless_allowed(
    what: str, lines: Any, about: dict[str, Any], message: str, tmp_path: Path
) -> None:
    first = write_run(tmp_path / "one", answers({0}))
    other = write_run(tmp_path / "other", lines, **about)
    with pytest.raises(DataError, match=message) as refused:
        compare(read_all([first, other]))
    assert f"`allow` {what}" in str(refused.value)
    comparison = compare(read_all([first, other]), allow=[what])
    assert any(note.startswith("allowed: ") for note in comparison.notes)
    assert comparison.n_common == min(N, len(lines))


def test_everything_that_differs_is_told_at_once(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", answers({0}))
    other = write_run(tmp_path / "other", answers({0}, n=3), index_hash="j", model={"name": "q", "sha256": "b"})
    with pytest.raises(DataError) as refused:
        compare(read_all([first, other]), allow=["models"])
    assert "`allow` indexes" in str(refused.value)
    assert "`allow` questions" in str(refused.value)
    assert "`allow` models" not in str(refused.value)


def test_one_id_for_two_questions_is_told(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", answers({0}))
    changed = answers({0})
    changed[5]["question"]["text"] = "another"
    changed[6]["fields"]["gold"]["answers"] = ["another"]
    other = write_run(tmp_path / "other", changed)
    with pytest.raises(DataError, match="mean different questions by the same id: q5, q6"):
        compare(read_all([first, other]))


def test_names_that_do_not_exist_are_told(tmp_path: Path) -> None:
    runs = read_all([write_run(tmp_path / name, answers({0})) for name in ("one", "other")])
    with pytest.raises(ConfigError, match="`allow` model: there is none of this name, did you mean 'models'"):
        compare(runs, allow=["model"])
    with pytest.raises(ConfigError, match="`metrics` f2: there is none of this name"):
        compare(runs, metrics=["f2"])
    with pytest.raises(ConfigError, match="at least two runs"):
        compare(runs[:1])
    strangers = write_run(tmp_path / "third", [{**row, "id": f"z{row['n']}"} for row in answers({0})])
    with pytest.raises(DataError, match="no question in common"):
        compare([runs[0], *read_all([strangers])], allow=["questions"])
