"""The sections of a pipeline file other than its stages."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.checks import at_least
from pipeline.config.executor import ExecutorSettings
from pipeline.errors import SettingError
from pipeline.registry import check_types


@dataclass(frozen=True)
class IndexSettings:
    """Chunking and embedding of documents.

    :param embedder: `minilm`, the path of a GGUF file or of a sentence-transformers folder, or `none` (search by words,
        without weights).
    :param chunk_tokens: longest chunk in the embedder's tokens (in words with `none`), at least 16; a chunk never
        exceeds what the embedder reads.
    :param overlap: number of tokens that neighbouring chunks share, in [0, chunk_tokens / 2).
    :param chunks: `structure` makes a chunk of each section, function or paragraph, and joins neighbours that fit;
        `tokens` fills chunks up to `chunk_tokens` as far as headings allow; `information` begins chunks where a model
        finds a new topic, and reads all documents with it. auto: as the index was cut, a new one by structure.
    :param ocr: whether text in pictures and in scanned pages of PDF files is recognised. auto: if the extra `ocr` is
        installed.
    :param pooling: how a GGUF file's embedder makes a text's vector of its tokens' states. auto: as the file says.
    :param question_prefix: text that a GGUF file's embedder reads before a question. null: the prefix that its family
        was trained with, known by the name in the file; '': none.
    :param passage_prefix: text that it reads before a passage, as for `question_prefix`.
    """

    embedder: str = "minilm"
    chunk_tokens: int = 200
    overlap: int = 0
    chunks: Literal["auto", "tokens", "structure", "information"] = "auto"
    ocr: Literal["auto", "off"] = "auto"
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    question_prefix: str | None = None
    passage_prefix: str | None = None

    def __post_init__(self) -> None:
        check_types(self, IndexSettings)
        if not self.embedder:
            raise SettingError("embedder", "must be a name or a path, was: ''")
        at_least("chunk_tokens", self.chunk_tokens, 16)
        if not 0 <= self.overlap < self.chunk_tokens // 2:
            raise SettingError("overlap", f"must be in [0, chunk_tokens / 2), was: {self.overlap}")
        if self.overlap and self.chunks in ("structure", "information"):
            raise SettingError("overlap", f"must be 0 with chunks: {self.chunks}, was: {self.overlap}")
        for name, default in (("pooling", "auto"), ("question_prefix", None), ("passage_prefix", None)):
            if getattr(self, name) != default and not self.embedder.lower().endswith(".gguf"):
                raise SettingError(name, f"is for an embedder that is a GGUF file, and embedder is {self.embedder}")

    def to_dict(self) -> dict[str, Any]:
        """Converts the settings to plain values, which key indexes and records.

        Settings that were added later are left out at their defaults, so that old keys stay valid.
        """
        added_later = {
            "chunks": "auto",
            "ocr": "auto",
            "pooling": "auto",
            "question_prefix": None,
            "passage_prefix": None,
        }
        return {
            name: value for name, value in asdict(self).items() if name not in added_later or value != added_later[name]
        }

    @property
    def reading(self) -> tuple[str | None, ...]:
        """The settings that identify the embedder and its output."""
        return self.embedder, self.pooling, self.question_prefix, self.passage_prefix


@dataclass(frozen=True)
class Budget:
    """Limits of the prompt.

    :param window: number of cells that prompt and answer share, at least 1; null: all that the model's context holds.
        `effective`: the number that the model uses well, measured by `longthread needle limit`.
    :param on_overflow: `shed` leaves out the lowest-ranked passages and lists them; `refuse` stops with the numbers.
    :param task: a task of `longthread needle limit` that the model must do well within the effective window.
    """

    window: int | Literal["effective"] | None = None
    on_overflow: Literal["shed", "refuse"] = "shed"
    task: str = "sentences"

    def __post_init__(self) -> None:
        check_types(self, Budget)
        if isinstance(self.window, int) and self.window < 1:
            raise SettingError("window", f"must be greater than 0, was: {self.window}")


SECTIONS: dict[str, type] = {"index": IndexSettings, "budget": Budget, "executor": ExecutorSettings}
