"""Thoughts: found by profile, told from answers by token, ended by their budget, and never part of the text."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.models.chat_template import ChatTemplate
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.models.thinking import Profile, find_profile, profile_of_file
from pipeline.models.weights import Vocabulary
from pipeline.types import Generation, Message, Sampling, Text
from tests.models import zoo
from tests.models.speaking import ANSWER, KINDS, MUSINGS, speaking

SAID = "".join(ANSWER)
TALK = (Message("system", (Text("Be brief."),)), Message("user", (Text("How many hives?"),)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speaking")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(kind: str, folder: Path) -> Iterator[Engine]:
    path = speaking(kind, folder)
    with open_engine(EngineSettings(model=str(path), n_ctx=512, n_seq_max=4, threads=1), path) as engine:
        yield engine


@pytest.fixture(scope="module")
def vocabulary(q4: Path) -> Iterator[Vocabulary]:
    """Without a token for any mark, as a file that is none of the templates' own."""
    vocabulary = Vocabulary(q4)
    yield vocabulary
    vocabulary.close()


def generate(engine: Engine, thinks: bool, begin: str = "", **sampling: object) -> Generation:
    engine.thinks = thinks
    prompt = engine.render_answer(TALK, begin)
    chosen = {"max_tokens": 24, "thinking_tokens": 40 if thinks else 0, **sampling}
    (stream,) = engine.generate([prompt], Sampling(**chosen))  # type: ignore[arg-type]
    result = stream.result()
    assert "".join(stream) == result.text == stream.text
    return result


def test_a_profile_is_found_for_each_kind(engine: Engine, kind: str) -> None:
    profile = engine.profile
    assert (profile.kind, profile.is_brief) == {"plain": ("none", False), "harmony": ("channels", True)}.get(
        kind, ("tags", False)
    )
    assert profile.off == {
        "switched": (("enable_thinking", False),),
        "opened": (("enable_thinking", False),),
        "endless": (("enable_thinking", False),),
        "harmony": (("reasoning_effort", "low"),),
    }.get(kind, ())
    assert profile.off_text == {"control": "[THINK][/THINK]"}.get(kind, "")
    assert profile_of_file(engine.path) == profile


def test_without_thinking_the_answer_is_the_text(engine: Engine, kind: str) -> None:
    generation = generate(engine, thinks=False)
    assert generation.text == SAID
    assert generation.thoughts == ("" if kind != "harmony" else MUSINGS)
    assert generation.finish == "stop"


def test_with_thinking_thoughts_stand_beside_the_answer(engine: Engine, kind: str) -> None:
    generation = generate(engine, thinks=True)
    if kind == "plain":
        assert (generation.text, generation.thoughts, generation.thought_tokens) == (SAID, "", 0)
    elif kind == "endless":
        assert generation.thoughts.startswith(MUSINGS + MUSINGS)
        assert generation.is_thought_cut
        assert generation.text == SAID
    else:
        assert (generation.text, generation.thoughts) == (SAID, MUSINGS)
        assert not generation.is_thought_cut
        assert 5 <= generation.thought_tokens <= 12


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("plain", "harmony", "control")], indirect=True)
def test_a_budget_ends_a_thought_and_the_answer_follows(engine: Engine, kind: str) -> None:
    """Of the other kinds, the answer cannot follow a closing mark that the model did not write."""
    generation = generate(engine, thinks=True, thinking_tokens=3)
    assert generation.is_thought_cut
    assert MUSINGS.startswith(generation.thoughts)
    assert generation.text == SAID
    assert generation.thought_tokens <= 3 + 6


def test_a_grammar_begins_where_the_answer_begins(engine: Engine, kind: str) -> None:
    grammar = 'root ::= "The garden" " has"?'
    for thinks in (False, True):
        generation = generate(engine, thinks, grammar=grammar)
        assert generation.text in ("The garden", "The garden has")
    if kind not in ("plain", "harmony"):
        assert generation.thoughts


def test_stop_strings_and_the_limit_concern_the_answer_alone(engine: Engine, kind: str) -> None:
    assert generate(engine, thinks=True, stop=("plan", " seven")).text == "The garden has"
    if kind != "harmony":  # its answer is certain at its end alone
        assert generate(engine, thinks=True, max_tokens=4).finish == "length"


def test_an_answer_that_begins_with_given_words_has_no_thoughts(engine: Engine, kind: str) -> None:
    generation = generate(engine, thinks=False, begin="\n\n")
    assert MUSINGS[:4] not in generation.text or kind == "harmony"


