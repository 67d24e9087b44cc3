"""Sentences, lines, stories and numbers hidden in texts."""

import json
import re
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.prose import (
    CLUES,
    FIRST_OF,
    NAMES,
    NEXT,
    QUESTION_OF,
    ProseShape,
    filler,
    hide,
    read_book,
    trials,
    unframed,
)
from pipeline.evaluation.needles.tasks import altered, babi, lines
from pipeline.text.words import content_words

BOOK = "\n\n".join(
    f"Chapter {n} tells of the sea. Nobody came. It was the year {1800 + n}, and cold." for n in range(400)
)


def places(trial_text: str, needles: str) -> list[int]:
    return [trial_text.index(sentence) for sentence in needles.splitlines()]


@pytest.mark.parametrize("direction", ["forward", "backward", "random"])
@pytest.mark.parametrize("association", [False, True])
@pytest.mark.parametrize("book", [None, BOOK], ids=["filler", "book"])
def test_a_thread_of_sentences(direction: str, association: bool, book: str | None) -> None:
    made = trials(ProseShape(5, direction, association), 8000, 3, 4, book)  # type: ignore[arg-type]
    assert len(made) == 4
    for trial in made:
        assert 7600 < len(trial.haystack) <= 8000
        sentences = trial.needles.splitlines()
        people = [*trial.passed, *trial.expected]
        assert len(sentences) == 5
        assert len(set(people)) == 6
        for sentence, giver, taker in zip(sentences, people, people[1:], strict=False):
            assert trial.haystack.count(sentence) == 1
            assert sentence.index(giver) < sentence.index(taker)
        offsets = places(trial.haystack, trial.needles)
        order = {"forward": sorted(offsets), "backward": sorted(offsets, reverse=True)}.get(direction)
        assert offsets == order if order else offsets not in (sorted(offsets), sorted(offsets, reverse=True))
        assert (people[0] in trial.question) is not association
        assert trial.strays.isdisjoint(people)
    assert made == trials(ProseShape(5, direction, association), 8000, 3, 4, book)  # type: ignore[arg-type]


def test_without_the_needles_the_book_is_as_it_was() -> None:
    (trial, *_) = trials(ProseShape(4), 6000, 0, 1, BOOK)
    text = trial.haystack
    for sentence in trial.needles.splitlines():
        text = text.replace(f"{sentence} ", "")
    assert text in BOOK


def test_association_shares_no_word_with_its_needles() -> None:
    for place, clue in CLUES:
        first = FIRST_OF.format(giver="Anna", place=place, taker="Bert")
        question_words = set(content_words(QUESTION_OF.format(clue=clue)))
        for needle in (first, *NEXT):
            assert not question_words & set(content_words(needle)), (needle, clue)


def test_names_stand_nowhere_in_the_book() -> None:
    book = BOOK + "\n\n" + " ".join(f"{name} left." for name in NAMES[:100])
    (trial, *_) = trials(ProseShape(3), 4000, 0, 1, book)
    assert {*trial.passed, *trial.expected} <= set(NAMES[100:])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"a thread of 25 sentences takes \d+ characters, and the text has 900"):
        trials(ProseShape(25), 900, 0, 1)
    with pytest.raises(DataError, match=r"the book has 33 characters, and \d+ are wanted"):
        trials(ProseShape(1), 4000, 0, 1, "It is a short one. And it is old.")
    with pytest.raises(DataError, match="3 sentences cannot be hidden in a text of 2"):
        hide("One. Two.", [(["A.", "B.", "C."], "forward")], Draws(0))
    with pytest.raises(ValueError, match="length must be at least 1, was: 0"):
        ProseShape(0)


def test_filler_is_prose_of_the_wanted_length() -> None:
    text = filler(5000, Draws(0))
    assert 4850 < len(text) <= 5000
    assert len(set(re.split(r"(?<=\.)\s+", text))) > 60


def test_the_frame_of_project_gutenberg_goes() -> None:
    framed = "The eBook\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\nCall me.\n\n*** END OF THE X ***\nLicence"
    assert unframed(framed) == "Call me."
    assert unframed("Call me.") == "Call me."


def test_a_book_is_read_from_the_users_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The first.")
    (tmp_path / "b.md").write_text("# Title\n\nThe second.")
    assert "The first." in read_book([str(tmp_path)])
    assert "The second." in read_book([str(tmp_path)])


