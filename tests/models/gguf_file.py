"""A writer of tiny GGUF files, in the order of the format's specification, and a model made with it."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

KINDS = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(content: object) -> bytes:
    """A string, a number, or a list of strings or of whole numbers, with its type before it."""
    if isinstance(content, str):
        return struct.pack("<I", 8) + text(content)
    if isinstance(content, list) and content and isinstance(content[0], int):
        return struct.pack("<IIQ", 9, 5, len(content)) + struct.pack(f"<{len(content)}i", *content)
    if isinstance(content, list):
        return struct.pack("<IIQ", 9, 8, len(content)) + b"".join(map(text, content))
    kind, form = KINDS[type(content)]
    return struct.pack("<I", kind) + struct.pack(form, content)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(metadata: Mapping[str, object], tensors: Sequence[bytes] = (), data: bytes = b"", version: int = 3) -> bytes:
    """The whole file, its data at the next multiple of 32."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(text(key) + value(content) for key, content in metadata.items()) + b"".join(tensors)
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


def tiny_llama(seed: int = 0, n_embd: int = 64, changes: Mapping[str, object] | None = None) -> bytes:
    """A model that llama.cpp loads: 2 layers, 2 heads, float16, random weights, one token a byte and an end of text.

    `changes` replace metadata; None takes an entry away.
    """
    n_ff, n_layer = 128, 2
    metadata = {
        "general.architecture": "llama",
        "general.file_type": 1,
        "llama.context_length": 512,
        "llama.block_count": n_layer,
        "llama.embedding_length": n_embd,
        "llama.feed_forward_length": n_ff,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": n_embd // 2,
        **vocabulary(),
    }
    shapes = {**_ends(n_embd), "output": (n_embd, N_TOKENS)}
    for i in range(n_layer):
        shapes |= {f"blk.{i}.{name}": (n_embd,) for name in ("attn_norm", "ffn_norm")}
        shapes |= {f"blk.{i}.attn_{name}": (n_embd, n_embd) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{i}.ffn_{name}": (n_embd, n_ff) for name in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (n_ff, n_embd)}
    return _model({**metadata, **(changes or {})}, {f"{name}.weight": shape for name, shape in shapes.items()}, seed)


def tiny_gpt2(seed: int = 0, n_ctx: int = 128) -> bytes:
    """A model whose positions are looked up in a table of `n_ctx` rows."""
    n_embd, n_ff = 64, 128
    metadata = {
        "general.architecture": "gpt2",
        "gpt2.context_length": n_ctx,
        "gpt2.block_count": 1,
        "gpt2.embedding_length": n_embd,
        "gpt2.feed_forward_length": n_ff,
        "gpt2.attention.head_count": 2,
        "gpt2.attention.layer_norm_epsilon": 1e-5,
        **vocabulary(),
    }
    sizes = {"attn_qkv": (n_embd, 3 * n_embd), "attn_output": (n_embd, n_embd), "ffn_up": (n_embd, n_ff)}
    shapes: dict[str, tuple[int, ...]] = {"position_embd.weight": (n_embd, n_ctx), "output_norm.bias": (n_embd,)}
    shapes |= {f"{name}.weight": shape for name, shape in _ends(n_embd).items()}
    for name, shape in {**sizes, "ffn_down": (n_ff, n_embd)}.items():
        shapes |= {f"blk.0.{name}.weight": shape, f"blk.0.{name}.bias": shape[-1:]}
    shapes |= {f"blk.0.{name}.{part}": (n_embd,) for name in ("attn_norm", "ffn_norm") for part in ("weight", "bias")}
    return _model(metadata, shapes, seed)


def tiny_mamba(seed: int = 0) -> bytes:
    """A recurrent model: no heads, no positions."""
    n_embd, n_inner, n_state, n_dt = 64, 128, 16, 8
    metadata = {
        "general.architecture": "mamba",
        "mamba.context_length": 512,
        "mamba.block_count": 1,
        "mamba.embedding_length": n_embd,
        "mamba.feed_forward_length": 0,
        "mamba.attention.head_count": 0,
        "mamba.attention.layer_norm_rms_epsilon": 1e-5,
        "mamba.ssm.conv_kernel": 4,
        "mamba.ssm.inner_size": n_inner,
        "mamba.ssm.state_size": n_state,
        "mamba.ssm.time_step_rank": n_dt,
        **vocabulary(),
    }
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in _ends(n_embd).items()}
    shapes |= {
        "blk.0.attn_norm.weight": (n_embd,),
        "blk.0.ssm_in.weight": (n_embd, 2 * n_inner),
        "blk.0.ssm_conv1d.weight": (4, n_inner),
        "blk.0.ssm_conv1d.bias": (n_inner,),
        "blk.0.ssm_x.weight": (n_inner, n_dt + 2 * n_state),
        "blk.0.ssm_dt.weight": (n_dt, n_inner),
        "blk.0.ssm_dt.bias": (n_inner,),
        "blk.0.ssm_a": (n_state, n_inner),
        "blk.0.ssm_d": (n_inner,),
        "blk.0.ssm_out.weight": (n_inner, n_embd),
    }
    return _model(metadata, shapes, seed, wide=("blk.0.ssm_conv1d.weight", "blk.0.ssm_a"))


N_TOKENS = 258


def vocabulary() -> dict[str, object]:
    """One token a byte, an end of text, and one merged pair."""
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*_byte_tokens(), "<|end|>", "th"],
        "tokenizer.ggml.merges": ["t h"],
        "tokenizer.ggml.eos_token_id": 256,
    }


def _ends(n_embd: int) -> dict[str, tuple[int, ...]]:
    return {"token_embd": (n_embd, N_TOKENS), "output_norm": (n_embd,)}


def _model(
    metadata: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]], seed: int, wide: Sequence[str] = ()
) -> bytes:
    """Vectors are ones (float32), matrices random (float16, but for `wide` ones, which are float32)."""
    random = np.random.default_rng(seed)
    tensors, data = [], b""
    for name, shape in shapes.items():
        if len(shape) == 1:
            values = np.ones(shape, np.float32)
        else:
            values = random.normal(0, 0.2, shape[::-1]).astype(np.float32 if name in wide else np.float16)
        if name.endswith("ssm_a"):  # a state must decay
            values = -np.abs(values)
        tensors.append(tensor(name, shape, 1 if values.dtype == np.float16 else 0, len(data)))
        data += values.tobytes() + bytes(-values.nbytes % 32)
    return gguf({key: value for key, value in metadata.items() if value is not None}, tensors, data)


def _byte_tokens() -> list[str]:
    """The 256 bytes as GPT-2 writes them: the printable ones as themselves, the others from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
