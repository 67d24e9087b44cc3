"""A chat whose model reads passages while a line is typed, with a model of bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.chat.asking import TypedQuestion, ask
from cli.chat.chat import Chat
from cli.chat.commands import run_command
from cli.chat.settings import Settings
from cli.output import open_console
from cli.progress import Display
from tests.models.random_file import random_model

PIPELINE = """\
index: {embedder: none}
stages:
  - retrieve.bm25: {k: 3}
  - memory.window
  - assemble.cited: {reuse: REUSE, layout: brief}
  - generate.llama: {model: MODEL, n_ctx: 4096, max_tokens: 4, threads: 1}
"""
LINE = "How heavy is the bell of the tower?"


@pytest.fixture(params=["passages", "exact"])
def chat(
    request: pytest.FixtureRequest, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chat]:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))
    path = tmp_path / f"{request.param}.yaml"
    path.write_text(PIPELINE.replace("REUSE", request.param).replace("MODEL", str(random_model(tmp_path))))
    settings = Settings(docs=(str(documents),), config=str(path))
    with Chat.open("ahead", settings, open_console(), Display(quiet=True), False) as chat:
        yield chat


def n_kept(tmp_path: Path) -> int:
    return len(list((tmp_path / "cache" / "pieces").glob("*/*.kv")))


def test_what_is_typed_is_read_where_the_pipeline_keeps_passages(chat: Chat, tmp_path: Path) -> None:
    is_kept = "passages" in (chat.settings.config or "")
    with chat.reading_ahead(lambda: LINE):
        end = time.monotonic() + (60 if is_kept else 1.5)
        while not n_kept(tmp_path) and time.monotonic() < end:
            time.sleep(0.05)
    assert (n_kept(tmp_path) > 0) is is_kept
    ask(chat, TypedQuestion(LINE))
    assert chat.last is not None
    generation = chat.last.ledger.generation
    assert generation is not None
    assert generation.is_composed is is_kept


def test_it_can_be_switched_off(chat: Chat, tmp_path: Path) -> None:
    run_command(chat, "/set ahead off")
    with chat.reading_ahead(lambda: LINE):
        time.sleep(1.5)
    assert n_kept(tmp_path) == 0


def test_leaving_the_line_ends_the_reading_whatever_ends_it(chat: Chat) -> None:
    def leave(error: type[BaseException]) -> None:
        with chat.reading_ahead(lambda: LINE):
            time.sleep(0.6)
            raise error

    for error in (EOFError, KeyboardInterrupt):
        with pytest.raises(error):
            leave(error)
        assert not [thread for thread in threading.enumerate() if thread.name == "longthread-ahead"]
