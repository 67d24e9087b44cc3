"""Reads a model's weights as numpy arrays, and writes small models from arrays.

llama.cpp converts the file to a temporary F32 file, so every quantisation that it supports can be read exactly, without
another library. Names and layout are those of the GGUF: in the Llama family the rows of queries and keys are in
llama.cpp's rotation order, pairs side by side.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.gguf.header import tensor_places
from pipeline.gguf.requantise import expected_bytes, requantise
from pipeline.storage.files import check_room, new_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.contracts import Progress

Arrays = Mapping[str, "NDArray[np.floating]"]
_NUMBERS: dict[str, tuple[int, np.dtype[np.floating]]] = {
    "F32": (0, np.dtype("<f4")),
    "F16": (1, np.dtype("<f2")),
}
_ALIGNMENT = 32


def read_tensors(path: Path) -> dict[str, NDArray[np.floating]]:
    """Maps the F32 and F16 tensors of a file by name, in numpy's shape: a matrix is (out, in)."""
    return {
        name: np.memmap(path, _NUMBERS[place.kind][1], "r", place.start, place.shape)
        for name, place in tensor_places(path).items()
        if place.kind in _NUMBERS
    }


@contextmanager
def dequantised(path: Path, progress: Progress) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Provides all tensors of a model file as float32 within the context, which takes 4 bytes a weight on disk.

    Raises ModelError for a lack of disk space, or with llama.cpp's reason.
    """
    n_bytes = expected_bytes("F32", 2 * path.stat().st_size)  # 4 bits a weight: the most weights that the file can hold
    with tempfile.TemporaryDirectory(prefix="longthread-") as folder:
        check_room(Path(folder), n_bytes)
        target = Path(folder) / "exact.gguf"
        target.touch()
        requantise(path, target, "F32", n_bytes, progress)
        yield {name: np.asarray(tensor, np.float32) for name, tensor in read_tensors(target).items()}


def write_model(path: Path, metadata: Mapping[str, str | int | float], tensors: Arrays) -> None:
    """Writes a GGUF file of float16 or float32 tensors, atomically; metadata int becomes uint32, float float32.

    Raises ModelError for a lack of disk space, ValueError for arrays of other types.
    """
    heads, offset = [], 0
    for name, tensor in tensors.items():
        heads.append(_text(name) + _shape(tensor) + struct.pack("<IQ", _kind(name, tensor), offset))
        offset += _padded(tensor.nbytes)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items()) + b"".join(heads)
    with new_file(path, _padded(len(head)) + offset) as temporary, temporary.open("wb") as file:
        file.write(head.ljust(_padded(len(head)), b"\0"))
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes().ljust(_padded(tensor.nbytes), b"\0"))


def _kind(name: str, tensor: NDArray[np.floating]) -> int:
    for number, dtype in _NUMBERS.values():
        if tensor.dtype == dtype:
            return number
    raise ValueError(f"the tensor {name} must be float16 or float32, was: {tensor.dtype}")


def _shape(tensor: NDArray[np.floating]) -> bytes:
    return struct.pack(f"<I{tensor.ndim}Q", tensor.ndim, *reversed(tensor.shape))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    return struct.pack("<II", 4, value) if isinstance(value, int) else struct.pack("<If", 6, value)


def _padded(n: int) -> int:
    return -(-n // _ALIGNMENT) * _ALIGNMENT


def metadata_number(metadata: Mapping[str, str], key: str) -> float:
    """Returns a number of a file's metadata. Raises ModelError for a missing key."""
    try:
        return float(metadata[key])
    except KeyError:
        raise ModelError(f"the file's metadata do not hold {key}") from None
