"""Converts a BERT in safetensors, as transformers stores it, to a GGUF that llama.cpp reads without torch.

The file has no vocabulary: `tokenizers` makes the token ids, since llama.cpp's WordPiece gives no character offsets and
other ids for some texts (tests/models/test_bert.py shows them).

llama.cpp computes GELU by its tanh form in half precision. The error is small but biased, and reaches 1.3e-3 in a
token's unit vector. The conversion measures its mean for each unit, on tokens of the model's own vocabulary, and
subtracts it from the following bias. That leaves less than 0.9e-3; float16 weights add no measurable error.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.gguf.tensors import write_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.float32]]

VERSION = 1
"""Version of `convert`'s output, part of the cached file's name."""
_WHOLE = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
_OF_A_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""Names in transformers and in llama.cpp."""
_SAMPLES, _SAMPLE_TOKENS = 24, 40
_F32 = {"position_embd.weight", "token_types.weight"}
"""Matrices that llama.cpp adds to others, which it does in float32 only."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The relevant numbers of a BERT's config.json."""

    n_vocab: int
    n_ctx: int
    n_embd: int
    n_ff: int
    n_layer: int
    n_head: int
    n_types: int
    epsilon: float


def shape_of(folder: Path) -> Shape | None:
    """Reads the shape of the BERT in a folder; None for other models and file layouts."""
    config = _json(folder / "config.json")
    is_bert = config.get("model_type") == "bert" and config.get("hidden_act") == "gelu"
    if not is_bert or config.get("position_embedding_type", "absolute") != "absolute":
        return None
    if not (folder / "model.safetensors").is_file():
        return None
    return Shape(
        n_vocab=config["vocab_size"],
        n_ctx=config["max_position_embeddings"],
        n_embd=config["hidden_size"],
        n_ff=config["intermediate_size"],
        n_layer=config["num_hidden_layers"],
        n_head=config["num_attention_heads"],
        n_types=config["type_vocab_size"],
        epsilon=config["layer_norm_eps"],
    )


def convert(folder: Path, shape: Shape, target: Path, tokens: list[int], begin: int, end: int) -> None:
    """Writes the BERT of a folder as a GGUF with float16 matrices, atomically. MiniLM takes a second.

    `tokens` is a sample of typical tokens by frequency; `begin` and `end` enclose a text. Raises ModelError if the file
    cannot be written.
    """
    tensors = _read(folder, shape)
    for layer, error in enumerate(gelu_errors(tensors, shape, samples(tokens, begin, end))):
        tensors[f"blk.{layer}.ffn_down.bias"] -= tensors[f"blk.{layer}.ffn_down.weight"] @ error
    metadata: dict[str, str | int | float] = {
        "general.architecture": "bert",
        "general.name": folder.name,
        "general.file_type": 1,
        "bert.vocab_size": shape.n_vocab,
        "bert.context_length": shape.n_ctx,
        "bert.embedding_length": shape.n_embd,
        "bert.feed_forward_length": shape.n_ff,
        "bert.block_count": shape.n_layer,
        "bert.attention.head_count": shape.n_head,
        "bert.attention.layer_norm_epsilon": shape.epsilon,
        "bert.attention.causal": False,
        "bert.pooling_type": 1,
        "tokenizer.ggml.model": "no_vocab",
        "tokenizer.ggml.token_type_count": shape.n_types,
    }
    stored = {n: t.astype(np.float16) if t.ndim == 2 and n not in _F32 else t for n, t in tensors.items()}
    write_model(target, metadata, stored)


def samples(tokens: list[int], begin: int, end: int) -> NDArray[np.int64]:
    """Draws texts of random tokens with a fixed seed, (n_texts, n_tokens)."""
    draw = random.Random(0)  # noqa: S311 - no secrets
    return np.array([[begin, *draw.choices(tokens, k=_SAMPLE_TOKENS), end] for _ in range(_SAMPLES)])


