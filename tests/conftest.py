"""No test reads the settings or the conversations of whoever runs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CONFIG", str(folder))
        patch.setenv("LONGTHREAD_DATA", str(tmp_path_factory.mktemp("data")))
        yield folder
