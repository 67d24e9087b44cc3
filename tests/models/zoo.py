"""The chat templates and vocabularies that llama.cpp tests itself with: about 70 and 20 real ones.

`make zoo` fetches them, out of the source distribution of the llama-cpp-python that is installed; they are not ours to
commit. Tests that want them say so with `templates()` or `vocabularies()`, and are skipped where nobody fetched them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("ZOO", Path.home() / ".cache" / "longthread-zoo"))
WHY_NOT = "the zoo is not there: make zoo"
TINY = sorted((FOLDER / "tiny").glob("*.gguf"))
VOCABULARIES = sorted((FOLDER / "models").glob("ggml-vocab-*.gguf"))

needs_zoo = pytest.mark.skipif(
    not TINY, reason=f"the zoo's files are not in {FOLDER / 'tiny'}: set ZOO to their folder"
)
needs_vocabularies = pytest.mark.skipif(not VOCABULARIES, reason=WHY_NOT)


def templates() -> list[Path]:
    return sorted((FOLDER / "models" / "templates").glob("*.jinja"))


def vocabularies() -> list[Path]:
    return sorted((FOLDER / "models").glob("ggml-vocab-*.gguf"))


def fetch() -> Path:
    """The folder of llama.cpp's models; fetched unless it is there. pip needs the build tool to read the archive."""
    target = FOLDER / "models"
    if templates() and vocabularies():
        return target
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [str(folder / "venv" / "bin" / "pip")]
        subprocess.run([*pip, "install", "--quiet", "scikit-build-core"], check=True)
        source = ["--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python", "--dest", name]
        wanted = f"llama-cpp-python=={version('llama-cpp-python')}"
        subprocess.run([*pip, "download", "--quiet", *source, wanted], check=True)
        (archive,) = folder.glob("llama_cpp_python-*.tar.gz")
        with tarfile.open(archive) as tar:
            for member in tar:
                _, _, inside = member.name.partition("/vendor/llama.cpp/models/")
                if inside and member.isfile():
                    member.name = inside
                    tar.extract(member, target, filter="data")
    return target


if __name__ == "__main__":
    print(fetch())  # noqa: T201
