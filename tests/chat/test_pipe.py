"""The chat through a pipe: one answer a line, commands among the questions, exit code 2 where something failed."""

import json
import re
from pathlib import Path

import pytest

from cli.chat.command_types import Group
from cli.chat.commands import COMMANDS
from cli.chat.settings import DAMAGED
from pipeline.answers.citations import REFUSAL
from tests.chat.conftest import Talk

GROUPS = {name: command for name, command in COMMANDS.items() if isinstance(command, Group)}
TOWER = "When was the tower built?"
BOAT = "When does the boat sail?"


def test_an_answer_is_a_line_and_nothing_else_is_on_stdout(talk: Talk) -> None:
    done = talk(TOWER, "", BOAT)
    assert done.code == 0, done.err
    assert [line.rpartition(" [")[0] for line in done.lines] == [
        "The tower was built in 1612.",
        "The boat sails at nine.",
    ]


def test_paths_are_documents_like_those_of_docs(talk: Talk, documents: Path, scripted: Path) -> None:
    tower, boat = documents / "tower.md", documents / "boat.md"
    done = talk(TOWER, BOAT, extra=(str(tower), "--docs", str(boat), "--config", str(scripted)))
    assert done.code == 0, done.err
    assert [line.rpartition(" [")[0] for line in done.lines] == [
        "The tower was built in 1612.",
        "The boat sails at nine.",
    ]
    assert talk(TOWER, extra=()).lines == done.lines[:1], "the session keeps them"


def test_what_fails_is_said_the_rest_goes_on_and_the_code_is_2(talk: Talk) -> None:
    done = talk("/nosuch", TOWER)
    assert (done.code, len(done.lines)) == (2, 1)
    assert done.err == (
        "longthread: there is no command '/nosuch'; /help lists them; a question that begins with a slash needs a "
        "space or another slash before it\n"
    )


def test_a_session_goes_on_where_it_was_with_its_documents(talk: Talk) -> None:
    talk(TOWER)
    done = talk("/memory show", BOAT, extra=())
    assert done.code == 0, done.err
    assert "When was the tower built?" in done.lines[0]
    assert "The boat sails at nine." in done.lines[-1]


def test_a_follow_up_is_searched_for_in_words_that_stand_alone(talk: Talk) -> None:
    done = talk("When was the tower built?", "How much does its bell weigh?")
    assert "searching for: How much does the tower's bell weigh?" in done.err
    assert "'its' stands for something said before" in done.err
    assert "Its bell weighs two tons." in done.lines[1]


def test_undo_takes_the_rewriting_back_and_then_the_turn(talk: Talk) -> None:
    done = talk(TOWER, "And its bell?", "/undo", "/prompt", "/undo", "/memory show")
    assert done.code == 0, done.err
    assert done.err.count("searching for") == 2
    assert "searching for your own words: And its bell?" in done.err
    assert "Taken back: turn 2, And its bell?" in done.out
    assert "And its bell?" not in done.lines[-1]
    assert "When was the tower built?" in done.lines[-1]


def test_rewriting_can_be_switched_off(talk: Talk) -> None:
    done = talk("/set rewrite off", TOWER, "And its bell?")
    assert "searching for" not in done.err
    assert done.lines[0].split() == ["rewrite", "off"]


def test_what_the_model_saw_can_be_looked_at(talk: Talk) -> None:
    done = talk(TOWER, "/sources", "/prompt", "/diff", "/ledger")
    assert done.code == 0, done.err
    assert re.search(r"score after retrieve\.bm25; each has its own scale", done.out)
    assert re.search(r"\[1\] documents/tower\.md, line \d", done.out)
    assert re.search(r"\d+\.\d{3} \(#1\)", done.out)
    assert "<passage 1>" in done.out
    assert "+ [1]" in done.out
    assert re.search(r"prompt \d+ tokens = ", done.out)


@pytest.mark.parametrize("command", ["/sources", "/prompt", "/diff", "/ledger", "/retry", "/undo", "/edit"])
def test_without_an_answer_each_says_so(talk: Talk, command: str) -> None:
    done = talk(command)
    assert done.code == 2
    assert re.search("nothing (has been answered|was asked)", done.err)


