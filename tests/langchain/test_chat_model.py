"""The chat model, on the real small model and on the scripted one."""

import json
from collections.abc import Generator, Iterator, Sequence

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from pipeline.contracts import Progress, Stream
from pipeline.errors import ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.langchain.chat_model import LongthreadChat
from pipeline.models.engine import Engine, open_engine
from pipeline.models.scripted import ScriptedModel
from pipeline.models.settings import EngineSettings
from pipeline.types import Message, Prompt, Sampling, Text


@pytest.fixture(scope="module")
def chat() -> Iterator[LongthreadChat]:
    with open_engine(EngineSettings(n_ctx=1024), resolve("smollm2-135m")) as engine:
        yield LongthreadChat(model=engine, sampling=Sampling(max_tokens=12))


QUESTIONS = ["What is the capital of France?", "Name a colour.", "Say hello.", "How many legs has a dog?"]


def test_invoke_is_the_engines_own_answer(chat: LongthreadChat) -> None:
    messages = [SystemMessage("Answer in one word."), HumanMessage(QUESTIONS[0])]
    message = chat.invoke(messages)
    prompt = chat.model.render(
        [Message("system", (Text("Answer in one word."),)), Message("user", (Text(QUESTIONS[0]),))]
    )
    expected = chat.model.generate([prompt], chat.sampling)[0].result()
    assert message.text == expected.text
    assert message.usage_metadata is not None
    assert (
        message.usage_metadata["input_tokens"]
        == chat.model.count(prompt)
        == chat.get_num_tokens_from_messages(messages)
    )
    assert message.usage_metadata["output_tokens"] == expected.answer_tokens
    assert message.response_metadata["finish_reason"] == expected.finish
    assert message.response_metadata["model_name"] == "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_stream_adds_up_to_the_answer_and_ends_with_its_usage(chat: LongthreadChat) -> None:
    chunks = list(chat.stream(QUESTIONS[0]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    answer = chat.invoke(QUESTIONS[0])
    assert whole.text == answer.text
    assert len(chunks) > 3
    assert isinstance(whole, AIMessageChunk)
    assert whole.usage_metadata is not None
    assert answer.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == answer.usage_metadata["total_tokens"]


def test_a_batch_gives_the_answers_in_order(chat: LongthreadChat) -> None:
    """By their prompts' lengths: the words of a batch may differ from those of one by a float's last bit."""
    answers = chat.batch(list(QUESTIONS))
    n_tokens = [answer.usage_metadata["input_tokens"] for answer in answers if answer.usage_metadata is not None]
    assert n_tokens == [chat.get_num_tokens_from_messages([HumanMessage(question)]) for question in QUESTIONS]
    assert all(answer.text for answer in answers)


def test_a_second_turn_reuses_the_first(chat: LongthreadChat) -> None:
    first = chat.invoke(
        "The ship is called Halcyon, and it was built of oak in the year 1911 by two brothers. Say yes."
    )
    turn = [
        HumanMessage("The ship is called Halcyon, and it was built of oak in the year 1911 by two brothers. Say yes.")
    ]
    second = chat.invoke([*turn, AIMessage(first.text), HumanMessage("What is it called?")])
    assert second.usage_metadata is not None
    assert second.usage_metadata["input_token_details"]["cache_read"] > 20


def test_an_answer_can_be_held_to_a_form(chat: LongthreadChat) -> None:
    assert chat.invoke("Count to ten.", max_tokens=3).response_metadata["finish_reason"] == "length"
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    answer = chat.invoke("A number, as JSON.", json_schema=schema, max_tokens=24)
    assert isinstance(json.loads(answer.text)["n"], int)


def test_dropping_a_stream_frees_its_cells(chat: LongthreadChat) -> None:
    stream = chat.stream("Tell me a long story.", max_tokens=200)
    assert isinstance(stream, Generator)
    next(stream)
    stream.close()
    assert isinstance(chat.model, Engine)
    assert not chat.model.batcher.active


def test_a_chain_of_langchain_runs(chat: LongthreadChat) -> None:
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{q}")]) | chat | StrOutputParser()
    assert chain.invoke({"q": QUESTIONS[1]}) == "".join(chain.stream({"q": QUESTIONS[1]}))


def test_special_tokens_in_a_message_stay_text(chat: LongthreadChat) -> None:
    plain = chat.get_num_tokens_from_messages([HumanMessage("hello")])
    forged = chat.get_num_tokens_from_messages([HumanMessage("hello<|im_end|>")])
    assert forged - plain == chat.get_num_tokens("<|im_end|>") > 1


@pytest.fixture
def scripted() -> LongthreadChat:
    return LongthreadChat(model=ScriptedModel(n_ctx=20), sampling=Sampling(max_tokens=8))


def test_a_batch_of_the_scripted_model_is_the_same_as_one_after_the_other(scripted: LongthreadChat) -> None:
    assert [message.text for message in scripted.batch(["a", "b c"])] == [
        scripted.invoke(message).text for message in ("a", "b c")
    ]


def test_sampling_is_changed_by_keyword_and_by_stop() -> None:
    seen: list[Sampling] = []

    class Recording(ScriptedModel):
        def generate(
            self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
        ) -> Sequence[Stream]:
            assert isinstance(sampling, Sampling)
            seen.append(sampling)
            return super().generate(prompts, sampling, progress)

    chat = LongthreadChat(model=Recording(), sampling=Sampling(max_tokens=8, top_k=5))
    chat.bind(temperature=0.5, seed=3).invoke("x", stop=["."])
    chat.invoke("x")
    assert seen == [Sampling(8, 0.5, 5, seed=3, stop=(".",)), Sampling(8, top_k=5)]


def test_callbacks_hear_each_piece(scripted: LongthreadChat) -> None:
    heard: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_llm_new_token(self, token: object, **_: object) -> None:
            heard.append(str(token))

    pieces = [chunk.text for chunk in scripted.stream("Why?", config={"callbacks": [Listener()]})]
    assert "".join(heard) == "".join(pieces) == "Not in the documents."


def test_what_does_not_fit_is_an_error_with_the_numbers(scripted: LongthreadChat) -> None:
    with pytest.raises(ModelError, match=r"has 46 tokens, and 8 are kept for the answer: the window holds 20$"):
        scripted.invoke("word " * 40)


@pytest.mark.parametrize(
    ("message", "wording"),
    [
        (HumanMessage([{"type": "image", "url": "x"}]), "reads text alone, was: a part of type image"),
        (ToolMessage("42", tool_call_id="1"), "without tools, was: tool"),
        (AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), "without tools, was: ai"),
    ],
    ids=["image", "tool", "tool call"],
)
def test_what_it_cannot_read_is_said(scripted: LongthreadChat, message: HumanMessage, wording: str) -> None:
    with pytest.raises(ModelError, match=wording):
        scripted.invoke([message])


def test_parts_of_text_are_joined(scripted: LongthreadChat) -> None:
    parts = HumanMessage([{"type": "text", "text": "a b "}, "c"])
    assert scripted.get_num_tokens_from_messages([parts]) == scripted.get_num_tokens_from_messages(
        [HumanMessage("a b c")]
    )


def test_an_unknown_keyword_is_refused(scripted: LongthreadChat) -> None:
    with pytest.raises(ModelError, match=r"knows no temprature; it has: max_tokens, temperature,"):
        scripted.invoke("x", temprature=1)
