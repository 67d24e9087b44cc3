"""What is shown has words, does not loop or echo, and ends or says that it is cut; everything else is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.answers.contract import (
    CUT,
    ECHOED,
    LOOPED,
    NOTHING_NEW,
    WORDLESS,
    Checked,
    check,
    has_words,
    without_lead,
)
from pipeline.types import Finish

QUESTION = "How many beehives does the garden have?"


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("1 1 1 1", "1"),
        ("seven seven seven seven seven", "seven"),
        ("New York, New York, New York", "New York,"),
        ("New York, New York, New York, New", "New York,"),
        ("There are seven hives. There are seven hives.", "There are seven hives."),
        ("There are seven hives there are seven hives there are", "There are seven hives"),
        ("Seven. It is warm. Seven hives stand there. It is warm. Seven hives stand there.", None),
        ("In all, there are seven hives, there are seven hives, there", "In all, there are seven hives,"),
        ("Es sind sieben Stöcke. Es sind sieben Stöcke. Es sind", "Es sind sieben Stöcke."),
        ("Die Uhr steht. Die Uhr steht. Die Uhr steht.", "Die Uhr steht."),
        ("Yedi kovan var. Yedi kovan var. Yedi kovan var.", "Yedi kovan var."),
        ("有七个蜂箱。有七个蜂箱。有七个蜂箱。", "有七个蜂箱。"),
        ("- seven\n- seven\n- seven\n- seven", "- seven"),
        ("7,7,7,7,7,7,7,7,7,7,7,7,7,7,7", "7,"),
        ("hahahahahahahahahahahahaha", "ha"),
        ("1. seven hives\n2. seven hives\n3. seven hives", None),
    ],
)  # fmt: skip
def test_a_loop_is_cut_at_its_first_repetition(text: str, repaired: str | None) -> None:
    checked = check(text, "length", "What stands there?")
    if repaired is None:
        assert checked.text in text
        assert not checked.unusable
    else:
        assert checked == Checked(repaired, (LOOPED,))


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("phrase", ["The answer is:", "Die Antwort lautet:", "The answer is: [1]"])
def test_a_loop_that_says_nothing_is_unusable(phrase: str, n: int) -> None:
    checked = check(" ".join([phrase] * n), "length", QUESTION)
    assert checked.unusable in (LOOPED, WORDLESS)
    assert not has_words(checked.text)


def test_sentences_that_come_again_at_the_end_are_cut() -> None:
    text = "Seven hives stand in the garden. They hum. Bees are kept there. Seven hives stand in the garden. They hum."
    assert check(text, "stop", QUESTION) == Checked(
        text[: text.index(" Seven hives stand in the garden. They")], (LOOPED,)
    )


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("<passage 1>\nThe garden has seven hives.\n</passage>", "The garden has seven hives."),
        ("<passage2 1>\nseven\n</passage2>\n<passage2 2>\neight\n</passage2>", "seven"),
        ("seven\n</passage>", "seven"),
        ("seven\n\nQuestion: How many goats?\nAnswer: three", "seven"),
        ("seven\nPassages:\n1. The garden", "seven"),
        ("seven\nUser: and goats?", "seven"),
        ("Question: How many?\nAnswer: seven", "seven"),
        ("Question: How many?\nAnswer: seven\nQuestion: And goats?\nAnswer: three", "seven"),
        ("Passage 3: seven", "seven"),
        ("<memory 2026-01-01>\nseven\n</memory>", "seven"),
    ],
)
def test_an_echo_of_the_prompt_is_cut(text: str, repaired: str) -> None:
    assert check(text, "stop", QUESTION) == Checked(repaired, (ECHOED,))


@pytest.mark.parametrize(
    "text",
    [
        "<passage 5>\n<passage 6>\n<passage 7>",
        "<passage 5>",
        "</passage>",
        "Question: How many beehives does the garden have?",
        "Question: How many?\nQuestion: How many?",
        "Passages:",
    ],
)
def test_an_echo_that_says_nothing_is_unusable(text: str) -> None:
    for finish in ("stop", "length"):
        assert check(text, finish, QUESTION).unusable == ECHOED


@pytest.mark.parametrize(
    "text",
    ["", " \n", "[1]", "[1] [2].", "[1, 2]", "[passage 2]", "The answer is:", "The answer is", "Answer:", "The answer.",
     "The answer is: [1]", "...", "—", "?!", "- ", "Die Antwort ist:", "Antwort:", "Cevap:", "Sure, the answer is:"],
)  # fmt: skip
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_what_has_no_words_is_unusable(text: str, finish: Finish) -> None:
    assert check(text, finish, QUESTION).unusable == WORDLESS


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "7",
        "Yes. Yes.",
        "É",
        "七",
        "4 4 4 2",
        "The code is 4 4 4 2.",
        "Row, row, row your boat",
        "very, very, very good",
        "10000000000",
        "1,000,000,000,000",
        "and so on and so on",
        "Lucia Ferrand, Lucia Ferrand",
        "- oak\n- ash\n- elm",
        "1. Ada 5\n2. Tom 5\n3. Tim 5",
        "x[0] = x[1]; x[1] = x[2]",
        "if a[0] == [1]:\n    return a",
        "| a | b |\n|-----------|-----------|\n| 1 | 2 |",
        "--------------------------------\nseven",
        "See passage 3.",
        "As passage 3: 'Noon' says, at noon.",
        "The passages: both are narrow.",
        "User: admin",
        "The sea goes out, the sea comes in.\nMy boat is small.\nThe sea goes out, the sea comes in.\nIt is thin.",
        "Antwort: sieben",
        "The answer is seven.",
        "It costs 3.50.",
    ],
)
def test_what_must_not_be_touched(text: str) -> None:
    assert check(text, "stop", "What does it say?") == Checked(text, ())


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("The garden has seven hives. They stand near the", "The garden has seven hives."),
        ("He was Dr. Ferrand of", "He was Dr. Ferrand of"),
        ("The garden has seven hives and they", "The garden has seven hives and they"),
        ("It costs 3.50 for", "It costs 3.50 for"),
        ("“Seven hives.” They hum", "“Seven hives.”"),
        ("有七个蜂箱。它们", "有七个蜂箱。"),
        ("The garden has seven hives.", "The garden has seven hives."),
        ("- seven hives\n- three go", "- seven hives\n- three go"),
    ],
)
def test_an_answer_that_is_cut_ends_with_a_whole_sentence_and_says_so(text: str, repaired: str) -> None:
    assert check(text, "length", "What does it say?") == Checked(repaired, (CUT,))
    assert check(text, "stop", "What does it say?") == Checked(text, ())


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (QUESTION, QUESTION),
        ("The garden has beehives.", QUESTION),
        ("The beehives of the garden [1]", QUESTION),
        ("Die Uhr im Turm", "Wer reparierte die Uhr im Turm?"),
        ("The chair follows Ingrid Solvang in March 2026.", "Who follows Ingrid Solvang as chair?"),
        ("on 3 May 1987", "Where was the clock repaired?"),
    ],
)
def test_an_answer_that_only_repeats_the_question_is_unusable(text: str, question: str) -> None:
    assert check(text, "stop", question).unusable == NOTHING_NEW


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("The ferry is yellow.", "Is the ferry yellow?"),
        ("Yes, the ferry is yellow.", "Isn't the ferry yellow?"),
        ("the ferry", "Is the ferry or the bus faster?"),
        ("The ferry", "Which is faster, the ferry, the bus?"),
        ("Die Fähre ist gelb.", "Ist die Fähre gelb?"),
        ("Die Fähre", "Ist die Fähre oder der Bus schneller?"),
        ("Köprü açık.", "Köprü açık mı?"),
        ("no", "Is the bridge open?"),
        ("seven", QUESTION),
        ("March 2026", "When does the chair follow?"),
        ("June", "Who follows Ingrid Solvang as chair?"),
        ("the pilots of 2026", "Who is exempt from wearing helmets?"),
    ],
)
def test_what_answers_with_the_questions_words_is_left_alone(text: str, question: str) -> None:
    assert not check(text, "stop", question).unusable


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Answer: seven", "seven"),
        ("The answer is: seven", "seven"),
        ("The final answer to the question is: seven", "seven"),
        ("Sure, the answer is: seven", "seven"),
        ("Antwort: sieben", "sieben"),
        ("Die Antwort lautet: sieben", "sieben"),
        ("Cevap: yedi", "yedi"),
        ("The answer is seven.", "The answer is seven."),
        ("Answering machines", "Answering machines"),
        ("Answer:", "Answer:"),
    ],
)
def test_an_opening_is_left_out(text: str, bare: str) -> None:
    assert without_lead(text) == bare


PIECES = st.sampled_from(
    ["The answer is: ", "seven", " ", "\n", "[1]", "[", "]", "<passage 1>", "</passage>", "<", "Question:",
     "Answer:", ". ", "1, ", "7", "ha", "Lucia Ferrand ", "。", "蜂", "passage 3:", "User:", "“", "”", "- ", "x[0]",
     "Dr. ", "\u3000", "\0", "ﬁ"]
)  # fmt: skip


@given(
    st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=40).map("".join)),
    st.sampled_from(["stop", "length", "cancelled"]),
    st.text(max_size=40),
)
@example("Question: a\nAnswer: Question: b\nAnswer: c", "stop", "")
@example("<passage 1>\n<passage 2>\nseven", "length", "")
@example("Passage 1: Passage 2: seven", "stop", "")
@example("<PASSAGE>QUESTION:", "stop", "")
def test_a_repair_only_leaves_out_and_needs_no_second_one(text: str, finish: Finish, question: str) -> None:
    checked = check(text, finish, question)
    assert checked.text in text
    again = check(checked.text, "stop", question)
    assert again.text == checked.text
    assert again.unusable in (checked.unusable, WORDLESS)
    assert bool(again.unusable) == bool(checked.unusable)
    assert has_words(checked.text) or checked.unusable
    assert without_lead(text) in text


@pytest.mark.parametrize(
    "text",
    ["a " * 2000, "ab " * 1333, " ".join(map(str, range(1000))), "x" * 4000, "[" * 4000, "<" * 4000, "[1" * 2000,
     "[1, " * 1000, "[passage " * 444, ". " * 2000, "! " * 2000, "。" * 4000, "a" + "\n" * 3998 + "b",
     "a" + " " * 3998 + "b", "passage " + " " * 3990 + "1", "\n" * 3990 + "Question", "Answer:" * 571,
     " ".join(f"w{n % 41}" for n in range(1300)), "ab" * 1999 + "c", "x. y. " * 666, "<passage 1>" * 363, "“" * 4000,
     "Question: a\n" * 333, "Dr. A. " * 571],
)  # fmt: skip
def test_long_nonsense_is_judged_at_once(text: str) -> None:
    def seconds() -> float:
        start = time.process_time()
        check(text[:4000], "length", QUESTION)
        without_lead(text[:4000])
        return time.process_time() - start

    def reference() -> float:
        start = time.process_time()
        sum(n for n in range(500_000))
        return time.process_time() - start

    # 0.05 s where the reference takes 0.02 s; backtracking takes seconds
    assert min(seconds() for _ in range(3)) < 2.5 * min(reference() for _ in range(3))
