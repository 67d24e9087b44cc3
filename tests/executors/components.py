"""Stages that make trouble on purpose, by the id of the question, and a generator that takes its time."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.answers.scripted import Scripted
from pipeline.contracts import Model, Progress, Runtime, Stream
from pipeline.models.scripted import ScriptedModel
from pipeline.registry import COMPONENTS
from pipeline.types import Generation, Passage, Prompt, Question, Sampling

NAMES = {
    "compress.trouble": "tests.executors.components:Trouble",
    "generate.slow": "tests.executors.components:Slow",
    "generate.stubborn": "tests.executors.components:Stubborn",
}
CGROUP = Path("/sys/fs/cgroup/memory/longthread-test")


def register() -> None:
    """In this process, and as the setup hook of Ray's workers."""
    COMPONENTS.update(NAMES)


def unregister() -> None:
    for name in NAMES:
        COMPONENTS.pop(name, None)


@dataclass(frozen=True)
class Trouble:
    """Passes on what it gets after `delay` seconds; `calls` names a file that notes each question."""

    delay: float = 0.0
    raise_on: str = ""
    kill_on: str = ""
    eat_on: str = ""
    eat_by: str = "limit"
    calls: str = ""

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if self.calls:
            with open(self.calls, "a") as file:
                file.write(f"{question.id}\n")
        time.sleep(self.delay)
        if question.id == self.raise_on:
            raise RuntimeError("this sample always fails")
        if question.id == self.kill_on:
            os.kill(os.getpid(), signal.SIGKILL)
        if question.id == self.eat_on:
            self.eat()
        return list(passages)

    def eat(self) -> None:
        """Takes memory beyond a limit: of the process (Python says so), or of its cgroup (the kernel kills it)."""
        if self.eat_by == "limit":
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
        else:
            (CGROUP / "cgroup.procs").write_text(str(os.getpid()))
        try:
            held = [b"x" * (32 << 20) for _ in range(16)]
            held.clear()
        finally:
            if self.eat_by == "limit":
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@dataclass(frozen=True)
class Slow(Scripted):
    """The scripted answer, word by word with `delay` seconds before each."""

    delay: float = 0.01

    def load(self, progress: Progress) -> Model:
        return SlowModel(self.n_ctx, self.delay)


class SlowModel(ScriptedModel):
    def __init__(self, n_ctx: int, delay: float) -> None:
        super().__init__(n_ctx)
        self._delay = delay

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> Sequence[Stream]:
        return [_SlowStream(stream, self._delay) for stream in super().generate(prompts, sampling, progress)]


@dataclass(frozen=True)
class Stubborn(Scripted):
    """Says `first` when it is asked, and gives the scripted answer (or `second`) to the second attempt."""

    first: str = "[1]"
    second: str = ""

    def load(self, progress: Progress) -> Model:
        return StubbornModel(self.n_ctx, self.first, self.second)


class StubbornModel(ScriptedModel):
    def __init__(self, n_ctx: int, first: str, second: str) -> None:
        super().__init__(n_ctx)
        self._first = first
        self._second = second

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> Sequence[Stream]:
        streams = super().generate(prompts, sampling, progress)
        samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        texts = [self._first if settings.repeat_penalty == 1 else self._second for settings in samplings]
        return [_OtherText(stream, text) if text else stream for stream, text in zip(streams, texts, strict=True)]


class _OtherText:
    """A stream of another text, with the figures of the scripted one."""

    def __init__(self, stream: Stream, text: str) -> None:
        self._stream = stream
        self._text = text

    def __iter__(self) -> Iterator[str]:
        yield self._text

    def cancel(self) -> None:
        self._stream.cancel()

    def result(self) -> Generation:
        return replace(self._stream.result(), text=self._text, finish="stop")


class _SlowStream:
    def __init__(self, stream: Stream, delay: float) -> None:
        self._stream = stream
        self._delay = delay

    def __iter__(self) -> Iterator[str]:
        for piece in self._stream:
            time.sleep(self._delay)
            yield piece

    def cancel(self) -> None:
        self._stream.cancel()

    def result(self) -> Generation:
        return self._stream.result()