def test_documents_come_and_go(talk: Talk, documents: Path, tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    (tmp_path / "my notes" / "well.md").write_text("The well is forty metres deep.\n")
    done = talk(
        "How deep is the well?",
        "/docs add my\\ notes",
        "How deep is the well?",
        "/docs remove documents",
        "/docs list",
        BOAT,
        "/docs remove documents",
    )
    assert done.lines[0] == REFUSAL
    assert "The well is forty metres deep." in done.out
    assert "1 named, 1 passage in 1 file" in done.out
    assert done.lines[-1] == REFUSAL
    assert done.code == 2
    assert "documents is not among the chat's documents: /docs list names them" in done.err


def test_a_chat_without_documents_is_a_conversation(talk: Talk, scripted: Path) -> None:
    done = talk("What is a comet?", "/docs", "/sources", extra=("--config", str(scripted)))
    assert "No documents: /docs add PATH" in done.out
    assert "no passages were found" in done.err


def test_what_is_forgotten_is_in_no_file(talk: Talk, tmp_path: Path) -> None:
    told = "Is the password of the boat zanzibar77?"
    talk(TOWER, told, BOAT)
    assert any(b"zanzibar77" in path.read_bytes() for path in files(tmp_path / "data"))
    done = talk("/memory forget matching zanzibar77", "/memory show", "/memory forget matching zanzibar77")
    assert "Forgotten, everywhere: turn 2." in done.out
    assert "nothing was forgotten" in done.err
    for folder in ("data", "cache"):
        assert not [path for path in files(tmp_path / folder) if b"zanzibar77" in path.read_bytes()]
    assert "When was the tower built?" in done.out


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_forget_by_turn_and_before_a_time(talk: Talk) -> None:
    done = talk(TOWER, BOAT, "/memory forget turn 1", "/memory show", "/memory forget before 2999-01-01", "/memory")
    assert done.code == 0, done.err
    assert "Forgotten, everywhere: turn 1." in done.out
    assert "Forgotten, everywhere: turn 2." in done.out
    assert done.lines[-1].startswith("Nothing is remembered yet")
    assert "takes 'turn NUMBER" in talk("/memory forget something").err


def test_memory_is_searched(talk: Talk) -> None:
    done = talk(TOWER, BOAT, "/memory search tower")
    assert "turn 1" in done.lines[2]
    assert "When was the tower built?" in done.out


def test_sessions_begin_fork_are_renamed_and_exported(talk: Talk, tmp_path: Path) -> None:
    done = talk(
        TOWER,
        "/session fork copy",
        BOAT,
        "/session resume s",
        "/session rename first",
        "/session new empty",
        "/session resume copy",
        "/session export out.jsonl",
        "/session list",
        "/session resume nowhere",
        "/session new first",
        "/session rename a/b",
    )
    assert done.code == 2
    assert done.err.count("\n") == 3
    assert "there is no session 'nowhere'" in done.err
    assert "there is a session 'first' already" in done.err
    assert "'a/b' cannot name a session" in done.err
    listed = {line[2:].split()[0]: line for line in done.lines if re.match(r"[* ] \w+ +\d+ turns?\b", line)}
    assert {name: line.split(" turn")[0].split()[-1] for name, line in listed.items()} == {
        "copy": "2",
        "first": "1",
        "empty": "0",
    }
    assert listed["copy"].startswith("*")
    turns = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["question"] for line in turns if line["kind"] == "turn"] == [TOWER, BOAT]


def test_save_writes_markdown_and_nothing_over(talk: Talk, tmp_path: Path) -> None:
    done = talk(TOWER, "/save talk.md", "/save talk.md", "/save nowhere/talk.md", "/save")
    text = (tmp_path / "talk.md").read_text()
    assert text.startswith("# s\n\n**When was the tower built?**")
    assert "The tower was built in 1612." in text
    assert "talk.md exists already: name another file" in done.err
    assert "there is no folder" in done.err
    assert "into which file? /save FILE" in done.err


def test_settings_are_listed_changed_checked_and_kept(talk: Talk) -> None:
    done = talk(
        "/set",
        "/set max_tokens 2",
        TOWER,
        "/ledger",
        "/set max_tokens none",
        "/set keys vim",
        "/set depth 3",
        "/set keys vi",
    )
    assert "max_tokens         64" in done.out
    assert "wrote 2 in" in done.out
    for pattern in (
        "max_tokens: .*valid integer",
        "keys: should be 'emacs' or 'vi', was: \"vim\"",
        "there is no setting 'depth'; there are: keys, rewrite",
    ):
        assert re.search(pattern, done.err), done.err
    again = talk("/set", extra=())
    assert "max_tokens         2" in again.out
    assert "keys               vi" in again.out


