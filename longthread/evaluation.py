"""Pipelines on questions with known answers, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from longthread.pipeline import Paths, Pipeline, as_paths
from pipeline.errors import ConfigError
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.evaluate import EvalListener, EvalOptions, Method
from pipeline.evaluation.evaluate import evaluate as evaluate_methods
from pipeline.evaluation.runs import Measures


def evaluate(
    pipelines: Sequence[Pipeline],
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    docs: Paths = (),
    kind: str = "jsonl",
    sample: int | None = None,
    seed: int = 0,
    listener: EvalListener | None = None,
) -> list[Measures]:
    """Asks every pipeline the same questions and measures the answers, as `longthread eval` does.

        found = longthread.evaluate([p, q], "questions.jsonl", "out", docs="garden/")
        found[0].interval("f1")

    :param data: the file or folder of a data set, of one of the kinds of docs/evaluation.md.
    :param output: the folder for the records. A later call goes on there.
    :param docs: the documents to answer from, where the data set has none of its own.
    :param listener: who is told how far it is.
    :param sample: how many questions to draw, with `seed`; None: all.

    Raises ConfigError where two pipelines have the same name: give each its own with Pipeline(..., name=...).
    """
    names = [pipeline.name for pipeline in pipelines]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two pipelines are called '{name}': give each its own with Pipeline(..., name=...)")
    methods = [Method(name, pipeline.config) for name, pipeline in zip(names, pipelines, strict=True)]
    options = EvalOptions(sample=sample, seed=seed)
    return evaluate_methods(
        methods,
        read_data(kind, os.fspath(data)),
        Path(data),
        Path(output),
        options,
        listener or EvalListener(),
        as_paths(docs),
    )
