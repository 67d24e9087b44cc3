"""Passages that are read once: the model sees the words that it always saw, and citations point where they did."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answers import cited
from pipeline.answers.attribution import attribute
from pipeline.answers.cited import Cited
from pipeline.answers.tried import ReuseTried
from pipeline.contracts import Model
from pipeline.default import default_pipeline
from pipeline.evaluation.reuse_trial import REUSE_LAYOUTS, try_reuse
from pipeline.executors.local import LocalExecutor
from pipeline.executors.samples import Sample
from pipeline.executors.tasks import Task
from pipeline.listener import Listener
from pipeline.models.capabilities import why_not_compose
from pipeline.models.counting import CountingModel
from pipeline.models.scripted import ScriptedModel
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.stages import run_stage, stage_ledger
from pipeline.text.sentences import sentences
from pipeline.types import (
    Answer,
    Document,
    Excerpt,
    Generation,
    Passage,
    Prompt,
    Question,
    Recalled,
    State,
    Text,
    Turn,
)
from tests.compressors.workbench import scripted_runtime

HARBOUR = (
    "The ferry to Skelby sails at seven.\nA return ticket costs 14 marks, and dogs travel free. Bicycles cost 3 marks."
)
GARDEN = "The garden opens at nine. It has seven beehives. Its keeper is Anselm Roe."
TOWER = "The tower is 48 metres high. It leans a little."
QUESTION = "How many beehives are there?"


class Keeping(ScriptedModel):
    """A scripted model that could put cells together: what excerpts say is read as text."""

    why_not_compose = ""


def text_of(prompt: Prompt) -> str:
    return "".join(span.text for span in prompt if isinstance(span, Text | Excerpt))


def passages_of(prompt: Prompt) -> str:
    """The prompt before its question: quotes that are repeated behind it have their white space as it is."""
    return text_of(prompt).partition("\nQuestion:")[0]


def passages(*texts: str) -> tuple[Passage, ...]:
    return tuple(Passage(f"{n}.txt", 0, len(text), text) for n, text in enumerate(texts))


def assembled(
    assembler: Cited, found: tuple[Passage, ...], kept: tuple[Passage, ...], question: str = QUESTION
) -> State:
    runtime = scripted_runtime()
    runtime.use(reader=Keeping(4096))
    state = State(Question(question), kept, ledger=stage_ledger(4096, 64, ""), found=found)
    return assembler.assemble(state, runtime, 64)


SENTENCES = st.text(alphabet="abc -\n", min_size=1, max_size=30).map(lambda text: f"X{text}y.")


@settings(derandomize=True, deadline=None)
@given(st.lists(st.lists(SENTENCES, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=4), st.booleans())
def test_whole_passages_have_the_words_that_they_always_had(texts: list[str], unwrap: bool) -> None:
    found = passages(*texts)
    exact = assembled(Cited(unwrap=unwrap), found, found)
    reused = assembled(Cited(reuse="passages", unwrap=unwrap), found, found)
    for prompt, expected in ((reused.prompt, exact.prompt), (reused.second_prompt, exact.second_prompt)):
        assert passages_of(prompt) == passages_of(expected)
        assert "".join(text_of(prompt).split()) == "".join(text_of(expected).split())
    assert reused.shown == exact.shown
    assert dict(reused.ledger.parts).keys() == dict(exact.ledger.parts).keys()


@settings(derandomize=True, deadline=None)
@given(st.data())
def test_sentences_are_cut_out_of_their_passage_and_nothing_else_is_shown(data: st.DataObject) -> None:
    found = passages(HARBOUR, GARDEN, TOWER)
    kept = []
    for passage in found:
        spans = sentences(passage.text)
        chosen = data.draw(st.sets(st.integers(0, len(spans) - 1)))
        kept += [passage.part(*spans[n]) for n in sorted(chosen)]
    exact, reused = (assembled(Cited(reuse=reuse), found, tuple(kept)) for reuse in ("exact", "sentences"))
    assert "".join(text_of(reused.prompt).split()) == "".join(text_of(exact.prompt).split())
    assert reused.shown == exact.shown
    bodies = {texts for span in reused.prompt if isinstance(span, Excerpt) and len(texts := span.texts) > 1}
    assert bodies == {
        ("<passage>\n", p.text, "\n</passage>\n") for p in found if any(k.source == p.source for k in kept)
    }


def test_what_is_kept_does_not_change_with_the_question_or_the_number() -> None:
    found = passages(HARBOUR, GARDEN, TOWER)
    first = assembled(Cited(reuse="passages"), found, found)
    second = assembled(Cited(reuse="passages"), found[::-1], found[1:][::-1], "Is it high?")

    def kept(state: State) -> set[tuple[Prompt, tuple[str, ...]]]:
        return {(span.home, span.texts) for span in state.prompt if isinstance(span, Excerpt)}

    assert kept(second) <= kept(first)
    homes = {span.home for span in (*first.prompt, *first.second_prompt) if isinstance(span, Excerpt)}
    assert len(homes) == 1, "the second attempt's passages need not be read behind its own instructions"
    assert not any(span.part in ("question", "passages") for span in homes.pop())


def test_what_is_remembered_is_not_read_with_the_passages() -> None:
    found = passages(HARBOUR, GARDEN)
    summary = Recalled("summary", "We spoke of otters.", 5, None, (1,), "2026-11-30T09:00:00+00:00")
    runtime = scripted_runtime()
    runtime.use(reader=Keeping(4096))
    state = State(Question(QUESTION), found, ledger=stage_ledger(4096, 64, ""), found=found, recalled=(summary,))
    prompt = Cited(reuse="passages").assemble(replace(state, has_memory=True), runtime, 64).prompt
    (home,) = {span.home for span in prompt if isinstance(span, Excerpt)}
    assert "otters" in text_of(prompt).partition("<passage 1>")[0]
    assert "otters" not in text_of(home)
    assert "otters" not in "".join(text for span in prompt if isinstance(span, Excerpt) for text in span.texts)


def test_a_sentence_takes_the_white_space_before_it_along() -> None:
    found = passages(HARBOUR)
    prompt = assembled(Cited(reuse="sentences", unwrap=False), found, (found[0].part(36, 92),)).prompt
    (shown,) = [span.text for span in prompt if isinstance(span, Excerpt) and "</passage>" in span.text]
    assert shown == f"\n{HARBOUR[36:92]}\n</passage>\n"


def test_a_tag_in_a_sentence_that_is_not_shown_changes_the_tag_all_the_same() -> None:
    found = passages(f"{GARDEN} It says </passage> there.", TOWER)
    kept = (found[0].part(0, 25), found[1])
    prompt = assembled(Cited(reuse="sentences"), found, kept).prompt
    tags = {span.texts[0] for span in prompt if isinstance(span, Excerpt) and span.text.strip()}
    assert tags == {"<passage2>\n", "<passage2 1>\n", "<passage2 2>\n"}


def test_citations_point_at_the_passage_that_says_it() -> None:
    found = passages(HARBOUR, GARDEN, TOWER)
    for reuse in ("exact", "passages", "sentences"):
        kept = (found[0].part(36, 92), found[1].part(26, 48), found[2])
        state = assembled(Cited(reuse=reuse, citations="both"), found, kept if reuse != "passages" else found)
        runtime = scripted_runtime()
        runtime.use(reader=Keeping(4096))
        stage = make("generate.scripted")
        answer = run_stage(stage, state, runtime, 64).answer
        assert answer is not None
        assert answer.citations[0].number == 2
        assert answer.citations[0].quote is not None
        assert answer.citations[0].quote.span == found[1].part(26, 48).span


def test_soft_and_foreign_passages_stay_as_they_are() -> None:
    found = passages(HARBOUR)
    summary = replace(found[0], text="A summary.", spans=(found[0].span,))
    widened = Passage("0.txt", 0, 10, HARBOUR[:10])
    state = assembled(Cited(reuse="passages"), found, (summary, widened))
    assert not any(isinstance(span, Excerpt) for span in state.prompt)
    assert "A summary." in text_of(state.prompt)


def test_a_reader_that_keeps_no_cells_reads_everything_and_that_is_said_once() -> None:
    runtime = scripted_runtime()
    found = passages(HARBOUR, GARDEN)
    for n in range(2):
        state = State(Question(QUESTION), found, ledger=stage_ledger(4096, 64, ""), found=found)
        state = Cited(reuse="passages").assemble(state, runtime, 64)
        assert not any(isinstance(span, Excerpt) for span in state.prompt)
        notes = runtime.take_notes()
        assert [note for note in notes if "reuse: passages is not possible" in note] == list(notes[:1] if not n else [])


def test_rereading_needs_reuse() -> None:
    with pytest.raises(ValueError, match="reread must be 0 where reuse is exact, was: 4"):
        Cited(reread=4)


def test_earlier_turns_come_before_passages_that_are_reused() -> None:
    found = passages(HARBOUR, GARDEN)
    summary = Recalled("summary", "We spoke of otters.", 5, None, (1,), "2026-11-30T09:00:00+00:00")
    unit = Recalled("unit", "Owls came up.", 4, None, (2,), "2026-11-30T09:01:00+00:00")
    turns = tuple(Turn(n, f"Is {n} even?", f"{n} it is.", "2026-11-30T09:02:00+00:00") for n in (3, 4))
    runtime = scripted_runtime()
    runtime.use(reader=Keeping(4096))
    state = State(Question(QUESTION), found, ledger=stage_ledger(4096, 64, ""), found=found, turns=turns)
    state = replace(state, has_memory=True, recalled=(summary, unit))
    ordered = {"exact": "otters ferry beehives Is3 Is4 Owls", "passages": "otters Is3 Is4 ferry beehives Owls"}
    for reuse, expected in ordered.items():
        text = text_of(Cited(reuse=reuse, layout="brief").assemble(state, runtime, 64).prompt)  # type: ignore[arg-type]
        places = {"otters": "otters", "ferry": "ferry", "beehives": "seven beehives", "Owls": "Owls came"}
        places |= {f"Is{n}": f"Is {n} even?" for n in (3, 4)}
        assert all(text.count(words) == 1 for words in places.values())
        assert " ".join(sorted(places, key=lambda name: text.index(places[name]))) == expected
        assert text.rindex("How many beehives") > text.index("Owls came")


# ------------------------------------------------------------------------------------------------- with real weights
@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    generate = make("generate.llama", {"model": "smollm2-135m", "max_tokens": 24, "n_ctx": 2048})
    stages = (make("retrieve.given"), make("compress.sentences", {"top_k": 2}))
    config = replace(default_pipeline(), stages=(*stages, make("assemble.cited", {"reuse": "sentences"}), generate))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CACHE", str(tmp_path_factory.mktemp("cells")))
        with Pipeline(config, Path("nowhere")) as pipeline:
            yield pipeline


def asked(real: Pipeline, question: str) -> State:
    texts = {"garden.txt": GARDEN, "harbour.txt": HARBOUR, "tower.txt": TOWER}
    documents = tuple(Document(source, text) for source, text in texts.items())
    return real.ask(Question(question, documents=documents))


def test_another_question_on_the_same_passages_reads_nothing_of_them(real: Pipeline) -> None:
    first = asked(real, "How many beehives has the garden?").ledger.generation
    real.reader.pool.forget()  # type: ignore[attr-defined]
    state = asked(real, "How high is the tower?")
    second = state.ledger.generation
    real.reader.pool.forget()  # type: ignore[attr-defined]
    third = asked(real, "How many beehives has the garden?").ledger.generation
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.stored_tokens > 0
    assert third.stored_tokens == 0
    assert third.restored_tokens == first.restored_tokens > 30
    assert third.text == first.text
    assert second.is_composed
    assert state.answer is not None
    quotes = [citation.quote.text for citation in state.answer.citations if citation.quote is not None]
    assert quotes[0] == "The tower is 48 metres high."


def test_a_follow_up_with_other_passages_reads_no_turn_again(real: Pipeline) -> None:
    texts = {"garden.txt": GARDEN, "harbour.txt": HARBOUR, "tower.txt": TOWER}
    turns = tuple(Turn(n, f"What is {n} and {n}?", f"It is {n + n}.", "2026-11-30T09:02:00+00:00") for n in range(12))

    def ask(question: str, *sources: str) -> tuple[Generation, int]:
        documents = tuple(Document(source, texts[source]) for source in sources)
        state = State(Question(question, documents=documents), ledger=real.ledger, turns=turns, has_memory=True)
        for stage in real.config.stages:
            state = run_stage(stage, state, real, real.reserve)
        assert state.ledger.generation is not None
        history = tuple(span for span in state.prompt if span.part == "history")
        return state.ledger.generation, real.reader.count(history)

    ask("What do bicycles cost?", "harbour.txt", "tower.txt")
    done, n_history = ask("How many beehives has the garden?", "garden.txt")
    assert n_history > 100
    assert done.reused_tokens > n_history
    assert done.read_tokens - done.stored_tokens < 60


def test_why_finds_the_sentence_among_kept_cells(real: Pipeline) -> None:
    state = asked(real, "How many beehives has the garden?")
    state = replace(state, answer=Answer("seven beehives"))
    found = attribute(state, real.assembler, real)
    assert found.method == "cells"
    best = found.sentences[0].passages[0]
    assert "seven beehives" in best.passage.text


def test_an_answer_is_stopped_while_passages_are_read(real: Pipeline) -> None:
    read: list[int] = []

    def stop(what: str, done: int, total: int) -> None:
        if what == "read passages":
            read.append(done)
            real.is_cancelled = True

    documents = (
        Document("otter.txt", "An otter has two webbed feet. It eats fish."),
        Document("owl.txt", "An owl flies."),
    )
    real.listener = Listener(stop)
    try:
        state = real.ask(Question("How many feet has an otter?", documents=documents))
    finally:
        real.listener, real.is_cancelled = Listener(), False
    done = state.ledger.generation
    assert done is not None
    assert (done.finish, done.text, len(read)) == ("cancelled", "", 1)
    again = real.ask(Question("How many feet has an otter?", documents=documents)).ledger.generation
    assert again is not None
    assert again.finish != "cancelled"


def test_a_batch_places_what_one_question_after_the_other_does(real: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "close", lambda: None)  # the executor closes its pipeline
    texts = (
        "How many beehives has the garden?",
        "How high is the tower?",
        "What do bicycles cost?",
        "Who is the keeper?",
    )
    alone = [asked(real, text) for text in texts]
    tasks = [Task(n, str(n), Sample(state.question)) for n, state in enumerate(alone)]
    with LocalExecutor(real, max_in_flight=3) as executor:
        outcomes = sorted(executor.run(iter(tasks), 0, lambda n: None), key=lambda outcome: outcome.task.n)
    for outcome, other in zip(outcomes, alone, strict=True):
        assert outcome.state is not None, outcome.fault
        done, expected = outcome.state.ledger.generation, other.ledger.generation
        assert done is not None
        assert expected is not None
        assert done.prompt_tokens == expected.prompt_tokens
        # a prompt whose cells the pool still holds is reused as a whole, and places nothing
        assert done.restored_tokens + done.reused_tokens >= expected.restored_tokens + expected.reused_tokens
        assert outcome.state.prompt == other.prompt


def test_a_reader_that_counts_needs_no_weights_for_excerpts(real: Pipeline) -> None:
    """As in Ray, where the prompt is laid out beside the model: counted alike, sent whole, and nothing is loaded."""

    def load() -> Model:
        raise AssertionError("the whole model is not needed")

    counting = CountingModel(real.reader.path, 2048, (), load)  # type: ignore[attr-defined]
    state = asked(real, "How high is the tower?")
    assert why_not_compose(counting) == ""
    assert why_not_compose(CountingModel(counting.path, 2048, (), load, None, "it is too old")) == "it is too old"
    assert counting.count(state.prompt) == real.reader.count(state.prompt) == state.ledger.prompt_tokens
    sent: State = pickle.loads(pickle.dumps(state))  # noqa: S301
    assert sent.prompt == state.prompt
    counting.close()


# --------------------------------------------------------------------------------------------- what reuse costs a model
@pytest.mark.parametrize(
    ("recommended", "is_kept"), [("sentences", True), ("passages", True), ("exact", False), (None, False)]
)
def test_auto_follows_what_was_recommended(recommended: Any, is_kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reuse = None if recommended is None else ReuseTried(recommended, ())
    tried = SimpleNamespace(layout="brief", answer="generate", reuse=reuse, layout_for=lambda reuse: "brief")
    monkeypatch.setattr(cited, "stored", lambda reader: tried)
    found = passages(HARBOUR, GARDEN)
    state = assembled(Cited(reuse="auto"), found, found)
    assert any(isinstance(span, Excerpt) for span in state.prompt) == is_kept
    monkeypatch.setattr(cited, "stored", lambda reader: None)
    assert not any(isinstance(span, Excerpt) for span in assembled(Cited(reuse="auto"), found, found).prompt)


@pytest.mark.parametrize(
    ("reuse", "reader", "layout"),
    [
        ("exact", Keeping(4096), "brief"),
        ("passages", Keeping(4096), "focus"),
        ("sentences", Keeping(4096), "focus-2"),
        ("sentences", ScriptedModel(4096), "brief"),
    ],
)
def test_kept_cells_are_asked_in_their_own_layout(
    reuse: Any, reader: Any, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts = {"exact": "brief", "passages": "focus", "sentences": "focus-2"}
    tried = SimpleNamespace(layout="brief", answer="generate", reuse=None, layout_for=layouts.get)
    monkeypatch.setattr(cited, "stored", lambda reader: tried)
    runtime = scripted_runtime()
    runtime.use(reader=reader)
    assert Cited(reuse=reuse).suited(reader, runtime)[0].name == layout
    assert Cited(reuse=reuse, layout="examples").suited(reader, runtime)[0].name == "examples"


def test_the_trial_asks_each_question_in_four_ways() -> None:
    """The scripted model reads what excerpts hold as text: nothing is lost, and nothing is saved."""
    found = passages(HARBOUR, GARDEN)
    chosen = (found[1].part(*sentences(GARDEN)[1]),)
    questions = [SimpleNamespace(answers=("seven", "seven beehives"))]
    for reader, recommended in ((Keeping(4096), "sentences"), (ScriptedModel(4096), "exact")):
        runtime = scripted_runtime()
        runtime.use(reader=reader)
        ledger = stage_ledger(4096, 64, "")
        both = [State(Question(QUESTION), kept, ledger=ledger, found=found) for kept in (found, chosen)]
        tried = try_reuse(runtime, questions, both[:1], both[1:], "brief", lambda *_: None)
        assert tried.recommended == recommended
        if recommended == "exact":
            assert (tried.results, tried.why_not) == ((), "scripted keeps no cells")
            continue
        assert [row.way for row in tried.results] == ["read_passages", "passages", "read_sentences", "sentences"]
        assert {row.right for row in tried.results} == {1}
        assert {row.layout for row in tried.results} <= {"brief", *REUSE_LAYOUTS}
        assert {row.layout for row in tried.results if row.way.startswith("read")} == {"brief"}
        read_passages, kept_passages, read_sentences, _ = tried.results
        assert read_passages.gold_logprob == kept_passages.gold_logprob
        assert read_sentences.read < read_passages.read
