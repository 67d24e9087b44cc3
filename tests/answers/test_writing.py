"""An answer in parts: what is chosen between them is added to the prompt, and the answer stays one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressors.attention import Attention
from compressors.selection import Limits, Units, choose, split, units_in
from pipeline.answers.writing import ADDED, Writing
from pipeline.contracts import Model, Stream
from pipeline.default import default_pipeline
from pipeline.errors import ModelError
from pipeline.executors.answering import Answering
from pipeline.listener import Listener
from pipeline.models.scripted import ScriptedModel
from pipeline.models.thinking import Profile
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Document, Generation, Message, Passage, Prompt, Question, Sampling, State, Text
from tests.compressors.workbench import Chooser, passage, scripted_runtime

TEXT = (
    "The ferry leaves at nine from the old pier. Its captain is Ana Belmonte. She was born in Corvo. "
    "Corvo has one school. Dogs pay half."
)
SENTENCES = [sentence if sentence.endswith(".") else f"{sentence}." for sentence in TEXT.split(". ")]
PAPER = passage(TEXT, 30, "ferry.txt")


def pipeline_with(chooser: object, **options: object) -> Pipeline:
    assemble = make("assemble.cited", {"layout": "brief", **options})
    generate = make("generate.scripted", {"max_tokens": 32})
    stages = (make("retrieve.given"), chooser, assemble, generate)
    return Pipeline(replace(default_pipeline(), stages=stages), Path("nowhere"))  # type: ignore[arg-type]


def asked(pipeline: Pipeline, text: str = "When does the ferry leave?", **question: str) -> State:
    document = Document("ferry.txt", " " * 30 + TEXT)
    return pipeline.ask(Question(text, documents=(document,), **question))


def notes_of(state: State) -> tuple[str, ...]:
    return state.ledger.stages[-1].notes


def test_a_later_choice_is_shown_and_counted() -> None:
    chooser = Chooser(4, (2,))
    with pipeline_with(chooser) as pipeline:
        state = asked(pipeline)
    assert [one.text for one in state.shown] == [SENTENCES[0], SENTENCES[2]]
    assert notes_of(state)[0] == f"after 4 tokens of the answer sentences of 5 tokens {ADDED}"
    assert chooser.heard == ["The ferry leaves at", "The ferry leaves at nine from the old"]
    assert state.answer is not None
    assert state.answer.text.startswith(SENTENCES[0])
    left_out = " ".join(one.text for one in state.ledger.stages[1].dropped)
    assert [sentence in left_out for sentence in SENTENCES] == [False, True, False, True, True]
    entry = state.ledger.stages[-1]
    assert (entry.passages_in, entry.passages_out) == (1, 2)
    assert state.ledger.prompt_tokens == pipeline.reader.count(state.prompt)
    assert state.ledger.generation is not None
    assert state.ledger.generation.prompt_tokens == state.ledger.prompt_tokens
    assert state.ledger.generation.answer_tokens == len(state.ledger.generation.text.split())


def test_a_later_part_can_be_cited() -> None:
    """The answer's second part rests on a sentence that the first choice had left out."""

    chooser = Chooser(4, (1,))
    with pipeline_with(chooser) as pipeline:
        state = asked(pipeline, "Who is the captain of the ferry that leaves?")
    assert state.answer is not None
    quotes = [citation.quote.text for citation in state.answer.citations if citation.quote is not None]
    assert set(quotes) <= set(SENTENCES[:2])
    assert any(quote == SENTENCES[1] for quote in quotes)


