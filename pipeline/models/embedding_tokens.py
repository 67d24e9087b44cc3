"""Tokenises texts for a GGUF that embeds or ranks, with the character span of each token.

For WordPiece it uses the `tokenizers` library with the file's own vocabulary, which gives offsets, and BERT's training
ids where llama.cpp's differ. llama.cpp tokenises for every other vocabulary, and its tokens are aligned with the text.
"""

from __future__ import annotations

import ctypes
import unicodedata
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import ModelError
from pipeline.models.llama import library

if TYPE_CHECKING:
    from pipeline.models.weights import Vocabulary

WORD_BEGINS = "\u2581"
"""Prefix of tokens that begin a word, in the vocabularies of GGUF files."""
_WORDPIECE = "bert"
_LONGEST_WORD = 100
_UNKNOWN = 100
"""Default unknown token of WordPiece, if the file names none."""
Span = tuple[int, int]


class Tokenizer(Protocol):
    """Tokenises texts; `head` and `tail` are the special tokens that the model expects around a text."""

    head: tuple[int, ...]
    tail: tuple[int, ...]

    def ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]: ...
    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        """Returns the character span [start, end) of each of those tokens, in order."""


def tokenizer_of(vocabulary: Vocabulary) -> Tokenizer:
    """Chooses the tokenizer of a file. Raises ModelError without a vocabulary, on which llama.cpp would abort."""
    kind = vocabulary.metadata.get("tokenizer.ggml.model", "none")
    if kind in ("no_vocab", "none"):
        raise ModelError(f"{vocabulary.path}: the file has no vocabulary, so it cannot read text: take another file")
    return WordPieces(vocabulary) if kind == _WORDPIECE else LlamaTokens(vocabulary)


class WordPieces:
    """BERT's tokenizer. `[SEP]` in a text is text: five characters, and no special token."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        lib = library()
        self._vocabulary = vocabulary
        self.head: tuple[int, ...] = (lib.llama_vocab_bos(vocabulary.vocab),)
        self.tail: tuple[int, ...] = (lib.llama_vocab_sep(vocabulary.vocab),)

    def ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [tuple(e.ids) for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        return [list(e.offsets) for e in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        vocabulary = self._vocabulary
        unknown = vocabulary.text_of(int(vocabulary.metadata.get("tokenizer.ggml.unknown_token_id", _UNKNOWN)))
        words: dict[str, int] = {}
        for id_ in range(vocabulary.n_vocab):
            words.setdefault(_as_wordpiece(vocabulary.text_of(id_)), id_)
        tokenizer = Tokenizer(models.WordPiece(words, unk_token=unknown, max_input_chars_per_word=_LONGEST_WORD))
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=True,
            strip_accents=_flag(vocabulary, "strip_accents"),
            lowercase=_flag(vocabulary, "lowercase"),
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer


def _flag(vocabulary: Vocabulary, name: str) -> bool:
    return vocabulary.metadata.get(f"tokenizer.ggml.normalizer.{name}", "true") == "true"


def _as_wordpiece(text: str) -> str:
    """Converts a GGUF token to BERT's form: GGUF marks the start of words, BERT their continuation."""
    if text.startswith(WORD_BEGINS):
        return text[1:]
    return text if text.startswith("[") and text.endswith("]") and len(text) > 2 else f"##{text}"


class LlamaTokens:
    """llama.cpp's own tokenizer. No control token is read out of a text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        bare, around = self.tokenize("a"), self.tokenize("a", add_special=True)
        n = next((n for n in range(len(around)) if around[n : n + len(bare)] == bare), 0)
        self.head, self.tail = around[:n], around[n + len(bare) :]

    def ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [self.tokenize(text) for text in texts]

    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        return [align(text, [self._vocabulary.piece(id_) for id_ in self.tokenize(text)]) for text in texts]

    def tokenize(self, text: str, add_special: bool = False, parse_special: bool = False) -> tuple[int, ...]:
        lib, vocab = library(), self._vocabulary.vocab
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            buffer = (ctypes.c_int32 * room)()
            n = lib.llama_tokenize(vocab, data, len(data), buffer, room, add_special, parse_special)
            if n >= 0:
                return tuple(buffer[:n])
            room = -n


def align(text: str, pieces: Sequence[bytes]) -> list[Span]:
    """Aligns tokens with their text, which the vocabulary may have normalised; returns the tokens' spans.

    Characters are compared in NFKD, ignoring case and white space; where they differ, the longest equal stretches are
    matched. Spans are in order and lie in the text; a token without a character has an empty span. Tokens that share a
    character both have it.
    """
    read = list(_folded_pieces(pieces))
    given = [(char, place) for place, original in enumerate(text) for char in _folded(original)]
    places: list[list[int]] = [[] for _ in pieces]
    for low, high in _matches("".join(char for char, _ in read), "".join(char for char, _ in given)):
        for token in read[low][1]:
            places[token].append(given[high][1])
    spans: list[Span] = []
    end = 0
    for offsets in places:
        if offsets:
            spans.append((min(offsets), max(offsets) + 1))
            end = max(end, spans[-1][1])
        else:
            spans.append((end, end))
    return spans


def _folded_pieces(pieces: Sequence[bytes]) -> Iterator[tuple[str, range]]:
    """Yields each folded character that the tokens spell, with the tokens of its bytes."""
    decoder = getincrementaldecoder("utf-8")("replace")
    first = 0
    for n, piece in enumerate(pieces):
        for byte in piece:
            is_start = not decoder.getstate()[0]
            first = n if is_start else first
            for original in decoder.decode(bytes([byte])):
                yield from ((char, range(first, n + 1)) for char in _folded(original))


def _folded(char: str) -> str:
    """Folds a character for comparison: decomposed, lower case, empty for white space and invisible characters."""
    return "".join(
        part for part in unicodedata.normalize("NFKD", char).casefold() if not part.isspace() and part.isprintable()
    )


def _matches(read: str, given: str) -> Iterator[tuple[int, int]]:
    """Yields pairs of matching positions, in order."""
    if read == given:
        yield from ((n, n) for n in range(len(read)))
        return
    for low, high, n in SequenceMatcher(None, read, given, autojunk=False).get_matching_blocks():
        yield from ((low + i, high + i) for i in range(n))
