"""Token ids and places of files that embed: those of the library that the model was trained with."""

import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.models.embedding_tokens import LlamaTokens, Tokenizer, WordPieces, align, tokenizer_of
from pipeline.models.weights import Vocabulary
from pipeline.retrieval.embedder import minilm_folder
from tests.models.embedder_file import vocabulary_file
from tests.models.gguf_file import gguf, tiny_llama

TEXTS = st.text(
    alphabet=st.characters(codec="utf-8")
    | st.sampled_from("abcdefgh  .,-'éßİıǅﬁ中日한\u0301\u00ad\u200b\ufeff\ufffd\t\n"),
    max_size=40,
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary(vocabulary_file(tmp_path_factory.mktemp("vocabulary") / "bert.gguf"))


@pytest.fixture(scope="module")
def reference() -> Any:
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    return tokenizer_of(vocabulary)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_ids_and_places_are_those_of_the_models_own_tokenizer(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    encoding = reference.encode(text, add_special_tokens=False)
    assert tokenizer.ids([text]) == [tuple(encoding.ids)]
    assert tokenizer.spans([text]) == [encoding.offsets]
    assert (*tokenizer.head, *tokenizer.ids([text])[0], *tokenizer.tail) == tuple(reference.encode(text).ids)


def test_llama_cpps_wordpiece_gives_other_ids_for_some_texts(vocabulary: Vocabulary, reference: Any) -> None:
    """Which is why it is not used: the model was not trained on these."""
    tokenizer = LlamaTokens(vocabulary)
    assert tokenizer.ids(["Seven grey herons."])[0] == tuple(
        reference.encode("Seven grey herons.", add_special_tokens=False).ids
    )
    others = ["a\u0300\u0301\u200bb", "x" * 101, "\u0130", "so\u00adft", "\u2075", "\U0001f600a"]
    differing = [
        text
        for text in others
        if tokenizer.ids([text])[0] != tuple(reference.encode(text, add_special_tokens=False).ids)
    ]
    assert differing


def test_special_tokens_in_a_text_are_text(vocabulary: Vocabulary) -> None:
    tokenizer = tokenizer_of(vocabulary)
    (ids,) = tokenizer.ids(["the end [SEP] of [CLS]"])
    assert not {101, 102} & set(ids)
    assert (tokenizer.head, tokenizer.tail) == ((101,), (102,))


def test_a_cased_vocabulary_is_read_with_its_case(tmp_path: Path) -> None:
    cased = Vocabulary(
        vocabulary_file(
            tmp_path / "cased.gguf",
            **{"tokenizer.ggml.normalizer.lowercase": False, "tokenizer.ggml.normalizer.strip_accents": False},
        )
    )
    tokenizer = tokenizer_of(cased)
    assert isinstance(tokenizer, WordPieces)
    assert tokenizer.ids(["The"]) != tokenizer.ids(["the"])


def test_a_byte_vocabulary_is_aligned_exactly(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama())
    vocabulary = Vocabulary(path)
    tokenizer = tokenizer_of(vocabulary)
    text = "the İzmir ferry 🚢"
    (spans,), (ids,) = tokenizer.spans([text]), tokenizer.ids([text])
    assert spans == vocabulary.token_spans(text) or len(spans) == len(ids)
    assert spans[-1] == (len(text) - 1, len(text))
    assert {char for start, end in spans for char in text[start:end] if not char.isspace()} == set(text) - {" "}


def test_a_file_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(gguf({"general.architecture": "bert", "tokenizer.ggml.model": "no_vocab", "bert.vocab_size": 5}))
    with pytest.raises(ModelError, match="the file has no vocabulary"):
        tokenizer_of(Vocabulary(path))


# ------------------------------------------------------------------------------------------------------------ places
def test_places_by_example() -> None:
    assert align("Ferry at nine", [b" Fer", b"ry", b" at", b" nine"]) == [(0, 3), (3, 5), (6, 8), (9, 13)]
    assert align("ﬁn", [b"fin"]) == [(0, 2)]
    assert align("a?b", [b"a", b"<unk>", b"b"]) == [(0, 1), (1, 1), (2, 3)]
    assert align("🚢", ["🚢".encode()[:2], "🚢".encode()[2:]]) == [(0, 1), (0, 1)]
    assert align("", []) == []


@given(text=st.text(max_size=60), cuts=st.lists(st.integers(0, 240)))
@settings(max_examples=200, deadline=None)
def test_any_text_cut_into_bytes_anywhere_is_found_again(text: str, cuts: list[int]) -> None:
    data = unicodedata.normalize("NFKC", text).encode("utf-8", "replace")
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[low:high] for low, high in pairwise(edges)]
    spans = align(text, pieces)
    assert len(spans) == len(pieces)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