@pytest.mark.parametrize("again", [4, 5, 7, 40])
@pytest.mark.parametrize("is_batch", [False, True])
def test_an_answer_in_parts_is_that_in_one(again: int, is_batch: bool) -> None:
    with pipeline_with(Chooser(None)) as pipeline:
        whole = asked(pipeline)
    with pipeline_with(Chooser(again)) as pipeline:
        if is_batch:
            state = State(Question(whole.question.text, documents=whole.question.documents), ledger=pipeline.ledger)
            for stage in pipeline.config.stages[:-1]:
                state = run_stage(stage, state, pipeline, pipeline.reserve)
            answering: Answering[int] = Answering(pipeline.config.generator, pipeline)
            heard: list[str] = []
            answering.add(1, state, heard.append)
            ended: list[tuple[int, State | Exception]] = []
            while not ended:
                ended, _ = answering.turn()
            result = ended[0][1]
            assert isinstance(result, State)
            parts = result
            assert "".join(heard) == parts.ledger.generation.text  # type: ignore[union-attr]
        else:
            parts = asked(pipeline)
    assert parts.answer == whole.answer
    assert parts.prompt == whole.prompt
    assert notes_of(parts) == notes_of(whole)
    one, other = parts.ledger.generation, whole.ledger.generation
    assert one is not None
    assert other is not None
    assert (one.text, one.finish, one.answer_tokens, one.prompt_tokens) == (
        other.text,
        other.finish,
        other.answer_tokens,
        other.prompt_tokens,
    )


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, len(SENTENCES) - 1), max_size=5), st.integers(4, 9), st.booleans())
def test_what_was_shown_stays_and_nothing_else_comes(steps: list[int], again: int, is_by_rank: bool) -> None:
    chooser = Chooser(again, tuple(steps))
    with pipeline_with(chooser, order="rank" if is_by_rank else "source") as pipeline:
        state = asked(pipeline)
    found = {SENTENCES[0], *(SENTENCES[n] for n in steps[: len(chooser.heard)])}
    assert {one.text for one in state.shown} == found
    assert len(state.shown) == len(found)
    assert sum(note.endswith(ADDED) for note in notes_of(state)) == len({0, *steps[: len(chooser.heard)]}) - 1
    source = " " * 30 + TEXT
    assert all(source[one.start : one.end] == one.text for one in state.shown)
    assert state.answer is not None
    for citation in state.answer.citations:
        assert citation.quote is not None
        assert source[citation.quote.start : citation.quote.end] == citation.quote.text


def test_nothing_else_is_drawn_while_the_answer_is_on_the_screen() -> None:
    """Work goes on between two parts, whose progress would be drawn over the words."""

    class Working(Chooser):
        def choose_again(self, *arguments: Any) -> list[Passage]:
            arguments[-1].listener.progress("look", 1, 2)
            return super().choose_again(*arguments)

    heard: list[str] = []
    with pipeline_with(Working(4, (2,))) as pipeline:
        pipeline.listener = Listener(lambda what, done, total: heard.append(what), heard.append)
        state = asked(pipeline)
    assert state.ledger.generation is not None
    first = heard.index("The")
    assert "".join(heard[first:]) == state.ledger.generation.text


def test_what_was_shown_keeps_its_number() -> None:
    with pipeline_with(Chooser(4, (3, 1))) as pipeline:
        state = asked(pipeline, "When does the ferry leave, and who is its captain?")
    assert [one.text for one in state.shown] == [SENTENCES[0], SENTENCES[3], SENTENCES[1]]


def test_what_comes_from_memory_stays() -> None:
    remembered = passage("Corvo is an island.", 0, "earlier.txt")
    with pipeline_with(Chooser(4, (2,))) as pipeline:
        document = Document("ferry.txt", " " * 30 + TEXT)
        state = State(Question("When does the ferry leave?", documents=(document,)), ledger=pipeline.ledger)
        for stage in pipeline.config.stages[:2]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
        state = replace(state, passages=(*state.passages, remembered))
        for stage in pipeline.config.stages[2:]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
    assert [one.text for one in state.shown] == [SENTENCES[0], remembered.text, SENTENCES[2]]


def said(text: str, finish: str, n: int) -> Generation:
    return Generation(text, finish, 10, 0, n, 1.0, 0.5)  # type: ignore[arg-type]


def writing(runtime: Pipeline, sampling: Sampling, **changes: object) -> Writing:
    state = State(
        Question("Who?"), shown=(PAPER,), passages=(PAPER,), prompt=(Text("?"),), candidates=(PAPER,),
        ledger=stage_ledger(500, 32, ""),
    )  # fmt: skip
    return Writing(replace(state, **changes), sampling, runtime)  # type: ignore[arg-type]


def test_a_stop_string_over_two_parts_ends_the_answer() -> None:
    with pipeline_with(Chooser(4)) as pipeline:
        ours = writing(pipeline, Sampling(max_tokens=32, stop=("\nQuestion:",)))
        pipeline.note("something else")
        ours.take(said("It is Ana.\nQues", "length", 4))
        assert pipeline.take_notes() == ("something else",)
        assert not ours.is_over
        assert ours.prompt == (Text("?"), Text("It is Ana.\nQues", "answer"))
        ours.take(said("tion: Why", "length", 4))
        assert ours.is_over
    assert (ours.generation.text, ours.generation.finish) == ("It is Ana.", "stop")


