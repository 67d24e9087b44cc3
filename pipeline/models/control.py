"""Control vectors: directions that are added to the hidden states of some layers (GGUF files, tensors `direction.N`).

The format is that of llama.cpp's control vector generator; the idea is representation engineering (Zou et al. 2023,
arXiv 2310.01405). Several vectors are added up, each times its scale.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect, tensor_places
from pipeline.models.llama import complaints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.settings import ControlVector
    from pipeline.models.weights import Weights

_DIRECTION = re.compile(r"direction\.(\d+)")


def control(vectors: Sequence[ControlVector], weights: Weights) -> NDArray[np.float32] | None:
    """Sums the vectors for each layer but the first, float32 (n_layer - 1, n_embd); None without vectors.

    Raises ModelError for a file that is no control vector, or one of another model.
    """
    if not vectors:
        return None
    total = np.zeros((weights.n_layer - 1, weights.n_embd), np.float32)
    for vector in vectors:
        path = Path(vector.path).expanduser()
        directions = _read(path)
        for layer, direction in directions.items():
            if not 1 <= layer < weights.n_layer or len(direction) != weights.n_embd:
                raise ModelError(
                    f"control_vectors: {path} does not fit {weights.path.name}: it has {len(direction)} values for "
                    f"layer {layer}, the model has {weights.n_embd} and layers 1 to {weights.n_layer - 1}"
                )
            last = weights.n_layer - 1 if vector.last_layer is None else vector.last_layer
            if vector.first_layer <= layer <= last:
                total[layer - 1] += vector.scale * direction
    return total


def _read(path: Path) -> dict[int, NDArray[np.float32]]:
    """Reads the directions of a file by layer."""
    if not path.is_file():
        raise ModelError(f"control_vectors: there is no such file: {path}")
    info = inspect(path)
    if info.architecture != "controlvector":
        raise ModelError(f"control_vectors: {path} is no control vector: its architecture is {info.architecture}")
    directions = {}
    for name, place in tensor_places(path).items():
        match = _DIRECTION.fullmatch(name)
        if match is None or place.kind != "F32" or len(place.shape) != 1:
            raise ModelError(f"control_vectors: {path}: the tensor {name} is no direction of a layer")
        directions[int(match[1])] = np.fromfile(path, np.float32, place.shape[0], offset=place.start)
    return directions


def apply_control(lib: ModuleType, context: object, values: NDArray[np.float32], weights: Weights) -> None:
    """Adds the values to the layers of a context from now on; llama.cpp copies them."""
    pointer = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    code = lib.llama_set_adapter_cvec(context, pointer, values.size, weights.n_embd, 1, weights.n_layer - 1)
    if code != 0:
        raise ModelError(f"control_vectors: llama.cpp refused them: {complaints() or 'no reason given'}")
