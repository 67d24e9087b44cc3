import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answers.cited import NUMBERS, Cited
from pipeline.answers.layouts import DEFAULT, EXAMPLES, FOCUS, LAYOUTS, PLAIN
from pipeline.answers.prompt_parts import distinct, free_tag, unwrapped
from pipeline.answers.tried import Result, Tried
from pipeline.models.scripted import ScriptedModel
from pipeline.stages import stage_ledger
from pipeline.types import CiteBy, Passage, Question, State, Text
from tests.compressors.workbench import scripted_runtime


def passage(text: str, start: int = 0, source: str = "a.txt", score: float = 0.0) -> Passage:
    return Passage(source, start, start + len(text), text, score)


@given(st.lists(st.text(alphabet="<>/pasge23 ", max_size=40)))
def test_no_text_opens_or_closes_the_tag(texts: list[str]) -> None:
    tag = free_tag(texts)
    assert not any(f"<{tag}" in text or f"</{tag}" in text for text in texts)


def test_the_tag_gives_way_to_texts_that_use_it() -> None:
    assert free_tag(["plain"]) == "passage"
    assert free_tag(["a </PASSAGE> b"]) == "passage2"
    assert free_tag(["a </passage2> b"]) == "passage3"


def test_hard_wrapped_prose_is_joined_and_everything_else_is_not() -> None:
    prose = "A long line of prose that was wrapped by hand at\nsome column, and goes on here."
    assert unwrapped(prose) == prose.replace("\n", " ")
    for text in (
        "short\nlines of verse",
        "A list that has forty characters or more:\n- one\n- two",
        "| a table row that is longer than forty characters | x |\n| b | c |",
        "    indented code that is longer than forty characters\n    more()",
        "A paragraph that is longer than forty characters.\n\nAnother one.",
    ):
        assert unwrapped(text) == text


@given(st.text(alphabet="ab -|\n.#1", max_size=300))
def test_unwrapping_changes_white_space_only(text: str) -> None:
    assert "".join(unwrapped(text).split()) == "".join(text.split())


def test_a_passage_inside_a_better_one_is_shown_once() -> None:
    whole, part, other = passage("abcdefgh"), passage("cd", 2), passage("cd", 2, "b.txt")
    assert distinct([whole, part, other]) == (whole, other)
    assert distinct([part, whole]) == (part, whole)


def test_passages_are_numbered_in_the_order_of_their_source() -> None:
    ranked = (passage("late", 50), passage("b", 0, "b.txt"), passage("early", 10))
    assert [p.text for p in Cited().arrange(ranked)] == ["early", "late", "b"]
    assert Cited(order="rank").arrange(ranked) == ranked


@pytest.mark.parametrize(("k", "fits", "expected"), [(5, 3, 3), (5, 0, 0), (5, 5, 5), (0, 3, 0), (1, 1, 1)])
def test_the_largest_number_that_fits(k: int, fits: int, expected: int) -> None:
    from pipeline.answers.prompt_parts import largest

    assert largest(k, lambda n: n <= fits) == expected


ASKED_FOR: tuple[CiteBy, ...] = ("model", "both")


def prompt_of(cited: Cited, question: str = "Who came?") -> str:
    """What the model is given, as text."""
    runtime = scripted_runtime()
    state = State(Question(question), (passage("Ada came."),), ledger=stage_ledger(4096, 8, "scripted"))
    return "".join(span.text for span in cited.assemble(state, runtime, 8).prompt if isinstance(span, Text))


def test_no_layout_asks_for_citations_unless_the_settings_do() -> None:
    for name in LAYOUTS:
        assert "[1]" not in prompt_of(Cited(layout=name))
        for citations in ASKED_FOR:
            assert NUMBERS in prompt_of(Cited(layout=name, citations=citations))


def test_instructions_of_an_older_file_are_what_the_model_is_told() -> None:
    text = prompt_of(Cited(instructions="Answer in verse, and cite as [1]."))
    assert "Answer in verse, and cite as [1]." in text
    assert LAYOUTS[DEFAULT].instruction not in text
    assert LAYOUTS[DEFAULT].instruction in prompt_of(Cited())


def test_a_layout_by_name_is_used_and_in_the_ledger() -> None:
    state = State(Question("Who came?"), (passage("Ada came."),), ledger=stage_ledger(4096, 8, "scripted"))
    after = Cited(layout="brief-cue", answer="quote", citations="both").assemble(state, scripted_runtime(), 8)
    assert (after.ledger.layout, after.lead, after.cite_by) == ("brief-cue", "quote", "both")
    assert "".join(span.text for span in after.prompt if isinstance(span, Text)).endswith("Answer:")
    assert after.second_prompt != after.prompt


def test_a_layout_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"layout must be auto or one of brief, .*, was: breif"):
        Cited(layout="breif")


def layout_text(name: str, passages: list[Passage], question: str) -> str:
    prompt = Cited().prompt(question, passages, ScriptedModel(), None, LAYOUTS[name])
    return "".join(span.text for span in prompt if isinstance(span, Text))


def test_a_layout_with_focus_repeats_the_nearest_sentences_on_a_line_after_the_question() -> None:
    passages = [
        passage("It is sweet. The loaf keeps\nfor nine\nQuestion: days."),
        passage("Its crust is dark. A loaf is eaten in many days.", 100),
    ]
    question = "How many days does the loaf keep?"
    one, two = (layout_text(name, passages, question) for name in ("focus", "focus-2"))
    nearest = "The loaf keeps for nine Question: days."
    assert one.rsplit("Question: How many", 1)[1].splitlines()[1] == f"{FOCUS} {nearest}"
    assert f"{FOCUS} {nearest} A loaf is eaten in many days.\n" in two
    assert FOCUS not in layout_text("brief", passages, question)
    assert FOCUS not in layout_text("focus", [], question)


def test_worked_examples_stand_before_the_passages_as_turns() -> None:
    text = layout_text("examples", [passage("It is sweet.")], "Is it?")
    for example, answer in EXAMPLES:
        assert f"user:\n{example}\nassistant:\n{answer}\n" in text
    assert text.index(EXAMPLES[-1][1]) < text.index("It is sweet.")


def test_the_layout_that_was_tried_is_taken_unless_the_settings_say_how_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    result = Result("focus-2", 20, 0.5, 0, 0, 0, 0, 0, 0, 100)
    tried = Tried("m.gguf", "key", "focus-2", "quote", (result,), 40, 30, 25, 20, 24, 60.0, 0, "2026-11-29")
    monkeypatch.setattr("pipeline.answers.cited.stored", lambda reader: tried)
    reader, runtime = scripted_runtime().reader, scripted_runtime()
    assert Cited().suited(reader, runtime) == (LAYOUTS["focus-2"], "quote")
    assert Cited(instructions="In verse.").suited(reader, runtime) == (LAYOUTS[PLAIN], "quote")
    assert Cited(layout="brief-cue", answer="generate").suited(reader, runtime) == (LAYOUTS["brief-cue"], "generate")
