"""Reads the header of a GGUF file without llama.cpp, and checks that the file is complete.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Numbers in the file are not trusted: each is checked
against the remaining bytes before it is used, so a damaged file costs neither memory nor time.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from pipeline.errors import ModelError
from pipeline.gguf.type_numbers import DROPPED, FILE_TYPES, TENSOR_TYPES

Value = int | float | bool | str | None
"""A metadata value; None stands for an array, of which only the length is read."""

_PART = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$", re.IGNORECASE)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

_MOST_HEADER = 1 << 36
"""Upper bound on a header in bytes: a count that needs more is damage and no truncation."""

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
"""First bytes, in lower case, of other files that are mistaken for models."""


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """The header of a GGUF file.

    Missing numbers are 0, missing names empty. `n_ctx_train` is in tokens. `kind` is `model`, or `adapter` for a LoRA.
    `has_chat_template` is false for most base models. `data_bytes` is the end of the last tensor, the least size of a
    complete file. `n_parts` is above 1 for a model split over several files; the numbers are then of the first part,
    except `all_bytes` and `tensor_names`, which cover all parts. `header_bytes` precede the tensors. `n_positions` is
    the length of a table of learned positions, 0 without one. `metadata` has every value that is no array.
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
    all_bytes: int
    header_bytes: int
    n_positions: int
    metadata: dict[str, Value] = field(default_factory=dict, compare=False, repr=False)
    tensor_names: frozenset[bytes] = field(default=frozenset(), compare=False, repr=False)


def inspect(path: Path) -> GgufInfo:
    """Reads the header and checks the file's size against it; checks all parts of a split model.

    Raises ModelError for a file that is missing, empty, no GGUF, damaged in its header, or shorter than its tensors,
    and for a part of a split model that is not the first or lacks its other parts.
    """
    info = _scan(path)
    if info.n_parts == 1:
        return info
    every = [info, *map(_scan, _other_parts(info))]
    names = frozenset().union(*(part.tensor_names for part in every))
    return replace(info, all_bytes=sum(part.file_bytes for part in every), tensor_names=names)


def parts(path: Path) -> tuple[Path, ...]:
    """Returns the files of a model: one, or all parts of a split model."""
    info = _scan(path)
    return (path,) if info.n_parts == 1 else (path, *_other_parts(info))


def _scan(path: Path) -> GgufInfo:
    """Reads one file's header and checks it against the file; cached until the file changes."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise ModelError(f"no such model file: {path}") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    return _scanned(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(32)
def _scanned(path: Path, size: int, mtime_ns: int) -> GgufInfo:
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder; name the GGUF file in it")
        with path.open("rb") as file:
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
    """The place of a tensor: its type's name, its shape in numpy's order, its first byte."""

    kind: str
    shape: tuple[int, ...]
    start: int


def strings(path: Path, key: str) -> list[bytes]:
    """Reads a metadata array of strings, such as `tokenizer.ggml.tokens`; empty if it is missing."""
    return [value for value in _array(path, key) if isinstance(value, bytes)]


def numbers(path: Path, key: str) -> list[int]:
    """Reads a metadata array of integers or booleans, such as `lfm2.attention.head_count_kv`; empty if missing."""
    return [int(value) for value in _array(path, key) if isinstance(value, int)]


def _array(path: Path, key: str) -> list[bytes | int | float | bool]:
    _scan(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(path, data, path.stat().st_size)
        reader.skip(12)  # version, number of tensors
        for _ in range(reader.count("metadata entries", 13)):
            name = reader.text("a metadata key")
            if name != key:
                reader.value(name)
            elif int(reader.scalar("I")) != _ARRAY:
                return []
            elif (kind := int(reader.scalar("I"))) == _STRING:
                return [reader.bytes(key) for _ in range(reader.count(f"strings of {key}", 8))]
            elif (form := _SCALARS.get(kind)) is not None:
                return [reader.scalar(form) for _ in range(reader.count(f"values of {key}", struct.calcsize(form)))]
            else:
                reader.damaged(f"{key} is an array of the unknown type {kind}")
    return []


def tensor_places(path: Path) -> dict[str, TensorPlace]:
    """Locates every tensor of a file by name, except those of unknown types. Raises as `inspect` does."""
    inspect(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(path, data, path.stat().st_size)
        reader.scalar("I")
        n_tensors = reader.count("tensors", 24)
        alignment = _alignment(reader, _metadata(reader))
        heads = []
        for _ in range(n_tensors):
            name = reader.bytes("a tensor's name")
            heads.append((name.decode("utf-8", "replace"), *_tensor_head(reader, name)))
        data_start = _padded(reader.at, alignment)
    return {
        name: TensorPlace(TENSOR_TYPES[kind][0], tuple(reversed(shape)), data_start + offset)
        for name, shape, kind, offset in heads
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
    """A bounds-checked position in the file's bytes."""

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
        """Skips n bytes; returns the position before. Raises ModelError for a truncated file."""
        start, self.at = self.at, self.at + n
        if self.at > self.size:
            self.truncated()
        return start

    def scalar(self, kind: str) -> int | float | bool:
        form = struct.Struct("<" + kind)
        value: int | float | bool = form.unpack_from(self.data, self.skip(form.size))[0]
        return value

    def count(self, what: str, least: int) -> int:
        """Reads a count of items of at least `least` bytes each, which must fit into the rest of the file."""
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
        """Skips an array of strings. Vocabularies have some 100 000, so the loop is optimised."""
        n = self.count(f"strings of {key}", 8)
        length, data, offset, end = struct.Struct("<Q").unpack_from, self.data, self.at, self.size - 8
        for _ in range(n):
            if offset > end:
                break
            offset += 8 + length(data, offset)[0]
        self.skip(offset - self.at if offset <= self.size else self.size - self.at + 1)


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
    return info


