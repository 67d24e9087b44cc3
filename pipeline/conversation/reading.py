"""Documents read from beginning to end by a memory, so that a question can be asked of more than the window holds.

What was read is kept in the cache, by the documents' bytes and the pipeline that read them: it is read once. So are the
cells of the last prompt: a later process goes on from what its question's prompt has in common with that, exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import PipelineConfig
from pipeline.contracts import DocumentReader
from pipeline.conversation.conversation import memory_of
from pipeline.conversation.sessions import lock_session
from pipeline.documents.discover import discover
from pipeline.documents.limits import limits_met
from pipeline.documents.load import load
from pipeline.errors import ConfigError
from pipeline.last_prompt import LastPrompt
from pipeline.pipeline import Pipeline
from pipeline.registry import kind_of, make
from pipeline.storage.cache import cache_folder
from pipeline.types import Document, Question, State

READING = {"sensory_tokens": 0, "segment_tokens": 1000, "recall_tokens": 1200, "summarise": "extract"}
"""Settings of memory.hierarchical for pipelines without a memory: quick, since the summary quotes the document."""


def reading_config(config: PipelineConfig) -> PipelineConfig:
    """The pipeline with its memory in the place of its retriever and of all that narrows down what that found."""
    kept = [stage for stage in config.stages if kind_of(stage) in ("memory", "assemble", "generate")]
    if config.memory is None:
        words_only = {"dense_weight": 0.0} if config.index.embedder == "none" else {}
        kept.insert(0, make("memory.hierarchical", {**READING, **words_only}))
    return replace(config, stages=tuple(kept))


@dataclass(frozen=True)
class Reading:
    """Documents that a pipeline has read, to ask about as long as `read` is open."""

    documents: tuple[Document, ...]
    pipeline: Pipeline
    _prompt: LastPrompt

    def ask(self, question: Question) -> State:
        """The pipeline's answer to a question; passages that the last prompt showed keep their places in this one."""
        state = self._prompt.ask(question, self.pipeline)
        self._prompt.answered(state, self.pipeline)
        return state


@contextmanager
def read(pipeline: Pipeline, paths: Sequence[str]) -> Iterator[Reading]:
    """Reads the documents, and has the pipeline recall from them as long as this is open.

    Raises DocumentError for a file that cannot be read, and ConfigError for a memory that does not read documents.
    Interrupted, it goes on where it stopped.
    """
    ocr = pipeline.config.index.ocr != "off"
    documents = tuple(load(path, ocr) for path in discover(paths, ocr).files)
    if not documents:
        raise ConfigError(f"nothing to read under {', '.join(paths)}")
    folder = _folder(documents, pipeline)
    lock = lock_session(folder)
    try:
        memory = memory_of(pipeline).open(folder, pipeline)
        try:
            if not isinstance(memory, DocumentReader):
                raise ConfigError(f"{pipeline.config.path}: its memory reads no documents: take memory.hierarchical")
            pieces = [piece for document in documents for piece in pipeline.chunk(document)]
            memory.read(pieces, pipeline, pipeline.listener.progress)
            pipeline.recollection = memory
            last = LastPrompt(folder)
            yield Reading(documents, pipeline, last)
            last.keep(pipeline)
        finally:
            pipeline.recollection = None
            memory.close()
    finally:
        lock.release()


def _folder(documents: Sequence[Document], pipeline: Pipeline) -> Path:
    """Of these documents, read in this way."""
    key = [
        [(document.source, document.sha256, *limits_met(document.limits)) for document in documents],
        pipeline.config.resolved(),
        pipeline.reader.name,
    ]
    return cache_folder() / "readings" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
