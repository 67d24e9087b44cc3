"""The report of an evaluation as files: report.html, report.png, summary.json, and eval.json, which names the runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, MissingExtraError
from pipeline.evaluation.compare import RunComparison, as_json
from pipeline.evaluation.report.page import write_page
from pipeline.evaluation.report.plots import picture
from pipeline.evaluation.runs import Measures, summary
from pipeline.executors.folder import RUN
from pipeline.storage.whole import write_whole

ABOUT, PAGE, PICTURE, SUMMARY = "eval.json", "report.html", "report.png", "summary.json"
_MAX_NAMES = 4


@dataclass(frozen=True)
class Report:
    """Runs on the same questions and their comparison, None for a single run.

    :param about: lines on the data, the model and the machine.
    :param metric: the metric that the plots show. Default: the first that applies.
    :param seed: of the intervals.
    """

    runs: Sequence[Measures]
    comparison: RunComparison | None
    about: Sequence[str] = ()
    metric: str | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        names = ", ".join(run.name for run in self.runs[:_MAX_NAMES])
        return f"{names} ..." if len(self.runs) > _MAX_NAMES else names

    def to_dict(self) -> dict[str, Any]:
        return {
            "runs": [summary(run, self.seed) for run in self.runs],
            "comparison": as_json(self.comparison) if self.comparison else None,
        }

    def write(self, folder: Path) -> tuple[list[Path], str]:
        """Writes page, picture and numbers. Returns the files to look at, and why a picture is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        write_page(folder / PAGE, self.runs, self.comparison, self.title, self.about, self.metric, self.seed)
        written, reason = [folder / PAGE], ""
        try:
            if drawn := picture(self.runs, self.metric, self.seed):
                write_whole(folder / PICTURE, drawn)
                written.append(folder / PICTURE)
        except MissingExtraError as error:
            reason = str(error)
        write_whole(folder / SUMMARY, json.dumps(self.to_dict(), indent=1))
        return written, reason


def write_about(folder: Path, names: Sequence[str], about: Sequence[str]) -> None:
    """Writes the names of an evaluation's runs, in order, so that `runs_in` finds them."""
    write_whole(folder / ABOUT, json.dumps({"pipelines": list(names), "about": list(about)}))


def runs_in(folders: Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """The folders of the runs, and lines about them. An evaluation's folder stands for its runs, in its order.

    Raises DataError for a folder that holds neither.
    """
    paths: list[Path] = []
    about: list[str] = []
    for folder in map(Path, folders):
        if (folder / RUN).is_file():
            paths.append(folder)
            continue
        try:
            content = json.loads((folder / ABOUT).read_text("utf-8"))
            paths += [folder / name for name in content["pipelines"]]
            about += content["about"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(
                f"{folder}: there is no run in this folder, and no eval ({RUN} and {ABOUT} are missing)"
            ) from None
    return paths, about


def about_machine(run: Measures) -> str:
    """The model, the processor, the version and the time of a run, from its file."""
    machine = run.about.get("machine") or {}
    parts = [f"model {run.model_name}"]
    if isinstance(machine, dict) and machine.get("processor"):
        parts.append(str(machine["processor"]))
    return ", ".join([*parts, f"longthread {run.about.get('version')}", f"begun {run.about.get('started')}"])
