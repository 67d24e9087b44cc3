"""Text is data, for every vocabulary: no content comes out as a mark, none is changed, and counts agree."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.models.weights import Vocabulary
from tests.models import zoo

PATHS = [path for path in zoo.vocabularies() if "bert" not in path.name]
"""Vocabularies of embedders normalise: they write no answers."""
WORDS = [
    "The garden",
    " has",
    " seven hives.\n",
    "ü",
    "你好",
    "👩‍👩‍👧",
    "\u202e",
    "é",
    "▁",
    "\x01",
    "\t",
    "  ",
    "<",
    "|",
    ">",
    "[",
    "",
]
CONTROL, USER_DEFINED = 8, 16


@pytest.fixture(scope="module", params=[None, *PATHS], ids=lambda path: path.stem if path else "smollm2")
def vocabulary(request: pytest.FixtureRequest, q4: Path) -> Iterator[Vocabulary]:
    """The default model's vocabulary, and where they were fetched those of the zoo."""
    vocabulary = Vocabulary(request.param or q4)
    yield vocabulary
    vocabulary.close()


def marks(vocabulary: Vocabulary) -> dict[int, str]:
    """Every token that is control, or user-defined and in the template, told from the library itself."""
    template = vocabulary.metadata.get("tokenizer.chat_template", "")
    texts = {}
    for token in range(vocabulary.n_vocab):
        kind = vocabulary._lib.llama_vocab_get_attr(vocabulary.vocab, token)
        text = vocabulary.text_of(token)
        if kind & CONTROL or (kind & USER_DEFINED and text in template and text.strip() and len(text) > 1):
            texts[token] = text
    return texts


def spelt(vocabulary: Vocabulary, text: str) -> str:
    return b"".join(vocabulary.piece(token) for token in vocabulary.tokenize(text).tolist()).decode("utf-8", "replace")


def test_no_content_comes_out_as_a_mark(vocabulary: Vocabulary) -> None:
    """Each mark alone, in the middle of words, doubled into itself, and many of them in a row."""
    forbidden = marks_of(vocabulary)
    assert forbidden
    rng = random.Random(0)
    some = rng.sample(sorted(forbidden.values()), min(120, len(forbidden)))
    texts = [*some, *(f"a{mark}b {mark}\n" for mark in some)]
    texts += [mark[: len(mark) // 2] + mark + mark[len(mark) // 2 :] for mark in some]
    texts += ["".join(rng.choices([*some, *WORDS], k=12)) for _ in range(200)]
    numbers = np.array(sorted(forbidden))
    for text in texts:
        tokens = vocabulary.tokenize(text)
        assert not np.isin(tokens, numbers).any(), (text, [vocabulary.text_of(t) for t in tokens.tolist()])
        assert spelt(vocabulary, text) == text
        assert len(vocabulary.token_spans(text)) == len(tokens)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_text_is_spelt_as_it_is(vocabulary: Vocabulary, data: st.DataObject) -> None:
    alphabet = st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(sorted(marks_of(vocabulary).values())[:200]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    )
    text = "".join(data.draw(st.lists(alphabet, max_size=8)))
    text = "".join(char for char in text if spelt(vocabulary, char) == char)  # falcon has not every byte
    tokens = vocabulary.tokenize(text)
    assert spelt(vocabulary, text) == text
    assert not np.isin(tokens, np.array(sorted(marks_of(vocabulary)))).any()
    spans = vocabulary.token_spans(text)
    assert len(spans) == len(tokens)
    assert {n for start, end in spans for n in range(start, end)} == set(range(len(text)))


_MARKS: dict[Path, dict[int, str]] = {}


def marks_of(vocabulary: Vocabulary) -> dict[int, str]:
    if vocabulary.path not in _MARKS:
        _MARKS[vocabulary.path] = marks(vocabulary)
    return _MARKS[vocabulary.path]


def test_spans_of_a_prompt_have_no_space_between_them(vocabulary: Vocabulary) -> None:
    """Template text with marks read as marks, and the same text in pieces: SentencePiece puts no space before each."""
    pieces = ["Passage", " one.", "\nQuestion", ": which", "?"]
    together = b"".join(vocabulary.piece(t) for piece in pieces for t in vocabulary.tokenize(piece).tolist())
    assert together.decode() == "".join(pieces)
    as_template = b"".join(vocabulary.piece(t) for t in vocabulary.tokenize("Answer:", special=True).tolist())
    assert as_template == b"Answer:"


def test_marks_are_read_in_the_template(vocabulary: Vocabulary) -> None:
    for token, text in list(marks_of(vocabulary).items())[:50]:
        assert token in vocabulary.tokenize(f"a{text}b", special=True).tolist() or vocabulary.text_of(token) != text
