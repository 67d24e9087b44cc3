"""The user's settings for all pipelines: `longthread.yaml` in the user's configuration folder.

There is one setting today: `model`, the default if neither the pipeline file nor the command line names one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, SettingError
from pipeline.storage.whole import write_whole

NAME = "longthread.yaml"
_HEAD = "# Written by 'longthread models default'.\n"


@dataclass(frozen=True)
class UserSettings:
    """:param model: a name from 'longthread models list', or the path of a GGUF file; none: the tiny built-in model."""

    model: str | None = None

    def __post_init__(self) -> None:
        if self.model == "":
            raise SettingError("model", "must be a name or a path, was: ''")


def user_file() -> Path:
    """Returns the file, which may not exist. The environment variable LONGTHREAD_CONFIG overrides its folder."""
    if chosen := os.environ.get("LONGTHREAD_CONFIG"):
        return Path(chosen) / NAME
    from platformdirs import user_config_dir

    return Path(user_config_dir("longthread", appauthor=False)) / NAME


def user_settings() -> UserSettings:
    """Reads the file, or returns the defaults if there is none. Raises ConfigError with every fault of it."""
    path = user_file()
    if not path.is_file():
        return UserSettings()
    from pipeline.settings import build_dataclass
    from pipeline.yaml import read_yaml

    file = read_yaml(path)
    faults = [f"{path}:{fault.line}: {fault.message}" for fault in file.faults]
    value = {} if file.value is None else file.value
    if not faults and not isinstance(value, dict):
        faults = [f"{path}: must hold a mapping, such as 'model: smollm2-135m'"]
    if faults:
        raise ConfigError("\n".join(faults))
    settings, problems = build_dataclass(UserSettings, value, NAME)
    if not isinstance(settings, UserSettings):
        raise ConfigError("\n".join(f"{path}:{file.line(problem.path)}: {problem.message}" for problem in problems))
    return settings


def save_user_settings(settings: UserSettings) -> Path:
    """Writes the file atomically, or deletes it if all settings are defaults. Returns its path."""
    path = user_file()
    try:
        if settings == UserSettings():
            path.unlink(missing_ok=True)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{_HEAD}model: {json.dumps(settings.model, ensure_ascii=False)}\n")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; set the environment variable LONGTHREAD_CONFIG to a folder "
            "that can be written"
        ) from None
    return path
