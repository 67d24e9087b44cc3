"""A writer of tiny GGUF files, in the order of the format's specification."""

import struct
from collections.abc import Mapping, Sequence

KINDS = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(one: object) -> bytes:
    """A string, a number, or a list of strings, with its type before it."""
    if isinstance(one, str):
        return struct.pack("<I", 8) + text(one)
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
