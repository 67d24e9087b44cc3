"""Arguments and options that several commands share, each with one name, one short flag and one help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from pipeline.config import PipelineConfig
from pipeline.default import default_config, with_filter, with_model

Question = Annotated[str, typer.Argument(metavar="QUESTION", help="The question, in quotes.", show_default=False)]
PipelineFile = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="A pipeline file or a preset's name.", show_default=False)
]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A GGUF file or a name from 'models list'.", show_default=False)
]

Config = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="PIPELINE", help="A pipeline file or a preset's name. Default: the built-in pipeline."
    ),
]
Docs = Annotated[
    tuple[str, ...],
    typer.Option("--docs", "-d", metavar="PATH", help="Files, folders or globs to search. May be repeated."),
]
Paths = Annotated[
    tuple[str, ...], typer.Argument(metavar="[PATH]...", help="Files, folders or globs to search, like --docs.")
]
IndexFolder = Annotated[
    str | None, typer.Option("--index", "-i", metavar="DIR", help="An index made by 'longthread index' to search.")
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="MODEL", help="A GGUF file or a name from 'models list'.")
]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="FILTER",
        help="Search only documents whose metadata match, such as 'kind=pdf and year>=2024'.",
    ),
]
Glob = Annotated[
    str | None,
    typer.Option("--glob", metavar="GLOB", help="Search only documents whose path matches: 'manual/*', 'a.md'."),
]
Read = Annotated[
    tuple[str, ...],
    typer.Option(
        "--read", metavar="PATH", help="Read a file from beginning to end, however long, instead of searching."
    ),
]
OutputFolder = Annotated[
    str,
    typer.Option("--output", "-o", metavar="DIR", help="The folder for the results. Repeat the command to resume."),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor", metavar="local|ray", help="Where questions are answered. Default: as in the pipeline file."
    ),
]
Retry = Annotated[int, typer.Option("--retry", min=0, metavar="N", help="Retries per failed question.")]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Retry the questions that failed in an earlier run.")]
FailOnError = Annotated[
    str | None,
    typer.Option(
        "--fail-on-error", metavar="N|SHARE", help="Stop after more than N failures or a share: 12, 0.05, 5%."
    ),
]
Update = Annotated[
    bool,
    typer.Option(
        "--update", help="Reuse a folder of another run: keep the records that are still valid, drop the others."
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Ask only the first N questions.")]
Sample = Annotated[
    int | None, typer.Option("--sample", min=1, metavar="N", help="Of these, ask N drawn at random with --seed.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of all random draws.")]
Turns = Annotated[int, typer.Option("--turns", min=1, metavar="N", help="Rounds in which the pipelines take turns.")]
Watch = Annotated[
    bool, typer.Option("--watch", help="Keep the index current while documents are added, changed or removed.")
]
Account = Annotated[
    bool, typer.Option("--account", help="Show every stage, the parts of the prompt, and what was dropped and why.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
AnswerOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the answer and its citations.")]


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Which pipeline runs, and what it searches."""

    config: Config = None
    docs: Docs = ()
    index: IndexFolder = None
    model: Model = None
    filter: Filter = None

    def pipeline(self) -> PipelineConfig:
        """The pipeline of the options. Raises ConfigError."""
        return with_filter(chosen_pipeline(self.config, self.model), self.filter)


def chosen_pipeline(path: str | None, model: str | None) -> PipelineConfig:
    """The pipeline of a file or a preset, with another model if one is given. Raises ConfigError."""
    config = default_config(path)
    return config if model is None else with_model(config, model)


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How questions are run in a batch that can be resumed."""

    executor: Executor = None
    retry: Retry = 3
    retry_errors: RetryErrors = False
    fail_on_error: FailOnError = None
    update: Update = False
