"""`longthread check`: every fault of every file, each on its line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cli.main import EXIT_ERROR
from pipeline.config import check_config, missing_paths


def run(files: Sequence[str]) -> int:
    n_faults = 0
    for path in files:
        config, faults = check_config(path)
        for fault in faults:
            sys.stderr.write(f"{fault}\n")
        missing = [] if config is None else missing_paths(config)
        for message in missing:
            sys.stderr.write(f"{path}: {message}\n")
        n_faults += len(faults) + len(missing)
        if config is not None and not missing:
            sys.stdout.write(f"{path}: {' -> '.join(spec.name for spec in config.stages)}\n")
    return EXIT_ERROR if n_faults else 0
