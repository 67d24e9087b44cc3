"""The Llama architecture in torch on a GGUF file's tensors: the frozen reader in the training.

Names and layout are those of the GGUF file. Queries and keys are rotated in adjacent pairs, as in llama.cpp, so that a
LoRA trained here can be added to the file's tensors unchanged. float32, since bfloat16 is slower on most CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressors.soft.weights import MATRICES
from pipeline.contracts import Progress
from pipeline.errors import ModelError
from pipeline.gguf.tensors import dequantised, metadata_number
from pipeline.models.weights import Vocabulary

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ModelShape:
    """The numbers of a model: layers, width, heads, the base of the rotation, the norm's epsilon."""

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    rope_base: float
    epsilon: float

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> ModelShape:
        """Reads the metadata. Raises ModelError for any architecture but Llama."""
        if metadata.get("general.architecture") != "llama":
            raise ModelError(
                f"only models of the llama architecture are trained, was: {metadata.get('general.architecture')}"
            )

        def number(key: str) -> float:
            return metadata_number(metadata, f"llama.{key}")

        return cls(
            int(number("block_count")),
            int(number("embedding_length")),
            int(number("attention.head_count")),
            int(number("attention.head_count_kv")),
            number("rope.freq_base"),
            number("attention.layer_norm_rms_epsilon"),
        )


class Lora(nn.Module):  # type: ignore[misc]
    """Low-rank additions to every matrix of the first layers: W x + B A x. B is zero at the start."""

    def __init__(self, weights: Mapping[str, Tensor], n_layers: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for layer in range(n_layers):
            for matrix in MATRICES:
                n_out, n_in = weights[f"blk.{layer}.{matrix}.weight"].shape
                down = torch.randn(rank, n_in) / n_in**0.5
                self.down[f"{layer}_{matrix}"] = nn.Parameter(down)
                self.up[f"{layer}_{matrix}"] = nn.Parameter(torch.zeros(n_out, rank))

    def __call__(self, layer: int, matrix: str, x: Tensor) -> Tensor:
        key = f"{layer}_{matrix}"
        return functional.linear(functional.linear(x, self.down[key]), self.up[key])


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of each cell to itself and the cells before it."""
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class Llama:
    """Frozen weights by their GGUF names, float32."""

    def __init__(self, weights: Mapping[str, Tensor], shape: ModelShape) -> None:
        self.weights = {name: tensor.requires_grad_(False) for name, tensor in weights.items()}
        self.shape = shape

    @classmethod
    def load(cls, path: Path, progress: Progress) -> Llama:
        """Loads a GGUF file. Raises ModelError for an unreadable file or another architecture."""
        vocabulary = Vocabulary(path)
        shape = ModelShape.of(vocabulary.metadata)
        vocabulary.close()
        with dequantised(path, progress) as tensors:
            return cls({name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}, shape)

    def embed(self, tokens: Tensor) -> Tensor:
        return functional.embedding(tokens, self.weights["token_embd.weight"])

    def logits(self, states: Tensor) -> Tensor:
        head = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return functional.linear(states, head)

    def states(
        self, x: Tensor, positions: Tensor, attend: Attend = causal, n_layers: int | None = None, lora: Any = None
    ) -> Tensor:
        """The states after the last norm, (batch, n, n_embd), of input embeddings of the same shape.

        `positions` are (n,). `attend` is the attention of queries to keys and values, each (batch, heads, n, width).
        """
        turns = rotation(positions, self.shape)
        for layer in range(self.shape.n_layer if n_layers is None else n_layers):
            x = x + self._attention(self._norm(x, f"blk.{layer}.attn_norm"), layer, turns, attend, lora)
            x = x + self._feed_forward(self._norm(x, f"blk.{layer}.ffn_norm"), layer, lora)
        return self._norm(x, "output_norm")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weights[f"{name}.weight"], self.shape.epsilon)

    def _times(self, x: Tensor, layer: int, matrix: str, lora: Any) -> Tensor:
        y = functional.linear(x, self.weights[f"blk.{layer}.{matrix}.weight"])
        return y if lora is None else y + lora(layer, matrix, x)

    def _attention(self, x: Tensor, layer: int, turns: Tensor, attend: Attend, lora: Any) -> Tensor:
        q, k, v = (self._heads(self._times(x, layer, name, lora)) for name in ("attn_q", "attn_k", "attn_v"))
        q, k = rotated(q, turns), rotated(k, turns)
        shared = self.shape.n_head // self.shape.n_head_kv
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        return self._times(attend(q, k, v).transpose(1, 2).flatten(2), layer, "attn_output", lora)

    def _heads(self, x: Tensor) -> Tensor:
        """Reshapes (batch, n, heads x width) to (batch, heads, n, width)."""
        return x.unflatten(-1, (-1, self.shape.n_embd // self.shape.n_head)).transpose(1, 2)

    def _feed_forward(self, x: Tensor, layer: int, lora: Any) -> Tensor:
        gate = functional.silu(self._times(x, layer, "ffn_gate", lora))
        return self._times(gate * self._times(x, layer, "ffn_up", lora), layer, "ffn_down", lora)


def rotation(positions: Tensor, shape: ModelShape) -> Tensor:
    """Cosine and sine of each position's angles, (2, n, width / 2)."""
    half = shape.n_embd // shape.n_head // 2
    angles = positions[:, None] * shape.rope_base ** (-torch.arange(half) / half)
    return torch.stack([angles.cos(), angles.sin()])


def rotated(x: Tensor, turns: Tensor) -> Tensor:
    """Rotates adjacent pairs by their angles. x is (batch, heads, n, width)."""
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = turns[0], turns[1]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
