"""What the header of a GGUF file says, read without llama.cpp, and whether the file is whole.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Numbers in the file are never trusted: each is held
against the bytes that are left before anything is read or skipped by it, so a damaged file costs no memory and no time.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pipeline.errors import ModelError

Value = int | float | bool | str | None
"""A metadata value; None stands for an array, of which only the length is read."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
"""ggml's type numbers: name, values in a block, bytes of a block."""
_MOST_HEADER = 1 << 36
"""No header is longer than this, in bytes: a count that needs more is damage, not a file that breaks off."""
_DROPPED = {4, 5, 31, 32, 33, 36, 37, 38}
"""Types that llama.cpp once had."""

FILE_TYPES = dict(
    enumerate(
        "F32 F16 Q4_0 Q4_1 . . . Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS "
        "IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 . . . TQ1_0 TQ2_0 "
        "MXFP4_MOE NVFP4 Q1_0 Q2_0".split()
    )
)
"""llama.cpp's numbers for how a file as a whole is quantised; `.` stands for those no longer in use."""

_FOREIGN = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself; run 'git lfs pull' where it came from"),
    (b"<!doctype", "a web page, not a model; the download went wrong, so download it again"),
    (b"<html", "a web page, not a model; the download went wrong, so download it again"),
    (b"<?xml", "an XML page, not a model; the download went wrong, so download it again"),
    (b"pk\x03\x04", "a zip archive, not a GGUF file; unpack it, or take a GGUF file of the model"),
    (b"fugg", "a big-endian GGUF file; take the little-endian one"),
    (b"tjgg", "an old GGML file, from before GGUF; take a GGUF file of the model"),
    (b"lmgg", "an old GGML file, from before GGUF; take a GGUF file of the model"),
    (b"fmgg", "an old GGML file, from before GGUF; take a GGUF file of the model"),
)
"""How other files begin, in lower case, that are mistaken for models."""


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """A GGUF file's own account of itself.

    Numbers that the file does not state are 0, names are empty. `n_ctx_train` is in tokens. `kind` is `model`, or
    `adapter` for a LoRA. `has_chat_template` is false for most base models. `data_bytes` is where the last tensor
    ends: the least size that a whole file has. `n_parts` is above 1 for a model split over several files.
    """

    path: Path
    version: int
    kind: str
    architecture: str
    name: str
    license: str
    quantisation: str
    n_ctx_train: int
    n_layer: int
    n_embd: int
    n_tensors: int
    n_parts: int
    tokenizer: str
    has_chat_template: bool
    file_bytes: int
    data_bytes: int


def inspect(path: Path) -> GgufInfo:
    """Reads the header and checks the file's size against it.

    Raises ModelError for a file that is missing, empty, no GGUF, damaged in its header, or shorter than its tensors.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder; name the GGUF file in it")
        with path.open("rb") as file:
            size = path.stat().st_size
            if size == 0:
                raise ModelError(f"{path} is empty; download it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _check_magic(path, data[:64], size)
                return _read(_Reader(path, data, size))
    except FileNotFoundError:
        raise ModelError(f"no such model file: {path}") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies: its type's name, its shape with the longest step first (as numpy counts), its first byte."""

    kind: str
    shape: tuple[int, ...]
    start: int


