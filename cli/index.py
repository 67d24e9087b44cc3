"""`longthread index`: brings an index up to date with files, and lists those that were not read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.output import open_console, print_json
from cli.printing import shown_path
from cli.progress import Display
from pipeline.config import IndexSettings
from pipeline.default import default_config
from pipeline.docs_index import docs_folder, unread, update_index
from pipeline.documents.discover import real_path
from pipeline.documents.left_out import LEFT_OUT
from pipeline.errors import ConfigError, DocumentError, StoreError
from pipeline.retrieval.plan import PART_OF_INDEX
from pipeline.text.visible import one_line

if TYPE_CHECKING:
    from pipeline.retrieval.index import IndexReport

STANDARD_INPUT = "-"
_LISTED = 10


def run(
    paths: Sequence[str],
    index: str | None,
    config_path: str | None,
    rebuild: bool,
    skipped: bool,
    as_json: bool,
    quiet: bool,
    watch: bool = False,
) -> int:
    config = default_config(config_path)
    if skipped:
        return _list_unread(Path(index) if index else docs_folder(paths, config.index), paths, index, as_json)
    if not paths or index is None:
        raise ConfigError("name the files and the folder of the index: longthread index PATH... --index DIR")
    if STANDARD_INPUT in paths:
        raise ConfigError("standard input cannot be kept in an index: save it in a file, and index that")
    if watch and as_json:
        raise ConfigError("--watch goes on until it is interrupted: leave --json out")
    with Display(quiet) as display:
        report = update_index(Path(index), paths, config.index, display, rebuild)
    errors = open_console(is_error=True)
    n_failed = report_failures(report, paths, errors)
    if as_json:
        print_json(asdict(report))
        return EXIT_ERROR if n_failed else 0
    unchanged = f"{report.unchanged} unchanged"
    if report.compared:
        unchanged += f" ({report.compared} by their bytes, the rest by size, times and inode)"
    open_console().print(
        f"{index}: {report.n_chunks} passages; files: {report.added} added, {report.changed} changed, "
        f"{report.removed} removed, {unchanged}, {len(report.failed)} failed; {report.seconds:.1f} s",
        highlight=False,
        markup=False,
    )
    report_unread(report, (), config_path, errors, index)
    if watch:
        _watch(Path(index), paths, config.index)
    return EXIT_ERROR if n_failed else 0


def _watch(folder: Path, paths: Sequence[str], settings: IndexSettings) -> None:
    """Keeps the index current, with a line for each change, until Ctrl-C."""
    from pipeline.watching import watch

    console = open_console()
    console.print(Text("watching; Ctrl-C ends it", style="dim"))
    with Display(quiet=True) as display, suppress(KeyboardInterrupt):
        for news in watch(
            folder.absolute(), [str(Path(path).absolute()) for path in paths], settings, Event(), display
        ):
            if news:
                console.print(Text(one_line(news.describe(shown_path)), style="dim"))


def _list_unread(folder: Path, paths: Sequence[str], index: str | None, as_json: bool) -> int:
    """One line for each file that was not read, with the reason, and for each thing left out of one that was."""
    if not index and not paths:
        raise ConfigError("name what was indexed: longthread index PATH... --skipped, or --index DIR --skipped")
    try:
        lacking = unread(folder)
    except StoreError:
        if index:
            raise
        raise StoreError(
            f"{' '.join(paths)}: not indexed yet: ask a question of it first, or name an index with --index DIR"
        ) from None
    if as_json:
        print_json(asdict(lacking))
        return 0
    console = open_console()
    for path, why in lacking.files:
        console.print(Text(f"{one_line(shown_path(path))}: {one_line(why)}"))
    for path, note in lacking.notes:
        console.print(Text(f"{one_line(shown_path(path))}: read, but {one_line(note)}", style="dim"))
    if not lacking.files and not lacking.notes:
        console.print("All files were read.", style="dim")
    return 0


def report_unread(
    report: IndexReport, docs: Sequence[str], config_path: str | None, console: Console, index: str | None = None
) -> None:
    """One line that counts the files that were not read, and names the command that lists them."""
    reasons = [why for _, why in report.skipped if why != PART_OF_INDEX]
    n_left_out = sum(why.startswith(LEFT_OUT) for why in reasons)
    n_unread, n_noted = len(reasons) - n_left_out + len(report.failed), len({path for path, _ in report.notes})
    parts = [f"{_files(n_unread)} not read"] if n_unread else []
    parts += [f"{n_left_out} left out (hidden, build or ignored)"] if n_left_out else []
    parts += [f"{_files(n_noted)} read with remarks"] if n_noted else []
    if not parts:
        return
    if not index and not docs:
        console.print(Text(", ".join(parts), style="dim"))
        return
    command = ["longthread", "index", *(("--index", index) if index else docs), "--skipped"]
    command += ["--config", config_path] if config_path and not index else []
    console.print(Text(f"{', '.join(parts)}: {shlex.join(command)} lists them", style="dim"))


def report_failures(report: IndexReport, docs: Sequence[str], console: Console) -> int:
    """Says of each file that was named, and could not be read, why; their number.

    A file that was met in a folder or by a pattern is no failure: nobody asked for that file.
    """
    named = {real_path(Path(path).expanduser()).as_posix() for path in docs}
    named |= {path.encode("utf-8", "replace").decode() for path in named}  # a report has "?" for bytes of no UTF-8
    failed = [(path, why) for path, why in report.failed if path in named]
    for path, why in failed:
        console.print(Text(f"longthread: {one_line(shown_path(path))}: {one_line(why)}", style="red"))
    return len(failed)


def raise_if_nothing_was_read(report: IndexReport) -> None:
    """Raises DocumentError with the reasons where no text at all could be read."""
    if report.n_chunks:
        return
    unread = [*report.failed, *report.skipped]
    lines = [f"{shown_path(path)}: {why}" for path, why in unread[:_LISTED]]
    more = [f"and {len(unread) - _LISTED} more"] if len(unread) > _LISTED else []
    raise DocumentError("nothing could be read:\n" + "\n".join([*lines, *more]))


def _files(n: int) -> str:
    return "1 file was" if n == 1 else f"{n} files were"


def failures(report: IndexReport, console: Console, docs: Sequence[str] = ()) -> int:
    """The line on files that were not read, and one for each that was named and failed; the number of these."""
    report_unread(report, docs, None, console)
    return report_failures(report, docs, console)
