"""The end of a Ray executor, with a session that only notes what is asked of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.executors.on_ray.driver import RayExecutor
from tests.executors.conftest import config


class Session:
    """Notes what is killed and closed."""

    def __init__(self) -> None:
        self.killed: list[object] = []
        self.is_closed = False
        self.ray = SimpleNamespace(kill=self.killed.append, wait=lambda *_, **__: None)

    def close(self) -> None:
        self.is_closed = True


def actor(fails: bool) -> Any:
    def finish(seconds: float) -> object:
        if fails:
            raise ConnectionError("Ray is gone")
        return object()

    return SimpleNamespace(finish=SimpleNamespace(remote=finish))


@pytest.mark.parametrize("fails", [False, True])
def test_actors_are_killed_even_where_none_can_be_asked_to_finish(tmp_path: Path, fails: bool) -> None:
    executor = RayExecutor(config(), tmp_path, None, None)
    actors, session = [actor(fails), actor(fails)], Session()
    executor._session = session  # type: ignore[assignment]
    executor._lines = [SimpleNamespace(slots=[SimpleNamespace(actor=one, place="here") for one in actors])]  # type: ignore[list-item]
    executor.close()
    assert session.killed == actors
    assert session.is_closed
