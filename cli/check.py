"""`longthread check`: every fault of every pipeline file, each with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.output import print_line
from pipeline.config import PipelineConfig, check_config, missing_paths, old_names
from pipeline.errors import ModelError
from pipeline.gguf.catalogue import check_name, is_path
from pipeline.registry import settings_of, stage_name

app = new_app()


def _unknown_models(config: PipelineConfig) -> list[str]:
    """Names of models that no command could find. One that only has to be pulled is known."""
    unknown: list[str] = []

    def look(value: object, place: str) -> None:
        for key, item in value.items() if isinstance(value, Mapping) else ():
            if key == "model" and isinstance(item, str):
                try:
                    check_name(item)
                except ModelError as error:
                    unknown.append(f"{place}.model: {error}")
            look(item, f"{place}.{key}")

    for n, stage in enumerate(config.stages):
        look(settings_of(stage), f"stages[{n}]")
    embedder = config.index.embedder
    if embedder not in ("minilm", "none") and not is_path(embedder) and not Path(embedder).exists():
        unknown.append(f"index.embedder: {embedder}: no such folder: write minilm, none, a folder, or a GGUF file")
    return unknown


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
        missing = [] if config is None else [*missing_paths(config), *_unknown_models(config)]
        for message in missing:
            print_line(f"{path}: {message}", is_error=True)
        n_faults += len(faults) + len(missing)
        if config is not None and not missing:
            print_line(f"{path}: {' -> '.join(stage_name(stage) for stage in config.stages)}")
    return EXIT_ERROR if n_faults else 0
