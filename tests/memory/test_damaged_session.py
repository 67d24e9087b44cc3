"""A session whose file was damaged opens with its turns, or is named with what to do."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import pytest

from pipeline.conversation import Conversation
from pipeline.errors import StoreError
from pipeline.transcript import NAME
from tests.faults import damage
from tests.memory.talks import pipeline_with
from tests.memory.test_crash import MEMORY


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    with pipeline_with(MEMORY) as pipeline, Conversation(pipeline, folder) as talk:
        for n in range(8):
            talk.ask(f"My lucky number of round {n} is {n * 7}. Is it not?")
            talk.settle()
    return folder


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_session_is_no_traceback(session: Path, tmp_path: Path, seed: int) -> None:
    shutil.copytree(session, tmp_path / "s")
    path = tmp_path / "s" / NAME
    path.write_bytes(damage(path.read_bytes(), random.Random(seed)))
    with (
        contextlib.suppress(StoreError),  # it says what to do; anything else is a failure
        pipeline_with(MEMORY) as pipeline,
        Conversation(pipeline, tmp_path / "s") as talk,
    ):
        talk.memory.items()
        talk.memory.search("lucky number")
        talk.ask("What is my lucky number of round 2?")
        talk.settle()
