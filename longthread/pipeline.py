"""A pipeline in Python: stages, documents, and questions that are strings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from longthread.answer import Answer
from pipeline.config import Budget, IndexSettings, PipelineConfig, load_config, misordered
from pipeline.config.executor import ExecutorSettings
from pipeline.contracts import Progress
from pipeline.default import chat_pipeline, default_pipeline, with_default_model, with_model
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError, DocumentError
from pipeline.listener import Listener, ignore, silent
from pipeline.pipeline import Pipeline as Runner
from pipeline.pipeline_yaml import to_yaml
from pipeline.registry import checked, checked_section, stage_name
from pipeline.streaming import Retry, stream
from pipeline.types import Question, State
from pipeline.yaml import dotted

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""One path, or several: files, folders, patterns."""


class Pipeline:
    """Stages that answer questions from documents.

        with Pipeline([Hybrid(k=8), ExitMini(keep_ratio=0.3), Cited(), Llama("smollm2-135m")], docs="garden/") as p:
            answer = p.ask("How many beehives are there?")
            print(answer.text, answer.citations[0].quote.text)

    Models, embedder and index are loaded with the first question and kept until `close`. One question is worked on at
    a time: from several threads, the others wait.

    :param stages: component instances, in the order in which a question passes them, such as Hybrid, ExitMini, Cited,
        Llama; or a checked configuration.
    :param docs: the files and folders to answer from. Their index lies in the cache, and is brought up to date with the
        first question.
    :param index_folder: an index made by `longthread index`, in the place of `docs`.
    :param index: how documents are cut and embedded.
    :param budget: how much the model may be given.
    :param executor: where `run` answers a batch.
    :param progress: called as work goes on, with what is being done, how much is done, and of how much (0: unknown).
    :param name: the pipeline's name in reports.

    Raises ConfigError for stages that are no components or in a wrong order, and for both `docs` and `index_folder`.
    """

    def __init__(
        self,
        stages: Sequence[Any] | PipelineConfig,
        docs: Paths = (),
        *,
        index_folder: str | os.PathLike[str] | None = None,
        index: IndexSettings | None = None,
        budget: Budget | None = None,
        executor: ExecutorSettings | None = None,
        progress: Progress = silent,
        name: str = "pipeline",
    ) -> None:
        if isinstance(stages, PipelineConfig):
            self.config = stages
        else:
            self.config = PipelineConfig(
                name,
                tuple(checked(stage) for stage in stages),
                checked_section(index or IndexSettings(), "index"),
                checked_section(budget or Budget(), "budget"),
                checked_section(executor or ExecutorSettings(), "executor"),
            )
            if faults := misordered(self.config):
                raise ConfigError("\n".join(f"{dotted(path)}: {message}" for path, message in faults))
        self.docs = as_paths(docs)
        if self.docs and index_folder is not None:
            raise ConfigError("give docs or index_folder, not both")
        self.progress = progress
        self._given_folder = None if index_folder is None else Path(index_folder)
        self._runner: Runner | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_yaml(
        cls,
        path: str | os.PathLike[str],
        docs: Paths = (),
        *,
        model: str | None = None,
        index_folder: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """The pipeline in a file, or the preset of that name; `model` replaces its model.

        Raises ConfigError with every fault of the file, each with its line.
        """
        config = with_default_model(load_config(Path(path)))
        config = config if model is None else with_model(config, model)
        return cls(config, docs, index_folder=index_folder, progress=progress)

    def to_yaml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The pipeline as a file would say it, without what is default; written to `path` where one is given."""
        text = to_yaml(self.config)
        if path is not None:
            from pipeline.storage.whole import write_whole

            write_whole(Path(path), text)
        return text

    @property
    def name(self) -> str:
        return Path(self.config.path).stem

    def ask(self, question: str | Question, *, glob: str | None = None) -> Answer:
        """The answer to one question. `glob` keeps retrieval to sources that match it.

        Raises LongthreadError where you can do something about it: its text says what.
        """
        with self._lock:
            state = self._open().ask(_question(question, glob))
        return Answer(state, self.unread)

    def stream(self, question: str | Question, *, glob: str | None = None) -> AnswerStream:
        """The answer as it is written.

        stream = p.stream("And who keeps them?")
        for piece in stream:
            print(piece, end="", flush=True)
        stream.answer.citations
        """
        with self._lock:
            runner = self._open()
        return AnswerStream(stream(runner, _question(question, glob), self._lock), self.unread)

    def run(
        self,
        questions: Iterable[str | Mapping[str, Any]],
        output: str | os.PathLike[str],
        *,
        executor: Literal["local", "ray"] | None = None,
        on_status: Callable[[Any], None] = ignore,
        on_note: Callable[[str], None] = ignore,
    ) -> list[dict[str, Any]]:
        """Answers many questions, each with a record in the folder `output`; a later call resumes.

        A question is a string, or a mapping with `question`, `id`, `answers` and further fields, which the record
        repeats. Returns the records in the order of the questions; `record["status"]` is `ok` or `error`, and an error
        of one question does not stop the others. `on_note` receives a line for each remarkable event, such as records
        of another index that were dropped.
        """
        from pipeline.executors.folder import read_run
        from pipeline.executors.run import RunOptions, run
        from pipeline.executors.samples import samples_of

        samples = samples_of([{"question": one} if isinstance(one, str) else dict(one) for one in questions])
        with self._lock:
            folder = self._index_folder()
            options = RunOptions(executor=executor)
            run(self.config, folder, samples, Path(output), options, self.progress, on_status, on_note)
        return [record.to_dict() for record in read_run(Path(output)).records]

    def _open(self) -> Runner:
        folder = self._index_folder()
        if self._runner is None:
            self._runner = Runner(self.config, folder or Path("nowhere"), listener=Listener(self.progress))
        return self._runner

    def _index_folder(self) -> Path | None:
        """The index to search, brought up to date with the documents. Raises DocumentError where none can be read."""
        if not self.docs:
            return self._given_folder
        folder = docs_folder(self.docs, self.config.index)
        report = update_index(folder, self.docs, self.config.index, self.progress)
        if not report.n_chunks:
            reasons = "; ".join(f"{path}: {why}" for path, why in (*report.failed, *report.skipped)[:3])
            raise DocumentError(
                f"nothing could be read of {', '.join(self.docs)}" + (f": {reasons}" if reasons else "")
            )
        self.unread = (*report.failed, *report.skipped)
        return folder

    unread: tuple[tuple[str, str], ...] = ()
    """(path, reason) of the files of `docs` that the last question could not be answered from."""

    def close(self) -> None:
        """Frees the models and the index. The next question loads them again."""
        with self._lock:
            if self._runner is not None:
                self._runner.close()
            self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        stages = ", ".join(stage_name(stage) for stage in self.config.stages)
        return f"Pipeline([{stages}], docs={list(self.docs)!r})"


class AnswerStream:
    """The pieces of an answer, and when they have ended the answer itself.

    The answer has the last word: a model that is asked again begins anew on a line of its own, and a quote may take
    the place of what was written.
    """

    def __init__(self, pieces: Iterator[str | Retry | State], unread: tuple[tuple[str, str], ...] = ()) -> None:
        self._pieces = pieces
        self._unread = unread
        self._state: State | None = None

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            if isinstance(piece, State):
                self._state = piece
            else:
                yield "\n" if isinstance(piece, Retry) else piece

    @property
    def answer(self) -> Answer:
        """The answer; reads the stream to its end where that was not done."""
        for _ in self:
            pass
        if self._state is None:
            raise ConfigError("the stream was closed before the answer was whole")
        return Answer(self._state, self._unread)


def ask(
    question: str,
    docs: Paths = (),
    *,
    model: str | None = None,
    pipeline: str | os.PathLike[str] | None = None,
    index_folder: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Answer:
    """One question to some documents, answered by the built-in pipeline.

        longthread.ask("How many beehives are there?", docs="garden/").text

    :param model: a GGUF file, or a name that `longthread models list` knows.
    :param pipeline: a pipeline file or the name of a preset, in the place of the built-in pipeline.

    For several questions make a `Pipeline`, which loads its models once.
    """
    if pipeline is not None:
        made = Pipeline.from_yaml(pipeline, docs, model=model, index_folder=index_folder, progress=progress)
    else:
        config = with_default_model(default_pipeline())
        config = config if model is None else with_model(config, model)
        made = Pipeline(config, docs, index_folder=index_folder, progress=progress)
    if not made.docs and index_folder is None:
        raise ConfigError("nothing to answer from: name files or folders with docs=, or an index with index_folder=")
    with made:
        return made.ask(question)


def preset(
    name: str = "default", docs: Paths = (), *, model: str | None = None, progress: Progress = silent
) -> Pipeline:
    """The pipeline that ships under this name: `default`, `chat`, `offline`, or another file of `configs/`.

    Raises ConfigError for a name that there is not.
    """
    built_in = {"default": default_pipeline, "chat": chat_pipeline}.get(name)
    if built_in is None:
        return Pipeline.from_yaml(name, docs, model=model, progress=progress)
    config = with_default_model(built_in())
    return Pipeline(config if model is None else with_model(config, model), docs, progress=progress)


def _question(question: str | Question, glob: str | None) -> Question:
    return Question(question, glob=glob) if isinstance(question, str) else question


def as_paths(docs: Paths) -> tuple[str, ...]:
    if isinstance(docs, str | os.PathLike):
        return (os.fspath(docs),)
    return tuple(os.fspath(path) for path in docs)
