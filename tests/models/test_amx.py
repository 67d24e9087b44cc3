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
    monkeypatch.setattr(amx, "_why", None)
    monkeypatch.setattr(amx, "has_amx_kernels", lambda: True)


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the next child processes find; empty: none may be started."""
    found: list[str] = []
    monkeypatch.setattr(amx, "_try", lambda: found.pop(0))
    return found


def test_a_processor_without_amx_starts_no_child(outcomes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "has_amx_kernels", lambda: False)
    assert amx.use_extra_buffers()


@pytest.mark.parametrize("why", ["", amx.CRASHED, amx.DIFFERS])
def test_a_child_finds_out_once(why: str, outcomes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes.append(why)
    said: list[str] = []
    for _ in range(2):
        monkeypatch.setattr(amx, "_why", None)  # another process
        assert amx.why_no_extra_buffers(lambda what, done, total: said.append(what)) == why
        assert amx.use_extra_buffers() is (not why)
    assert said == ["try llama.cpp's kernels for AMX"]


def test_what_is_inconclusive_is_tried_again(outcomes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes.extend([amx.INCONCLUSIVE, ""])
    assert not amx.use_extra_buffers()
    monkeypatch.setattr(amx, "_why", None)
    assert amx.use_extra_buffers()


@pytest.mark.parametrize(
    ("why", "says", "advice"),
    [
        ("", "are used", ""),
        (amx.SWITCHED_OFF, "not used: LONGTHREAD_AMX is off", ""),
        (amx.CRASHED, "an older GCC", "GCC 14"),
        (amx.DIFFERS, "reads something else", "GCC 14"),
        (amx.INCONCLUSIVE, "could not be tried", "longthread doctor"),
    ],
)
def test_doctor_says_why(why: str, says: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.doctor import _amx

    monkeypatch.setattr(amx, "_why", why)
    finding = _amx()
    assert says in finding.message
    assert advice in finding.todo
    assert bool(finding.todo) == bool(advice)


@pytest.mark.parametrize(("value", "expected"), [("on", True), ("off", False)])
def test_the_switch_decides_untried(
    value: str, expected: bool, outcomes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(amx.SWITCH, value)
    assert amx.use_extra_buffers() is expected


def test_another_value_is_refused(outcomes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(amx.SWITCH, "yes")
    with pytest.raises(ConfigError, match="LONGTHREAD_AMX must be auto, on or off, was: yes"):
        amx.use_extra_buffers()


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        (f"kill -{int(signal.SIGILL)} $$", amx.CRASHED),
        (f"kill -{int(signal.SIGKILL)} $$", amx.INCONCLUSIVE),
        ("echo 0.001", ""),
        ("echo 0.8", amx.DIFFERS),
        ("echo nan", amx.DIFFERS),
        ("exit 1", amx.INCONCLUSIVE),
        ("echo", amx.INCONCLUSIVE),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_what_a_child_tells(child: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{child}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    assert amx._try() == expected


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
