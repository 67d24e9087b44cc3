"""What an answer stands on: by arithmetic with the scripted model, and on real weights against prompts read anew."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import pytest

from pipeline.answers.attribution import (
    Attribution,
    Grounds,
    PassageDrop,
    QuoteDrop,
    _likeliest,
    attribute,
    with_account,
)
from pipeline.answers.cited import Cited
from pipeline.answers.left_out import Method
from pipeline.answers.plain import Plain
from pipeline.contracts import Assembler
from pipeline.default import default_pipeline
from pipeline.errors import ModelError
from pipeline.models.scripted import ScriptedModel
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.stages import stage_ledger
from pipeline.text.sentences import sentences
from pipeline.types import Answer, Passage, Prompt, Question, State, Text

BRIDGE = "The bridge at Aldmoor was opened in 1904. It has nine arches. It is narrow."
LIBRARY = "The library at Corvale holds 40000 books.\nIts head is Ada Barker."
TOWER = "The tower at Dunmere is 48 metres high. It leans a little."
QUESTION = "Who is the head of the library at Corvale?"
ANSWER = "The head of the library is Ada Barker."


def passages(*texts: str) -> tuple[Passage, ...]:
    return tuple(Passage(f"{n}.txt", 0, len(text), text) for n, text in enumerate(texts))


def answered(runtime: Pipeline, assembler: Assembler, answer: str, shown: Sequence[Passage], question: str) -> State:
    """The state after an answer, as if the model had written it."""
    state = State(Question(question), tuple(shown), ledger=stage_ledger(2048, 64, ""))
    return replace(assembler.assemble(state, runtime, 64), answer=Answer(answer))


def drops(attribution: Attribution, sentence: int = 0) -> dict[int, float]:
    return {one.number: one.drop for one in attribution.sentences[sentence].passages}


@pytest.fixture
def scripted() -> Iterator[Pipeline]:
    config = replace(
        default_pipeline(), stages=(*default_pipeline().stages[:-1], make("generate.scripted", {"n_ctx": 4096}))
    )
    with Pipeline(config, Path("nowhere")) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def real() -> Iterator[Pipeline]:
    with Pipeline(default_pipeline(), Path("nowhere")) as pipeline:
        yield pipeline


# ------------------------------------------------------------------------------------------------------- by arithmetic
def counted(words: list[str], target: list[str]) -> float:
    """The scripted model's rule: (1 + how often the word came before) / (2 + how many words came before)."""
    total = 0.0
    for word in target:
        total += log((1 + words.count(word)) / (2 + len(words)))
        words = [*words, word]
    return total


def test_the_drop_is_the_difference_of_two_counts(scripted: Pipeline) -> None:
    assembler = Plain(separator="\n\n")
    shown = passages("red blue", "green gold", "black white")
    state = answered(scripted, assembler, "a gold", shown, "which one?")
    words = ["user:", "\n", "red", " blue", "\n\ngreen", " gold", "\n\nblack", " white", "\nwhich", " one?"]
    words += ["\n", "assistant:", "\n"]
    model = scripted.reader
    assert isinstance(model, ScriptedModel)
    assert model._words(state.prompt) == words
    attribution = attribute(state, assembler, scripted, method="cells")
    target = ["a", " gold"]
    whole = counted(words, target)
    expected = {
        1: whole - counted([*words[:2], *words[4:]], target),
        2: whole - counted([*words[:4], *words[6:]], target),
        3: whole - counted([*words[:6], *words[8:]], target),
    }
    assert drops(attribution) == pytest.approx(expected, abs=1e-3)
    assert attribution.sentences[0].logprob == pytest.approx(whole, abs=1e-3)
    none = whole - counted([*words[:2], *words[8:]], target)
    assert attribution.sentences[0].drop_without_all == pytest.approx(none, abs=1e-3)
    assert expected[2] > max(expected[1], expected[3])


