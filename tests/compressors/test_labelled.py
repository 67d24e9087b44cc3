import json
from pathlib import Path

import pytest

from compressors.calibration.calibrate import OURS, sampled
from compressors.calibration.labelled import N_OWN, read_labelled, read_usable
from pipeline.errors import DataError

HOTPOT = {
    "question": "Where was the keeper born?",
    "answer": "Skelby",
    "context": [
        ["Tower", ["It is high.", " Blane keeps it.", " "]],
        ["Blane", ["Blane was born in Skelby.", "He sings."]],
    ],
    "supporting_facts": [["Tower", 1], ["Blane", 0]],
}
HUB = {
    **HOTPOT,
    "context": {"title": ["Tower", "Blane"], "sentences": [part[1] for part in HOTPOT["context"]]},
    "supporting_facts": {"title": ["Tower", "Blane"], "sent_id": [1, 0]},
}
AMOR = {**HOTPOT, "supporting_facts": [["Tower", [1], ["Blane keeps it."]], ["Blane", [0], []]]}
SELQA = {
    "question": "Who keeps it?",
    "candidates": ["It is high.", "Blane keeps it."],
    "answers": [1],
    "article": "Tower",
}
SQUAD = {
    "data": [
        {
            "title": "The_Tower",
            "paragraphs": [
                {
                    "context": "It is high. Blane keeps it. He sings.",
                    "qas": [
                        {"question": "Who keeps it?", "answers": [{"text": "Blane", "answer_start": 12}]},
                        {"question": "What is it?", "answers": [{"text": "high", "answer_start": 6}]},
                    ],
                }
            ],
        }
    ]
}
MUSIQUE = {
    "id": "m1",
    "question": "Where was the keeper of the Tower born?",
    "question_decomposition": [
        {"question": "Who keeps the Tower?", "answer": "Blane", "paragraph_support_idx": 1},
        {"question": "Where was #1 born?", "answer": "Skelby", "paragraph_support_idx": 0},
        {"question": "Blane >> country", "answer": "Norway", "paragraph_support_idx": 0},
    ],
    "paragraphs": [
        {"idx": 0, "title": "Blane", "paragraph_text": "Blane was born in Skelby, Norway. He sings."},
        {"idx": 1, "title": "Tower", "paragraph_text": "It is high. Blane keeps it. It is old."},
    ],
}
WIKIQA = "who keeps it ?\tIt is high .\t0\nwho keeps it ?\tBlane keeps it .\t1\nwhat sings ?\tNobody .\t0\n"


@pytest.mark.parametrize("item", [HOTPOT, HUB, AMOR], ids=["official", "hub", "with ids"])
@pytest.mark.parametrize("is_lines", [True, False], ids=["lines", "list"])
def test_hotpotqas_layouts(item: dict[str, object], is_lines: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("\n".join([json.dumps(item)] * 2) if is_lines else json.dumps([item, item]))
    question, last = read_labelled(file)
    assert question == last
    assert (question.question, question.answers) == ("Where was the keeper born?", ("Skelby",))
    assert [part.text for part in question.units.parts] == [
        "It is high.",
        "Blane keeps it.",
        "Blane was born in Skelby.",
        "He sings.",
    ]
    assert question.supports == (False, True, True, False)
    assert [(p.title, p.text) for p in question.units.passages] == [
        ("Tower", "It is high. Blane keeps it."),
        ("Blane", "Blane was born in Skelby. He sings."),
    ]


def test_selqa_squad_and_wikiqa(tmp_path: Path) -> None:
    for name, text in (("s.json", json.dumps([SELQA])), ("q.json", json.dumps(SQUAD)), ("w.txt", WIKIQA)):
        (tmp_path / name).write_text(text)
    (selqa,) = read_labelled(tmp_path / "s.json")
    assert selqa.supports == (False, True)
    who, what = read_labelled(tmp_path / "q.json")
    assert (who.supports, what.supports) == ((False, True, False), (True, False, False))
    assert (who.answers, who.units.passages[0].title) == (("Blane",), "The Tower")
    keeps, sings = read_labelled(tmp_path / "w.txt")
    assert (keeps.supports, keeps.is_telling) == ((False, True), True)
    assert (sings.supports, sings.is_telling) == ((False,), False)


def test_musiques_steps_are_questions_about_their_paragraph(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps([MUSIQUE]))
    who, where = read_labelled(tmp_path / "m.json")
    assert (who.question, who.supports, who.answers) == ("Who keeps the Tower?", (False, True, False), ("Blane",))
    assert (where.question, where.supports) == ("Where was Blane born?", (True, False))
    assert [passage.title for passage in where.units.passages] == ["Blane"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.txt: holds no questions"),
        ("one\ttwo\n", r"a.txt:1: must be question TAB sentence TAB 1 or 0, was: one"),
        (f'{json.dumps(HOTPOT)}\n{{"a": ', r"a.txt:2: no JSON"),
        ("[1]", r"a.txt: \[0\]: must be an object, was: 1"),
        ('{"text": "x"}', r"a.txt: \[0\]: no known layout: it must have context"),
        (json.dumps({**HOTPOT, "context": [["Tower"]]}), r"a.txt: \[0\]: not as its layout asks: ValueError"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path / "a.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_labelled(tmp_path / "missing.txt")


def test_a_bad_question_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text(json.dumps([HOTPOT, 1, {**HOTPOT, "context": [["Tower"]]}, HOTPOT]))
    questions, faults = read_usable(tmp_path / "h.json")
    assert (len(questions), len(faults)) == (2, 2)
    entry = {"question": "Who?", "answers": [{"text": "Blane", "answer_start": 0}]}
    paragraphs = [{"context": "Blane sings. It rains.", "qas": [{**entry, "answers": [1]}, entry]}, {}, 3]
    (tmp_path / "s.json").write_text(json.dumps({"data": [7, {"title": "T", "paragraphs": paragraphs}]}))
    questions, faults = read_usable(tmp_path / "s.json")
    assert [(question.question, question.supports) for question in questions] == [("Who?", (True, False))]
    assert len(faults) == 4
    (tmp_path / "w.tsv").write_text("Who?\tBlane sings.\t1\nWho?\tIt rains.\nWho?\tIt is high.\t0\n")
    questions, faults = read_usable(tmp_path / "w.tsv")
    assert [question.supports for question in questions] == [(True, False)]
    assert faults == [f"{tmp_path / 'w.tsv'}:2: must be question TAB sentence TAB 1 or 0, was: Who?\tIt rains."]


def test_our_own_questions() -> None:
    questions = read_labelled(OURS)
    assert len(questions) >= 60
    assert sum(len(question.units) for question in questions) >= 300
    for question in questions:
        assert question.is_telling
        assert len(question.units.passages) == N_OWN
        evidence = " ".join(
            part.text for part, is_right in zip(question.units.parts, question.supports, strict=True) if is_right
        )
        assert question.answers[0]
        assert evidence


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order() -> None:
    questions = read_labelled(OURS)
    sample, again = sampled(questions, 10, 1), sampled(questions, 10, 1)
    assert sample == again
    assert [questions.index(q) for q in sample] == sorted(questions.index(q) for q in sample)
    assert sampled(questions, 10, 2) != sample
    assert sampled(questions, 1000, 2) == questions
