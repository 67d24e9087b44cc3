"""The settings of a chat: its documents, its pipeline, and the changes of /set.

They are stored as `chat.json` in the session's folder. If that file is damaged, the chat opens with its defaults and
keeps the damaged file beside the new one. The conversation is stored elsewhere and loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_type_hints

from pipeline.config import PipelineConfig
from pipeline.default import (
    chat_pipeline,
    with_default_model,
    with_filter,
    with_generator_settings,
    with_memory,
    with_model,
    without_documents,
)
from pipeline.errors import ConfigError, StoreError
from pipeline.settings import build_dataclass, nearest
from pipeline.storage.checked_json import parse_object, read_object, with_checksum
from pipeline.storage.whole import write_whole

NAME = "chat.json"
DAMAGED = f"{NAME}.damaged"
SWITCHES = {"on": True, "off": False}


@dataclass(frozen=True)
class Settings:
    """A chat's settings. Paths are absolute, so that a session can be resumed from any folder.

    `answering` holds the settings of the last stage that differ from the pipeline's file, as JSON.

    :param docs: files, folders or globs.
    :param index: the folder of an existing index. Then `docs` is empty.
    :param config: a pipeline file. None: the built-in chat pipeline.
    :param model: a model's name or path. None: the pipeline's.
    :param keys: the key bindings of the input line.
    :param rewrite: whether follow-up questions are rewritten for retrieval.
    :param ahead: whether passages that the next question may need are read while a line is typed (with `reuse`).
    :param sources: whether an answer is followed by its citations.
    :param ledger: whether an answer is followed by its ledger.
    :param filter: only documents that match it are searched (retrieval/filters.py). None: all are.
    """

    docs: tuple[str, ...] = ()
    index: str | None = None
    config: str | None = None
    model: str | None = None
    keys: Literal["emacs", "vi"] = "emacs"
    rewrite: bool = True
    ahead: bool = True
    sources: bool = True
    ledger: bool = False
    answering: str = "{}"
    filter: str | None = None

    def pipeline(self) -> PipelineConfig:
        """The pipeline that these settings describe. Raises ConfigError with every fault."""
        from pipeline.config import load_config

        config = with_default_model(chat_pipeline() if self.config is None else load_config(self.config))
        if self.model is not None:
            config = with_model(config, self.model)
        config = with_memory(with_generator_settings(config, json.loads(self.answering)))
        return with_filter(config, self.filter) if self.docs or self.index else without_documents(config)

    def with_docs(self, docs: tuple[str, ...]) -> Settings:
        return replace(self, docs=tuple(dict.fromkeys(docs)), index=None)


CHAT_SETTINGS = ("keys", "rewrite", "ahead", "sources", "ledger")
"""The settings of the chat itself that /set changes. Its others are settings of the stage that answers."""


def answering_names(config: PipelineConfig) -> list[str]:
    """The settings of the stage that answers, without the model."""
    return [field.name for field in fields(cast("Any", config.generator)) if field.name != "model"]


def changed(settings: Settings, name: str, value: str) -> Settings:
    """The settings with one of them changed. Raises ConfigError for an unknown name or a wrong value."""
    config = settings.pipeline()
    known = [*CHAT_SETTINGS, *answering_names(config)]
    if name not in known:
        raise ConfigError(
            f"there is no setting '{name}'" + (nearest(name, known) or f"; there are: {', '.join(known)}")
        )
    if name in CHAT_SETTINGS:
        parsed: Any = SWITCHES.get(value, value) if isinstance(getattr(settings, name), bool) else value
        return _checked({**asdict(settings), name: parsed}, name)
    choices = get_args(get_type_hints(type(config.generator))[name])
    answering = {**json.loads(settings.answering), name: value if value in choices else _plain(value)}
    after = replace(settings, answering=json.dumps(answering))
    after.pipeline()
    return after


def _plain(value: str) -> Any:
    """Parses numbers, true, false, null and lists as YAML does. Anything else is text."""
    try:
        return json.loads(SWITCHES_AS_JSON.get(value, value))
    except ValueError:
        return value


SWITCHES_AS_JSON = {"on": "true", "off": "false"}


def load_settings(folder: Path) -> Settings:
    """The settings of a session, or the defaults if it has none. Raises StoreError for a damaged file."""
    path = folder / NAME
    try:
        content = read_object(path)
        if "docs" not in content:  # files of older versions have no checksum, and all settings
            raise ValueError("it does not contain the settings of a chat")
        settings = _checked(content, str(path))
        parse_object(settings.answering)
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, ConfigError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from None
    return settings


def recovered_settings(folder: Path) -> tuple[Settings, str]:
    """The settings of a session. If they are damaged, the defaults and a message for the user."""
    try:
        return load_settings(folder), ""
    except StoreError as error:
        return Settings(), (
            f"{error}: the chat uses its default settings, so name its documents and its model again. "
            f"No turn is lost; the file is kept as {DAMAGED}"
        )


def save_settings(folder: Path, settings: Settings) -> None:
    """Writes the settings, and keeps a damaged file under another name. Raises OSError."""
    path = folder / NAME
    if recovered_settings(folder)[1]:
        path.replace(folder / DAMAGED)
    write_whole(path, json.dumps(with_checksum(asdict(settings)), indent=1) + "\n", private=True)


def _checked(values: Mapping[str, Any], where: str) -> Settings:
    settings, faults = build_dataclass(Settings, values, "the chat")
    if faults:
        raise ConfigError("; ".join(f"{where}: {fault.message}" for fault in faults))
    if not isinstance(settings, Settings):
        raise TypeError(f"must be Settings, was: {settings!r}")
    return settings
