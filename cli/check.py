"""`longthread check`: every fault of every file, each on its line."""

from __future__ import annotations

from collections.abc import Sequence

from cli.errors import EXIT_ERROR
from cli.output import print_line
from pipeline.config import check_config, missing_paths
from pipeline.registry import stage_name


def run(files: Sequence[str]) -> int:
    n_faults = 0
    for path in files:
        config, faults = check_config(path)
        for fault in faults:
            print_line(str(fault), is_error=True)
        missing = [] if config is None else missing_paths(config)
        for message in missing:
            print_line(f"{path}: {message}", is_error=True)
        n_faults += len(faults) + len(missing)
        if config is not None and not missing:
            print_line(f"{path}: {' -> '.join(stage_name(stage) for stage in config.stages)}")
    return EXIT_ERROR if n_faults else 0
