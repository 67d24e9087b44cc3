"""A writer of tiny GGUF files, in the order of the format's specification, and a model made with it."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

KINDS = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(one: object) -> bytes:
    """A string, a number, or a list of strings or of whole numbers, with its type before it."""
    if isinstance(one, str):
        return struct.pack("<I", 8) + text(one)
    if isinstance(one, list) and one and isinstance(one[0], int):
        return struct.pack("<IIQ", 9, 5, len(one)) + struct.pack(f"<{len(one)}i", *one)
    if isinstance(one, list):
        return struct.pack("<IIQ", 9, 8, len(one)) + b"".join(map(text, one))
    kind, form = KINDS[type(one)]
    return struct.pack("<I", kind) + struct.pack(form, one)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(metadata: Mapping[str, object], tensors: Sequence[bytes] = (), data: bytes = b"", version: int = 3) -> bytes:
    """The whole file, its data at the next multiple of 32."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(text(key) + value(one) for key, one in metadata.items()) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data if tensors else head


TINY = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 7,
    "llama.context_length": 128,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "the"],
    "tokenizer.chat_template": "{{ messages }}",
}
TENSORS = (tensor("token_embd.weight", (64, 3), 8, 0), tensor("norm.weight", (64,), 0, 224))
"""Q8_0: 192 values in 6 blocks of 34 bytes make 204, padded to 224; then 64 float32 make 256: the data end at 480."""
WHOLE = gguf(TINY, TENSORS, bytes(480))


def tiny_llama(seed: int = 0) -> bytes:
    """A model that llama.cpp loads: 2 layers, 64 wide, float16, random weights, one token a byte and an end of text."""
    n_embd, n_ff, n_layer, n_ctx = 64, 128, 2, 512
    tokens = [*_byte_tokens(), "<|end|>", "th"]
    metadata = {
        "general.architecture": "llama",
        "general.file_type": 1,
        "llama.context_length": n_ctx,
        "llama.block_count": n_layer,
        "llama.embedding_length": n_embd,
        "llama.feed_forward_length": n_ff,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": 32,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": ["t h"],
        "tokenizer.ggml.eos_token_id": 256,
    }
    shapes = {"token_embd": (n_embd, len(tokens)), "output": (n_embd, len(tokens)), "output_norm": (n_embd,)}
    for i in range(n_layer):
        shapes |= {f"blk.{i}.{name}": (n_embd,) for name in ("attn_norm", "ffn_norm")}
        shapes |= {f"blk.{i}.attn_{name}": (n_embd, n_embd) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{i}.ffn_{name}": (n_embd, n_ff) for name in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (n_ff, n_embd)}
    random = np.random.default_rng(seed)
    tensors, data = [], b""
    for name, shape in shapes.items():
        is_norm = len(shape) == 1
        values = np.ones(shape, np.float32) if is_norm else random.normal(0, 0.2, shape[::-1]).astype(np.float16)
        tensors.append(tensor(f"{name}.weight", shape, 0 if is_norm else 1, len(data)))
        data += values.tobytes() + bytes(-values.nbytes % 32)
    return gguf(metadata, tensors, data)


def _byte_tokens() -> list[str]:
    """The 256 bytes as GPT-2 writes them: the printable ones as themselves, the others from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