def test_half_a_character_is_written_anew() -> None:
    with pipeline_with(Chooser(4)) as pipeline:
        ours = writing(pipeline, Sampling(max_tokens=12))
        ours.take(said("東京\ufffd", "length", 4))
        assert ours.prompt == (Text("?"), Text("東京", "answer"))
        ours.take(said("都です。", "stop", 3))
    assert ours.generation.text == "東京都です。"
    assert ours.generation.answer_tokens == 7


def test_the_parts_share_the_limit_and_have_seeds_of_their_own() -> None:
    with pipeline_with(Chooser(5)) as pipeline:
        ours = writing(pipeline, Sampling(max_tokens=12, seed=3))
        limits = []
        while not ours.is_over:
            limits.append((ours.sampling.max_tokens, ours.sampling.seed))
            ours.take(said("a ", "length", ours.sampling.max_tokens))
    assert limits == [(5, 3), (5, 4), (2, 5)]
    assert (ours.generation.finish, ours.generation.answer_tokens) == ("length", 12)
    assert ours.generation.prefill_s == 1.0
    assert ours.generation.decode_s >= 3 * 0.5 + 2 * 1.0


@pytest.mark.parametrize(
    ("sampling", "changes", "why"),
    [
        (Sampling(grammar='root ::= "a"'), {}, "a grammar or a schema determines the answer's form"),
        (Sampling(json_schema="{}"), {}, "a grammar or a schema determines the answer's form"),
        (Sampling(thinking_tokens=9), {}, "the model thinks before it answers"),
        (Sampling(), {"cite_by": "both"}, "the model cites by the passages' numbers, which would change"),
    ],
)
def test_where_it_is_written_in_one_part_the_ledger_says_why(
    sampling: Sampling, changes: dict[str, str], why: str
) -> None:
    with pipeline_with(Chooser(4)) as pipeline:
        ours = writing(pipeline, sampling, **changes)
        assert ours.sampling == sampling
        ours.take(said("It is Ana.", "length", sampling.max_tokens))
    assert ours.is_over
    assert ours.notes == [f"sentences are chosen once and not again: {why}"]
    assert ours.generation.text == "It is Ana."


class Brief(ScriptedModel):
    """A model whose thoughts can only be shortened, as gpt-oss: its answer begins behind marks of its own."""

    thinks = False
    profile = Profile("channels", is_brief=True)

    def render_answer(self, messages: Sequence[Message], begin: str = "") -> Prompt:
        return self.render(messages)

    def before_answer(self, prompt: Prompt) -> Prompt:
        return prompt


def test_a_model_that_always_thinks_writes_in_one_part() -> None:
    with pipeline_with(Chooser(4)) as pipeline:
        pipeline.use(reader=Brief())
        ours = writing(pipeline, Sampling())
    assert ours.notes == ["sentences are chosen once and not again: the model thinks before it answers"]


def test_a_cancelled_answer_chooses_no_more() -> None:
    chooser = Chooser(4)
    with pipeline_with(chooser) as pipeline:
        ours = writing(pipeline, Sampling(max_tokens=32))
        ours.take(said("It is", "cancelled", 2))
    assert ours.is_over
    assert not chooser.heard
    assert ours.generation.finish == "cancelled"


def test_a_choice_that_fails_costs_nothing_but_itself() -> None:
    chooser = Chooser(4, fault=ModelError("all cells are taken"))
    with pipeline_with(chooser) as pipeline:
        state = asked(pipeline)
    assert state.answer is not None
    assert state.answer.text.startswith(SENTENCES[0])
    assert "after 4 tokens of the answer no sentences could be chosen again: all cells are taken" in notes_of(state)


def test_what_does_not_fit_is_not_shown_in_the_place_of_what_was() -> None:
    with pipeline_with(Chooser(4, (1, 2, 3))) as pipeline:
        document = Document("ferry.txt", " " * 30 + TEXT)
        question = Question("When does the ferry leave?", documents=(document,))
        state = State(question, ledger=pipeline.ledger)
        for stage in pipeline.config.stages[:2]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
        exact = run_stage(pipeline.config.stages[2], state, pipeline, pipeline.reserve)
        window = exact.ledger.prompt_tokens + pipeline.reserve
        state = replace(state, ledger=replace(state.ledger, window=window))
        for stage in pipeline.config.stages[2:]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
    assert [one.text for one in state.shown] == [SENTENCES[0]]
    assert "after 4 tokens of the answer more sentences were chosen, for which the window has no room" in notes_of(
        state
    )


