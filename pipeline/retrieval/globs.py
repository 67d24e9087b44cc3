"""Globs on sources: fnmatch on the posix path, in which `*` goes across folders."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

Glob = str | tuple[str, ...] | None
"""A pattern that a source must match; of several, every one; None: all sources."""


def all_of(*globs: str | None) -> tuple[str, ...] | None:
    """The globs that are set, as one filter."""
    return tuple(glob for glob in globs if glob is not None) or None


def matching(sources: Iterable[str], glob: Glob) -> list[str]:
    """The sources that match, in their order."""
    globs = (glob,) if isinstance(glob, str) else glob or ()
    return [source for source in sources if all(fnmatchcase(source, one) for one in globs)]