def gelu_errors(tensors: Tensors, shape: Shape, ids: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Computes llama.cpp's mean GELU error for each feed-forward unit, (n_ff,) per layer.

    The mean is over the tokens of `ids`, (n_texts, n_tokens), as the exact model reads them.
    """
    errors: list[NDArray[np.float32]] = []
    exact_states(tensors, shape, ids, errors)
    return errors


def exact_states(
    tensors: Tensors, shape: Shape, ids: NDArray[np.int64], errors: list[NDArray[np.float32]] | None = None
) -> NDArray[np.float32]:
    """Computes the exact last states, (n_texts, n_tokens, n_embd); fills `errors` as well, see `gelu_errors`."""
    from scipy.special import erf
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # OpenBLAS's threads wait by spinning: on a busy machine 12 s in place of 2
        return _exact_states(tensors, shape, ids, errors, erf)


def _exact_states(
    tensors: Tensors,
    shape: Shape,
    ids: NDArray[np.int64],
    errors: list[NDArray[np.float32]] | None,
    erf: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    rows = tensors["token_embd.weight"][ids] + tensors["position_embd.weight"][: ids.shape[1]]
    state = _norm(rows + tensors["token_types.weight"][0], tensors, "token_embd_norm", shape.epsilon)
    for layer in range(shape.n_layer):
        prefix = f"blk.{layer}."
        attended = _linear(_attention(state, tensors, prefix, shape), tensors, prefix + "attn_output")
        state = _norm(state + attended, tensors, prefix + "attn_output_norm", shape.epsilon)
        up = _linear(state, tensors, prefix + "ffn_up")
        exact = (up * 0.5 * (1 + erf(up / np.float32(np.sqrt(2))))).astype(np.float32)
        if errors is not None:
            errors.append((llama_gelu(up) - exact).reshape(-1, shape.n_ff).mean(axis=0))
        state = _norm(
            state + _linear(exact, tensors, prefix + "ffn_down"), tensors, prefix + "layer_output_norm", shape.epsilon
        )
    return state


def llama_gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Computes GELU as llama.cpp does on a CPU: by a float16 table of the tanh form."""
    half = x.astype(np.float16).astype(np.float32)
    value = 0.5 * half * (1 + np.tanh(np.float32(0.79788456) * half * (1 + np.float32(0.044715) * half * half)))
    return np.asarray(value.astype(np.float16).astype(np.float32))


def _attention(state: NDArray[np.float32], tensors: Tensors, prefix: str, shape: Shape) -> NDArray[np.float32]:
    """Every token attends to all of its text: (n_texts, n_tokens, n_embd)."""
    n_texts, n_tokens, width = *state.shape[:2], shape.n_embd // shape.n_head
    heads = (
        _linear(state, tensors, prefix + name).reshape(n_texts, n_tokens, shape.n_head, width).transpose(0, 2, 1, 3)
        for name in ("attn_q", "attn_k", "attn_v")
    )
    query, key, value = heads
    scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.asarray((scores @ value).transpose(0, 2, 1, 3).reshape(n_texts, n_tokens, shape.n_embd))


def _linear(x: NDArray[np.float32], tensors: Tensors, name: str) -> NDArray[np.float32]:
    return np.asarray(x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"])


def _norm(x: NDArray[np.float32], tensors: Tensors, name: str, epsilon: float) -> NDArray[np.float32]:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(epsilon))
    return np.asarray(centred / deviation * tensors[f"{name}.weight"] + tensors[f"{name}.bias"])


def _read(folder: Path, shape: Shape) -> Tensors:
    """Reads the model's tensors as float32, by their names in llama.cpp."""
    from safetensors import safe_open

    names = dict(_WHOLE)
    for layer in range(shape.n_layer):
        for theirs, ours in _OF_A_LAYER.items():
            for part in ("weight", "bias"):
                names[f"encoder.layer.{layer}.{theirs}.{part}"] = f"blk.{layer}.{ours}.{part}"
    with safe_open(folder / "model.safetensors", "numpy") as file:
        return {ours: np.array(file.get_tensor(theirs), np.float32) for theirs, ours in names.items()}


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