def tensor_places(path: Path) -> dict[str, TensorPlace]:
    """Every tensor of a whole file by name, but for types that our table does not have. Raises as `inspect` does."""
    inspect(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(path, data, path.stat().st_size)
        reader.scalar("I")
        n_tensors = reader.count("tensors", 24)
        alignment = _alignment(reader, _metadata(reader))
        found = []
        for _ in range(n_tensors):
            name = reader.bytes("a tensor's name")
            found.append((name.decode("utf-8", "replace"), *_tensor_head(reader, name)))
        data_start = _padded(reader.at, alignment)
    return {
        name: TensorPlace(TENSOR_TYPES[kind][0], tuple(reversed(shape)), data_start + offset)
        for name, shape, kind, offset in found
        if kind in TENSOR_TYPES
    }


def _check_magic(path: Path, start: bytes, size: int) -> None:
    if start[:4] == b"GGUF":
        return
    lowered = start.lstrip().lower()
    for beginning, what in _FOREIGN:
        if lowered.startswith(beginning):
            raise ModelError(f"{path} is {what}")
    if start[8:10] == b'{"':
        raise ModelError(f"{path} looks like safetensors; take a GGUF file of the model")
    raise ModelError(f"{path} is no GGUF file ({size} bytes): it begins with {start[:4]!r}, not b'GGUF'")


class _Reader:
    """A position in the file's bytes that never leaves them."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path = path
        self.data = data
        self.size = size
        self.at = 4

    def damaged(self, what: str) -> NoReturn:
        raise ModelError(f"{self.path} is damaged: {what}; download it again")

    def truncated(self) -> NoReturn:
        raise ModelError(
            f"{self.path} is truncated: it ends within its header, at {self.size} bytes; download it again"
        )

    def skip(self, n: int) -> int:
        """Moves n bytes on and gives the position before; a file that ends sooner is truncated."""
        start, self.at = self.at, self.at + n
        if self.at > self.size:
            self.truncated()
        return start

    def scalar(self, kind: str) -> int | float | bool:
        form = struct.Struct("<" + kind)
        value: int | float | bool = form.unpack_from(self.data, self.skip(form.size))[0]
        return value

    def count(self, what: str, least: int) -> int:
        """A count of things that take at least `least` bytes each: it must fit into what is left of the file."""
        n = int(self.scalar("Q"))
        if n * least > _MOST_HEADER:
            self.damaged(f"it claims {n} {what}")
        if n * least > self.size - self.at:
            self.truncated()
        return n

    def bytes(self, what: str) -> bytes:
        n = self.count(f"bytes of {what}", 1)
        start = self.skip(n)
        return bytes(self.data[start : start + n])

    def text(self, what: str) -> str:
        try:
            return self.bytes(what).decode("utf-8")
        except UnicodeDecodeError:
            self.damaged(f"{what} is not UTF-8")

    def value(self, key: str) -> Value:
        kind = int(self.scalar("I"))
        if kind == _STRING:
            return self.bytes(key).decode("utf-8", "replace")
        if kind == _ARRAY:
            self.array(key)
            return None
        if kind not in _SCALARS:
            self.damaged(f"{key} has the unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def array(self, key: str) -> None:
        kind = int(self.scalar("I"))
        if kind == _STRING:
            self.strings(key)
            return
        if kind not in _SCALARS:
            self.damaged(f"{key} is an array of the unknown type {kind}")
        width = struct.calcsize(_SCALARS[kind])
        self.skip(self.count(f"values of {key}", width) * width)

    def strings(self, key: str) -> None:
        """Steps over an array of strings. Vocabularies hold some 100 000: the loop is written for speed."""
        n = self.count(f"strings of {key}", 8)
        length, data, at, end = struct.Struct("<Q").unpack_from, self.data, self.at, self.size - 8
        for _ in range(n):
            if at > end:
                break
            at += 8 + length(data, at)[0]
        self.skip(at - self.at if at <= self.size else self.size - self.at + 1)


def _read(reader: _Reader) -> GgufInfo:
    version = int(reader.scalar("I"))
    if version & 0xFFFF == 0 and version:
        raise ModelError(f"{reader.path} is a big-endian GGUF file; take the little-endian one")
    if version not in (2, 3):
        raise ModelError(f"{reader.path} has GGUF version {version}; 2 and 3 can be read")
    n_tensors = reader.count("tensors", 24)
    metadata = _metadata(reader)
    tensors = _tensors(reader, n_tensors, _alignment(reader, metadata))
    info = _info(reader, version, metadata, tensors)
    if info.file_bytes < info.data_bytes:
        raise ModelError(
            f"{reader.path} is truncated: it holds {info.file_bytes} of {info.data_bytes} bytes; download it again"
        )
    _check_parts(info)
    return info


def _metadata(reader: _Reader) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for _ in range(reader.count("metadata entries", 13)):
        key = reader.text("a metadata key")
        if key in found:
            reader.damaged(f"the metadata key {key!r} stands twice")
        found[key] = reader.value(repr(key))
    return found


def _alignment(reader: _Reader, metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.damaged(f"general.alignment must be a power of 2, was: {alignment}")
    return alignment


@dataclass(slots=True)
class _Tensors:
    """All tensors together: how many, bytes by type name, and where the last ends in the file."""

    n: int
    bytes_of: Counter[str]
    end: int


def _tensors(reader: _Reader, n: int, alignment: int) -> _Tensors:
    names: set[bytes] = set()
    bytes_of: Counter[str] = Counter()
    end: int | None = 0
    last = 0
    for _ in range(n):
        name = reader.bytes("a tensor's name")
        if name in names:
            reader.damaged(f"the tensor {name!r} stands twice")
        names.add(name)
        kind, size, offset = _tensor(reader, name)
        if end is not None and offset != end:
            reader.damaged(f"the tensor {name!r} should begin at {end}, and is said to begin at {offset}")
        last = max(last, offset + (size or 0))
        end = None if size is None else _padded(offset + size, alignment)
        bytes_of[kind] += size or 0
    return _Tensors(n, bytes_of, _padded(reader.at, alignment) + last if n else reader.at)


def _tensor(reader: _Reader, name: bytes) -> tuple[str, int | None, int]:
    """A tensor's type, its bytes (None for a type that is newer than our table), and its offset."""
    shape, kind, offset = _tensor_head(reader, name)
    if kind in _DROPPED:
        raise ModelError(f"{reader.path}: llama.cpp dropped the tensor type {kind} of {name!r}; take a newer file")
    if kind not in TENSOR_TYPES:
        return f"type {kind}", None, offset
    type_name, block, block_bytes = TENSOR_TYPES[kind]
    if shape and shape[0] % block:
        reader.damaged(f"rows of the tensor {name!r} hold {shape[0]} values, no multiple of {block} ({type_name})")
    n = 1
    for one in shape:
        n *= one
    if n >= 2**63:
        reader.damaged(f"the tensor {name!r} has the shape {shape}")
    return type_name, n // block * block_bytes, offset


def _tensor_head(reader: _Reader, name: bytes) -> tuple[list[int], int, int]:
    """A tensor's shape as the file has it (the shortest step first), its type's number, its offset."""
    n_dims = int(reader.scalar("I"))
    if n_dims > 4:
        reader.damaged(f"the tensor {name!r} has {n_dims} dimensions")
    shape = [int(reader.scalar("Q")) for _ in range(n_dims)]
    return shape, int(reader.scalar("I")), int(reader.scalar("Q"))


def _padded(n: int, alignment: int) -> int:
    return (n + alignment - 1) // alignment * alignment


def _info(reader: _Reader, version: int, metadata: dict[str, Value], tensors: _Tensors) -> GgufInfo:
    def text(key: str) -> str:
        value = metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(key: str) -> int:
        value = metadata.get(key)
        return value if isinstance(value, int) else 0

    architecture = text("general.architecture")
    if not architecture:
        reader.damaged("it does not name its architecture")
    named = FILE_TYPES.get(number("general.file_type"), ".") if "general.file_type" in metadata else "."
    most = tensors.bytes_of.most_common(1)
    return GgufInfo(
        path=reader.path,
        version=version,
        kind=text("general.type") or "model",
        architecture=architecture,
        name=text("general.name"),
        license=text("general.license"),
        quantisation=named if named != "." else (most[0][0] if most else "unknown"),
        n_ctx_train=number(f"{architecture}.context_length"),
        n_layer=number(f"{architecture}.block_count"),
        n_embd=number(f"{architecture}.embedding_length"),
        n_tensors=tensors.n,
        n_parts=max(1, number("split.count")),
        tokenizer=text("tokenizer.ggml.model"),
        has_chat_template=bool(text("tokenizer.chat_template")),
        file_bytes=reader.size,
        data_bytes=tensors.end,
    )


def _check_parts(info: GgufInfo) -> None:
    """llama.cpp finds the other parts by their names: `...-00001-of-00003.gguf`."""
    if info.n_parts == 1:
        return
    ending = f"-00001-of-{info.n_parts:05d}.gguf"
    if not info.path.name.endswith(ending):
        raise ModelError(f"{info.path} is one of {info.n_parts} parts; name the first, which ends in '{ending}'")
    base = str(info.path).removesuffix(ending)
    parts = (Path(f"{base}-{i:05d}-of-{info.n_parts:05d}.gguf") for i in range(2, info.n_parts + 1))
    if missing := [part.name for part in parts if not part.is_file()]:
        raise ModelError(f"{info.path} is one of {info.n_parts} parts, and these are not beside it: {missing}")
