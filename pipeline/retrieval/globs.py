"""Globs on sources: fnmatch on the posix path, or on its end from a slash on. `*` goes across folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pipeline.errors import DataError
from pipeline.text.counting import counted

Glob = str | tuple[str, ...] | None
"""A pattern that a source, or its end from a slash on, must match; of several, every one; None: all sources."""


def matching(sources: Iterable[str], glob: Glob) -> list[str]:
    """The sources that match, in their order. A file's name alone matches the file in whatever folder."""
    globs = _listed(glob)
    return [source for source in sources if all(_matches(source, pattern) for pattern in globs)]


def check_matches(sources: Sequence[str], glob: Glob) -> None:
    """Raises DataError, with what the pattern is compared with, where it leaves no source."""
    if sources and not matching(sources, glob):
        patterns = " and ".join(repr(pattern) for pattern in _listed(glob))
        raise DataError(
            f"`glob` {patterns} leaves none of {counted(len(sources), 'document')} to search: it is compared with the "
            f"whole path of each, such as {sources[0]}, and with its end, such as {sources[0].rpartition('/')[2]}; * "
            "stands for any characters, also for slashes"
        )


def _listed(glob: Glob) -> tuple[str, ...]:
    return (glob,) if isinstance(glob, str) else glob or ()


def _matches(source: str, pattern: str) -> bool:
    return fnmatchcase(source, pattern) or fnmatchcase(source, f"*/{pattern}")
