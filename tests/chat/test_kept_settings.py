"""What is wrong changes nothing: it is said, the chat goes on as it was, and the next chat does too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chat.conftest import Talk

TOWER = "When was the tower built?"


def kept(tmp_path: Path, session: str = "s") -> dict[str, Any]:
    path = tmp_path / "data" / "sessions" / session / "chat.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    (tmp_path / "well.md").write_text("The well is forty metres deep.\n")
    (tmp_path / "broken.docx").write_bytes(b"PK no document")
    (tmp_path / "empty").mkdir()
    return tmp_path / "well.md"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("wel.md", "no such file or folder, did you mean"),
        ("empty", "holds nothing to read"),
        ("*.nothing", "the pattern matches nothing"),
        ("broken.docx", "broken.docx"),
        ("well.md nowhere.md", "nowhere.md: no such file"),
    ],
)
def test_documents_that_cannot_be_added_change_nothing(
    talk: Talk, tmp_path: Path, other: Path, path: str, said: str
) -> None:
    talk(TOWER)
    before = kept(tmp_path)
    done = talk(f"/docs add {path}", TOWER, extra=())
    assert (done.code, done.lines[-1]) == (2, "The tower was built in 1612. [1]")
    assert said in done.err
    assert "nothing was changed" in done.err
    assert kept(tmp_path) == before
    done = talk("/docs add well.md", "How deep is the well?", TOWER, extra=())
    assert done.code == 0, done.err
    assert "The well is forty metres deep." in done.out
    assert "The tower was built in 1612." in done.out


def test_documents_that_went_are_named_and_can_be_taken_off(
    talk: Talk, tmp_path: Path, documents: Path, other: Path
) -> None:
    talk("/docs add well.md")
    (tmp_path / "more.md").write_text("The mill has four sails.\n")
    other.unlink()
    done = talk("/docs add more.md", "/docs remove well.md", "/docs add more.md", "How many sails?", extra=())
    assert "well.md: no such file or folder" in done.err
    assert "/docs remove well.md takes it off the list; nothing was changed" in done.err
    assert "The mill has four sails." in done.out
    assert kept(tmp_path)["docs"] == [str(documents), str(tmp_path / "more.md")]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/set max_tokens 5000", "nothing is left for the question"),
        ("/set n_ctx 20", "nothing is left for the question"),
        ("/config use wide.yaml", "budget.window is 9000, but the context of"),
        ("/model use nowhere.gguf", "answers with generate.scripted"),
    ],
)
def test_settings_that_no_question_would_survive_change_nothing(
    talk: Talk, tmp_path: Path, command: str, said: str
) -> None:
    (tmp_path / "wide.yaml").write_text(
        "index: {embedder: none}\nbudget: {window: 9000}\nstages: [retrieve.bm25, assemble.cited, generate.scripted]\n"
    )
    talk(TOWER)
    before = kept(tmp_path)
    done = talk(command, TOWER, extra=())
    assert (done.code, done.lines) == (2, ["The tower was built in 1612. [1]"])
    assert said in done.err
    assert kept(tmp_path) == before
    assert talk(TOWER, extra=()).code == 0


def test_another_window_counts_from_the_next_question(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "narrow.yaml").write_text(
        "index: {embedder: none}\nbudget: {window: 700}\nstages: [retrieve.bm25, assemble.cited, generate.scripted]\n"
    )
    done = talk(TOWER, "/ledger", "/set n_ctx 1000", TOWER, "/ledger", "/config use narrow.yaml", TOWER, "/ledger")
    assert done.code == 0, done.err
    places = [done.out.index(f"{window}") for window in ("4096", "1000", "700")]
    assert places == sorted(places)


def test_a_wrong_index_on_the_command_line_is_not_kept(talk: Talk, tmp_path: Path) -> None:
    talk(TOWER)
    before = kept(tmp_path)
    done = talk(TOWER, extra=("--index", "nowhere"))
    assert done.code == 2
    assert "there is no index here" in done.err
    assert kept(tmp_path) == before
    assert talk(TOWER, extra=()).lines == ["The tower was built in 1612. [1]"]


def test_a_fork_that_still_holds_it_is_named_and_forgets_at_a_yes(talk: Talk, tmp_path: Path) -> None:
    secret = "Is the password of the boat zanzibar77?"  # noqa: S105 - a question
    talk(TOWER, secret, "/session fork copy")
    done = talk("/memory forget matching zanzibar77", "yes", "/memory forget matching zanzibar77", extra=())
    assert "Forgotten in this session: turn 2." in done.out
    assert "Another session still holds it: copy (turn 2). Forget it there too? yes or no" in done.out
    assert "Forgotten in the session copy too: turn 2." in done.out
    assert "nothing was forgotten" in done.err
    for folder in ("data", "cache"):
        held = [path for path in (tmp_path / folder).rglob("*") if path.is_file() and b"zanzibar" in path.read_bytes()]
        assert held == []


@pytest.mark.parametrize("answer", ["no", "/sources", "When does the boat sail?"])
def test_without_a_yes_it_stays_in_the_fork(talk: Talk, tmp_path: Path, answer: str) -> None:
    talk(TOWER, "/session fork copy")
    done = talk("/memory forget turn 1", answer, "yes", extra=())
    assert "still holds it: copy (turn 1)" in done.out
    assert "Forgotten in the session copy" not in done.out
    assert TOWER in talk("/memory show", session="copy", extra=()).out


def test_a_kill_between_memory_and_typed_lines_is_finished(talk: Talk, tmp_path: Path) -> None:
    from pipeline.conversation.sessions import session_folder
    from pipeline.conversation.transcript import Transcript
    from pipeline.conversation.typed import TypedLine, append_typed

    talk(TOWER)
    folder = session_folder("s")
    append_typed(folder, TypedLine("/edit My password is zanzibar77", 2))
    transcript = Transcript(folder)  # the turn is gone already, the line is not
    transcript.close()
    done = talk("/memory forget matching zanzibar77", extra=())
    assert done.code == 0, done.err
    assert "Forgotten, everywhere: 1 typed line." in done.out
    assert b"zanzibar77" not in (folder / "typed.jsonl").read_bytes()


def test_a_damaged_chat_json_costs_the_settings_and_not_the_chat(talk: Talk, tmp_path: Path, scripted: Path) -> None:
    talk(TOWER, "/set max_tokens 99")
    path = tmp_path / "data" / "sessions" / "s" / "chat.json"
    damaged = path.read_text().replace('"docs"', '"dogs"')
    path.write_text(damaged)
    done = talk("/memory show", extra=("--config", str(scripted)))
    assert done.code == 0
    assert TOWER in done.out
    assert "its checksum does not agree" in done.err
    assert "the chat uses its default settings, so name its documents and its model again" in done.err
    assert path.with_name("chat.json.damaged").read_text() == damaged
    assert kept(tmp_path)["docs"] == []
    done = talk(TOWER, "/memory forget matching tower")
    assert (done.code, done.err) == (0, "")
    assert not path.with_name("chat.json.damaged").exists()


def test_a_damaged_chat_json_is_said_where_a_session_is_resumed(talk: Talk, tmp_path: Path) -> None:
    talk(TOWER)
    path = tmp_path / "data" / "sessions" / "s" / "chat.json"
    path.write_text("{")
    done = talk("/session resume s", "/docs list", session="other")
    assert done.code == 0
    assert "chat.json cannot be read" in done.err
    assert "No documents: /docs add PATH" in done.out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("grammar", "root ::= (", "grammar: llama.cpp cannot read it"),
        ("grammar", 'other ::= "a"', "grammar: llama.cpp cannot read it"),
        ("json_schema", '{"type": "no such type"}', "json_schema: llama.cpp cannot turn it into a grammar"),
        ("logit_bias", '[{"token": "two tokens at least", "bias": 1}]', "is not one token"),
    ],
)
def test_a_setting_that_the_model_refuses_is_not_kept(
    talk: Talk, tmp_path: Path, name: str, content: str, message: str
) -> None:
    """The model that comes along has to read them: that is done before they are stored."""
    model = tmp_path / "model.yaml"
    model.write_text(
        "index: {embedder: none}\n"
        "stages: [retrieve.bm25: {k: 1}, memory.window, assemble.cited, "
        "generate.llama: {model: smollm2-135m, n_ctx: 1024, max_tokens: 16}]\n"
    )
    (tmp_path / "file").write_text(content)
    value = content if name == "logit_bias" else str(tmp_path / "file")
    done = talk("/ledger", f"/set {name} {value}", f"/set {name}", extra=("--config", str(model)))
    assert done.code == 2
    assert message in done.err
    assert done.lines[-1].split() in ([name, "None"], [name, "[]"], [name, "()"])
    assert json.loads(kept(tmp_path)["answering"]) == {}
