"""Reports of the files that an index could not read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cli.printing import shown_path
from pipeline.documents.discover import real_path
from pipeline.documents.left_out import LEFT_OUT
from pipeline.errors import DocumentError
from pipeline.retrieval.plan import PART_OF_INDEX
from pipeline.text.visible import one_line

if TYPE_CHECKING:
    from pipeline.retrieval.index import IndexReport

STANDARD_INPUT = "-"
_MAX_LISTED = 10


def report_unread(
    report: IndexReport, docs: Sequence[str], config_path: str | None, console: Console, index: str | None = None
) -> None:
    """Prints one line that counts the files that were not read, and names the command that lists them."""
    reasons = [why for _, why in report.skipped if why != PART_OF_INDEX]
    n_left_out = sum(why.startswith(LEFT_OUT) for why in reasons)
    n_unread, n_noted = len(reasons) - n_left_out + len(report.failed), len({path for path, _ in report.notes})
    parts = [f"{_files(n_unread)} not read"] if n_unread else []
    parts += [f"{n_left_out} left out (hidden, build or ignored)"] if n_left_out else []
    parts += [f"{_files(n_noted)} read with remarks"] if n_noted else []
    if not parts:
        return
    if not index and not docs:
        console.print(Text(", ".join(parts), style="dim"), soft_wrap=True)
        return
    command = ["longthread", "index", *(("--index", index) if index else docs), "--skipped"]
    command += ["--config", config_path] if config_path and not index else []
    # Unbroken, so that the command can be copied.
    console.print(Text(f"{', '.join(parts)}: {shlex.join(command)} lists them", style="dim"), soft_wrap=True)


def report_failures(report: IndexReport, docs: Sequence[str], console: Console) -> int:
    """Prints the reason for each file in `docs` that could not be read, and returns their number.

    A file from a folder or a pattern is no failure: the user did not ask for that file.
    """
    named = {real_path(Path(path).expanduser()).as_posix() for path in docs}
    named |= {path.encode("utf-8", "replace").decode() for path in named}  # a report has "?" for bytes of no UTF-8
    failed = [(path, why) for path, why in report.failed if path in named]
    for path, why in failed:
        text = f"longthread: {one_line(shown_path(path))}: {one_line(why)}"
        console.print(Text(text, style="red"), soft_wrap=True)
    return len(failed)


def report_all(report: IndexReport, docs: Sequence[str], config_path: str | None, console: Console) -> int:
    """Prints both reports, and returns the number of files in `docs` that could not be read.

    `config_path` is the pipeline file or preset as the user named it; None for a built-in pipeline, which has no file.
    """
    report_unread(report, docs, config_path, console)
    return report_failures(report, docs, console)


def raise_if_nothing_was_read(report: IndexReport) -> None:
    """Raises DocumentError with the reasons if the index is empty."""
    if report.n_chunks:
        return
    unread = [*report.failed, *report.skipped]
    lines = [f"{shown_path(path)}: {why}" for path, why in unread[:_MAX_LISTED]]
    more = [f"and {len(unread) - _MAX_LISTED} more"] if len(unread) > _MAX_LISTED else []
    raise DocumentError("nothing could be read:\n" + "\n".join([*lines, *more]))


def _files(n: int) -> str:
    return "1 file was" if n == 1 else f"{n} files were"
