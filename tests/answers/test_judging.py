"""From what the model wrote to what is shown: each step, and what the ledger says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.answers.citations import REFUSAL
from pipeline.answers.cited import Cited
from pipeline.answers.contract import CUT, LOOPED, WORDLESS
from pipeline.answers.judging import RETRY_PENALTY, judge, second_sampling, settle
from pipeline.answers.layouts import FOCUS
from pipeline.stages import stage_ledger
from pipeline.types import (
    Answer,
    Finish,
    Generation,
    Ledger,
    Part,
    Passage,
    Question,
    Sampling,
    ScoredSentence,
    State,
    Text,
    Turn,
)
from tests.compressors.workbench import scripted_runtime

GARDEN = "Seven beehives stand in the garden. Ada Orla looks after them. It opens at 7:40."
STATE = State(
    Question("How many beehives does the garden have?"),
    shown=(Passage("garden.txt", 0, len(GARDEN), GARDEN),),
    ledger=Ledger(layout="brief"),
)


def wrote(text: str, finish: Finish = "stop") -> Generation:
    return Generation(text, finish, 100, 40, 7, 1.0, 0.5)


def shown(state: State, *texts: str) -> tuple[Answer, tuple[str, ...]]:
    """What is shown after these attempts, and the ledger's notes."""
    first, *second = (judge(state, wrote(text)) for text in texts)
    after, notes = settle(state, first, second[0] if second else None)
    assert after.answer is not None
    chosen = second[0] if second and first.unusable else first
    assert after.ledger.generation == chosen.generation
    return after.answer, notes


def test_a_usable_answer_is_shown_as_it_is() -> None:
    assert judge(STATE, wrote("seven")).unusable == ""
    answer, notes = shown(STATE, "seven")
    assert (answer.text, answer.by, answer.said, answer.why, answer.faults) == ("seven", "model", "", "", ())
    assert answer.model_text == "seven"
    assert notes == ()


def test_the_second_attempt_is_used_where_the_first_was_unusable() -> None:
    answer, notes = shown(STATE, "[1]", "seven beehives")
    assert (answer.text, answer.by) == ("seven beehives", "model")
    assert notes == (
        "asked again in another layout because the first answer was unusable: it has no words "
        "(60 tokens read, 7 written in 1.5 s); the first answer: '[1]'",
    )


def scored(source: str, text: str, score: float) -> Passage:
    """A passage of one sentence with the score that a compressor gave it."""
    return Passage(source, 0, len(text), text, sentences=(ScoredSentence(0, len(text), score),))


def test_two_attempts_that_agree_beside_the_question_are_shown_where_a_name_leads_there() -> None:
    """The second hop's sentence names little of what was asked; a sentence that nothing leads to is a wrong answer."""
    ferry = scored("ferry.txt", "The ferry to Mirra was built at the yard of Torben Aske.", 0.9)
    yard = scored("yard.txt", "Torben Aske was born in Lund.", 0.3)
    other = scored("other.txt", "Signe Holm was born in Lund.", 0.3)
    question = Question("Where was the builder of the ferry to Mirra born?")
    two_hops = replace(STATE, question=question, shown=(ferry, yard))

    def settled(state: State, first: str, second: str) -> Answer:
        after, _ = settle(state, judge(state, wrote(first)), judge(state, wrote(second)))
        assert after.answer is not None
        return after.answer

    assert settled(two_hops, "Lund", "in Lund") == judge(two_hops, wrote("Lund")).answer
    unlinked = settled(replace(two_hops, shown=(ferry, other)), "Lund", "in Lund")
    assert (unlinked.text, unlinked.by) == (ferry.text, "quote")
    assert settled(two_hops, "Lund", "Torben Aske").text == "Torben Aske"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", WORDLESS),
        ("The answer is: The answer is: The answer is:", LOOPED),
        ("<passage 5>\n<passage 6>", "it repeated the prompt"),
        ("The garden has beehives.", "it only repeats the question"),
        ("twelve", "twelve stands in nothing that was shown"),
        ("12 beehives of Maria Orla", "12, Maria stands in nothing that was shown"),
    ],
)
def test_a_quote_takes_the_place_of_an_answer_that_stays_unusable(text: str, why: str) -> None:
    assert judge(STATE, wrote(text)).unusable == why
    for texts in ((text,), ("[1]", text)):
        answer, notes = shown(STATE, *texts)
        assert (answer.text, answer.by, answer.why) == ("Seven beehives stand in the garden.", "quote", why)
        assert (answer.said, answer.model_text) == (text, text)
        assert [c.by for c in answer.citations] == ["question", "question"]
        assert answer.citations[0].quote is not None
        assert answer.citations[0].quote.text == answer.text
        assert answer.unsupported == ()
        assert f"a sentence of the documents takes the answer's place: {why}" in notes
        assert not answer.is_abstention


