"""A sentence-transformers folder that is run by llama.cpp: its BERT is converted once, into the cache folder.

The vectors agree with those of sentence-transformers within 1e-3 in every component, which test_converted.py measures.
So the fingerprint is that of the folder: indexes and what was fitted with either serve both.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline.errors import ModelError
from pipeline.retrieval.batches import Batch
from pipeline.retrieval.sentence_folder import SentenceFolder
from pipeline.storage.cache import cache_folder

if TYPE_CHECKING:
    from pipeline.models.bert import Shape
    from pipeline.models.encoder import Encoder

_MODULES = ["Transformer", "Pooling", "Normalize"]
_SPECIAL = re.compile(r"\[\w+\]")
_MARK = re.compile(r"[!-/:-@\[-`{-~]")
"""Punctuation: a fifth of the tokens that the conversion looks at, as in documents with tables and code."""


class ConvertedEmbedder(SentenceFolder):
    """A BERT with mean pooling, whose texts are tokenised as its own tokenizer.json says."""

    def __init__(self, name: str, folder: Path, shape: Shape) -> None:
        super().__init__(name, folder)
        self._shape = shape

    @classmethod
    def of(cls, name: str, folder: Path) -> Self | None:
        """The embedder in a folder; None for one that has other parts than a BERT, a mean, and a division by length."""
        from pipeline.models.bert import shape_of

        files = SentenceFolder(name, folder)
        modules = [module["type"].rpartition(".")[2] for module in files.settings("modules.json")]
        pooling = files.settings("1_Pooling/config.json")
        modes = [mode for mode, is_on in pooling.items() if mode.startswith("pooling_mode") and is_on]
        shape = shape_of(folder)
        if shape is None or modules != _MODULES or modes != ["pooling_mode_mean_tokens"]:
            return None
        return cls(name, folder, shape)

    def _batches(self, texts: Sequence[str], with_states: bool) -> Iterator[Batch]:
        import numpy as np

        encodings = self._encodings(texts)
        for rows, states in self._encoder.states([encoding.ids for encoding in encodings]):
            vectors = np.stack([state.mean(axis=0) for state in states])
            if not with_states:
                yield Batch(rows, vectors)
                continue
            specials = (np.array(encodings[row].special_tokens_mask, bool) for row in rows)
            yield Batch(rows, vectors, [state[~special] for state, special in zip(states, specials, strict=True)])

    def _dimension_of_model(self) -> int:
        return self._shape.n_embd

    @cached_property
    def _encoder(self) -> Encoder:
        from pipeline.models.encoder import Encoder

        return Encoder(self._file())

    def _file(self) -> Path:
        """The converted file, in the cache folder; where that cannot be written, in one that goes with the process."""
        from pipeline.gguf.header import inspect
        from pipeline.models.bert import VERSION

        kept = cache_folder() / "embedders" / f"{self.fingerprint[:32]}-{VERSION}.gguf"
        try:
            inspect(kept)
        except ModelError:  # not there, or damaged
            try:
                self._convert(kept)
            except ModelError:
                folder = Path(tempfile.mkdtemp(prefix="longthread-"))
                weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                kept = folder / kept.name
                self._convert(kept)
        return kept

    def _convert(self, target: Path) -> None:
        from pipeline.models.bert import convert

        begin, end = self._tokenizer.encode("").ids
        vocabulary = sorted(self._tokenizer.get_vocab(with_added_tokens=False).items())
        pieces = [id_ for text, id_ in vocabulary if not _SPECIAL.fullmatch(text)]
        marks = [id_ for text, id_ in vocabulary if _MARK.fullmatch(text)]
        convert(self.folder, self._shape, target, pieces + marks * (len(pieces) // (4 * len(marks) or 1)), begin, end)
