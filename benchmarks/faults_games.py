"""The games of benchmarks/faults.py: what a user does, and what must be there when a write of it went wrong."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import ROOT, Done, run

PHRASE = "zanzibar77"
PRESET = str(ROOT / "configs" / "offline.yaml")
LONGTHREAD = [sys.executable, "-m", "cli.main"]
QUESTIONS = (
    "When was the tower built?",
    "When does the boat sail?",
    "How many beehives does the garden have?",
    "How deep is the well?",
)
PAGES = {
    "tower.md": "# The tower\n\nThe tower was built in 1612. Its bell weighs two tons.\n",
    "boat.md": "# The boat\n\nThe boat sails at nine. It carries forty people.\n",
    "garden.md": "# The garden\n\nThe garden has seven beehives. Anselm Roe keeps them.\n",
}
NEW_PAGES = {
    "boat.md": "# The boat\n\nThe boat sails at ten. It carries fifty people.\n",
    "well.md": "# The well\n\nThe well is forty metres deep.\n",
}
FORGET = f"/memory forget matching {PHRASE}\n"
SHOW = "/memory show\n"
SNAPSHOT = """
import sys
from pathlib import Path
from pipeline.errors import ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Sampling
text = "The ferry crosses the strait twice a day, at seven and at four, as long as the wind is in the west. " * 4
with open_engine(EngineSettings(n_ctx=512), resolve("smollm2-135m")) as engine:
    n = engine.restore(text)
    assert n in (0, engine.count_text(text)), n
    answer = engine.generate([text], Sampling(max_tokens=8, temperature=0))[0].result().text
    try:
        engine.snapshot(text)
    except ModelError as error:
        sys.exit(f"{error}")
    print(answer)
"""


# ------------------------------------------------------------------------------------------------------------ the place
@dataclass(frozen=True)
class Place:
    """A user's home and what commands make, below `folder`; documents and questions are in `shared`, and stay there.

    An index and a run are of documents by their paths, so copies of a place share them.
    """

    folder: Path
    shared: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def docs(self) -> Path:
        return self.shared / "docs"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "LONGTHREAD_"))}
        own = {"HOME": str(self.home), "LONGTHREAD_CACHE": str(self.home / "cache"), "COLUMNS": "200"}
        return {**kept, **own, "LONGTHREAD_CONFIG": str(self.home / "config"), "PYTHONWARNINGS": "ignore"}

    def longthread(self, *arguments: str, input_text: str = "") -> Done:
        return run([*LONGTHREAD, *arguments], self.environment, input_text)

    def copy(self, folder: Path) -> Place:
        """The same home elsewhere."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder, self.shared)

    def session_folder(self) -> Path:
        """Wherever this version keeps its sessions."""
        return next(self.home.rglob("session.sqlite")).parent

    def files_with(self, text: str) -> list[Path]:
        needle = text.encode()
        return [path for path in self.home.rglob("*") if path.is_file() and needle in path.read_bytes()]


def begin(folder: Path) -> Place:
    """The first place of a game, in a folder of the game's own."""
    place = Place(folder / "template", folder / "shared")
    place.home.mkdir(parents=True)
    place.docs.mkdir(parents=True)
    for name, text in PAGES.items():
        (place.docs / name).write_text(text)
    lines = [json.dumps({"id": f"q{n}", "question": text}) for n, text in enumerate(QUESTIONS)]
    (place.shared / "questions.jsonl").write_text("\n".join(lines) + "\n")
    known = (("Q1", QUESTIONS[0], "1612"), ("Q2", QUESTIONS[1], "nine"), ("Q3", QUESTIONS[2], "seven"))
    items = [json.dumps({"id": id_, "question": text, "answers": [answer]}) for id_, text, answer in known]
    (place.shared / "items.jsonl").write_text("\n".join(items) + "\n")
    sweep = f"pipeline: {PRESET}\ndata: items.jsonl\ndocs: [docs]\nkind: jsonl\nvary: {{retrieve.bm25.k: [1, 4]}}\n"
    (place.shared / "sweep.yaml").write_text(sweep)
    return place


def change_documents(place: Place) -> None:
    for name, text in NEW_PAGES.items():
        (place.docs / name).write_text(text)
    (place.docs / "garden.md").unlink()