def test_a_repaired_answer_is_shown_and_the_repair_is_said() -> None:
    answer, notes = shown(STATE, "seven seven seven seven")
    assert (answer.text, answer.by, answer.faults) == ("seven", "model", (LOOPED,))
    assert notes == (f"the answer: {LOOPED}",)


def test_an_answer_that_is_cut_says_so_once() -> None:
    after, notes = settle(STATE, judge(STATE, wrote("Seven beehives stand in the garden. They", "length")), None)
    assert after.answer is not None
    assert (after.answer.text, after.answer.faults) == ("Seven beehives stand in the garden.", (CUT,))
    assert notes == (f"the answer: {CUT}",)


def test_a_cancelled_answer_is_left_alone() -> None:
    for text in ("The answer is:", "seven seven seven seven", "<passage 1>"):
        judged = judge(STATE, wrote(text, "cancelled"))
        assert (judged.unusable, judged.answer.text, judged.answer.faults) == ("", text, ())
        after, notes = settle(STATE, judged, None)
        assert after.answer is not None
        assert (after.answer.text, after.answer.by, notes) == (text, "model", ())


def test_prompts_of_a_protocol_are_left_alone() -> None:
    plain = replace(STATE, ledger=Ledger())
    for text in ("[1]", "seven seven seven seven", "Answer: twelve"):
        answer, notes = shown(plain, text)
        assert (answer.text, answer.by, answer.faults, notes) == (text, "model", (), ())


def test_names_of_the_conversation_are_no_false_alarm() -> None:
    text = "Seven beehives, as Maria said at 9:30."
    assert judge(STATE, wrote(text)).unusable == "Maria, 9:30 stands in nothing that was shown"
    turn = Turn(1, "Maria asked me at 9.30 about bees.", "I see.", "2026-01-01T00:00:00Z")
    judged = judge(replace(STATE, turns=(turn,)), wrote(text))
    assert (judged.unusable, judged.answer.unsupported) == ("", ())


def test_without_passages_only_the_contract_counts() -> None:
    chat = replace(STATE, shown=())
    answer, notes = shown(chat, "Hello, I am Bob, and 34 years old!")
    assert (answer.text, answer.by, answer.citations, notes) == ("Hello, I am Bob, and 34 years old!", "model", (), ())
    answer, notes = shown(chat, "[1]", "The answer is:")
    assert (answer.by, answer.faults) == ("model", (WORDLESS,))
    assert f"the answer: {WORDLESS}" in notes
    answer, _ = shown(chat, "The answer is: The answer is: The answer is:")
    assert answer.faults == (LOOPED,)


def test_a_quote_leads_where_the_settings_say_so() -> None:
    answer, notes = shown(replace(STATE, lead="quote"), "seven")
    assert (answer.text, answer.by, answer.said, answer.why) == (
        "Seven beehives stand in the garden.", "quote", "seven", ""
    )  # fmt: skip
    assert notes == ()


def test_where_quotes_lead_an_unusable_answer_needs_no_excuse() -> None:
    answer, notes = shown(replace(STATE, lead="quote"), "[1]")
    assert (answer.text, answer.by, answer.why) == ("Seven beehives stand in the garden.", "quote", "")
    assert f"a sentence of the documents takes the answer's place: {WORDLESS}" in notes


@pytest.mark.parametrize("text", ["", "It has"])
def test_nothing_takes_the_place_of_an_answer_that_was_stopped(text: str) -> None:
    led = replace(STATE, lead="quote", answerable=0.1)
    after, _ = settle(led, judge(led, wrote(text, "cancelled")), None)
    assert after.answer is not None
    assert (after.answer.text, after.answer.by, after.answer.is_abstention) == (text, "model", False)


