"""A batch in a process of its own, for tests that kill it: arguments are one JSON object."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from pipeline.errors import LongthreadError
from pipeline.executors.run import RunOptions, run
from pipeline.registry import make
from tests.executors.components import register
from tests.executors.conftest import config, samples


def main() -> None:
    order = json.loads(sys.argv[1])
    register()
    if order.get("most_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["most_bytes"], resource.RLIM_INFINITY))
    if order.get("address"):
        from pipeline.executors.on_ray.session import library

        library(is_alone=True).init(
            address=order["address"],
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
            runtime_env={"worker_process_setup_hook": "tests.executors.components.register"},
        )
    pipeline = config(trouble=order.get("trouble"), last=make("generate.slow", {"delay": order["delay"]}))
    options = RunOptions(executor=order["executor"])
    try:
        summary = run(pipeline, Path(order["index"]), samples(order["n"]), Path(order["folder"]), options)
    except LongthreadError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps([summary.n_ok, summary.n_failed, summary.n_missing, summary.n_before]))


if __name__ == "__main__":
    main()