# ------------------------------------------------------------------------------------------------------------ the games
@dataclass(frozen=True)
class Game:
    """A command whose writes go wrong.

    `prepare` makes the files that it begins from. `outcome` runs the command again without a fault and gives what the
    user then has, as plain values; it raises AssertionError where something is lost or stuck. `check` looks at what the
    disturbed command left.
    """

    name: str
    prepare: Callable[[Place], None]
    command: Callable[[Place], Sequence[str]]
    outcome: Callable[[Place], Any]
    input_text: str = ""
    check: Callable[[Place, Done], None] = lambda place, done: None


def succeed(done: Done) -> Done:
    assert done.code == 0, f"exit code {done.code}: {done.err.strip()[-400:]}"
    return done


def answer_of(done: Done) -> Any:
    """What the user is told, without seconds."""
    record = json.loads(succeed(done).out)
    return {name: record[name] for name in ("answer", "is_abstention", "citations", "shown")}


# index
def index_command(place: Place) -> list[str]:
    return [*LONGTHREAD, "index", str(place.docs), "--index", str(place.out), "-c", PRESET, "-q"]


def prepare_index(place: Place) -> None:
    index_first(place)
    change_documents(place)


def ask_index(place: Place, question: str = QUESTIONS[1]) -> Done:
    return place.longthread("ask", question, "--index", str(place.out), "-c", PRESET, "--json", "-q")


def index_outcome(place: Place) -> Any:
    succeed(run(index_command(place), place.environment))
    return relative([answer_of(ask_index(place, question)) for question in QUESTIONS[1::2]], place)


def check_index(place: Place, done: Done) -> None:
    """Until it is run again the index answers with what it had, or says that it is unfinished."""
    asked = ask_index(place)
    assert not asked.has_traceback, asked.err[-400:]
    assert asked.code in (0, 2), f"exit code {asked.code}"
    assert asked.code == 2 or "nine" in asked.out or "ten" in asked.out, asked.out[:300]


def relative(value: Any, place: Place) -> Any:
    return json.loads(json.dumps(value).replace(str(place.folder), "PLACE"))


