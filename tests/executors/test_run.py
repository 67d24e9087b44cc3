"""A batch and its folder: both executors keep the same promises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.answers.llama import Llama
from pipeline.config import PipelineConfig, load_config
from pipeline.contracts import Component
from pipeline.errors import ConfigError, DataError, RunError, StoreError
from pipeline.executors.folder import Run, read_run
from pipeline.executors.run import RunOptions, RunStatus, run
from pipeline.executors.samples import Sample
from pipeline.gguf.catalogue import resolve
from pipeline.pipeline import Pipeline
from pipeline.records import Record
from pipeline.registry import make, stage_name, with_settings
from pipeline.storage.hashes import file_sha256
from pipeline.types import Question
from tests.executors.conftest import Cluster, config, samples
from tests.models.random_file import random_model

MODEL = make(
    "generate.llama", {"model": "smollm2-135m", "n_ctx": 1024, "max_tokens": 8, "n_seq_max": 4, "use_tuned": False}
)


def reading(last: Component, *, compress: Component | None = None) -> PipelineConfig:
    """A pipeline whose model reads one passage."""
    retrieve, compressor, *others = config(last=last).stages
    return replace(config(), stages=(with_settings(retrieve, {"k": 1}), compress or compressor, *others))


@pytest.fixture(params=[1, pytest.param(0, marks=pytest.mark.thorough)], ids=["tiny", "real"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Llama:
    """A tiny model, in which a token is a byte; with `make thorough` SmolLM2-135M as well."""
    changes = {"model": str(random_model(tmp_path)), "n_ctx": 4096} if request.param else {}
    made = with_settings(MODEL, changes)
    assert isinstance(made, Llama)
    return made


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


LONG = Sample(Question("Which of the beehives " + "in the garden " * 200 + "is oldest?", "long"), {"gold": 9})
SMALL = make("generate.scripted", {"n_ctx": 300, "max_tokens": 8})
"""Its window is too small for the long question."""
NOT_ALONE = pytest.mark.parametrize(
    "executor", ["local", pytest.param("ray", marks=pytest.mark.thorough)], indirect=True
)
"""On Ray, where a run takes ten seconds, the test of one batch that keeps all these promises runs always."""


def test_one_batch_on_ray_has_answers_a_sample_that_raises_and_one_that_is_too_long(
    index: Path, tmp_path: Path, cluster: Cluster
) -> None:
    pipeline = config(trouble={"raise_on": "q2"}, last=SMALL)
    summary = run(pipeline, index, [*samples(9), LONG], tmp_path / "out", RunOptions("ray", retry=2))
    assert (summary.n_ok, summary.n_failed, summary.n_missing, summary.n_before) == (8, 2, 0, 0)
    found = read_run(tmp_path / "out")
    assert [record.id for record in found.records] == [*(f"q{n}" for n in range(9)), "long"]
    assert_all_is_known(found, pipeline, index, "ray", found.ok[:3])
    raised, long = found.failed
    assert raised.id == "q2"
    assert_always_raises(raised)
    assert_is_too_long(long)


@NOT_ALONE
def test_every_sample_has_one_record_with_all_that_is_known(index: Path, tmp_path: Path, executor: str) -> None:
    pipeline = config()
    summary = run(pipeline, index, samples(9), tmp_path / "out", RunOptions(executor))  # type: ignore[arg-type]
    assert (summary.n_ok, summary.n_failed, summary.n_missing, summary.n_before) == (9, 0, 0, 0)
    found = read_run(tmp_path / "out")
    assert [record.id for record in found.records] == [f"q{n}" for n in range(9)]
    assert_all_is_known(found, pipeline, index, executor, found.records[:3])


def assert_all_is_known(
    found: Run, pipeline: PipelineConfig, index: Path, executor: str, answered: Sequence[Record]
) -> None:
    """The places and fields of all records, what the run is, and that these answers are those of one by one."""
    assert [record.n for record in found.records] == list(range(len(found.records)))
    assert [record.fields for record in found.records] == [{"gold": n} for n in range(len(found.records))]
    assert found.about["config_hash"] == pipeline.hash
    assert found.about["executor"]["kind"] == executor
    assert found.about["model"] == {"name": "generate.scripted", "path": None, "sha256": None}
    assert len(answered) == 3
    with Pipeline(pipeline, index) as one_by_one:
        for record in answered:
            state = one_by_one.ask(Question(record.question, record.id))
            assert state.answer is not None
            result = record.result
            assert result is not None
            assert (result.text, record.n_retries, record.error) == (state.answer.text, 0, None)
            assert [passage.span for passage in result.shown] == [passage.span for passage in state.shown]
            assert result.ledger.parts == state.ledger.parts
            assert [entry.stage for entry in result.ledger.stages] == [stage_name(stage) for stage in pipeline.stages]
            assert "config" not in result.to_dict()


@NOT_ALONE
def test_a_sample_that_always_raises_is_one_error_and_the_rest_is_answered(
    index: Path, tmp_path: Path, executor: str
) -> None:
    options = RunOptions(executor, retry=2)  # type: ignore[arg-type]
    run(config(trouble={"raise_on": "q2"}), index, samples(6), tmp_path, options)
    found = read_run(tmp_path)
    assert [record.id for record in found.ok] == ["q0", "q1", "q3", "q4", "q5"]
    (failed,) = found.failed
    assert_always_raises(failed)


def assert_always_raises(failed: Record) -> None:
    """Of a run with two retries."""
    error = failed.error
    assert error is not None
    assert (error.type, error.message, error.stage) == ("RuntimeError", "this sample always fails", "compress.trouble")
    assert "Traceback" in error.trace
    assert (failed.n_retries, len(failed.attempts), failed.result) == (2, 2, None)


@NOT_ALONE
def test_what_would_fail_again_is_not_tried_again(index: Path, tmp_path: Path, executor: str) -> None:
    run(config(last=SMALL), index, [*samples(2), LONG], tmp_path, RunOptions(executor))  # type: ignore[arg-type]
    (failed,) = read_run(tmp_path).failed
    assert_is_too_long(failed)


def assert_is_too_long(failed: Record) -> None:
    assert failed.error is not None
    assert (failed.id, failed.error.type, failed.n_retries) == ("long", "WindowError", 0)
    assert failed.error.stage == "assemble.cited"
    assert "trace" not in failed.error.to_dict()


def test_a_run_goes_on_where_it_stopped(index: Path, tmp_path: Path, executor: str) -> None:
    calls = tmp_path / "calls"
    pipeline = config(trouble={"calls": str(calls)})
    options = RunOptions(executor)  # type: ignore[arg-type]
    run(pipeline, index, samples(4), tmp_path / "out", options)
    before = (tmp_path / "out" / "records.jsonl").read_bytes()
    with (tmp_path / "out" / "records.jsonl").open("ab") as file:
        file.write(before[:100])
    notes: list[str] = []
    summary = run(pipeline, index, samples(7), tmp_path / "out", options, on_note=notes.append)
    assert (summary.n_ok, summary.n_before, summary.n_missing) == (7, 4, 0)
    assert notes.pop(0) == (
        f"{tmp_path / 'out' / 'records.jsonl'}: the last line was torn (100 bytes, as a crash leaves it): it was "
        "dropped, and its sample is answered again"
    )
    assert len(notes) == (0 if executor == "local" else 4), "Ray says what its pools became"
    assert (tmp_path / "out" / "records.jsonl").read_bytes().startswith(before)
    assert sorted(calls.read_text().split()) == [f"q{n}" for n in range(7)], "none was asked twice"


def test_the_error_budget_stops_a_run_and_keeps_what_is_done(index: Path, tmp_path: Path, executor: str) -> None:
    bad = [replace(one, fault=f"line {n} is bad") if n in (1, 3) else one for n, one in enumerate(samples(6))]
    options = RunOptions(executor, fail_on_error=1)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="2 samples failed, and `fail_on_error` allows 1"):
        run(config(), index, bad, tmp_path, options)
    assert [one["id"] for one in lines(tmp_path)] == ["q1", "q3"]
    with pytest.raises(RunError, match="allows 20% of 6"):
        run(config(), index, bad, tmp_path / "b", replace(options, fail_on_error=0.2))
    assert run(config(), index, bad, tmp_path, replace(options, fail_on_error=0.5)).n_ok == 4


def test_failed_samples_are_tried_again_when_asked_for(index: Path, tmp_path: Path) -> None:
    options = RunOptions(retry=0)
    run(config(trouble={"raise_on": "q1"}), index, samples(3), tmp_path, options)
    run(config(trouble={"raise_on": "q1"}), index, samples(3), tmp_path, options)
    assert [record.status for record in read_run(tmp_path).records] == ["ok", "error", "ok"]
    again = run(config(trouble={"raise_on": "q1"}), index, samples(3), tmp_path, replace(options, retry_errors=True))
    assert (again.n_failed, again.n_before, len(lines(tmp_path))) == (1, 2, 3)


def test_a_folder_of_another_run_is_refused_or_brought_up_to_date(index: Path, tmp_path: Path) -> None:
    run(config(), index, samples(3), tmp_path)
    other = config(trouble={"delay": 0.001})
    with pytest.raises(
        RunError, match=r"holds a run of another pipeline \(.*; now: .*\): name another `output` folder, or .*`update`"
    ):
        run(other, index, samples(3), tmp_path)
    notes: list[str] = []
    run(other, index, samples(3), tmp_path, RunOptions(update=True), on_note=notes.append)
    assert "0 of 3 records still hold" in notes[0]
    asked = tmp_path / "q.jsonl"
    asked.write_text("1")
    folder = tmp_path / "inputs"
    run(config(), index, samples(3), folder, RunOptions(input=asked))
    asked.write_text("2")
    with pytest.raises(RunError, match="another input"):
        run(config(), index, samples(4)[1:], folder, RunOptions(input=asked))
    summary = run(config(), index, samples(4)[1:], folder, RunOptions(input=asked, update=True))
    assert (summary.n_ok, summary.n_before) == (3, 2)
    assert [(record.n, record.id) for record in read_run(folder).records] == [(0, "q1"), (1, "q2"), (2, "q3")]


def test_folders_that_cannot_be_used(index: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match=r"holds no run, but other files \(thesis.txt\)"):
        run(config(), index, samples(1), tmp_path / "mine")
    with pytest.raises(DataError, match="there is no run in this folder"):
        read_run(tmp_path)


def test_two_runs_do_not_share_a_folder(index: Path, tmp_path: Path) -> None:
    def try_too(status: RunStatus) -> None:
        with pytest.raises(RunError, match="another process is running into this folder"):
            run(config(), index, samples(2), tmp_path)

    run(config(), index, samples(2), tmp_path, on_status=try_too)


def test_what_is_missing_is_said_before_anything_is_answered(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"searches an index with retrieve.bm25: name your documents"):
        run(config(), None, samples(1), tmp_path / "a")
    with pytest.raises(StoreError, match="there is no index here"):
        run(config(), tmp_path / "none", samples(1), tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_status_adds_up(index: Path, tmp_path: Path) -> None:
    told: list[RunStatus] = []
    run(config(trouble={"raise_on": "q1"}), index, samples(4), tmp_path, RunOptions(retry=0), on_status=told.append)
    assert (told[-1].n_done, told[-1].n_ok, told[-1].n_failed, told[-1].n_samples) == (4, 3, 1, 4)
    assert told[-1].per_second > 0
    assert told[-1].seconds_left == 0
    assert told[-1].prompt_tokens > 0
    assert told[-1].answer_tokens > 0


def test_ctrl_c_keeps_what_is_done_and_frees_the_folder(index: Path, tmp_path: Path) -> None:
    def interrupt(status: RunStatus) -> None:
        if status.n_ok == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config(), index, samples(8), tmp_path, on_status=interrupt)
    assert len(lines(tmp_path)) == 2
    assert run(config(), index, samples(8), tmp_path).n_ok == 8


def test_the_engine_answers_several_at_a_time_as_it_answers_one(index: Path, tmp_path: Path, model: Llama) -> None:
    pipeline = reading(model)
    together = run(pipeline, index, samples(3), tmp_path / "together")
    alone = run(pipeline, index, samples(3), tmp_path / "alone", RunOptions(max_in_flight=1))
    assert (together.n_ok, alone.n_ok) == (3, 3)
    first, second = read_run(tmp_path / "together"), read_run(tmp_path / "alone")
    for one, other in zip(first.records, second.records, strict=True):
        assert one.result is not None
        assert other.result is not None
        a, b = one.result.ledger.generation, other.result.ledger.generation
        assert a is not None
        assert b is not None
        assert a.prompt_tokens == b.prompt_tokens == one.result.ledger.prompt_tokens
        assert one.result.shown == other.result.shown
    assert first.about["model"]["sha256"] == file_sha256(resolve(model.model_name))


def test_a_compressor_that_works_with_the_reader_waits_for_its_cells(index: Path, tmp_path: Path, model: Llama) -> None:
    """EXIT scores with the reader's own context, in which answers are under way: no sample may fail for that."""
    exit_ = make("compress.exit", {"window": 2048 if model.n_ctx == 4096 else 512, "threshold": 0.5})
    pipeline = reading(with_settings(model, {"n_cells": model.n_ctx}), compress=exit_)
    summary = run(pipeline, index, samples(3), tmp_path / "out", RunOptions(retry=0))
    assert summary.n_ok == 3, read_run(tmp_path / "out").failed


