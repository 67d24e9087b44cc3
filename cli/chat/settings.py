"""What a chat keeps beside its conversation: its documents, its pipeline, and what /set changed.

It stands as `chat.json` in the session's folder, and is written whole or not at all. A damaged one costs these settings
and not the conversation: the chat opens with its defaults, and the file is kept beside the new one.
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
from pipeline.registry import build_dataclass, nearest
from pipeline.storage.checked_json import parse_object, read_object, with_checksum
from pipeline.storage.whole import write_whole

NAME = "chat.json"
DAMAGED = f"{NAME}.damaged"
SWITCHES = {"on": True, "off": False}


@dataclass(frozen=True)
class Settings:
    """A chat's settings. Paths are absolute, so that a session goes on from wherever it is resumed.

    `answering` holds what was set of the last stage, as JSON: only what differs from the pipeline's file.

    :param docs: files, folders or globs.
    :param index: the folder of an index made before; then `docs` is empty.
    :param config: a pipeline file; None: the built-in chat pipeline.
    :param model: a model's name or path; None: the pipeline's.
    :param keys: how keys edit the input line.
    :param ahead: whether the passages that the next question may need are read while a line is typed (with `reuse`).
    :param rewrite: whether follow-up questions are rewritten for retrieval.
    :param sources: whether an answer is followed by where it stands.
    :param ledger: whether an answer is followed by the account of its tokens.
    :param filter: what documents must match to be searched (retrieval/filters.py); None: all are.
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


OWN = ("keys", "rewrite", "ahead", "sources", "ledger")
"""What /set changes of the chat itself; all else that it knows are settings of the stage that answers."""


def answering_names(config: PipelineConfig) -> list[str]:
    """The settings of the stage that answers, as far as a chat can change them: all but the model."""
    return [field.name for field in fields(cast("Any", config.generator)) if field.name != "model"]


def changed(settings: Settings, name: str, value: str) -> Settings:
    """The settings with one of them changed. Raises ConfigError for a name or a value that is not right."""
    config = settings.pipeline()
    known = [*OWN, *answering_names(config)]
    if name not in known:
        raise ConfigError(
            f"there is no setting '{name}'" + (nearest(name, known) or f"; there are: {', '.join(known)}")
        )
    if name in OWN:
        given: Any = SWITCHES.get(value, value) if isinstance(getattr(settings, name), bool) else value
        return _checked({**asdict(settings), name: given}, name)
    choices = get_args(get_type_hints(type(config.generator))[name])
    answering = {**json.loads(settings.answering), name: value if value in choices else _plain(value)}
    after = replace(settings, answering=json.dumps(answering))
    after.pipeline()
    return after


def _plain(value: str) -> Any:
    """The value as YAML would read it, as far as settings need it: numbers, true, false, null, lists; else text."""
    try:
        return json.loads(SWITCHES_AS_JSON.get(value, value))
    except ValueError:
        return value


SWITCHES_AS_JSON = {"on": "true", "off": "false"}


def load_settings(folder: Path) -> Settings:
    """The settings of a session; the defaults where there are none yet. Raises StoreError for a damaged file."""
    path = folder / NAME
    try:
        content = read_object(path)
        if "docs" not in content:  # files of older versions have no checksum, and all settings
            raise ValueError("it holds no settings of a chat")
        settings = _checked(content, str(path))
        parse_object(settings.answering)
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, ConfigError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from None
    return settings


def recovered_settings(folder: Path) -> tuple[Settings, str]:
    """The settings of a session, and what is to be said where they are damaged: then they are the defaults."""
    try:
        return load_settings(folder), ""
    except StoreError as error:
        return Settings(), (
            f"{error}: the chat goes on with its default settings, so name its documents and its model again. "
            f"No turn is lost; the file is kept as {DAMAGED}"
        )


def save_settings(folder: Path, settings: Settings) -> None:
    """Writes the settings. A damaged file is kept under another name. Raises OSError."""
    path = folder / NAME
    if recovered_settings(folder)[1]:
        path.replace(folder / DAMAGED)
    write_whole(path, json.dumps(with_checksum(asdict(settings)), indent=1) + "\n", private=True)


def _checked(found: Mapping[str, Any], where: str) -> Settings:
    settings, faults = build_dataclass(Settings, found, "the chat")
    if faults:
        raise ConfigError("; ".join(f"{where}: {fault.message}" for fault in faults))
    if not isinstance(settings, Settings):
        raise TypeError(f"must be Settings, was: {settings!r}")
    return settings