# run
def run_command(place: Place) -> list[str]:
    paths = ("--input", str(place.shared / "questions.jsonl"), "--output", str(place.out), "--docs", str(place.docs))
    return [*LONGTHREAD, "run", PRESET, *paths, "-q"]


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The whole lines."""
    path = folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def run_outcome(place: Place) -> Any:
    before = records_of(place.out)
    succeed(run(run_command(place), place.environment))
    records = records_of(place.out)
    assert records[: len(before)] == before, "a record that was there is gone or was answered again"
    return answers_of(records, place)


def answers_of(records: list[dict[str, Any]], place: Place) -> Any:
    kept = sorted((one["n"], one["id"], one["status"], one["record"]["answer"]) for one in records)
    return relative(kept, place)


# chat, forget, retry
def chat_command(place: Place) -> list[str]:
    return [*LONGTHREAD, "chat", "--session", "s", "--docs", str(place.docs), "-c", PRESET]


def chat(place: Place, text: str) -> Done:
    return run(chat_command(place), place.environment, text)


def turns_of(done: Done) -> list[str]:
    """The questions in /memory show, in their order."""
    return [line for line in succeed(done).out.splitlines() if any(question in line for question in QUESTIONS)]


def chat_outcome(place: Place) -> Any:
    shown = succeed(chat(place, SHOW)).out
    missing = [question for question in QUESTIONS if question not in shown]
    shown = succeed(chat(place, "".join(f"{question}\n" for question in missing) + SHOW)).out
    return [shown.count(question) for question in QUESTIONS]


def check_chat(place: Place, done: Done) -> None:
    """Every turn whose answer was printed is there."""
    n_answers = sum(line.strip() != "" for line in done.out.splitlines(keepends=True) if line.endswith("\n"))
    shown = succeed(chat(place, SHOW)).out
    lost = [question for question in QUESTIONS[:n_answers] if question not in shown]
    assert not lost, f"answered and lost: {lost}"


def prepare_forget(place: Place) -> None:
    """Turns that hold the secret, and typed lines that hold it in other ways, as a terminal keeps them."""
    from cli.chat.typed import Typed

    told = f"Is the password of the boat {PHRASE}?"
    succeed(chat(place, f"{QUESTIONS[0]}\n{told}\n{QUESTIONS[1]}\n"))
    typed = Typed(place.session_folder())
    for line in (QUESTIONS[0], told, f"/memory search {PHRASE}", f"/edit {PHRASE}", QUESTIONS[1]):
        typed.store_string(line)


def forget_outcome(place: Place) -> Any:
    done = chat(place, SHOW + FORGET + SHOW)  # opening it again finishes what was begun
    assert done.code == 0 or "nothing was forgotten" in done.err, done.err[-300:]
    assert not done.has_traceback, done.err[-400:]
    left = place.files_with(PHRASE)
    assert not left, "left over in " + ", ".join(path.relative_to(place.folder).as_posix() for path in left)
    return [done.out.count(question) for question in QUESTIONS]


def prepare_retry(place: Place) -> None:
    succeed(chat(place, f"{QUESTIONS[0]}\nIs the password of the boat {PHRASE}?\n"))


def retry_outcome(place: Place) -> Any:
    shown = succeed(chat(place, f"{SHOW}/retry\n")).out
    assert QUESTIONS[0] in shown, "the first turn is gone"
    assert PHRASE in shown, "the turn that was asked again is gone"
    return forget_outcome(place)


# snapshot, eval, sweep
def snapshot_command(place: Place) -> list[str]:
    return [sys.executable, "-c", SNAPSHOT]


def snapshot_outcome(place: Place) -> Any:
    first = succeed(run(snapshot_command(place), place.environment)).out
    assert first == succeed(run(snapshot_command(place), place.environment)).out, "the snapshot gives another answer"
    return first


def eval_command(place: Place) -> list[str]:
    paths = ("--data", str(place.shared / "items.jsonl"), "--kind", "jsonl", "--docs", str(place.docs))
    return [*LONGTHREAD, "eval", PRESET, *paths, "--output", str(place.out), "-q"]


def eval_outcome(place: Place) -> Any:
    succeed(run(eval_command(place), place.environment))
    assert (place.out / "report.html").stat().st_size > 1000, "no report"
    return answers_of(records_of(place.out / "offline"), place)


def check_eval(place: Place, done: Done) -> None:
    report = place.longthread("report", str(place.out))
    assert not report.has_traceback, report.err[-400:]


def sweep_command(place: Place) -> list[str]:
    return [*LONGTHREAD, "sweep", str(place.shared / "sweep.yaml"), "--output", str(place.out), "-q"]


def sweep_outcome(place: Place) -> Any:
    succeed(run(sweep_command(place), place.environment))
    variants = json.loads((place.out / "sweep.json").read_text())["variants"]
    folders = sorted(path.parent for path in place.out.rglob("records.jsonl"))
    return [len(variants), *(answers_of(records_of(folder), place) for folder in folders)]


def nothing(place: Place) -> None:
    pass


GAMES = (
    Game("index", prepare_index, index_command, index_outcome, check=check_index),
    Game("run", nothing, run_command, run_outcome),
    Game("chat", nothing, chat_command, chat_outcome, "\n".join(QUESTIONS) + "\n", check_chat),
    Game("forget", prepare_forget, chat_command, forget_outcome, FORGET),
    Game("retry", prepare_retry, chat_command, retry_outcome, "/retry\n"),
    Game("snapshot", nothing, snapshot_command, snapshot_outcome),
    Game("eval", nothing, eval_command, eval_outcome, check=check_eval),
    Game("sweep", nothing, sweep_command, sweep_outcome, check=check_eval),
)


# -------------------------------------------------------------------------------------------------------- damaged files
@dataclass(frozen=True)
class Target:
    """Files of ours that are damaged one at a time, and the command that reads them back."""

    name: str
    prepare: Callable[[Place], None]
    files: Callable[[Place], list[Path]]
    read: Callable[[Place], tuple[Done, Any]]


def prepare_run(place: Place) -> None:
    succeed(run(run_command(place), place.environment))


def read_run(place: Place) -> tuple[Done, Any]:
    done = run(run_command(place), place.environment)
    return done, answers_of(records_of(place.out), place) if done.code == 0 else None


def read_index(place: Place) -> tuple[Done, Any]:
    done = ask_index(place)
    return done, relative(answer_of(done), place) if done.code == 0 else None


def prepare_session(place: Place) -> None:
    prepare_forget(place)


def read_session(place: Place) -> tuple[Done, Any]:
    """Without naming documents or a pipeline: what chat.json says is used."""
    command = [*LONGTHREAD, "chat", "--session", "s"]
    done = run(command, place.environment, f"{SHOW}{QUESTIONS[2]}\n/config show\n")
    return done, relative(done.out, place)


def below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def index_first(place: Place) -> None:
    succeed(run(index_command(place), place.environment))


TARGETS = (
    Target("run", prepare_run, lambda place: below(place.out), read_run),
    Target("index", index_first, lambda place: below(place.out), read_index),
    Target("session", prepare_session, lambda place: below(place.session_folder()), read_session),
)
