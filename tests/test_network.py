"""Nothing but `models pull` uses the network: every other command runs with all ways onto it forbidden and watched.

A library of our own is preloaded into the command. It stands between the process and libc, so that it sees Python,
llama.cpp, torch and Chroma's Rust alike.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.offline import SWITCHES, switch_off_telemetry

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "configs" / "demo" / "documents"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C compiler to build the watcher with (CI has one)"),
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's"),
]

Run = Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("watcher") / "network.so"
    command = [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(ROOT / "tests" / "network.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


@pytest.fixture
def run(watcher: Path, tmp_path: Path) -> Run:
    """Runs Python under the watcher with a fresh cache, and gives what it did and what it tried to reach.

    The environment says nothing of telemetry, or asks for it: longthread itself must switch it off.
    """
    log = tmp_path / "network.log"

    def run(*arguments: str, loopback: bool = False) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
        environment |= {
            "LD_PRELOAD": str(watcher),
            "NETWORK_LOG": str(log),
            "LONGTHREAD_CACHE": str(tmp_path / "cache"),
            "LONGTHREAD_DATA": str(tmp_path / "data"),
            "HOME": str(tmp_path),
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_API_KEY": "none",
        } | ({"NETWORK_LOOPBACK": "1"} if loopback else {})
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return done, log.read_text().splitlines() if log.exists() else []

    return run


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ("import socket; socket.socket().connect(('192.0.2.1', 80))", "connect 192.0.2.1 80"),
        ("import socket; socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))", "connect 2001:db8::1 80"),
        ("import socket; socket.create_connection(('example.invalid', 80))", "getaddrinfo example.invalid 0"),
        (
            "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
            "sendto 192.0.2.1 53",
        ),
        (
            "import socket; socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
            "sendmsg 192.0.2.1 53",
        ),
        ("import urllib.request as u; u.urlopen('http://example.invalid')", "getaddrinfo example.invalid 0"),
    ],
    ids=["connect", "connect over IPv6", "getaddrinfo", "sendto", "sendmsg", "urllib"],
)
def test_the_watcher_catches_what_tries(run: Run, code: str, caught: str) -> None:
    done, log = run("-c", code)
    assert done.returncode == 1
    assert log == [caught]


def test_the_watcher_lets_the_machine_talk_to_itself(run: Run) -> None:
    code = (
        "import socket\n"
        "a, b = socket.socketpair(); a.sendall(b'x'); assert b.recv(1) == b'x'\n"
        "server = socket.socket(socket.AF_UNIX); server.bind('\\0longthread'); server.listen()\n"
        "socket.socket(socket.AF_UNIX).connect('\\0longthread')\n"
    )
    done, log = run("-W", "ignore", "-c", code)
    assert (done.returncode, done.stderr, log) == (0, "", [])


def test_a_pull_is_what_tries(run: Run) -> None:
    done, log = run("-m", "cli.main", "models", "pull", "qwen2.5-1.5b-instruct")
    assert done.returncode == 2
    assert log
    assert all(line.startswith("getaddrinfo ") for line in log)


def test_index_and_ask_never_try(run: Run, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    done, log = run("-m", "cli.main", "index", str(DEMO), "--index", index, "--quiet")
    assert (done.returncode, log) == (0, []), done.stderr
    question = "How much does a return ticket cost for a child under twelve?"
    done, log = run("-m", "cli.main", "ask", question, "--index", index, "--quiet", "--account")
    assert (done.returncode, log) == (0, []), done.stderr
    assert "ferry.md, line 12" in done.stdout
    assert re.search(r"^generate\.llama ", done.stdout, re.MULTILINE), "a model was asked"


@pytest.mark.alone
def test_a_batch_on_ray_keeps_to_the_loopback(run: Run, tmp_path: Path) -> None:
    code = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    assert run("-c", code, loopback=True)[1] == ["connect 192.0.2.1 80"]
    (tmp_path / "network.log").unlink()
    asked = tmp_path / "questions.jsonl"
    asked.write_text('{"question": "How many beehives are there?"}\n{"question": "Who keeps bees?"}\n')
    out = tmp_path / "out"
    batch = ("run", "configs/offline.yaml", "--input", str(asked), "--output", str(out), "--docs", str(DEMO))
    done, log = run("-m", "cli.main", *batch, "--executor", "ray", "--quiet", loopback=True)
    assert (done.returncode, log) == (0, []), done.stderr
    assert len((out / "records.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    [("doctor",), ("models", "list"), ("models", "verify", "smollm2-135m"), ("check", "configs/default.yaml")],
    ids=" ".join,
)
def test_other_commands_never_try(run: Run, arguments: tuple[str, ...]) -> None:
    done, log = run("-m", "cli.main", *arguments)
    assert (done.returncode, log) == (0, []), done.stderr


def test_langchain_over_us_never_tries(run: Run) -> None:
    code = (
        "from pipeline.langchain.chat_model import LongthreadChat\n"
        "from pipeline.models.scripted import ScriptedModel\n"
        "print(LongthreadChat(model=ScriptedModel()).invoke('hello').text)\n"
    )
    done, log = run("-c", code)
    assert (done.returncode, done.stdout, log) == (0, "Not in the documents.\n", []), done.stderr


def test_the_libraries_take_the_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from pipeline.offline import switch_off_telemetry; switch_off_telemetry()\n"
        "from huggingface_hub import constants\n"
        "assert constants.HF_HUB_OFFLINE and constants.HF_HUB_DISABLE_TELEMETRY\n"
        "from chromadb.config import Settings; assert not Settings().anonymized_telemetry\n"
        "from langsmith.utils import tracing_is_enabled; assert not tracing_is_enabled()\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, check=True)
    monkeypatch.setattr(os, "environ", {})
    switch_off_telemetry()
    assert os.environ == SWITCHES
