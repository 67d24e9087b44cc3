"""The sections of a pipeline file other than its stages."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.checks import at_least
from pipeline.errors import SettingError
from pipeline.executors.settings import ExecutorSettings


@dataclass(frozen=True)
class IndexSettings:
    """Chunking and embedding of documents.

    :param embedder: `minilm`, the path of a GGUF file or of a sentence-transformers folder, or `none` (words only: no
        weights needed).
    :param chunk_tokens: upper bound on a chunk's length, in the embedder's tokens (words with `none`); a chunk never
        exceeds the embedder's own limit.
    :param overlap: number of these tokens that neighbouring chunks share.
    :param chunks: `tokens` fills chunks up to chunk_tokens as far as headings allow; `structure` makes a chunk of each
        section, function or paragraph, and merges neighbours that fit together.
    :param pooling: pooling of a GGUF embedder's token states. auto: as the file says.
    :param question_prefix: text before a question for a GGUF embedder. None: the prefix that its family was trained
        with, known by the name in the file; '' for nothing.
    :param passage_prefix: the same before a passage.
    """

    embedder: str = "minilm"
    chunk_tokens: int = 200
    overlap: int = 0
    chunks: Literal["tokens", "structure"] = "tokens"
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    question_prefix: str | None = None
    passage_prefix: str | None = None

    def __post_init__(self) -> None:
        if not self.embedder:
            raise SettingError("embedder", "must be a name or a path, was: ''")
        at_least("chunk_tokens", self.chunk_tokens, 16)
        if not 0 <= self.overlap < self.chunk_tokens // 2:
            raise SettingError("overlap", f"must be in [0, chunk_tokens / 2), was: {self.overlap}")
        if self.overlap and self.chunks == "structure":
            raise SettingError("overlap", f"must be 0 with chunks: structure, was: {self.overlap}")
        for name, default in (("pooling", "auto"), ("question_prefix", None), ("passage_prefix", None)):
            if getattr(self, name) != default and not self.embedder.lower().endswith(".gguf"):
                raise SettingError(name, f"is for an embedder that is a GGUF file, and embedder is {self.embedder}")

    def to_dict(self) -> dict[str, Any]:
        """Converts the settings to plain values, which key indexes and records.

        Unset GGUF settings and `chunks` are left out: they were added later, and old keys must stay valid.
        """
        values = asdict(self)
        if self.chunks == "tokens":
            del values["chunks"]
        for name in ("pooling", "question_prefix", "passage_prefix"):
            if values[name] in ("auto", None):
                del values[name]
        return values

    @property
    def reading(self) -> tuple[str | None, ...]:
        """The settings that identify the embedder and its output."""
        return self.embedder, self.pooling, self.question_prefix, self.passage_prefix


@dataclass(frozen=True)
class Budget:
    """Limits of the prompt.

    :param window: cells that prompt and answer share; by default all of the model's context. `effective`: as many as
        the model uses well, as measured by `longthread needle calibrate`.
    :param on_overflow: `shed` leaves out the lowest-ranked passages and lists them; `refuse` stops with the numbers.
    :param task: the task of `longthread needle calibrate` that defines the effective window.
    """

    window: int | Literal["effective"] | None = None
    on_overflow: Literal["shed", "refuse"] = "shed"
    task: str = "sentences"

    def __post_init__(self) -> None:
        if isinstance(self.window, int) and self.window < 1:
            raise SettingError("window", f"must be greater than 0, was: {self.window}")


SECTIONS: dict[str, type] = {"index": IndexSettings, "budget": Budget, "executor": ExecutorSettings}
