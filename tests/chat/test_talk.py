"""What is said to a chat besides questions and commands, in three languages: greetings, summaries, corrections."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.chat.earlier import n_questions_with_this_answer
from tests.chat.conftest import Talk

TOWER = "When was the tower built?"
BOAT = "When does the boat sail?"

SMALL_TALK = {
    "hello": "Hello. Ask about",
    "Hi there!": "Hello. Ask about",
    "Good morning, longthread": "Hello. Ask about",
    "Guten Tag!": "Guten Tag. Fragen Sie nach",
    "hallo": "Guten Tag. Fragen Sie nach",
    "Merhaba": "Merhaba. ",
    "İyi günler": "Merhaba. ",
    "thanks": "You are welcome.",
    "Ok, thank you very much!": "You are welcome.",
    "Danke schön": "Gern geschehen.",
    "teşekkür ederim": "Rica ederim.",
    "yes": "Yes to what?",
    "OK": "Yes to what?",
    "ja": "Ja wozu?",
    "Evet.": "Neye evet?",
    "no": "What did you mean?",
    "Nein!": "Was war gemeint?",
    "hayır": "Ne demek istediniz?",
}


@pytest.mark.parametrize(("line", "answer"), SMALL_TALK.items())
def test_small_talk_is_answered_without_the_model_and_is_no_turn(talk: Talk, line: str, answer: str) -> None:
    done = talk(line, "/memory show", "/prompt")
    assert done.lines[0].startswith(answer)
    assert done.lines[1].startswith("Nothing is remembered yet")
    assert done.err == (
        "longthread: nothing has been answered since this session was opened: ask something first\n"  # by the model
    )


def test_a_greeting_names_the_documents(talk: Talk) -> None:
    assert "boat.md, tower.md" in talk("hello").out
    assert "'summarise boat.md'" in talk("hello").out


def test_small_talk_is_not_glued_to_the_next_question(talk: Talk) -> None:
    done = talk(TOWER, "thanks!", "hello", "yes", "And its bell?")
    assert "searching for: And the tower's bell?" in done.err
    assert done.err.count("searching for") == 1
    done = talk("hello", "And its bell?", session="other")
    assert "searching for" not in done.err


def test_small_talk_of_an_older_session_is_not_gone_on_from(talk: Talk, tmp_path: Path) -> None:
    from pipeline.conversation.sessions import session_folder
    from pipeline.conversation.transcript import Transcript
    from pipeline.types import Turn

    transcript = Transcript(session_folder("old"))
    transcript.commit(Turn(1, TOWER, "The tower was built in 1612.", "2026-01-01T00:00:00+00:00"))
    transcript.commit(Turn(2, "thanks", "The documents do not say.", "2026-01-01T00:00:01+00:00"))
    transcript.close()
    assert "searching for: When was the tower built? Why?" in talk("Why?", session="old").err


def test_a_greeting_before_a_question_is_not_searched_for(talk: Talk) -> None:
    done = talk("Hello, when was the tower built?", "Thanks. And its bell?", "/memory show")
    assert "1612" in done.lines[0]
    assert "searching for: And the tower's bell?" in done.err
    assert "Hello, when was the tower built?" in done.out  # the turn keeps the person's words


@pytest.mark.parametrize("line", ["exit", "quit", "Bye!", "exit()", "tschüss", "Auf Wiedersehen", "çıkış", "hoşça kal"])
def test_the_words_for_leaving_leave(talk: Talk, line: str) -> None:
    done = talk(line, TOWER)
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("line", ["help", "?", "What can you do?", "Hilfe", "yardım"])
def test_help_without_a_slash_shows_the_commands(talk: Talk, line: str) -> None:
    done = talk(line)
    assert any(text.startswith("/docs") for text in done.lines)
    assert any(text.startswith("/quit") for text in done.lines)


def test_yes_answers_a_question_that_the_model_asked(talk: Talk, documents: Path) -> None:
    (documents / "riddle.md").write_text("The riddle of the heron is this: do you want the heron again?\n")
    done = talk("What is the riddle of the heron?", "yes")
    assert "it answers the last answer's question" in done.err
    assert "searching for: What is the riddle of the heron?" in done.err


# ----------------------------------------------------------------------------------------------------------- the files
@pytest.mark.parametrize(
    ("line", "head"),
    [
        ("which files do you have?", "2 documents, 2 passages:"),
        ("What documents are there?", "2 documents, 2 passages:"),
        ("list your documents", "2 documents, 2 passages:"),
        ("How many files do you have?", "2 documents, 2 passages:"),
        ("Welche Dateien hast du?", "2 Dokumente, 2 Abschnitte:"),
        ("Welche Dokumente gibt es?", "2 Dokumente, 2 Abschnitte:"),
        ("Hangi belgeler var?", "2 belge, 2 parça:"),
        ("dosyaları listele", "2 belge, 2 parça:"),
    ],
)
def test_the_files_are_listed_from_the_index(talk: Talk, line: str, head: str) -> None:
    (answer,) = talk(line).lines
    assert answer.startswith(f"{head} - documents/boat.md, 1 ")
    assert "documents/tower.md, 1 " in answer


def test_a_question_about_documents_is_no_wish_for_the_list(talk: Talk) -> None:
    assert "passages:" not in talk("Which documents do I need for the boat?").out


def test_docs_list_shows_files_and_what_was_skipped(talk: Talk, documents: Path) -> None:
    (documents / "empty.txt").write_text("")
    (documents / "photo.jpg").write_bytes(b"\xff\xd8\xff\x00binary")
    done = talk("/docs list", "/docs list --skipped", "/docs list nonsense", "which files do you have?")
    assert any(line.startswith("1  documents/boat.md  markdown, (") for line in done.lines)
    assert "1 named, 2 passages in 2 files; 2 not read: /docs list --skipped" in done.lines
    assert "  documents/empty.txt" in done.lines
    assert "  documents/photo.jpg" in done.lines
    assert "empty" in done.out
    assert "2 files were not read" in done.lines[-1]
    assert "there is no 'nonsense' here: /docs list [--skipped]" in done.err


def test_without_skipped_files_that_is_said(talk: Talk) -> None:
    assert talk("/docs list --skipped").lines == ["Every file was read."]


# ----------------------------------------------------------------------------------------------------------- summaries
LONG = "\n\n".join(
    f"## Part {n}\n\nThe {thing} of the harbour is old. {fact} Nobody has counted the gulls near the {thing}."
    for n, (thing, fact) in enumerate(
        [
            ("crane", "The crane lifts forty tons."),
            ("lock", "The lock opens at every high tide."),
            ("pilot", "The pilot lives on the mole."),
        ]
    )
)


@pytest.fixture
def harbour(documents: Path) -> Path:
    (documents / "harbour.md").write_text(f"# The harbour\n\n{LONG}\n")
    return documents


@pytest.mark.parametrize(
    "line",
    [
        "summarise harbour.md",
        "Please summarize the harbour document",
        "give me a summary of harbour.md",
        "What is harbour.md about?",
        "Fasse harbour.md zusammen",
        "Worum geht es in harbour.md?",
        "harbour.md'yi özetle",
        "harbour.md dosyasının özetini ver",
    ],
)
def test_a_summary_goes_through_the_whole_document(talk: Talk, harbour: Path, line: str) -> None:
    done = talk(line, "/ledger")
    assert done.code == 0, done.err
    for thing in ("crane", "lock", "pilot"):
        assert thing in done.lines[0].partition("scripted")[0]
    assert "tower" not in done.lines[0]
    assert "[1]" in done.lines[0]
    assert "passages were read" in done.out
    assert "read from beginning to end" in done.err


def test_which_document_is_asked_where_it_is_not_clear(talk: Talk, harbour: Path) -> None:
    done = talk("summarise", "2", "Summarise this document", TOWER, "summarise it", "fasse zusammen")
    assert done.lines[0].startswith("Which document do you mean? A name or a number is enough: 1. documents/boat.md")
    assert "crane" in done.lines[1]
    assert "crane" in done.lines[2]  # the one that was cited last
    assert "1612" in done.lines[4]
    assert "crane" not in done.lines[4]
    assert "1612" in done.lines[5]


def test_a_name_that_is_nearly_right_is_asked_back(talk: Talk, harbour: Path) -> None:
    done = talk("summarise harbuor.md", "yes")
    assert done.lines[0] == "Do you mean documents/harbour.md?"
    assert "crane" in done.lines[1]


def test_another_question_ends_what_was_asked_back(talk: Talk, harbour: Path) -> None:
    done = talk("summarise", TOWER, "2")
    assert "1612" in done.lines[1]
    assert "crane" not in done.lines[2]


def test_the_only_document_is_meant(talk: Talk, tmp_path: Path, scripted: Path) -> None:
    (tmp_path / "one.md").write_text("# One\n\nThe only lighthouse is white. It was painted in 1901.\n")
    done = talk("Worum geht es?", extra=("--docs", "one.md", "--config", str(scripted)))
    assert "lighthouse" in done.out


def test_all_documents_have_a_sentence_each(talk: Talk, harbour: Path) -> None:
    answer = talk("What are these documents about?").lines[0]
    for name in ("boat.md:", "harbour.md:", "tower.md:"):
        assert name in answer


def test_what_is_no_document_is_searched_for(talk: Talk) -> None:
    done = talk("Summarise the bell")
    assert "no document is called 'the bell'" in done.err
    assert "two tons" in done.out


def test_a_summary_is_a_turn_that_can_be_gone_on_from_and_corrected(talk: Talk, harbour: Path) -> None:
    done = talk("summarise harbour.md", "How old is it?", "/undo", "/undo", "No, I meant tower.md", "/memory show")
    assert "searching for: How old is" in done.err
    assert "1612" in done.out
    assert "summarise harbour.md" in done.out


# ---------------------------------------------------------------------------------------------------------- correction
@pytest.fixture
def masts(documents: Path) -> Path:
    (documents / "masts.md").write_text(
        "A berth for a mast of 12 metres costs 40 marks. A berth for a mast of 15 metres costs 55 marks.\n\n"
        "Ein Mast von 12 Metern ist aus Eiche. Ein Mast von 15 Metern ist aus Kiefer.\n\n"
        "Bu 12 metre direğin rengi kırmızı ve parlak. Bu 15 metre direğin rengi mavi ve parlak.\n"
    )
    return documents


@pytest.mark.parametrize(
    ("question", "correction", "searched", "answer"),
    [
        (
            "What does a mast of 12 metres cost?",
            "No, I meant 15 metres",
            "What does a mast of 15 metres cost?",
            "55 marks",
        ),
        (
            "Woraus ist ein Mast von 12 Metern?",
            "Nein, ich meinte 15 Metern",
            "Woraus ist ein Mast von 15 Metern?",
            "Kiefer",
        ),
        (
            "12 metre direğin rengi nedir?",
            "Hayır, 15 metre demek istedim",
            "15 metre direğin rengi nedir?",
            "mavi",
        ),
    ],
)
def test_a_correction_asks_the_last_question_again(
    talk: Talk, masts: Path, question: str, correction: str, searched: str, answer: str
) -> None:
    done = talk(question, "thanks", correction, "/memory show", "/undo", "/memory show")
    assert f"searching for: {searched}" in done.err
    assert answer in done.lines[2]
    assert correction in done.out  # a turn of its own, in the person's words
    assert question in done.lines[-1]
    assert correction not in done.lines[-1]


def test_the_other_one_is_the_next_that_was_meant(talk: Talk) -> None:
    done = talk(TOWER, "What does the boat cost?", "How old is it?", "I meant the other one")
    assert [line.partition("?")[0] for line in done.err.splitlines() if "searching" in line] == [
        "searching for: How old is the boat",
        "searching for: How old is a ticket",
    ]


def test_what_the_other_one_is_is_asked_where_nobody_knows(talk: Talk, masts: Path) -> None:
    done = talk("What does a mast of 12 metres cost?", "I meant the other one", "15 metres")
    assert done.lines[1] == "Which one do you mean? Please name it."
    assert "55 marks" in done.lines[2]


def test_a_correction_needs_a_question(talk: Talk) -> None:
    assert talk("No, I meant 15 metres").lines == ["There is no question yet that could be corrected."]


def test_a_correction_survives_resuming(talk: Talk, masts: Path) -> None:
    talk("What does a mast of 12 metres cost?", "No, I meant 15 metres")
    assert "searching for: What does a mast of 15 metres cost? Why?" in talk("Why?", extra=()).err


# ----------------------------------------------------------------------------------------------------------- the rest
@pytest.mark.parametrize("line", ["//etc/hosts is where?", " /etc/hosts is where?"])
def test_a_question_may_begin_with_a_slash(talk: Talk, documents: Path, line: str) -> None:
    (documents / "hosts.md").write_text("The file /etc/hosts is on the second shelf.\n")
    done = talk(line, "/memory show")
    assert "second shelf" in done.lines[0]
    assert "/etc/hosts is where?" in done.out
    assert "//etc" not in done.out


def test_an_unknown_command_says_how_to_ask_it(talk: Talk) -> None:
    assert "a question that begins with a slash needs a space or another slash" in talk("/etc/hosts is where?").err


PAIRS: Sequence[tuple[str, str]] = [
    ("When was the tower built?", "In 1612. [1]"),
    ("What does a ticket cost?", "in 1612"),
    ("Since when was the tower built?", "In 1612."),
    ("Who keeps the bees?", "Anselm Roe."),
]


def test_the_same_answer_to_different_questions_is_counted() -> None:
    assert n_questions_with_this_answer("Who is the captain?", "IN 1612! [2]", PAIRS) == 3
    assert n_questions_with_this_answer("When was the tower built?", "In 1612", PAIRS[:1]) == 1
    assert n_questions_with_this_answer("Who is the captain?", "[1]", [("What is it?", "[2]")]) == 1


def test_a_model_that_repeats_itself_is_noticed(talk: Talk, documents: Path) -> None:
    (documents / "tower.md").write_text("The tower and the lamp and the stairs were built in 1612.\n")
    (documents / "boat.md").unlink()
    done = talk("Is the tower tall?", "Who lit a lamp?", "How many stairs lead up?")
    assert len({line.rpartition(" [")[0] for line in done.lines}) == 1
    assert "the model has given this same answer to 2 questions: it may not be reading them" in done.err
    assert "to 3 questions" in done.err


def test_a_quote_in_the_place_of_an_answer_is_said_to_be_one(talk: Talk) -> None:
    done = talk("/set max_tokens 2", TOWER)
    assert "1612" in done.lines[1]
    assert done.err == "the model gave no usable answer: this is the sentence nearest to the question\n"


def test_refusals_are_not_counted(talk: Talk) -> None:
    done = talk("Who is the emperor?", "Which colour has jade?")
    assert "same answer" not in done.err
