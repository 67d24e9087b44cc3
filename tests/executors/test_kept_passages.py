"""Passages are read once for all questions of a batch, for all pipelines of an evaluation, and for Ray's actors.

The model has random weights, and bytes for tokens: what is read and what is kept does not depend on weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.config.executor import ExecutorSettings
from pipeline.docs_index import update_index
from pipeline.executors.folder import read_run
from pipeline.executors.run import RunOptions, run
from pipeline.executors.samples import Sample
from pipeline.registry import make
from pipeline.types import Question
from tests.models.random_file import random_model

ROOT = Path(__file__).parent.parent.parent
INDEX = IndexSettings(embedder="none", chunk_tokens=60)
TEXTS = {
    "garden.md": "The Orla garden has seven beehives. Its keeper is Anselm Roe. " + "Bees fly to the limes. " * 6,
    "harbour.md": "The ferry to Skelby sails at seven. A ticket costs 14 marks. " + "Dogs travel free on deck. " * 6,
    "tower.md": "The tower is 48 metres high. It leans a little to the east. " + "Its bell rings at noon. " * 6,
}
ASKED = (
    "How high is the tower, and when does its bell ring?",
    "Who keeps the garden's beehives?",
    "What does a ticket for the ferry cost?",
    "When does the ferry sail to Skelby?",
    "Which way does the tower lean?",
    "Do dogs travel free on the ferry, and do bees fly to the tower?",
)


def config(model: str, k: int = 3, reuse: str = "passages", **executor: Any) -> PipelineConfig:
    settings = (("model", model), ("n_ctx", 4096), ("max_tokens", 4), ("n_seq_max", 2), ("threads", 1))
    stages = (
        make("retrieve.bm25", {"k": k}),
        make("assemble.cited", {"reuse": reuse, "layout": "brief"}),
        make("generate.llama", dict(settings)),
    )
    return PipelineConfig(f"k{k}-{reuse}.yaml", stages, INDEX, executor=ExecutorSettings(**executor))


def samples() -> list[Sample]:
    return [Sample(Question(text, f"q{n}")) for n, text in enumerate(ASKED)]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "docs").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "docs" / name).write_text(text)
    update_index(tmp_path / "index", [str(tmp_path / "docs")], INDEX, lambda *_: None)
    return tmp_path / "index"


def tokens(folder: Path) -> dict[str, int]:
    """Tokens of a run's prompts, in all: stored, restored and read."""
    batch = read_run(folder)
    assert not batch.failed, batch.failed[0].error
    generations = [record.result.to_dict()["ledger"]["generation"] for record in batch.records if record.result]
    names = ("prompt_tokens", "reused_tokens", "restored_tokens", "stored_tokens")
    total = {name: sum(one[name] for one in generations) for name in names}
    read = total["prompt_tokens"] - total["reused_tokens"] - total["restored_tokens"] + total["stored_tokens"]
    return total | {"read": read}


def test_several_pipelines_read_each_passage_once(index: Path, tmp_path: Path) -> None:
    model = str(random_model(tmp_path))
    kept, exact = [], []
    for n, (k, reuse) in enumerate(((3, "passages"), (2, "passages"), (1, "sentences"))):
        run(config(model, k, reuse), index, samples(), tmp_path / f"kept{n}", RunOptions("local"))
        run(config(model, k, "exact"), index, samples(), tmp_path / f"exact{n}", RunOptions("local"))
        kept.append(tokens(tmp_path / f"kept{n}"))
        exact.append(tokens(tmp_path / f"exact{n}"))
    assert kept[0]["stored_tokens"] > 0
    assert [one["stored_tokens"] for one in kept[1:]] == [0, 0]
    assert all(one["restored_tokens"] > 0 for one in kept)
    assert sum(one["read"] for one in kept) < 0.7 * sum(one["read"] for one in exact)


BATCH = """
import sys
from pathlib import Path
from pipeline.config.executor import StagePool
from pipeline.executors.on_ray.session import Session
from pipeline.executors.run import RunOptions, run
from tests.executors.test_kept_passages import config, samples
pipeline = config(sys.argv[3], 3, num_cpus=2, stages={"generate": StagePool(replicas=2, num_cpus=0.5)})
session = Session(pipeline.executor)
for n in range(2):
    summary = run(pipeline, Path(sys.argv[1]), samples(), Path(sys.argv[2]) / f"run{n}", RunOptions("ray"))
    print(summary.n_ok)
session.close()
"""


@pytest.mark.alone
def test_actors_of_ray_find_what_others_on_their_node_have_read(index: Path, tmp_path: Path) -> None:
    """Two generators on one node, on one Ray; the second run has others, which read no passage. The files are whole at
    the end.
    """
    model = str(random_model(tmp_path))
    command = [sys.executable, "-c", BATCH, str(index), str(tmp_path), model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=os.environ.copy())
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-2:] == ["6", "6"]
    first, second = (tokens(tmp_path / f"run{n}") for n in range(2))
    about = json.loads((tmp_path / "run1" / "run.json").read_text())
    assert about["executor"]["kind"] == "ray"
    assert first["stored_tokens"] > 0
    assert second["stored_tokens"] == 0
    assert second["restored_tokens"] > 0
    assert second["prompt_tokens"] == first["prompt_tokens"]
    # Two generators may have read the same passage at the same time. What is read beside passages depends a little on
    # which of them answers which question.
    assert second["read"] < first["read"] - first["stored_tokens"] / 2
    assert list((tmp_path / "cache" / "pieces").glob("*/*.kv"))
    assert not list((tmp_path / "cache" / "pieces").glob("*/*.part"))
