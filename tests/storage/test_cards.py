"""Cards: what is written is read again; a damaged one is named with its faults; another model's is passed over."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.storage.cards import Cards, write_card


@dataclass(frozen=True)
class Part:
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Card:
    key: str
    n: int
    part: Part
    note: str = ""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError("n must be at least 1")


CARDS = Cards(Card, "a test's card", "write it again")
CARD = Card("0" * 64, 3, Part((0.5, 1.0)))


def test_a_card_is_the_same_when_it_is_read(tmp_path: Path) -> None:
    path = write_card(tmp_path / "new" / "card.json", CARD)
    assert CARDS.read(path) == CARD
    assert path.read_text("utf-8").endswith("}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": "3"}, r"n: Input should be a valid integer"),
        ({"n": 0}, r"the file: .*n must be at least 1"),
        ({"part": {"weights": ["a"]}}, r"part\.weights\.0: Input should be a valid number"),
        ({"surplus": 1}, r"surplus: Unexpected keyword argument"),
        ({"key": 1, "n": "x", "note": 2, "surplus": 1}, r"key: .*; n: .*; note: .*; and 1 more; write it again"),
    ],
    ids=str,
)
def test_a_damaged_card_is_named_with_its_faults_and_the_remedy(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(asdict(CARD) | change), "utf-8")
    with pytest.raises(ModelError, match=rf"card\.json is not a test's card of this version: {message}"):
        CARDS.read(path)


def test_a_card_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.json cannot be read: No such file or directory; write it again"):
        CARDS.read(tmp_path / "none.json")


def test_the_first_card_of_the_key_is_taken(tmp_path: Path) -> None:
    other = write_card(tmp_path / "a.json", replace(CARD, key="1" * 64))
    first = write_card(tmp_path / "b.json", CARD)
    second = write_card(tmp_path / "c.json", replace(CARD, n=4))
    paths = [tmp_path / "missing.json", other, first, second]
    assert CARDS.find(CARD.key, paths) == CARD
    assert CARDS.find(CARD.key, paths, lambda value: value["n"] != 3) == replace(CARD, n=4)
    assert CARDS.find("2" * 64, paths) is None


def test_a_card_that_was_written_anew_is_found_anew(tmp_path: Path) -> None:
    path = write_card(tmp_path / "card.json", CARD)
    assert CARDS.find(CARD.key, [path]) == CARD
    write_card(path, replace(CARD, key="1" * 64))
    assert CARDS.find(CARD.key, [path]) is None


def test_damage_in_another_models_card_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps({"key": "1" * 64, "n": "damaged"}), "utf-8")
    assert CARDS.find(CARD.key, [path]) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"key": 1}', "\x00", "[" * 100_000])
def test_a_file_without_a_key_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ModelError, match=r"card\.json (cannot be read as|is not) a test's card: .*; write it again"):
        CARDS.find(CARD.key, [path])
