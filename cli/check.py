"""`longthread check`: every fault of every pipeline file, each with its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.output import print_line
from pipeline.config import check_config, missing_paths, old_names
from pipeline.registry import stage_name

app = new_app()


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """The options of `longthread check`."""

    files: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="PIPELINE...", help="Pipeline files or presets' names.", show_default=False),
    ]


@command(app, "check", "longthread check mine.yaml configs/*.yaml")
def check(options: CheckOptions) -> int:
    """Check pipeline files, and list all faults of all files, and names that will go. Loads no model."""
    n_faults = 0
    for path in options.files:
        config, faults = check_config(path)
        for fault in faults:
            print_line(str(fault), is_error=True)
        for note in old_names(path):
            print_line(str(note), is_error=True)
        missing = [] if config is None else missing_paths(config)
        for message in missing:
            print_line(f"{path}: {message}", is_error=True)
        n_faults += len(faults) + len(missing)
        if config is not None and not missing:
            print_line(f"{path}: {' -> '.join(stage_name(stage) for stage in config.stages)}")
    return EXIT_ERROR if n_faults else 0
