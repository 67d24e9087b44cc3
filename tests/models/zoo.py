"""Where the zoo's files lie, if they were made on this machine: real architectures and vocabularies, tiny weights."""

import os
from pathlib import Path

import pytest

ZOO = Path(os.environ.get("ZOO", Path.home() / ".cache" / "longthread-zoo"))
TINY = sorted((ZOO / "tiny").glob("*.gguf"))
VOCABULARIES = sorted((ZOO / "models").glob("ggml-vocab-*.gguf"))

needs_zoo = pytest.mark.skipif(not TINY, reason=f"the zoo's files are not in {ZOO / 'tiny'}: set ZOO to their folder")
needs_vocabularies = pytest.mark.skipif(
    not VOCABULARIES, reason=f"llama.cpp's vocabularies are not in {ZOO / 'models'}: set ZOO to their folder"
)
