"""`longthread index`: brings an index up to date with files, and lists those that were not read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.text import Text

from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import Config, Json, Quiet, Watch
from cli.output import open_console, print_json
from cli.printing import shown_path
from cli.progress import Display
from cli.unread import STANDARD_INPUT, report_failures, report_unread
from pipeline.config import IndexSettings
from pipeline.default import default_config
from pipeline.docs_index import docs_folder, unread, update_index
from pipeline.errors import ConfigError, StoreError
from pipeline.text.counting import counted
from pipeline.text.visible import one_line

app = new_app()


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """The options of `longthread index`."""

    paths: Annotated[tuple[str, ...], typer.Argument(metavar="PATH...", help="Files, folders or globs.")] = ()
    index: Annotated[str | None, typer.Option("--index", "-i", metavar="DIR", help="The folder of the index.")] = None
    config: Config = None
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the index again if another embedder made it.")] = (
        False
    )
    skipped: Annotated[
        bool, typer.Option("--skipped", help="List the files of an index that were not read, with the reasons.")
    ] = False
    watch: Watch = False
    read_with: Annotated[
        str | None,
        typer.Option(
            "--read-with",
            metavar="MODEL",
            help="Then have this model read all passages ahead of questions. Needs a --config with reuse.",
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="X", help="Time limit of --read-with. The same command goes on."),
    ] = None
    json: Json = False
    quiet: Quiet = False


@command(
    app,
    "index",
    "longthread index reports/ notes/*.md --index my-index",
    "longthread index --index my-index --skipped",
    "longthread index manuals/ --config reuse --read-with smollm2-135m --minutes 30",
)
def index(options: IndexOptions) -> int:
    """Index documents: add new files, read changed ones again, remove deleted ones.

    The command can be interrupted and repeated.
    """
    if options.read_with is not None:
        return _read_ahead(options, options.read_with)
    if options.minutes is not None:
        raise ConfigError("--minutes limits --read-with: name the model that is to read")
    config = default_config(options.config)
    if options.skipped:
        return _list_unread(options, config.index)
    if not options.paths or options.index is None:
        raise ConfigError("name the files and the folder of the index: longthread index PATH... --index DIR")
    if STANDARD_INPUT in options.paths:
        raise ConfigError("standard input cannot be kept in an index: save it in a file, and index that")
    if options.watch and options.json:
        raise ConfigError("--watch runs until it is interrupted: leave --json out")
    folder = Path(options.index)
    with Display(options.quiet) as display:
        report = update_index(folder, options.paths, config.index, display, options.rebuild)
    errors = open_console(is_error=True)
    n_failed = report_failures(report, options.paths, errors)
    if options.json:
        print_json(asdict(report))
        return EXIT_ERROR if n_failed else 0
    unchanged = f"{report.unchanged} unchanged"
    if report.compared:
        unchanged += f" ({report.compared} by their bytes, the rest by size, times and inode)"
    open_console().print(
        f"{options.index}: {counted(report.n_chunks, 'passage')}; files: {report.added} added, {report.changed} "
        f"changed, {report.removed} removed, {unchanged}, {len(report.failed)} failed; {report.seconds:.1f} s",
        highlight=False,
        markup=False,
    )
    report_unread(report, (), options.config, errors, options.index)
    if options.watch:
        _watch(folder, options.paths, config.index)
    return EXIT_ERROR if n_failed else 0


def _read_ahead(options: IndexOptions, model: str) -> int:
    from cli.read_ahead import ReadAheadOptions, read_ahead

    if options.skipped or options.watch:
        raise ConfigError("--read-with reads once: leave --skipped and --watch out")
    return read_ahead(
        ReadAheadOptions(
            model=model,
            paths=options.paths,
            index=options.index,
            config_path=options.config,
            minutes=options.minutes,
            rebuild=options.rebuild,
            as_json=options.json,
            quiet=options.quiet,
        )
    )


def _watch(folder: Path, paths: tuple[str, ...], settings: IndexSettings) -> None:
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


def _list_unread(options: IndexOptions, settings: IndexSettings) -> int:
    """Prints each file that was not read with the reason, and what was left out of the files that were."""
    if not options.index and not options.paths:
        raise ConfigError("name what was indexed: longthread index PATH... --skipped, or --index DIR --skipped")
    try:
        missing = unread(Path(options.index) if options.index else docs_folder(options.paths, settings))
    except StoreError:
        if options.index:
            raise
        raise StoreError(
            f"{' '.join(options.paths)}: not indexed yet: ask a question of it first, or name an index with --index DIR"
        ) from None
    if options.json:
        print_json(asdict(missing))
        return 0
    console = open_console()
    for path, why in missing.files:
        console.print(Text(f"{one_line(shown_path(path))}: {one_line(why)}"))
    for path, note in missing.notes:
        console.print(Text(f"{one_line(shown_path(path))}: read, but {one_line(note)}", style="dim"))
    if not missing.files and not missing.notes:
        console.print("All files were read.", style="dim")
    return 0
