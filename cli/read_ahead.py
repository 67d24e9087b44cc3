"""`longthread index --read-with MODEL`: brings an index up to date, and has a model read its passages ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED
from cli.output import open_console, print_json
from cli.progress import Display
from cli.unread import STANDARD_INPUT, raise_if_nothing_was_read, report_failures, report_unread
from pipeline.default import default_config, with_model
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError
from pipeline.listener import Listener
from pipeline.models.cell_limits import DISK, cell_limits
from pipeline.pipeline import Pipeline
from pipeline.reading_ahead import AheadReport, Stop, check, read_index
from pipeline.text.counting import counted, duration

_STOPPED: dict[Stop, str] = {
    "time": "the minutes are over; the same command goes on",
    "disk": f"the limit of cells on disk is reached ({DISK}); raise it to keep more",
    "interrupted": "interrupted; the same command goes on",
    "room": "the model's context has no room for the next one beside the prompts that it holds; raise n_ctx of "
    "generate.llama",
}
"""Why passages are left, and what to do about it."""


@dataclass(frozen=True)
class ReadAheadOptions:
    """`index` None is the index that `ask --docs` and `chat --docs` make of the same paths."""

    model: str
    paths: Sequence[str] = ()
    index: str | None = None
    config_path: str | None = None
    minutes: float | None = None
    rebuild: bool = False
    as_json: bool = False
    quiet: bool = False


def read_ahead(options: ReadAheadOptions) -> int:
    """Without paths the index is read as it is."""
    if not options.paths and options.index is None:
        raise ConfigError("name the files or the index to read: longthread index PATH... --read-with MODEL")
    if STANDARD_INPUT in options.paths:
        raise ConfigError("standard input cannot be kept in an index: save it in a file, and index that")
    if options.minutes is not None and not 0 < options.minutes < 1e6:
        raise ConfigError(f"`minutes` must be greater than 0, was: {options.minutes}")
    config = with_model(default_config(options.config_path), options.model)
    config.generator.check()
    folder = Path(options.index) if options.index else docs_folder(options.paths, config.index)
    errors = open_console(is_error=True)
    n_failed = 0
    with Display(options.quiet) as display, Pipeline(config, folder, Listener(display)) as pipeline:
        check(pipeline)  # before minutes of indexing
        if options.paths:
            report = update_index(folder, options.paths, config.index, display, options.rebuild)
            display.stop()
            raise_if_nothing_was_read(report)
            n_failed = report_failures(report, options.paths, errors)
            report_unread(report, options.paths, options.config_path, errors, options.index)
        ahead = read_index(pipeline, options.minutes)
        model = pipeline.reader.name
    if options.as_json:
        print_json({"index": folder.as_posix(), "model": model, **asdict(ahead)})
    else:
        open_console().print(describe(ahead, model), highlight=False, markup=False, soft_wrap=True)
    if ahead.stopped == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_ERROR if n_failed else 0


def describe(ahead: AheadReport, model: str) -> str:
    """One line on what was read, and one on what is left."""
    limit = cell_limits().max_disk_bytes
    text = (
        f"{model} read {counted(ahead.n_read, 'passage')} ahead ({ahead.n_tokens} tokens) in "
        f"{duration(ahead.seconds)}; {counted(ahead.n_kept, 'passage')} had been read before; "
        f"cells on disk: {ahead.disk_bytes / 1e6:.0f} MB of {limit / 1e6:.0f} MB"
    )
    if ahead.n_too_long:
        text += f"\n{counted(ahead.n_too_long, 'passage')} not read: longer than the model's window"
    if ahead.n_left:
        text += f"\n{counted(ahead.n_left, 'passage')} left: {_STOPPED[ahead.stopped]}"
    return text