def test_a_window_without_room_for_thoughts_still_answers(engine: Engine, kind: str) -> None:
    n = engine.count(engine.render(TALK))
    filler = Text(" x" * ((engine.window - n - 30) // 2))
    prompt = engine.render((Message("user", (filler, Text("How many hives?"))),))
    (stream,) = engine.generate([prompt], Sampling(max_tokens=engine.window - engine.count(prompt)))
    generation = stream.result()
    assert generation.answer_tokens + generation.thought_tokens <= engine.window - engine.count(prompt)
    if kind != "harmony":
        assert generation.text == SAID


def test_an_answer_is_scored_where_it_begins(engine: Engine, kind: str) -> None:
    """Behind an empty thought, never inside an open one."""
    for thinks in (True, False):
        engine.thinks = thinks
        prompt = engine.before_answer(engine.render_answer(TALK))
        begin = engine.count(prompt)
        logprobs = engine.logprobs((*prompt, Text(SAID, "answer")), begin)
        assert len(logprobs) == engine.count_text(SAID)
        tail = "".join(span.text for span in prompt[-2:] if isinstance(span, Text))
        assert engine.profile.state(tail) != "open"
        if kind == "harmony":
            assert tail.endswith("<|channel|>final<|message|>")


def test_many_thoughts_at_a_time_are_those_of_each_alone(engine: Engine) -> None:
    alone = [generate(engine, thinks) for thinks in (True, False)]
    prompts = []
    for thinks in (True, False, True):
        engine.thinks = thinks
        prompts.append(engine.render_answer(TALK))
    each = [Sampling(max_tokens=24, thinking_tokens=40 * thinks) for thinks in (True, False, True)]
    together = [stream.result() for stream in engine.generate(prompts, each)]
    pairs = [(answer.text, answer.thoughts) for answer in together]
    assert pairs == [(alone[n].text, alone[n].thoughts) for n in (0, 1, 0)]


def test_no_content_can_open_or_close_a_thought(engine: Engine) -> None:
    marks = " ".join(
        ("<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "<|start|>", "<|message|>", "<|end|>")
    )
    tokens = engine.tokenize(marks).tolist()
    assert not any(engine.weights.is_special(token) for token in tokens)
    assert b"".join(map(engine.weights.piece, tokens)).decode() == marks


@pytest.mark.skipif(not zoo.templates(), reason=zoo.WHY_NOT)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen-Qwen3-0.6B", "thinks between <think> and </think>; off by enable_thinking=False"),
        ("Qwen3.5-4B", "thinks between <think> and </think>; off by enable_thinking=False"),
        ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "thinks between <think> and </think>; off by writing a closed"),
        ("deepseek-ai-DeepSeek-V3.1", "thinks between <think> and </think>; off unless asked for"),
        ("mistralai-Ministral-3-14B-Reasoning-2512", "thinks between [THINK] and [/THINK]; off by writing a closed"),
        ("ByteDance-Seed-OSS", "thinks between <seed:think> and </seed:think>; off by thinking_budget=0"),
        ("google-gemma-4-31B-it", "thinks between <|channel>thought and <channel|>; off unless asked for"),
        ("Cohere2MoE", "thinks between <|START_THINKING|> and <|END_THINKING|>; off by reasoning=False"),
        ("MiniMax-M3", "thinks between <mm:think> and </mm:think>; off by thinking_mode=disabled"),
        ("tencent-Hy3", "thinks between <think:opensource> and </think:opensource>; off unless asked for"),
        ("Kimi-K3", "thinks between <|open|>think<|sep|> and <|close|>think<|sep|>; off by thinking=False"),
        ("upstage-Solar-Open-100B", "thinks between <|think|> and <|end|>; off by reasoning_effort=minimal"),
        ("ibm-granite-granite-3.3-2B-Instruct", "thinks between <think> and </think>; off unless asked for"),
        ("Qwen-Qwen2.5-7B-Instruct", "shows no sign of thinking"),
        ("microsoft-Phi-3.5-mini-instruct", "shows no sign of thinking"),
    ],
)
def test_profiles_of_real_templates(name: str, expected: str, vocabulary: Vocabulary) -> None:
    (path,) = (path for path in zoo.templates() if path.stem == name)
    specials = (("bos_token", "<s>"), ("eos_token", "</s>"))
    profile = find_profile(ChatTemplate(path.read_text(), "", specials, path.name), vocabulary)
    assert str(profile).startswith(expected)


@pytest.mark.skipif(not zoo.templates(), reason=zoo.WHY_NOT)
@pytest.mark.parametrize("path", zoo.templates(), ids=lambda path: path.stem)
def test_off_leaves_no_thought_open_in_any_real_template(path: Path, vocabulary: Vocabulary) -> None:
    template = ChatTemplate(path.read_text(), "", (("bos_token", "<s>"), ("eos_token", "</s>")), path.name)
    profile: Profile = find_profile(template, vocabulary)
    if not profile.is_there:
        pytest.skip("it shows no sign of thinking")
    text = "".join(span.text for span in profile.prompt(template, TALK, thinks=False) if isinstance(span, Text))
    tail = text.rpartition("How many hives?")[2]
    assert profile.state(tail) != "open"
