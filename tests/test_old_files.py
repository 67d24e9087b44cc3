"""Files that longthread wrote or read before `import longthread` was there (commit 7d70875) still open.

tests/old was made by that version: pipeline files with every setting that its components had, an index without vectors,
a run, a session, and calibrations. Nobody edits them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compressors.calibration import store as calibrations
from memory.hierarchical import Hierarchical
from pipeline.config import check_config, load_config
from pipeline.conversation.transcript import read_turns
from pipeline.errors import RunError
from pipeline.executors.folder import read_run
from pipeline.executors.run import RunOptions, run
from pipeline.executors.samples import read_samples
from pipeline.models import effective
from pipeline.models.scripted import ScriptedModel
from pipeline.pipeline import Pipeline
from pipeline.registry import ALIASES
from pipeline.types import Question
from pipeline.yaml import read_yaml
from tests.compressors.workbench import scripted_runtime
from tests.memory.talks import turn

OLD = Path(__file__).parent / "old"
NAMES = (
    "retrieve.dense", "retrieve.bm25", "retrieve.hybrid", "retrieve.given", "retrieve.hops", "rerank.gguf",
    "rerank.yes_no", "compress.sentences", "compress.exit", "compress.exit_mini", "compress.probe",
    "compress.surprisal", "compress.extensible", "compress.crag", "compress.highlight", "compress.reorder",
    "compress.chain", "compress.neighbours", "compress.protect", "compress.fallback", "compress.gate",
    "compress.route", "gate.support", "memory.hierarchical", "memory.none", "memory.window", "memory.full",
    "assemble.cited", "assemble.plain", "generate.llama", "generate.scripted",
)  # fmt: skip
"""The components of that version, by the names that they had."""


@pytest.mark.parametrize("path", sorted(OLD.glob("*.yaml")), ids=lambda path: path.name)
def test_a_pipeline_file_loads_with_its_settings(path: Path) -> None:
    _, faults = check_config(path)
    assert faults == []
    resolved = load_config(path).resolved()["stages"]
    for stage, now in zip(stages_of(path), resolved, strict=True):
        ((name, settings),) = stage.items()
        ((name_now, settings_now),) = now.items()
        assert name_now == ALIASES.get(name, name)
        plain = {key: value for key, value in settings.items() if isinstance(value, bool | int | float | str)}
        plain = {key: value for key, value in plain.items() if key not in ("of", "facts", "gist", "model")}
        assert {key: settings_now[key] for key in plain} == plain


def test_every_component_of_that_version_is_in_a_file() -> None:
    assert {name for name in NAMES if any(name in path.read_text() for path in OLD.glob("*.yaml"))} == set(NAMES)


def stages_of(path: Path) -> list[dict[str, dict[str, object]]]:
    """The stages as the file names them, each with its settings."""
    stages = read_yaml(path).value["stages"]
    return [{stage: {}} if isinstance(stage, str) else stage for stage in stages]


def test_an_index_is_searched(tmp_path: Path) -> None:
    index = shutil.copytree(OLD / "index", tmp_path / "index")
    with Pipeline(load_config(OLD / "words.yaml"), index) as pipeline:
        state = pipeline.ask(Question("Who keeps the bees?"))
    assert state.answer is not None
    assert state.answer.text == "Mira keeps the bees since 2019. [1]"
    assert Path(state.answer.citations[0].passage.source).name == "garden.txt"  # type: ignore[union-attr]


def test_a_run_is_read() -> None:
    records = read_run(OLD / "run")
    assert [(record.id, record.status) for record in records.records] == [("1", "ok"), ("2", "ok")]
    result = records.records[1].result
    assert result is not None
    assert result.text == "Mira keeps the bees since 2019. [1]"
    assert [entry.stage for entry in result.ledger.stages] == [
        "retrieve.bm25", "compress.reorder", "assemble.cited", "generate.scripted",
    ]  # fmt: skip


def test_a_run_goes_on_or_says_what_to_do(tmp_path: Path) -> None:
    """Its records belong to other settings if components have new ones since: the folder then stays as it is."""
    index = shutil.copytree(OLD / "index", tmp_path / "index")
    folder = shutil.copytree(OLD / "run", tmp_path / "run")
    samples = read_samples(folder / "questions.jsonl")
    config = replace(load_config(OLD / "words.yaml"), path="words.yaml")
    before = (folder / "records.jsonl").read_bytes()
    with pytest.raises(RunError, match="name another `output` folder, or bring this one up to date with `update`"):
        run(config, index, samples, folder, RunOptions())
    assert (folder / "records.jsonl").read_bytes() == before
    summary = run(config, index, samples, folder, RunOptions(update=True))
    assert (summary.n_ok, summary.n_failed, summary.n_missing) == (2, 0, 0)


def test_calibrations_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(OLD / "calibrations", tmp_path / "calibrations" / "scripted")
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    model = ScriptedModel()
    context = effective.stored(model)
    assert context is not None
    holds = context.tasks[0].holds
    assert holds is not None
    assert (holds.tokens, holds.hits, context.threshold) == (300, 19, 0.75)
    calibration = calibrations.stored(calibrations.ExitCalibration, model)
    assert calibration is not None
    assert (calibration.threshold, calibration.evidence.n_questions) == (0.4, 20)


QUESTIONS = [
    "When does the ferry leave?",
    "Who keeps the bees?",
    "How many cars does it carry?",
    "How many beehives are there?",
]


def test_a_session_goes_on(tmp_path: Path) -> None:
    folder = shutil.copytree(OLD / "session", tmp_path / "session")
    assert [turn.question for turn in read_turns(folder)] == QUESTIONS
    settings = Hierarchical(sensory_tokens=0, segment_tokens=20, dense_weight=0.0, summarise="extract")
    with scripted_runtime() as runtime:
        memory = settings.open(folder, runtime)
        memory.commit(turn(5, "Does it run in winter?", "It does."))
        recalled = memory.recall(Question("Who keeps the bees?"), runtime, 400)
        memory.close()
    assert [turn.question for turn in read_turns(folder)] == [*QUESTIONS, "Does it run in winter?"]
    assert "Mira keeps the bees since 2019." in " ".join(text.text for text in recalled.recalled)


def test_an_export_of_a_session_is_imported(tmp_path: Path) -> None:
    settings = Hierarchical(dense_weight=0.0, summarise="extract")
    with scripted_runtime() as runtime:
        memory = settings.open(tmp_path / "session", runtime)
        memory.import_(OLD / "session" / "export.jsonl")
        assert [turn.question for turn in memory.turns] == QUESTIONS
        memory.close()
