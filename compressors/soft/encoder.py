"""Computes the states of texts: a model's first layers plus the trained weights, run by llama.cpp as a separate model.

The model file is written once, from the reader's file and the weights, as float16 (26 MB for 4 layers of SmolLM2). It
has no vocabulary: its inputs are embeddings from a file beside it, and its outputs are states after the last norm. So
its output matrix, which llama.cpp always multiplies with, needs only a few rows instead of 49152.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressors.soft.store import StateStore
from compressors.soft.weights import SoftWeights
from pipeline.contracts import Model, Runtime
from pipeline.errors import ModelError
from pipeline.models.capabilities import Embeds, OnFile
from pipeline.models.settings import EngineSettings
from pipeline.storage.cache import cache_folder
from pipeline.types import Soft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.contracts import Progress

N_VOCAB = 32
"""Rows of the output matrix. Unused, but llama.cpp requires some."""
_COUNTS = (
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "rope.dimension_count",
)
_RATIOS = ("attention.layer_norm_rms_epsilon", "rope.freq_base")


@dataclass(frozen=True, eq=False)
class SoftEncoder:
    """Turns tokens of one reader into soft vectors. `keep` says whether states are cached on disk."""

    reader: Model
    weights: SoftWeights
    runtime: Runtime
    keep: bool = True

    def vectors(self, tokens: NDArray[np.int32], k: int) -> NDArray[np.float32]:
        """The vectors of n tokens, float32 (ceil(n / k), n_embd). Each chunk of tokens is read separately."""
        return self.weights.vectors(tokens, self.table, self.states(tokens), k)

    def chosen(self, tokens: NDArray[np.int32], k: int) -> NDArray[np.float32]:
        """The plain input embeddings of the chosen tokens, (ceil(n / k), n_embd), as an untrained baseline."""
        return np.asarray(self.table[tokens[self.weights.places(tokens, k)]], np.float32)

    def states(self, tokens: NDArray[np.int32]) -> NDArray[np.float16]:
        """The states, float16 (n, n_embd), from the disk if they are cached."""
        if not self.keep:
            return self._read(tokens)
        return self.store.get(tokens, lambda: self._read(tokens))

    def _read(self, tokens: NDArray[np.int32]) -> NDArray[np.float16]:
        chunk = self.weights.card.chunk
        parts = [tokens[start : start + chunk] for start in range(0, len(tokens), chunk)]
        prompts = [(Soft(self.table[part].astype(np.float32)),) for part in parts]
        states = self.engine.embed(prompts, [range(len(part)) for part in parts])
        return np.concatenate(states).astype(np.float16)

    @cached_property
    def engine(self) -> Embeds:
        """The loaded layers. The pipeline owns and closes them."""
        chunk = max(64, self.weights.card.chunk)
        settings = EngineSettings(
            model=str(self.files[0]), n_ctx=chunk, n_batch=chunk, n_ubatch=chunk, n_seq_max=1, n_cached=0
        )
        engine = self.runtime.model(settings)
        if not isinstance(engine, Embeds):
            raise ModelError(f"compress.extensible: {engine.name} gives no hidden states")
        return engine

    @cached_property
    def table(self) -> NDArray[np.float16]:
        """The reader's input embeddings, (n_vocab, n_embd), mapped from the disk."""
        table: NDArray[np.float16] = np.load(self.files[1], mmap_mode="r", allow_pickle=False)
        return table

    @cached_property
    def store(self) -> StateStore:
        return StateStore(self.folder / "states", self.table.shape[1])

    @property
    def folder(self) -> Path:
        """The folder of these weights, named after their hash. Weights belong to one model file."""
        return cache_folder() / "extensible" / "layers" / self.weights.card.sha256[:32]

    @cached_property
    def files(self) -> tuple[Path, Path]:
        """The files of the layers and the table. Writes them if they are missing."""
        layers, table = self.folder / "layers.gguf", self.folder / "embeddings.npy"
        if not (layers.is_file() and table.is_file()):
            if not isinstance(self.reader, OnFile):
                raise ModelError(
                    f"compress.extensible: {self.reader.name} is no GGUF file, so it has no layers to take"
                )
            write_layers(self.reader.path, self.weights, layers, table, self.runtime.listener.progress)
        return layers, table


def write_layers(source: Path, weights: SoftWeights, layers: Path, table: Path, progress: Progress) -> None:
    """Writes the trained layers as a model file, and the input embeddings as a table, both float16.

    Raises ModelError for a model that is not a Llama, and for weights that do not fit it.
    """
    from pipeline.gguf.tensors import dequantised, write_model
    from pipeline.models.weights import Vocabulary
    from pipeline.storage.files import new_file

    vocabulary = Vocabulary(source)
    metadata = layers_metadata(vocabulary.metadata, weights)
    vocabulary.close()
    with dequantised(source, progress) as tensors:
        try:
            merged = weights.merged(tensors)
        except (KeyError, ValueError) as error:
            raise ModelError(f"the trained layers do not fit {source.name}: {error}") from None
        embeddings = tensors["token_embd.weight"].astype(np.float16)
        small: dict[str, NDArray[np.floating]] = {
            "token_embd.weight": embeddings[:N_VOCAB],
            "output_norm.weight": tensors["output_norm.weight"],
        }
        for name, array in merged.items():  # llama.cpp wants vectors as float32
            small[name] = array.astype(np.float16) if array.ndim == 2 else array
        with new_file(table, embeddings.nbytes) as temporary, temporary.open("wb") as file:
            np.save(file, embeddings)
        write_model(layers, metadata, small)


def layers_metadata(source: dict[str, str], weights: SoftWeights) -> dict[str, str | int | float]:
    """The metadata of the layers' file: the model's own numbers, but fewer layers and no vocabulary."""
    from pipeline.gguf.tensors import metadata_number

    if source.get("general.architecture") != "llama":
        raise ModelError(
            f"compress.extensible knows the llama architecture only, was: {source.get('general.architecture')}"
        )
    metadata: dict[str, str | int | float] = {
        "general.architecture": "llama",
        "general.name": "layers of an extensible tokenizer",
        "llama.block_count": weights.card.layers,
        "llama.context_length": max(64, weights.card.chunk),
        "llama.vocab_size": N_VOCAB,
        "tokenizer.ggml.model": "no_vocab",
    }
    metadata |= {f"llama.{name}": int(metadata_number(source, f"llama.{name}")) for name in _COUNTS}
    return metadata | {f"llama.{name}": metadata_number(source, f"llama.{name}") for name in _RATIOS}
