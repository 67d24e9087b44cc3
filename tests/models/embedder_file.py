"""Small GGUF files that embed or rank, written from MiniLM's own weights and vocabulary, or with random weights."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.models import bert
from pipeline.retrieval.embedder import minilm_folder
from tests.models.gguf_file import gguf, tensor

Arrays = Mapping[str, NDArray[np.floating]]


def with_arrays(metadata: Mapping[str, object], tensors: Arrays) -> bytes:
    """A GGUF file of these tensors, float32 or float16."""
    heads, data = [], bytearray()  # of bytes, each tensor would copy all before it
    for name, array in tensors.items():
        kind = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}[array.dtype]
        heads.append(tensor(name, array.shape[::-1], kind, len(data)))
        data += array.tobytes() + bytes(-array.nbytes % 32)
    return gguf(metadata, heads, bytes(data))


@cache
def wordpieces() -> tuple[str, ...]:
    """MiniLM's vocabulary as GGUF files have it: a mark where a word begins, none where it goes on."""
    vocabulary = json.loads((minilm_folder() / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return tuple(
        word if word in special else word[2:] if word.startswith("##") else "\u2581" + word for word in ordered
    )


def bert_metadata(pooling: int, **more: object) -> dict[str, object]:
    """Of a MiniLM with its vocabulary."""
    shape = bert.shape_of(minilm_folder())
    assert shape is not None
    return {
        "general.architecture": "bert",
        "general.name": "all MiniLM L6 v2",
        "bert.context_length": shape.n_ctx,
        "bert.embedding_length": shape.n_embd,
        "bert.feed_forward_length": shape.n_ff,
        "bert.block_count": shape.n_layer,
        "bert.attention.head_count": shape.n_head,
        "bert.attention.layer_norm_epsilon": shape.epsilon,
        "bert.attention.causal": False,
        "bert.pooling_type": pooling,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": shape.n_types,
        "tokenizer.ggml.tokens": list(wordpieces()),
        "tokenizer.ggml.cls_token_id": 101,
        "tokenizer.ggml.seperator_token_id": 102,
        "tokenizer.ggml.unknown_token_id": 100,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.mask_token_id": 103,
        **more,
    }


@cache
def _minilm_tensors() -> dict[str, NDArray[np.floating]]:
    shape = bert.shape_of(minilm_folder())
    assert shape is not None
    tensors = bert._read(minilm_folder(), shape)
    return {n: t.astype(np.float16) if n.startswith("blk") and t.ndim == 2 else t for n, t in tensors.items()}


def minilm_file(path: Path, pooling: int = 1, **more: object) -> Path:
    """MiniLM as the converter of llama.cpp writes it: with its vocabulary, and no correction."""
    path.write_bytes(with_arrays(bert_metadata(pooling, **more), _minilm_tensors()))
    return path


def cross_encoder(
    path: Path, dense: NDArray[np.float32], row: NDArray[np.float32], bias: float, **more: object
) -> Path:
    """MiniLM with a rank head: a dense layer over the first token's state, tanh, and one output."""
    tensors = {
        **_minilm_tensors(),
        "cls.weight": dense,
        "cls.bias": np.zeros(len(dense), np.float32),
        "cls.output.weight": row[None],
        "cls.output.bias": np.array([bias], np.float32),
    }
    path.write_bytes(with_arrays(bert_metadata(4, **more), tensors))
    return path


def vocabulary_file(path: Path, **more: object) -> Path:
    """MiniLM's vocabulary alone."""
    path.write_bytes(gguf(bert_metadata(1, **more)))
    return path
