"""An indexer that is killed at any moment leaves files that are wholly there or not there, and a rerun completes it."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError
from pipeline.retrieval.manifest import Manifest
from pipeline.retrieval.vectors import Vectors
from pipeline.retrieval.word_index import WordIndex
from tests.retrieval.folders import contents, counts, generation, read, update, write
from tests.retrieval.letters import Letters
from tests.rounds import rounds

N_KILLS = 10
WORDS = "harbour seven grey herons keeper of the lamp salt stone noon north wall sacks patience sea".split()
INDEXER = """
import sys
from pathlib import Path
import chromadb
import pipeline.retrieval.update
from tests.retrieval.folders import update
from tests.retrieval.letters import Letters
pipeline.retrieval.update.GROUP_CHUNKS = 16
print("begin", flush=True)
update(Path(sys.argv[1]), Path(sys.argv[2]), Letters(pause_s=0.004))
print("done", flush=True)
"""


def page(seed: int) -> str:
    rng = random.Random(seed)
    return "\n\n".join(" ".join(rng.choices(WORDS, k=rng.randint(10, 40))) for _ in range(rng.randint(1, 8)))


def begin(index: Path, docs: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", INDEXER, str(index), str(docs)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def killed(index: Path, docs: Path, moment: float) -> bool:
    """Whether the indexer was still at work so many seconds after its beginning, when it is killed."""
    shutil.rmtree(index, ignore_errors=True)
    shutil.copytree(docs.parent / "before", index)
    process = begin(index, docs)
    time.sleep(moment)
    process.kill()
    said, _ = process.communicate()
    return process.returncode == -signal.SIGKILL and said == ""


def files_in(index: Path) -> dict[str, list[str]]:
    """The ids of each file's passages, in what an interrupted writer left, else in what is published."""
    unfinished = index / "unfinished"
    manifest = Manifest((unfinished if unfinished.exists() else generation(index)) / "manifest.sqlite")
    try:
        return {source: manifest.ids([source]) for source in manifest.sources()}
    finally:
        manifest.close()


def n_files(manifest: Path) -> int:
    """Of an index that another process writes."""
    db = sqlite3.connect(f"file:{manifest}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM files").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 files that an index knows; then 20 of them change, 5 go and 15 come."""
    folder = tmp_path_factory.mktemp("docs")
    write(folder, {f"{n:02}.txt": page(n) for n in range(40)})
    update(folder.parent / "before", folder, Letters())
    write(folder, {f"{n:02}.txt": page(n + 100) for n in (*range(20), *range(40, 55))})
    for n in range(20, 25):
        (folder / f"{n:02}.txt").unlink()
    return folder


@pytest.fixture(scope="module")
def undisturbed(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """What the index says when nothing happens to the indexer, and how long it works."""
    index = tmp_path_factory.mktemp("undisturbed") / "index"
    shutil.copytree(docs.parent / "before", index)
    process = begin(index, docs)
    started = time.monotonic()
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    seconds = time.monotonic() - started
    process.communicate()
    return contents(index, Letters()), seconds


@pytest.mark.parametrize("kill", rounds(range(N_KILLS), 3))
def test_a_killed_indexer_is_completed_by_a_rerun(
    docs: Path, undisturbed: tuple[dict[str, Any], float], kill: int, tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    index = tmp_path / "index"
    before: dict[str, list[str]] = files_in(docs.parent / "before")
    after: dict[str, list[str]] = {}
    for chunk, id_ in zip(expected["chunks"], expected["ids"], strict=True):
        after.setdefault(chunk.source, []).append(id_)

    moment = seconds * (kill + random.Random(kill).random()) / N_KILLS
    while not killed(index, docs, moment):
        moment *= 0.9  # it was quicker than the undisturbed one

    assert contents(index, Letters()) in (contents(docs.parent / "before", Letters()), expected)
    for source, ids in files_in(index).items():
        assert ids in (before.get(source), after.get(source)), f"{source} is counted half"
    update(index, docs, Letters())
    assert contents(index, Letters()) == expected


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["Vectors.add", "Manifest.replace", "Vectors.delete", "WordIndex.save"])
def test_an_interruption_between_two_steps_is_completed_by_a_rerun(
    docs: Path,
    undisturbed: tuple[dict[str, Any], float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    is_done: bool,
) -> None:
    """Right before and right after each step that writes: the moments that a random kill seldom meets."""
    index = tmp_path / "index"
    shutil.copytree(docs.parent / "before", index)
    owner: Any = {"Vectors": Vectors, "Manifest": Manifest, "WordIndex": WordIndex}[step.partition(".")[0]]
    method = step.partition(".")[2]
    real = getattr(owner, method)

    def interrupted(*arguments: Any) -> None:
        if is_done:
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.retrieval.update.GROUP_CHUNKS", 16)
        patch.setattr(owner, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            update(index, docs, Letters())
    assert contents(index, Letters()) == contents(docs.parent / "before", Letters())
    update(index, docs, Letters())
    assert contents(index, Letters()) == undisturbed[0]


def test_an_unfinished_index_is_not_searched_as_if_it_were_whole(docs: Path, tmp_path: Path) -> None:
    process = begin(tmp_path / "index", docs)
    manifest = tmp_path / "index" / "unfinished" / "manifest.sqlite"
    while not manifest.exists() or n_files(manifest) < 5:
        time.sleep(0.01)
    with pytest.raises(StoreError, match=rf"process \(pid {process.pid}\) is writing to this index.*wait for it"):
        read(tmp_path / "index", Letters())
    process.kill()
    process.communicate()
    with pytest.raises(StoreError, match=r"the index is unfinished.*run longthread index again with the same paths"):
        read(tmp_path / "index", Letters())
    done = len(files_in(tmp_path / "index"))
    assert counts(update(tmp_path / "index", docs, Letters())) == (50 - done, 0, 0, done, 0)


def test_an_interrupted_rebuild_holds_nothing_of_the_old(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    shutil.copytree(docs.parent / "before", index)

    class Interrupt(Letters):
        def embed(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update(index, docs, Interrupt(), rebuild=True)
    assert files_in(index) == {}
    assert contents(index, Letters()) == contents(docs.parent / "before", Letters())
    update(index, docs, Letters())
    update(tmp_path / "fresh", docs, Letters())
    assert contents(index, Letters()) == contents(tmp_path / "fresh", Letters())
