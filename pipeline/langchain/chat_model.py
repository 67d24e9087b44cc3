"""The engine as a LangChain chat model.

    with open_engine(EngineSettings(), resolve("smollm2-135m")) as engine:
        chat = LongthreadChat(model=engine, sampling=Sampling(max_tokens=64))
        chat.invoke("Why is the sea salt?")

`batch` answers all its prompts in one context. Each prompt waits in its own thread, and any thread advances all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, SkipValidation

from pipeline.contracts import Model, Stream
from pipeline.errors import ModelError
from pipeline.types import Generation, Message, Part, Prompt, Sampling, Text

_SAMPLING = tuple(field.name for field in dataclasses.fields(Sampling))


class LongthreadChat(BaseChatModel):
    """A chat model over a loaded `Model`. The owner of the `Model` closes it.

    Keywords change `sampling`: for one call (`chat.invoke("...", temperature=0.7, seed=3)`), or for all with `bind`.
    `json_schema` and `grammar` constrain the answer. Messages may contain only text, and there are no tools. Raises
    ModelError for a prompt that does not fit the model's window.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: SkipValidation[Model]
    sampling: Sampling = Field(default_factory=Sampling)

    @property
    def _llm_type(self) -> str:
        return "longthread"

    @property
    def _identifying_params(self) -> dict[str, object]:
        return {"model_name": self.model.name, **dataclasses.asdict(self.sampling)}

    def get_num_tokens(self, text: str) -> int:
        """The number of tokens of a text, by the model's own tokenizer."""
        return self.model.count_text(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[object] | None = None) -> int:
        """The exact number of KV cells that the messages take in the model's chat template."""
        return self.model.count(self._prompt(messages))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        stream = self._start(messages, stop, kwargs)
        try:
            generation = stream.result()
        except BaseException:
            stream.cancel()
            raise
        message = AIMessage(
            generation.text, usage_metadata=_usage(generation), response_metadata=self._account(generation)
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> Iterator[ChatGenerationChunk]:
        """Yields the answer in pieces. The last chunk is empty and has the usage. Closing it frees its cells."""
        stream = self._start(messages, stop, kwargs)
        try:
            for piece in stream:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
        except BaseException:
            stream.cancel()
            raise
        generation = stream.result()
        last = AIMessageChunk(
            content="",
            usage_metadata=_usage(generation),
            response_metadata=self._account(generation),
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)

    def _start(self, messages: list[BaseMessage], stop: list[str] | None, changes: dict[str, object]) -> Stream:
        (stream,) = self.model.generate([self._prompt(messages)], self._sampling(stop, changes))
        return stream

    def _sampling(self, stop: list[str] | None, changes: dict[str, Any]) -> Sampling:
        if unknown := [name for name in changes if name not in _SAMPLING]:
            raise ModelError(f"longthread's chat model knows no {', '.join(unknown)}; it has: {', '.join(_SAMPLING)}")
        if stop is not None:
            changes = {**changes, "stop": tuple(stop)}
        return dataclasses.replace(self.sampling, **changes)

    def _prompt(self, messages: Sequence[BaseMessage]) -> Prompt:
        return self.model.render(
            [_message(message, is_last=n == len(messages)) for n, message in enumerate(messages, 1)]
        )

    def _account(self, generation: Generation) -> dict[str, object]:
        return {
            "model_name": self.model.name,
            "finish_reason": generation.finish,
            "prefill_s": generation.prefill_s,
            "decode_s": generation.decode_s,
        }


def _message(message: BaseMessage, is_last: bool) -> Message:
    part: Part = "question" if is_last else "history"
    match message:
        case SystemMessage():
            return Message("system", (Text(_text(message), "system"),))
        case HumanMessage():
            return Message("user", (Text(_text(message), part),))
        case AIMessage() if not message.tool_calls:
            return Message("assistant", (Text(_text(message), part),))
    raise ModelError(f"longthread's chat model takes system, human and AI messages without tools, was: {message.type}")


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    texts = []
    for block in message.content:
        if isinstance(block, dict):
            if block.get("type") != "text":
                raise ModelError(f"longthread's chat model reads text alone, was: a part of type {block.get('type')}")
            block = str(block["text"])
        texts.append(block)
    return "".join(texts)


def _usage(generation: Generation) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=generation.prompt_tokens,
        output_tokens=generation.answer_tokens,
        total_tokens=generation.prompt_tokens + generation.answer_tokens,
        input_token_details={"cache_read": generation.reused_tokens + generation.restored_tokens},
    )