def test_the_pipeline_is_shown_and_changed(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(
        "index: {embedder: none}\nstages: [retrieve.bm25, assemble.cited, generate.scripted]\n"
    )
    done = talk("/config show", "/config use other.yaml", TOWER, "/config use nowhere.yaml", "/model use smollm2-135m")
    assert "retrieve.bm25" in done.out
    assert "retrieve.bm25 -> memory.hierarchical -> assemble.cited -> generate.scripted" in done.out
    assert "The tower was built in 1612. [1]" in done.lines
    assert "nowhere.yaml" in done.err
    assert "answers with generate.scripted" in done.err


def test_retry_and_edit_replace_the_last_turn(talk: Talk) -> None:
    done = talk(TOWER, "/retry", f"/edit {BOAT}", "/memory show", "/edit")
    assert done.lines[0] == done.lines[1]
    assert "The boat sails at nine." in done.lines[2]
    assert "tower" not in "".join(done.lines[3:])
    assert "/edit needs the new question after it" in done.err


def test_help_names_every_command_and_each_answers_to_it(talk: Talk) -> None:
    done = talk("/help")
    assert [line[1:].split()[0] for line in done.lines if line.startswith("/")] == list(COMMANDS)
    for group in GROUPS.values():
        text = talk(f"/help {group.name}").out
        assert all(f"/{group.name} {sub.name}" in text for sub in group.subs)
    assert "did you mean 'sources'" in talk("/help sourcs").err


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_wrong_sub_command_names_the_right_ones(talk: Talk, name: str) -> None:
    done = talk(f"/{name} nonsense")
    assert (done.code, done.out) == (2, "")
    assert f"there is no '/{name} nonsense'" in done.err
    assert all(sub.name in done.err for sub in GROUPS[name].subs)


def test_quit_ends_and_a_second_chat_on_a_session_is_refused(talk: Talk, tmp_path: Path) -> None:
    assert talk(TOWER, "/quit", BOAT).lines == talk(TOWER, session="other").lines
    from pipeline.conversation.sessions import lock_session, session_folder

    lock = lock_session(session_folder("s"))
    try:
        done = talk(TOWER)
    finally:
        lock.release()
    assert done.code == 2
    assert "s: another chat has this session" in done.err


def test_what_a_document_writes_cannot_drive_the_terminal(talk: Talk, documents: Path) -> None:
    (documents / "evil.md").write_text("The dragon is \x1b[2J\x1b]0;title\x07 green.\n")
    done = talk("Which colour is the dragon?", "/sources", "/prompt", "/diff", "/memory show")
    assert done.code == 0, done.err
    assert "dragon is" in done.out
    assert "\x1b" not in done.out
    assert "\x07" not in done.out


def test_a_damaged_chat_file_is_said_and_kept_and_the_chat_goes_on(talk: Talk, tmp_path: Path) -> None:
    talk(TOWER)
    path = tmp_path / "data" / "sessions" / "s" / "chat.json"
    path.write_text("{")
    done = talk("/set ledger on", TOWER, extra=())
    assert done.code == 0, done.err
    assert "chat.json cannot be read" in done.err
    assert "the chat uses its default settings" in done.err
    assert path.with_name(DAMAGED).read_text() == "{"
    assert talk(TOWER, extra=()).err == ""


def test_documents_that_are_gone_are_answered_from_as_they_were(talk: Talk, documents: Path, tmp_path: Path) -> None:
    talk(TOWER)
    documents.rename(tmp_path / "elsewhere")
    done = talk(TOWER, extra=())
    assert "The tower was built in 1612." in done.out
    assert "searched as it was" in done.err
    assert done.code == 2


def test_the_list_of_documents_says_what_is_known_and_a_filter_keeps_to_some(talk: Talk, documents: Path) -> None:
    (documents / "tower.md").write_text(
        "---\nauthor: Ada\ndate: 2024-05-17\n---\n# The tower\n\nIt was built in 1612.\n"
    )
    chosen = "/docs filter author=Ada and year>=2024"
    done = talk("/docs list", chosen, BOAT, "/docs list", "/docs filter", "/docs filter off", BOAT)
    assert done.code == 0, done.err
    assert re.search(r"documents/tower\.md  markdown, 2024-05-17, en, Ada: The tower$", done.out, re.MULTILINE)
    assert re.search(r"documents/boat\.md  markdown, \(\d{4}-\d\d-\d\d\), en, The boat$", done.out, re.MULTILINE)
    assert done.out.count("author=Ada and year>=2024: 1 of 2 documents searched") == 2
    assert "filter: author=Ada and year>=2024; /docs filter off searches all" in done.lines
    assert "No filter: all documents are searched." in done.lines
    assert "sails at nine" not in done.out.partition("No filter")[0]
    assert "The boat sails at nine." in done.lines[-1]


def test_a_filter_is_kept_with_the_session_and_a_wrong_one_changes_nothing(talk: Talk, scripted: Path) -> None:
    done = talk("/docs filter kind=pdf", "/docs filter knd=pdf", "/docs filter title='the boat'", BOAT, TOWER)
    assert done.code == 2
    assert "the filter 'kind=pdf' leaves none of 2 documents to search. What there is: kind is markdown" in done.err
    assert "did you mean 'kind'?" in done.err
    assert "The boat sails at nine." in done.out
    assert "1612" not in talk(TOWER, extra=()).out
    assert "1612" in talk("/docs filter off", TOWER, extra=()).out
    empty = talk("/docs filter kind=pdf", session="empty", extra=("--config", str(scripted)))
    assert "there are no documents to filter" in empty.err


def test_a_named_document_that_cannot_be_read_is_an_error_and_the_rest_is_asked(
    talk: Talk, documents: Path, scripted: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is all there is")
    extra = ("--docs", str(documents), "--docs", "broken.pdf", "--config", str(scripted))
    for arguments in (extra, ()):  # the session keeps its documents
        done = talk(TOWER, extra=arguments)
        assert done.code == 2
        assert "The tower was built in 1612." in done.out
        assert "longthread: broken.pdf: a broken PDF" in done.err
        assert f"--skipped --config {scripted} lists them" in done.err