def test_soft_vectors_are_made_where_the_stage_is_and_read_where_the_model_is(
    index: Path, tmp_path: Path, executor: str
) -> None:
    """With Ray these are two processes, and the first one has the reader's file and no reader."""
    pipeline = reading(MODEL, compress=make("compress.extensible", {"k": 2}))
    summary = run(pipeline, index, samples(2), tmp_path, RunOptions(executor, retry=0))  # type: ignore[arg-type]
    found = read_run(tmp_path)
    assert summary.n_ok == 2, found.failed
    assert found.about["model"]["sha256"] == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    for record in found.records:
        assert record.result is not None
        ledger = record.result.ledger
        assert ledger.generation is not None
        n_vectors, n_tokens = ledger.soft
        n_passages = len(record.result.shown)
        assert n_passages < n_tokens / 2 < n_vectors <= n_tokens / 2 + 5 * n_passages  # halves, rounded up, and 4 each
        assert ledger.generation.prompt_tokens == ledger.prompt_tokens


def test_the_section_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    head = "stages: [retrieve.bm25, assemble.cited, generate.scripted]\nindex: {embedder: none}\n"
    path.write_text(head + "executor:\n  kind: ray\n  stages:\n    generate: {replicas: 2, num_cpus: 0.5}\n")
    found = load_config(path)
    assert found.executor.kind == "ray"
    assert found.executor.pool("generate.scripted").replicas == 2
    assert found.executor.pool("assemble.cited").replicas == "auto"
    path.write_text(head)
    assert load_config(path).hash == found.hash, "where a batch runs changes no answer"
    path.write_text(head + "executor:\n  stages:\n    generate: {replicas: 0}\n    compress.exit: {}\n")
    with pytest.raises(ConfigError, match=r"p.yaml:5: .*replicas must be at least 1"):
        load_config(path)
    path.write_text(head + "executor:\n  stages:\n    generat: {}\n")
    with pytest.raises(
        ConfigError, match=r"p.yaml:5: executor.stages.generat: .*no such stage, did you mean 'generate'"
    ):
        load_config(path)
