"""What a language costs: the same text in each, and Turkish tokens as words, suffixes and roots."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.gguf.catalogue import resolve
from pipeline.models.language_costs import TEXTS, is_root, language_costs, read_words, turkish_tokens
from pipeline.models.weights import Vocabulary


class Words:
    """A vocabulary whose tokens are the words of a text, with the space before them."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def tokenize(self, text: str) -> NDArray[np.int32]:
        tokens = []
        for word in text.split():
            if (piece := f" {word}".encode()) not in self.pieces:
                self.pieces.append(piece)
            tokens.append(self.pieces.index(piece))
        return np.array(tokens, np.int32)

    def piece(self, token: int) -> bytes:
        return self.pieces[token]


def test_english_is_the_measure_and_small_vocabularies_spell_russian_by_letters() -> None:
    vocabulary = Vocabulary(resolve("smollm2-135m"))
    costs = {cost.language: cost for cost in language_costs(vocabulary)}
    vocabulary.close()
    assert list(costs) == list(TEXTS)
    assert costs["English"].over_english == 1.0
    assert costs["English"].whole_words == pytest.approx(0.97, abs=0.01)
    assert costs["Russian"].over_english > costs["German"].over_english > 1.5
    assert costs["Japanese"].per_word is None
    assert all(
        cost.bytes_per_token == round(len(TEXTS[name].encode()) / cost.tokens, 2) for name, cost in costs.items()
    )


def test_turkish_tokens_are_words_suffixes_or_neither(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("göz\ngözlük\ngözlükçü\nev\naçmak\niki kelime\nISI\n", "utf-8")
    words = read_words(tmp_path / "words.txt")
    assert {"aç", "açmak", "ısı"} <= words
    assert "iki kelime" not in words
    assert is_root("göz", words)
    assert not is_root("gözlük", words)  # göz + lük
    assert not is_root("gözlükçü", words)
    shares = turkish_tokens(Words(), tmp_path / "words.txt", "Göz gözlükçü lar larda xyz 12 göz")
    assert (shares.tokens, shares.unique) == (7, 5)
    assert (shares.turkish, shares.pure) == (0.8, 0.4)  # all but xyz; göz and lar


def test_a_list_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nosuch\.txt: a list of words, one a line, cannot be read"):
        read_words(tmp_path / "nosuch.txt")
    (tmp_path / "empty.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match="holds no word"):
        read_words(tmp_path / "empty.txt")