def test_each_sentence_of_the_answer_has_its_own_grounds(scripted: Pipeline) -> None:
    assembler = Cited(show_titles=False)
    shown = passages("One alpha alpha alpha.", "One beta beta beta.", "One gamma.")
    state = answered(scripted, assembler, "x alpha alpha alpha. y beta beta beta.", shown, "which?")
    texts = ["x alpha alpha alpha.", "y beta beta beta."]
    attribution = attribute(state, assembler, scripted, texts)
    assert [grounds.text for grounds in attribution.sentences] == texts
    assert [grounds.passages[0].number for grounds in attribution.sentences] == [1, 2]


def test_of_a_long_passage_the_sentences_with_the_answers_words_are_left_out() -> None:
    text = "Red is old. Ada Barker is head. The library is new. The tower is far. Ada has a cat. Ada writes."
    (long,) = passages(text)
    units = sentences(text)
    chosen = _likeliest(long, units, ["The head is Ada Barker."], "Who is head of the library?")
    assert [text[slice(*span)] for span in chosen] == ["Ada Barker is head.", "Ada has a cat.", "Ada writes."]
    assert _likeliest(long, units[:2], ["Green."], "Blue?") == units[:2]


def test_what_it_cost_is_in_the_ledger(scripted: Pipeline) -> None:
    assembler = Cited()
    state = answered(scripted, assembler, ANSWER, passages(BRIDGE, LIBRARY), QUESTION)
    attribution = attribute(state, assembler, scripted)
    entry = with_account(state, attribution).ledger.stages[-1]
    assert (entry.stage, entry.passages_in, entry.passages_out) == ("why", 2, 2)
    assert entry.seconds == attribution.seconds > 0
    assert entry.notes == (
        f"{attribution.n_variants} passages and sentences left out in turn (cells hidden, "
        f"{attribution.n_tokens} tokens read again)",
    )


def test_where_the_passages_are_not_in_the_prompt_as_they_were_prompts_are_read_anew(scripted: Pipeline) -> None:
    class Shouting(Cited):
        def prompt(self, *arguments: object, **more: object) -> Prompt:
            made = super().prompt(*arguments, **more)  # type: ignore[arg-type]
            return tuple(replace(s, text=s.text.upper()) if isinstance(s, Text) else s for s in made)

    state = answered(scripted, Shouting(), ANSWER, passages(BRIDGE, LIBRARY), QUESTION)
    assert attribute(state, Shouting(), scripted).method == "prompts"
    with pytest.raises(ModelError, match="passages cannot be found in the prompt as they were shown"):
        attribute(state, Shouting(), scripted, method="cells")


def test_a_model_without_probabilities_says_so(scripted: Pipeline) -> None:
    class Mute:
        name = "mute.gguf"

        def count(self, prompt: Prompt) -> int:
            return len(prompt)

    state = answered(scripted, Cited(), ANSWER, passages(BRIDGE, LIBRARY), QUESTION)
    reader = scripted.reader
    scripted.use(reader=Mute())  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"mute\.gguf gives no probabilities"):
        attribute(state, Cited(), scripted)
    scripted.use(reader=reader)


def test_without_an_answer_there_is_nothing_to_explain(scripted: Pipeline) -> None:
    state = answered(scripted, Cited(), "", passages(BRIDGE), QUESTION)
    for other in (state, replace(state, answer=None), replace(state, prompt=(), answer=Answer("Yes."))):
        with pytest.raises(ModelError, match="there is no answer of the model"):
            attribute(other, Cited(), scripted)


def test_a_drop_that_says_nothing_is_no_ground() -> None:
    one = passages(BRIDGE)[0]
    small = Grounds("So.", -1.0, 0.1, (PassageDrop(1, one, 0.2, (QuoteDrop(one, 0.2),)),))
    assert (small.best, small.quote) == (None, None)
    spread = Grounds("So.", -1.0, 9.0, (PassageDrop(1, one, 8.0, (QuoteDrop(one, 0.2),)),))
    assert spread.best is spread.passages[0]
    assert spread.quote is None


# ------------------------------------------------------------------------------------------------------ on real weights
BRIEF = Cited(layout="brief")
"""A layout that says nothing of the passages twice."""