def test_the_models_own_refusal_is_shown_in_our_words() -> None:
    for lead in ("generate", "quote"):
        answer, _ = shown(replace(STATE, lead=lead), "Not in the documents.")
        assert (answer.text, answer.by, answer.is_abstention) == (REFUSAL, "gate", True)
        assert answer.said == answer.model_text == "Not in the documents."
    assert judge(STATE, wrote("Not in the documents.")).unusable == ""


def test_an_opening_is_not_part_of_the_answer() -> None:
    assert shown(STATE, "The answer is: seven")[0].text == "seven"


def test_the_second_attempt_has_a_penalty_for_repetitions() -> None:
    assert second_sampling(Sampling(seed=3)) == Sampling(seed=3, repeat_penalty=RETRY_PENALTY)
    assert second_sampling(Sampling(repeat_penalty=1.5)).repeat_penalty == 1.5


@pytest.mark.parametrize(
    ("score", "text", "is_usable"),
    [
        (0.8, "The Harbour Cooperative, Annual report 2025", False),
        (0.8, "Tomasz Wierzba of the Harbour Cooperative", True),
        (1.0, "Annual report 2025", True),
    ],
)
def test_a_title_is_an_answer_only_out_of_the_nearest_sentence(score: float, text: str, is_usable: bool) -> None:
    sentences = ("Harbour Cooperative Annual report 2025 by Tomasz Wierzba.", "The chair is followed by Ada Orla.")
    passages = tuple(
        Passage(
            f"{n}.pdf", 0, len(one), one, title="Annual report 2025", sentences=(ScoredSentence(0, len(one), share),)
        )
        for n, (one, share) in enumerate(zip(sentences, (score, 1.0), strict=True))
    )
    state = replace(STATE, question=Question("Who follows as chair?"), shown=passages)
    assert (judge(state, wrote(text)).unusable == "") is is_usable


def test_the_ledger_is_that_of_the_prompt_that_was_answered() -> None:
    parts: tuple[tuple[Part, int], ...] = (("question", 12), ("passages", 48))
    before = replace(STATE, second_parts=parts, second_layout="sentence-user")
    after, _ = settle(before, judge(before, wrote("[1]")), judge(before, wrote("seven beehives")))
    assert (after.ledger.parts, after.ledger.layout) == (parts, "sentence-user")
    assert after.ledger.generation is not None
    first, _ = settle(before, judge(before, wrote("seven beehives")), None)
    assert (first.ledger.parts, first.ledger.layout) == (before.ledger.parts, before.ledger.layout)


def test_the_quote_for_a_follow_up_is_nearest_to_what_was_searched_for() -> None:
    texts = ("And who is the one that asks?", "The master of the Zephyrus is Ada Brandt.")
    state = replace(
        STATE,
        question=Question("And who is her master?", search_query="And who is the Zephyrus's master?"),
        shown=tuple(Passage(f"{n}.txt", 0, len(text), text) for n, text in enumerate(texts)),
    )
    answer, _ = shown(state, "[1]")
    assert (answer.text, answer.by) == (texts[1], "quote")


def test_the_sentences_that_are_repeated_are_nearest_to_what_was_searched_for() -> None:
    texts = ("Her master is the master of Vega.", "Ada Brandt commands the ship Zephyrus in winter.")
    passages = tuple(Passage(f"{n}.txt", 0, len(text), text) for n, text in enumerate(texts))
    runtime = scripted_runtime()
    repeated = []
    for query in ("", "Who commands the ship Zephyrus?"):
        question = Question("Who is her master?", search_query=query)
        state = State(question, passages, ledger=stage_ledger(4096, 64, ""), found=passages)
        prompt = Cited(layout="focus").assemble(state, runtime, 64).prompt
        text = "".join(span.text for span in prompt if isinstance(span, Text))
        assert "Question: Who is her master?" in text
        repeated.append(text.partition(FOCUS)[2])
    assert texts[0] in repeated[0]
    assert texts[1] in repeated[1]
