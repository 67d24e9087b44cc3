"""Writes a model in another quantisation, in a separate process.

`python -m pipeline.gguf.requantise SOURCE TARGET TYPE`: llama.cpp cannot be interrupted here and may abort, while a
process can be killed.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.contracts import Progress

TYPES = {"F16": 1, "Q8_0": 7, "Q4_0": 2}
"""llama.cpp's numbers of the candidate types."""
EXACT = {"F32": 0}
"""The number of the lossless type, for computing with weights outside llama.cpp."""
_BITS = {"F32": 32.0, "F16": 16.0, "Q8_0": 8.5, "Q4_0": 4.5}


def expected_bytes(kind: str, n_parameters: int) -> int:
    """Estimates the file's size, to check the disk space before; some tensors always keep more bits."""
    return int(n_parameters * _BITS[kind] / 8 * 1.1) + (8 << 20)


def requantise(source: Path, target: Path, kind: str, n_bytes: int, progress: Progress) -> None:
    """Writes `source` as `kind` to `target`, which is incomplete if this ends early. `n_bytes` is for progress only.

    Raises ModelError with llama.cpp's reason.
    """
    command = [sys.executable, "-m", "pipeline.gguf.requantise", str(source.resolve()), str(target.resolve()), kind]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        try:
            while child.poll() is None:
                progress(f"write as {kind} (MB)", target.stat().st_size >> 20, n_bytes >> 20)
                time.sleep(0.1)
        finally:
            child.kill()
        message = child.stderr.read().strip() if child.stderr else ""
    if child.returncode != 0:
        raise ModelError(
            f"{source.name} could not be written as {kind}: {message.splitlines()[-1] if message else 'no reason'}"
        )


def main() -> None:
    from pipeline.models.llama import complaints, library
    from pipeline.models.resolving import threads

    source, target, kind = sys.argv[1:]
    lib = library()
    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = (TYPES | EXACT)[kind]
    parameters.nthread = threads()
    parameters.allow_requantize = True
    code = lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    if code != 0:
        sys.exit(complaints() or f"llama.cpp gave the code {code}")


if __name__ == "__main__":
    main()
