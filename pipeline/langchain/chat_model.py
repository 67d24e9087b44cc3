"""The engine as a LangChain chat model.

    with open_engine(EngineSettings(), resolve("smollm2-135m")) as engine:
        chat = LongthreadChat(model=engine, sampling=Sampling(max_tokens=64))
        chat.invoke("Why is the sea salt?")

`batch` answers its prompts in one context: each waits in a thread of its own, and whichever is read serves all.
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
    """A chat model over a loaded `Model`, which stays its owner's to close.

    `sampling` may be changed by keyword, for one call (`chat.invoke("...", temperature=0.7, seed=3)`) or for all by
    `bind`; `json_schema` and `grammar` hold the answer to a form. Messages may hold text and nothing else; there are no
    tools. Raises ModelError for what does not fit the model's window.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: SkipValidation[Model]
    sampling: Sampling = Field(default_factory=Sampling)

    @property
    def _llm_type(self) -> str:
        return "longthread"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model.name, **dataclasses.asdict(self.sampling)}

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text alone, by the model's own tokenizer."""
        return self.model.count_text(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Cells that the messages take in the model's chat template, exactly."""
        return self.model.count(self._prompt(messages))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        stream = self._start(messages, stop, kwargs)
        try:
            found = stream.result()
        except BaseException:
            stream.cancel()
            raise
        message = AIMessage(found.text, usage_metadata=_usage(found), response_metadata=self._account(found))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """Piece by piece; the last chunk is empty and carries the usage. A stream that is dropped frees its cells."""
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
        found = stream.result()
        last = AIMessageChunk(
            content="", usage_metadata=_usage(found), response_metadata=self._account(found), chunk_position="last"
        )
        yield ChatGenerationChunk(message=last)

    def _start(self, messages: list[BaseMessage], stop: list[str] | None, changes: dict[str, Any]) -> Stream:
        (stream,) = self.model.generate([self._prompt(messages)], self._sampling(stop, changes))
        return stream

    def _sampling(self, stop: list[str] | None, changes: dict[str, Any]) -> Sampling:
        if unknown := [name for name in changes if name not in _SAMPLING]:
            raise ModelError(f"longthread's chat model knows no {', '.join(unknown)}; it has: {', '.join(_SAMPLING)}")
        if stop is not None:
            changes = {**changes, "stop": tuple(stop)}
        return dataclasses.replace(self.sampling, **changes)

    def _prompt(self, messages: Sequence[BaseMessage]) -> Prompt:
        return self.model.render([_message(one, is_last=n == len(messages)) for n, one in enumerate(messages, 1)])

    def _account(self, found: Generation) -> dict[str, Any]:
        return {
            "model_name": self.model.name,
            "finish_reason": found.finish,
            "prefill_s": found.prefill_s,
            "decode_s": found.decode_s,
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


def _usage(found: Generation) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=found.prompt_tokens,
        output_tokens=found.answer_tokens,
        total_tokens=found.prompt_tokens + found.answer_tokens,
        input_token_details={"cache_read": found.reused_tokens + found.restored_tokens},
    )