def test_lines() -> None:
    made = lines.trials(100, 0, 5)
    text = made[0].haystack
    assert len(re.findall(r"^line [a-z]+-[a-z]+: REGISTER_CONTENT is <\d+>$", text, re.MULTILINE)) == 100
    assert [trial.depth for trial in made] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=0.01)
    for trial in made:
        name = re.search(r"in line (\S+) is", trial.question)
        assert name is not None
        assert re.findall(rf"line {name[1]}: REGISTER_CONTENT is <(\d+)>", text) == list(trial.expected)
    with pytest.raises(DataError, match="at least 1 line, asked for: 0"):
        lines.trials(0, 0, 1)


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    line = "line a-b: REGISTER_CONTENT is <7>\n"
    prompt = f"Remember.\n{line}line c-d: REGISTER_CONTENT is <8>\nWhat is the <REGISTER_CONTENT> in line a-b?"
    path.write_text(
        json.dumps({"prompt": prompt, "expected_number": 7, "correct_line": line, "num_lines": 2}) + "\n{}\n"
    )
    (trial,) = lines.read_trials(path, 1)
    assert (trial.question, trial.expected, trial.strays) == (
        "What is the <REGISTER_CONTENT> in line a-b?",
        ("7",),
        frozenset({"8"}),
    )
    assert trial.haystack.endswith("<8>")
    with pytest.raises(DataError, match=r"lines.jsonl:2: is no prompt of LongChat-Lines \(KeyError"):
        lines.read_trials(path, 2)


STORY = """\
1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary?\tbathroom\t1
4 Daniel took the milk.
5 Where is John? |hallway|2
1 Sandra went home.
2 Where is Sandra?\thome\t1
"""


def test_stories(tmp_path: Path) -> None:
    path = tmp_path / "qa1_test.txt"
    path.write_text(STORY)
    first, second, third = babi.read_stories(path)
    assert first == babi.Story(
        ("Mary moved to the bathroom.", "John went to the hallway."), "Where is Mary?", "bathroom", (0,)
    )
    assert (second.answer, second.supports, len(second.facts)) == ("hallway", (1,), 3)
    assert third.facts == ("Sandra went home.",)
    path.write_text("Mary moved.")
    with pytest.raises(DataError, match=r"qa1_test.txt:1: is no line of bAbI"):
        babi.read_stories(path)


def test_facts_keep_their_order_in_the_book(tmp_path: Path) -> None:
    path = tmp_path / "qa1_test.txt"
    path.write_text(STORY)
    made = babi.trials(babi.read_stories(path), "babi1", 4000, 0, 3, BOOK)
    for trial in made:
        story = next(story for story in babi.read_stories(path) if story.question in trial.question)
        positions = [trial.haystack.index(fact) for fact in story.facts]
        assert positions == sorted(positions)
        assert trial.expected == (story.answer,)
    (alone, *_) = babi.trials(babi.read_stories(path), "babi1", 0, 0, 1)
    assert len(alone.haystack) < 120


def squad(tmp_path: Path) -> Path:
    qas = [
        {"id": "a", "question": "When?", "answers": [{"text": "in 1987", "answer_start": 0}]},
        {"id": "b", "question": "How many?", "answers": [{"text": "1,250", "answer_start": 0}]},
        {"id": "c", "question": "Who?", "answers": [{"text": "Odd", "answer_start": 0}]},
    ]
    context = "In 1987 Odd sold 1,250 lamps. 11987 and 1987.5 are others; in 1987, again."
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}))
    return path


def test_numbers_are_altered_everywhere_and_only_they(tmp_path: Path) -> None:
    questions = altered.read_questions(squad(tmp_path))
    assert [question.number for question in questions] == ["1987", "1,250"]
    before, after = altered.trials(questions[:1], 10, 0, 1)
    assert before.expected == ("1987",)
    assert before.haystack == questions[0].paragraph
    (other,) = after.expected
    assert other != "1987"
    assert abs(int(other) - 1987) <= 10
    assert after.haystack == f"In {other} Odd sold 1,250 lamps. 11987 and 1987.5 are others; in {other}, again."
    assert after.passed == ("1987",)


def test_another_number_looks_like_the_first() -> None:
    draws = Draws(0)
    for number, pattern in (("1,250", r"[1-9],\d{3}"), ("7", r"\d"), ("3.5", r"[1-9]\.\d"), ("1900", r"1[89]\d\d")):
        others = {altered.other_number(number, draws) for _ in range(50)}
        assert number not in others
        assert all(re.fullmatch(pattern, other) for other in others)


def test_what_is_no_squad_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"data": [{}]}')
    with pytest.raises(DataError, match=r"x.json: cannot be read as SQuAD \(KeyError"):
        altered.read_questions(path)
