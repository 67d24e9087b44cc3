"""Sentences: exact offsets, nothing lost, and never cut at the end of a line of prose."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings

from pipeline.text.sentences import sentences
from tests.documents.texts import TEXTS, without_space

ROOT = Path(__file__).parents[2]
OURS = sorted([*ROOT.glob("configs/demo/documents/*"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def shown(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def check(text: str) -> None:
    """Every promise of `sentences`."""
    spans = sentences(text)
    assert all(text[start:end] and text[start:end] == text[start:end].strip() for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert without_space("".join(text[start:end] for start, end in spans)) == without_space(text)


@settings(deadline=None)
@given(TEXTS)
def test_every_character_lies_in_exactly_one_sentence(text: str) -> None:
    check(text)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_every_character_of_our_own_documents_lies_in_one_sentence(path: Path) -> None:
    check(path.read_text())


def test_prose_is_cut_at_its_sentences_and_not_at_its_lines() -> None:
    text = "Dr. Vash paid 3.14 marks.\nThe comet that she found returns\nevery 61 years. See Fig. 3 for it!"
    assert shown(text) == [
        "Dr. Vash paid 3.14 marks.",
        "The comet that she found returns\nevery 61 years.",
        "See Fig. 3 for it!",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- One. Two.\n- Three. Four", ["- One.", "Two.", "- Three.", "Four"]),
        ("Text:\n1. First\n   goes on. Second.\n2. Third", ["Text:", "1. First\n   goes on.", "Second.", "2. Third"]),
        ("There were\n12) of them in all.", ["There were\n12) of them in all."]),
        ("# Heading. Two\nText. More.", ["# Heading. Two", "Text.", "More."]),
        ("Title. Two\n=====\nText.", ["Title. Two\n=====", "Text."]),
        ("| a. B | 1 |\n| c | 2 |", ["| a. B | 1 |", "| c | 2 |"]),
        (
            "Use it:\n```py\nx = f(1)\n\ny. Z\n```\nEnd. Now.",
            ["Use it:", "```py", "x = f(1)", "y. Z", "```", "End.", "Now."],
        ),
        ("def f(x):\n    y = x + 1\n    return g(y)", ["def f(x):", "y = x + 1", "return g(y)"]),
        ("你好。世界很大。我们走吧！", ["你好。", "世界很大。", "我们走吧！"]),
        ("İyi günler. Çok teşekkürler.", ["İyi günler.", "Çok teşekkürler."]),
        ("Hello 😀. E\u0301t\u0301 a.", ["Hello 😀.", "E\u0301t\u0301 a."]),
    ],
)
def test_lists_headings_tables_code_and_scripts(text: str, expected: list[str]) -> None:
    assert shown(text) == expected


def test_a_long_speech_is_cut_inside_and_a_short_one_is_not() -> None:
    long = " ".join(f"“It was the night number {n}, and the wind howled. “I was alone." for n in range(6))
    assert shown('He said "I go. You stay." and left. "Good. Day."') == [
        'He said "I go. You stay." and left.',
        '"Good. Day."',
    ]
    assert shown(f"{long}”")[:2] == ["“It was the night number 0, and the wind howled.", "“I was alone."]


@pytest.mark.parametrize("text", ["", "   ", "\n\t\u00a0\u2029"])
def test_a_text_without_characters_has_no_sentences(text: str) -> None:
    assert sentences(text) == []


@pytest.mark.parametrize(
    "unit", ["word. ", '"', "( ", "Dr. ", "- x\n", "# h\n", "x", "“A. B. ", "\n", "1. a\n", "```\n"]
)
def test_time_grows_with_the_length_and_not_with_its_square(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    started = time.process_time()
    check(text)
    assert time.process_time() - started < 10


def test_a_row_that_names_its_columns_is_one_sentence_and_so_is_a_setting() -> None:
    text = "name: St. Ives; note: It leaks. Mend it.; depth: 4\nname: Rye; depth: 5; note: Fine.\n\n"
    text += "host: alpha\nport: 80\n"
    assert [text[a:b] for a, b in sentences(text)] == [*text.split("\n")[:2], "host: alpha", "port: 80"]
