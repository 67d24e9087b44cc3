"""A chat's pipeline and index, checked before they are stored."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.chat.settings import Settings
from cli.output import SafeConsole, print_line
from cli.printing import shown_path
from cli.progress import Display
from cli.unread import raise_if_nothing_was_read, report_all
from pipeline.config import PipelineConfig
from pipeline.docs_index import copy_index, docs_folder, update_index
from pipeline.documents.discover import discover
from pipeline.errors import DocumentError
from pipeline.models.capabilities import ChecksSampling
from pipeline.pipeline import Pipeline
from pipeline.storage.cache import cache_folder

if TYPE_CHECKING:
    from cli.chat.chat import Chat
    from pipeline.retrieval.index import IndexReport


def config_of(settings: Settings) -> PipelineConfig:
    """The pipeline of the settings. Raises errors in it, or if its model is missing, and loads nothing."""
    config = settings.pipeline()
    config.generator.check()
    return config


def check_what_answers(pipeline: Pipeline, settings: Settings) -> None:
    """Raises the error that every question would raise: no model, no room, a broken grammar, no index."""
    pipeline.window  # noqa: B018 - loads the reader
    if isinstance(pipeline.reader, ChecksSampling):
        pipeline.reader.check_sampling(pipeline.config.generator.sampling)
    if settings.docs or settings.index:
        pipeline.index  # noqa: B018 - opens it


def index_of(
    settings: Settings, config: PipelineConfig, display: Display, chat: Chat | None = None
) -> tuple[Path, int]:
    """The folder of the updated index, and the number of named files that could not be read.

    If documents of a session are missing when it is opened, their old index is searched. An open `chat` switches to
    other documents only if all of them exist. Its own index is copied if they include its documents.
    """
    if chat is not None and (settings.docs, settings.index, config.index) == chat.indexed:
        return chat.pipeline.index_folder, 0
    if settings.index is not None:
        return Path(settings.index), 0
    if not settings.docs:
        return cache_folder() / "indexes" / "no documents", 0
    folder = docs_folder(settings.docs, config.index)
    try:
        if chat is not None:
            _check_documents(settings.docs, chat.settings.docs)
            if config.index == chat.config.index and set(chat.settings.docs) < set(settings.docs):
                copy_index(chat.pipeline.index_folder, folder)
        report = update_index(folder, settings.docs, config.index, display)
    except DocumentError as error:
        if chat is not None or not folder.is_dir():
            raise
        display.stop()
        print_line(f"longthread: {error}\nTheir index still exists, and is searched as it was.", is_error=True)
        return folder, 1
    finally:
        display.stop()
    raise_if_nothing_was_read(report)
    if chat is not None:
        _check_read(report, set(settings.docs) - set(chat.settings.docs))
    return folder, report_all(report, settings.docs, settings.config, SafeConsole(is_error=True))


def _check_documents(docs: Sequence[str], known: Sequence[str]) -> None:
    """Raises DocumentError for the first document that is missing. New ones are checked first."""
    for path in sorted(docs, key=lambda path: path in known):
        try:
            discover([path])
        except DocumentError as error:
            hint = f": /docs remove {shlex.quote(shown_path(path))} takes it off the list" if path in known else ""
            raise DocumentError(f"{error}{hint}; nothing was changed") from None


def _check_read(report: IndexReport, added: Collection[str]) -> None:
    """Raises DocumentError for an added file that cannot be read."""
    failed = dict(report.failed)
    for path in sorted(added):
        if why := failed.get(Path(path).resolve().as_posix()):
            raise DocumentError(f"{shown_path(path)}: {why}; nothing was changed")