@pytest.mark.parametrize("method", ["cells", "prompts"])
@pytest.mark.parametrize(
    "assembler", [BRIEF, Cited(layout="brief-cue"), Plain()], ids=["tags", "begun answer", "one span"]
)
def test_the_passage_and_the_sentence_that_say_it_come_first(
    real: Pipeline, assembler: Assembler, method: Method
) -> None:
    state = answered(real, assembler, ANSWER, passages(BRIDGE, LIBRARY, TOWER), QUESTION)
    (grounds,) = attribute(state, assembler, real, method=method).sentences
    assert grounds.passages[0].number == 2
    assert grounds.passages[0].drop > 3 * max(1.0, grounds.passages[1].drop)
    first, *others = grounds.passages[0].sentences
    assert (grounds.best, grounds.quote) == (grounds.passages[0], first)
    assert first.quote.text == "Its head is Ada Barker."
    assert first.quote.place.line == 2
    assert first.drop > max(quote.drop for quote in others)
    assert [one.sentences for one in grounds.passages[1:]] == [(), ()]


def test_prompts_read_anew_give_what_rendering_them_gives(real: Pipeline) -> None:
    assembler = BRIEF
    shown = passages(BRIDGE, LIBRARY, TOWER)
    state = answered(real, assembler, ANSWER, shown, QUESTION)
    attribution = attribute(state, assembler, real, method="prompts")

    def likelihood(left: Sequence[Passage]) -> float:
        real.reader.pool.forget()  # type: ignore[attr-defined]
        prompt = assembler.prompt(QUESTION, left, real.reader)
        answer = (Text(ANSWER, "answer"),)
        return float(real.reader.logprobs((*prompt, *answer), real.reader.count(prompt)).sum())  # type: ignore[attr-defined]

    whole = likelihood(shown)
    expected = {n + 1: whole - likelihood((*shown[:n], *shown[n + 1 :])) for n in range(3)}
    assert drops(attribution) == pytest.approx(expected, abs=1.0)  # Q4_1 rounds: tests/models/conftest.py
    assert attribution.sentences[0].drop_without_all is None


def test_hidden_cells_come_near_to_prompts_read_anew_and_cost_less(real: Pipeline) -> None:
    state = answered(real, BRIEF, ANSWER, passages(BRIDGE, LIBRARY, TOWER), QUESTION)
    real.reader.logprobs(state.prompt)  # type: ignore[attr-defined]
    near = attribute(state, BRIEF, real, method="cells")
    exact = attribute(state, BRIEF, real, method="prompts")
    assert drops(near)[2] == pytest.approx(drops(exact)[2], rel=0.2)
    assert near.n_tokens is not None
    assert exact.n_tokens is not None
    assert near.n_tokens < 0.8 * exact.n_tokens
    assert near.n_variants == exact.n_variants == 5


def test_no_cell_is_left_behind(real: Pipeline) -> None:
    state = answered(real, BRIEF, ANSWER, passages(BRIDGE, LIBRARY, TOWER), QUESTION)
    attribute(state, BRIEF, real)
    pool = real.reader.pool  # type: ignore[attr-defined]
    pool.forget()
    assert pool.book.n_free == pool.context.n_cells
    assert all(pool.context.last_position(n) == -1 for n in range(pool.context.n_sequences))


@pytest.mark.parametrize("layout", ["focus-2", "focus-examples"])
def test_where_the_layout_repeats_sentences_those_of_a_hidden_passage_are_hidden_too(
    real: Pipeline, layout: str
) -> None:
    """Otherwise a hidden passage would still be read after the question, and its drop be near 0."""
    focus = Cited(layout=layout)
    state = answered(real, focus, ANSWER, passages(BRIDGE, LIBRARY), QUESTION)
    near, exact = attribute(state, focus, real), attribute(state, focus, real, method="prompts")
    assert (near.method, exact.method) == ("cells", "prompts")
    for attribution in (near, exact):
        best, second = attribution.sentences[0].passages
        assert best.number == 2
        assert best.drop > 3 + second.drop
