"""generate.scripted: answers by a simple rule, without weights. For tests, and for a first look."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from pipeline.checks import at_least
from pipeline.contracts import Model, Progress, Runtime
from pipeline.registry import check_types
from pipeline.types import Generation, Prompt, Sampling


@dataclass(frozen=True)
class Scripted:
    """Copies the sentence that shares most words with the question, and cites it: see pipeline/models/scripted.py.

    Example: `generate.scripted: {max_tokens: 32}`

    :param max_tokens: longest answer in words, at least 1.
    :param n_ctx: size of the context window in words, at least 1.
    """

    max_tokens: int = 64
    n_ctx: int = 2048

    def __post_init__(self) -> None:
        check_types(self, Scripted)
        at_least("max_tokens", self.max_tokens, 1)
        at_least("n_ctx", self.n_ctx, 1)

    @property
    def sampling(self) -> Sampling:
        return Sampling(max_tokens=self.max_tokens)

    @property
    def n_parallel(self) -> int:
        return 4

    @property
    def model_name(self) -> str:
        return "scripted"

    @property
    def reader_key(self) -> Hashable:
        return self

    def model_file(self) -> None:
        """There is no file."""

    def check(self) -> None:
        """Nothing can be missing."""

    def load(self, progress: Progress) -> Model:
        from pipeline.models.scripted import ScriptedModel

        return ScriptedModel(n_ctx=self.n_ctx)

    def generate(self, prompt: Prompt, runtime: Runtime, sampling: Sampling | None = None) -> Generation:
        return stream(prompt, sampling or self.sampling, runtime)


class _Stopped(Exception):
    """Raised from the progress callback: the only way to stop while a prompt is read."""


def stream(prompt: Prompt, sampling: Sampling, runtime: Runtime) -> Generation:
    """Streams the reader's answer to one prompt to the runtime, until it ends or the user cancels."""

    def progress(what: str, done: int, total: int) -> None:
        runtime.listener.progress(what, done, total)
        if runtime.is_cancelled and done < total:
            raise _Stopped

    try:
        (answer,) = runtime.reader.generate([prompt], sampling, progress)
    except _Stopped:  # while passages were read, whose cells are kept
        return Generation("", "cancelled", runtime.reader.count(prompt), 0, 0, 0.0, 0.0)
    try:
        for piece in answer:
            runtime.listener.on_text(piece)
            if runtime.is_cancelled:
                answer.cancel()
                break
    except _Stopped:
        pass  # the engine has ended the answer: nothing of it had come
    except BaseException:
        answer.cancel()
        raise
    return answer.result()