class Crowded:
    """A reader with room for one answer that goes on, as an engine whose cells other answers hold."""

    def __init__(self, reader: Model, answering: Answering[int]) -> None:
        self.reader, self.answering, self.n_refused = reader, answering, 0

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Sequence[Stream]:
        goes_on = any(span.part == "answer" for span in prompts[0])
        if goes_on and sum(not answer.is_waiting for answer in self.answering._active) > 1:
            self.n_refused += 1
            raise ModelError("the cells are taken")
        return self.reader.generate(prompts, sampling)


def test_a_part_that_has_no_room_waits_for_the_other_answers() -> None:
    questions = ("When does the ferry leave?", "Where was the captain born?", "What has Corvo?")
    with pipeline_with(Chooser(4, (2,))) as pipeline:
        alone = [asked(pipeline, text) for text in questions[:1]]
    with pipeline_with(Chooser(4)) as pipeline:
        alone += [asked(pipeline, text) for text in questions[1:]]
        answering: Answering[int] = Answering(pipeline.config.generator, pipeline)
        crowded = Crowded(answering.reader, answering)
        answering.reader = crowded  # type: ignore[assignment]
        for n, text in enumerate(questions):
            document = Document("ferry.txt", " " * 30 + TEXT)
            state = State(Question(text, documents=(document,)), ledger=pipeline.ledger)
            for stage in pipeline.config.stages[:-1]:
                state = run_stage(stage, state, pipeline, pipeline.reserve)
            answering.add(n, state)
        ended: dict[int, State | Exception] = {}
        for _ in range(200):
            ended.update(answering.turn()[0])
    assert crowded.n_refused > 0
    assert sorted(ended) == [0, 1, 2]
    for n, state in enumerate(alone):
        result = ended[n]
        assert isinstance(result, State)
        assert result.answer is not None
        assert state.answer is not None
        assert result.answer.text == state.answer.text


def test_a_sentence_of_two_overlapping_passages_is_kept_once() -> None:
    whole = passage("The ferry leaves at nine. Dogs pay half. It rains.", 0, "ferry.txt")
    late = whole.part(26, len(whole.text))
    with scripted_runtime() as runtime:
        units = Units.of([late, whole], runtime)
        stay = units_in(units, [whole.part(0, 40)])
        scores = np.linspace(0.1, 0.9, len(units))
        chosen = choose(units, scores, runtime, Limits(top_k=5), stay=stay)
    texts = [one.text for one in chosen]
    assert sum(text.count("Dogs pay half.") for text in texts) == 1
    assert sum(text.count("The ferry leaves at nine.") for text in texts) == 1


def test_what_assemble_left_out_is_not_dropped_by_the_compressor_too() -> None:
    with pipeline_with(Chooser(4, (2,))) as pipeline:
        document = Document("ferry.txt", " " * 30 + TEXT)
        question = Question("When does the ferry leave?", documents=(document,))
        state = State(question, ledger=pipeline.ledger)
        for stage in pipeline.config.stages[:2]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
        too_much = split(state.candidates[0])[3]
        kept = replace(state, passages=(*state.passages, too_much))
        state = run_stage(pipeline.config.stages[2], state, pipeline, pipeline.reserve)
        state = replace(state, passages=kept.passages)
        state = run_stage(pipeline.config.stages[3], state, pipeline, pipeline.reserve)
    assert [one.text for one in state.shown] == [SENTENCES[0], SENTENCES[2]]
    left_out = " ".join(one.text for one in state.ledger.stages[1].dropped)
    assert [sentence in left_out for sentence in SENTENCES] == [False, True, False, False, True]


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="again must be at least 4, was: 3"):
        Attention(again=3)
    stages = [make("retrieve.given"), make("assemble.cited"), make("generate.scripted")]
    config = replace(default_pipeline(), stages=tuple(stages))
    from pipeline.config.order import misordered

    followed = replace(config, stages=(stages[0], Attention(again=8), make("compress.exit_mini"), *stages[1:]))
    assert misordered(followed) == [
        (
            ("stages", 1),
            "compress.attention chooses again while the answer is written, so no compress.exit_mini can follow it",
        )
    ]
    wrapper = make("compress.neighbours", {"of": {"compress.chain": {"of": [{"compress.attention": {"again": 8}}]}}})
    assert misordered(replace(config, stages=(stages[0], wrapper, *stages[1:]))) == [
        (("stages", 1), "compress.attention chooses once inside of compress.neighbours: leave out its 'again'")
    ]
