"""A tiny model with random weights in f32 whose answers depend on all that it read, and on where it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.models.gguf_file import _byte_tokens, gguf, tensor
from tests.models.speaking import PLAIN

N_EMBD, N_HEAD, N_HEAD_KV, N_FF, N_LAYER = 128, 4, 2, 64, 3


def random_model(folder: Path, seed: int = 0) -> Path:
    """The file, made in a folder: a llama of 3 layers whose tokens are bytes."""
    tokens = [*_byte_tokens(), "<|im_start|>", "<|im_end|>"]
    metadata = {
        "general.architecture": "llama",
        "general.file_type": 0,
        "llama.context_length": 4096,
        "llama.block_count": N_LAYER,
        "llama.embedding_length": N_EMBD,
        "llama.feed_forward_length": N_FF,
        "llama.attention.head_count": N_HEAD,
        "llama.attention.head_count_kv": N_HEAD_KV,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": N_EMBD // N_HEAD,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * (len(tokens) - 2) + [3, 3],
        "tokenizer.ggml.merges": ["Ċ Ċ"],
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": PLAIN,
    }
    random = np.random.default_rng(seed)
    n_kv = N_EMBD // N_HEAD * N_HEAD_KV
    shapes = {"token_embd": (len(tokens), N_EMBD), "output": (len(tokens), N_EMBD)}
    for n in range(N_LAYER):
        shapes |= {f"blk.{n}.attn_{name}": (rows, N_EMBD) for name, rows in (("q", N_EMBD), ("k", n_kv), ("v", n_kv))}
        shapes |= {f"blk.{n}.attn_output": (N_EMBD, N_EMBD), f"blk.{n}.ffn_gate": (N_FF, N_EMBD)}
        shapes |= {f"blk.{n}.ffn_up": (N_FF, N_EMBD), f"blk.{n}.ffn_down": (N_EMBD, N_FF)}
    arrays = {name: random.normal(0, 1.5 / np.sqrt(shape[1]), shape) for name, shape in shapes.items()}
    arrays["output_norm"] = np.ones(N_EMBD)
    for n in range(N_LAYER):
        arrays |= {f"blk.{n}.attn_norm": np.ones(N_EMBD), f"blk.{n}.ffn_norm": np.ones(N_EMBD)}
    tensors, data = [], b""
    for name, values in arrays.items():
        tensors.append(tensor(f"{name}.weight", values.shape[::-1], 0, len(data)))
        data += values.astype(np.float32).tobytes()
        data += bytes(-len(data) % 32)
    path = folder / f"random-{seed}.gguf"
    path.write_bytes(gguf(metadata, tensors, data))
    return path
