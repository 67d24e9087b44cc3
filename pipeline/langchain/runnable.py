"""A whole pipeline as a LangChain runnable, and as a tool for agents.

    with Pipeline(load_config("configs/default.yaml"), Path("my-index")) as pipeline:
        thread = LongthreadPipeline(pipeline=pipeline)
        thread.invoke("When does the ferry leave?")["answer"]
        for chunk in thread.stream("When does the ferry leave?"):
            print(chunk.get("draft", ""), end="")
        agent = create_agent(model, [thread.tool("manuals", "Looks things up in the manuals.")])

It handles one question at a time, because a pipeline's context has one owner. Other questions wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.utils import AddableDict
from langchain_core.tools import StructuredTool
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from pipeline.langchain.documents import to_document
from pipeline.pipeline import Pipeline
from pipeline.records import QuestionResult
from pipeline.streaming import stream
from pipeline.types import Question, State

Query = str | dict[str, object]
"""A question, or an object with `question`, and perhaps `glob` and `filter`."""


class LongthreadPipeline(RunnableSerializable[Query, dict[str, Any]]):
    """Takes a question, or {"question": ..., "glob": ...}, and gives the answer with its record.

    `answer` is the text, and `documents` are the passages in the prompt, in the order of their numbers. The rest is the
    output of `longthread ask --json`. Streaming first gives the model's words under `draft`, then the result of
    `invoke` in one piece. That result may differ from the draft: the pipeline may ask again, or answer with a sentence
    of the documents.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    pipeline: SkipValidation[Pipeline]
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def invoke(
        self,
        input: Query,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        return self._call_with_config(self._answer, input, config, **kwargs)

    def stream(
        self,
        input: Query,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        yield from self.transform(iter([input]), config, **kwargs)

    def transform(
        self,
        input: Iterator[Query],  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        yield from self._transform_stream_with_config(input, self._chunks, config, **kwargs)

    def tool(self, name: str, description: str) -> StructuredTool:
        """The pipeline as a tool that takes a question and gives the answer with its citations as text."""

        def ask(question: str) -> str:
            result = self.invoke(question)
            quotes = [c for c in result["citations"] if c["quote"] is not None]
            places = [f"[{c['number']}] {c['source']}:{c['quote']['line']}: {c['quote']['text']}" for c in quotes]
            return "\n".join([result["answer"] or "", *places])

        return StructuredTool.from_function(ask, name=name, description=description)

    def _answer(self, query: Query) -> dict[str, Any]:
        with self._lock:
            return self._record(self.pipeline.ask(_question(query)))

    def _record(self, state: State) -> dict[str, Any]:
        documents = [to_document(passage) for passage in state.shown]
        return {**QuestionResult.of(state, self.pipeline.config).to_dict(), "documents": documents}

    def _chunks(self, queries: Iterator[Query]) -> Iterator[dict[str, Any]]:
        """Yields drafts while the model writes, then the record. Closing the generator stops the answer."""
        for piece in stream(self.pipeline, _question(list(queries)[-1]), self._lock):
            if isinstance(piece, State):
                yield AddableDict(self._record(piece))
            elif isinstance(piece, str):
                yield AddableDict(draft=piece)


def _question(query: Query) -> Question:
    if isinstance(query, str):
        return Question(query)
    question, glob, filter_ = query.get("question"), query.get("glob"), query.get("filter")
    if not isinstance(question, str):
        raise ValueError(f"the input must be a question, or hold one under 'question'; it has: {', '.join(query)}")
    return Question(question, glob=None if glob is None else str(glob), filter=str(filter_ or ""))
