"""llama.cpp's kernels for AMX are used where a child process could, and never where they end it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.models import amx


@pytest.fixture(autouse=True)
def untried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(amx.SWITCH)
    monkeypatch.setattr(amx, "use_extra_buffers", amx.use_extra_buffers.__wrapped__)
    monkeypatch.setattr(amx, "has_amx_kernels", lambda: True)


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[bool | None]:
    """What the next child processes find; empty: none may be started."""
    found: list[bool | None] = []
    monkeypatch.setattr(amx, "_try", lambda: found.pop(0))
    return found


def test_a_processor_without_amx_starts_no_child(outcomes: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "has_amx_kernels", lambda: False)
    assert amx.use_extra_buffers()


@pytest.mark.parametrize("works", [True, False])
def test_a_child_finds_out_once(works: bool, outcomes: list[bool | None]) -> None:
    outcomes.append(works)
    assert [amx.use_extra_buffers(), amx.use_extra_buffers()] == [works, works]


def test_what_is_inconclusive_is_tried_again(outcomes: list[bool | None]) -> None:
    outcomes.extend([None, True])
    assert [amx.use_extra_buffers(), amx.use_extra_buffers()] == [False, True]


@pytest.mark.parametrize(("value", "expected"), [("on", True), ("off", False)])
def test_the_switch_decides_untried(
    value: str, expected: bool, outcomes: list[bool | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(amx.SWITCH, value)
    assert amx.use_extra_buffers() is expected


def test_another_value_is_refused(outcomes: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(amx.SWITCH, "yes")
    with pytest.raises(ConfigError, match="LONGTHREAD_AMX must be auto, on or off, was: yes"):
        amx.use_extra_buffers()


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        (f"kill -{int(signal.SIGILL)} $$", False),
        (f"kill -{int(signal.SIGKILL)} $$", None),
        ("echo 0.001", True),
        ("echo 0.8", False),
        ("echo nan", False),
        ("exit 1", None),
        ("echo", None),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_what_a_child_tells(child: str, expected: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{child}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    assert amx._try() is expected


def test_no_prompt_ends_the_process(tmp_path: Path) -> None:
    """On a processor with AMX this is what the child is for: built by GCC 12, its kernels would end this process."""
    code = (
        "from pipeline.models.trial import FileTrial\n"
        "from pipeline.gguf.catalogue import resolve\n"
        "path = resolve('smollm2-135m')\n"
        "assert FileTrial(path).measure([path], 1, lambda *_: None)[path].prefill > 0"
    )
    environment = {key: value for key, value in os.environ.items() if key != amx.SWITCH}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=300)