def _metadata(reader: _Reader) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(reader.count("metadata entries", 13)):
        key = reader.text("a metadata key")
        if key in metadata:
            reader.damaged(f"the metadata key {key!r} stands twice")
        metadata[key] = reader.value(repr(key))
    return metadata


def _alignment(reader: _Reader, metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.damaged(f"general.alignment must be a power of 2, was: {alignment}")
    return alignment


@dataclass(slots=True)
class _Tensors:
    """A summary of all tensors: their number, bytes by type name, first and last byte in the file, and the number of
    learned positions.
    """

    n: int
    bytes_of: Counter[str]
    start: int
    end: int
    n_positions: int
    names: set[bytes]


def _tensors(reader: _Reader, n: int, alignment: int) -> _Tensors:
    names: set[bytes] = set()
    bytes_of: Counter[str] = Counter()
    end: int | None = 0
    last = n_positions = 0
    for _ in range(n):
        name = reader.bytes("a tensor's name")
        if name in names:
            reader.damaged(f"the tensor {name!r} stands twice")
        names.add(name)
        kind, size, offset, shape = _tensor(reader, name)
        if name == b"position_embd.weight" and len(shape) > 1:
            n_positions = shape[1]
        if end is not None and offset != end:
            reader.damaged(f"the tensor {name!r} should begin at {end}, and is said to begin at {offset}")
        last = max(last, offset + (size or 0))
        end = None if size is None else _padded(offset + size, alignment)
        bytes_of[kind] += size or 0
    start = _padded(reader.at, alignment) if n else reader.at
    return _Tensors(n, bytes_of, start, start + last, n_positions, names)


def _tensor(reader: _Reader, name: bytes) -> tuple[str, int | None, int, list[int]]:
    """Reads a tensor's type, bytes (None for a type that is newer than our table), offset and shape."""
    shape, kind, offset = _tensor_head(reader, name)
    if kind in DROPPED:
        raise ModelError(f"{reader.path}: llama.cpp dropped the tensor type {kind} of {name!r}; take a newer file")
    if kind not in TENSOR_TYPES:
        return f"type {kind}", None, offset, shape
    type_name, block, block_bytes = TENSOR_TYPES[kind]
    if shape and shape[0] % block:
        reader.damaged(f"rows of the tensor {name!r} hold {shape[0]} values, no multiple of {block} ({type_name})")
    n = 1
    for size in shape:
        n *= size
    if n >= 2**63:
        reader.damaged(f"the tensor {name!r} has the shape {shape}")
    return type_name, n // block * block_bytes, offset, shape


def _tensor_head(reader: _Reader, name: bytes) -> tuple[list[int], int, int]:
    """Reads a tensor's shape in the file's order (innermost first), its type's number, and its offset."""
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
    if not architecture and number("split.count") < 2:  # later parts have no metadata of the model
        reader.damaged("it does not name its architecture")
    named = FILE_TYPES.get(number("general.file_type"), ".") if "general.file_type" in metadata else "."
    most_common = tensors.bytes_of.most_common(1)
    return GgufInfo(
        path=reader.path,
        version=version,
        kind=text("general.type") or "model",
        architecture=architecture,
        name=text("general.name"),
        license=text("general.license"),
        quantisation=named if named != "." else (most_common[0][0] if most_common else "unknown"),
        n_ctx_train=number(f"{architecture}.context_length"),
        n_layer=number(f"{architecture}.block_count"),
        n_embd=number(f"{architecture}.embedding_length"),
        n_tensors=tensors.n,
        n_parts=max(1, number("split.count")),
        tokenizer=text("tokenizer.ggml.model"),
        has_chat_template=bool(text("tokenizer.chat_template")),
        file_bytes=reader.size,
        data_bytes=tensors.end,
        all_bytes=reader.size,
        header_bytes=tensors.start,
        n_positions=tensors.n_positions,
        metadata=metadata,
        tensor_names=frozenset(tensors.names),
    )


def _part_name(path: Path, part: int, n_parts: int) -> Path:
    """Returns llama.cpp's name for a part: `...-00001-of-00003.gguf`, with the given part's prefix."""
    base = _PART.sub("", path.name)
    return path.with_name(f"{base}-{part:05d}-of-{n_parts:05d}.gguf")


def _other_parts(info: GgufInfo) -> list[Path]:
    """Returns the second and further parts. Raises ModelError if this is not the first, or if one is missing."""
    first = _part_name(info.path, 1, info.n_parts)
    if not info.architecture or info.path.name != first.name:
        part = info.metadata.get("split.no")
        which = f"part {int(part) + 1} of {info.n_parts}" if isinstance(part, int) else f"one of {info.n_parts} parts"
        if part == 0:
            raise ModelError(
                f"{info.path} is {which} of a model, and llama.cpp finds the others by its name, which must end in "
                f"'-00001-of-{info.n_parts:05d}.gguf': give the parts their names back"
            )
        beside = "" if first.is_file() else ", which is not beside it"
        raise ModelError(f"{info.path} is {which} of a model; name its first part, '{first.name}'{beside}")
    rest = [_part_name(info.path, n, info.n_parts) for n in range(2, info.n_parts + 1)]
    if missing := [part.name for part in rest if not part.is_file()]:
        raise ModelError(f"{info.path} is one of {info.n_parts} parts, and these are not beside it: {missing}")
    return rest
