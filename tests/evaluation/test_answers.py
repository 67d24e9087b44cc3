"""Cases that SQuAD's official script decides in the way written here."""

import pytest

from pipeline.evaluation.answers import best, contains, exact_match, f1, normal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat\tsat.", "cat sat"),
        ("U.S.A.", "usa"),
        ("an apple, a day", "apple day"),
        ("A", ""),
        ("the", ""),
        ("theatre and another", "theatre and another"),  # articles are whole words
        ("well-known", "wellknown"),  # a hyphen goes without a space
        ("20–18", "20–18"),  # an en dash is no ASCII punctuation, and stays
        ("“quoted”", "“quoted”"),
        ("$1,000", "1000"),
        ("it's", "its"),
        ("the-end", "theend"),  # punctuation goes before articles
        ("a.b a", "ab"),
        ("İstanbul'un", "i̇stanbulun"),
        ("", ""),
        ("...", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normal(text) == expected


@pytest.mark.parametrize(
    ("reply", "gold", "em", "score"),
    [
        ("Denver Broncos", "The Denver Broncos", 1, 1),
        ("the Broncos won", "Denver Broncos", 0, 2 * 1 / 4),
        ("Denver", "Denver Broncos", 0, 2 / 3),
        ("a b b", "b b c", 0, 2 * 2 / 5),  # words count as often as they are there; the article a is none
        ("b b b", "b", 0, 2 * 1 / 4),
        ("no", "yes", 0, 0),
        ("", "Denver", 0, 0),
        ("", "", 1, 1),
        ("the", "", 1, 1),
        ("Denver", "", 0, 0),
    ],
)
def test_em_and_f1(reply: str, gold: str, em: float, score: float) -> None:
    assert exact_match(reply, gold) == em
    assert f1(reply, gold) == pytest.approx(score)
    assert f1(gold, reply) == pytest.approx(score)


@pytest.mark.parametrize(
    ("reply", "gold", "expected"),
    [
        ("It was held in the city of Skelby, in 1901.", "Skelby", 1),
        ("It was a great party", "art", 0),  # not inside a word
        ("1901 in Skelby", "Skelby 1901", 0),  # next to each other, in order
        ("Skelby", "the Skelby", 1),
        ("", "Skelby", 0),
        ("Skelby", "the", 0),
        ("the", "the", 1),
    ],
)
def test_containment(reply: str, gold: str, expected: float) -> None:
    assert contains(reply, gold) == expected


def test_the_best_accepted_answer_counts() -> None:
    assert best(f1, "Denver Broncos", ["Broncos", "Denver Broncos", "Carolina"]) == 1
    assert best(exact_match, "", []) == 1  # there is no answer, and none was given
    assert best(exact_match, "Denver", []) == 0
    assert best(exact_match, "", ["the", "Denver"]) == 0  # an empty answer is not accepted beside others
    assert best(exact_match, "a", ["the"]) == 1
