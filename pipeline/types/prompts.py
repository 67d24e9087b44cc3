"""Prompts: spans of text, vectors and cached cells, in reading order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Part = Literal["template", "system", "memory", "passages", "history", "question", "answer"]
"""The role of a prompt's span, by which ledger and chat sum up tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """Input embeddings instead of tokens: `vectors` is float32 of shape (n, n_embd).

    `stands_for` is the number of tokens that the vectors replace, for the ledger.
    """

    vectors: NDArray[np.float32]
    part: Part = "passages"
    stands_for: int = 0

    @property
    def n_cells(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The cells of a text that a model read once, behind a prefix, for use in other prompts (models/pieces.py).

    `key` is a hash of everything that determines the cells. `model` is its part for the model, its settings and the
    llama.cpp build. `tokens` is int32 (n,), read at the positions from `position` on; `prefix` is the digest of the
    cells before them. `state` is uint8, the cells as llama.cpp saves them. `text` and `before` are the texts of the
    piece and of its prefix, so that forgetting a text finds all cells that depend on it.
    """

    key: str
    model: str
    prefix: str
    position: int
    tokens: NDArray[np.int32]
    state: NDArray[np.uint8]
    text: str
    before: str = ""
    seconds: float = 0.0
    """The time that reading it took; 0 if unknown."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """Cells [start, end) of a piece instead of tokens; `end` None: up to its last.

    The model copies them instead of reading tokens. Behind another prefix or at another position that is an
    approximation: the cells have not attended to what precedes them in this prompt.
    """

    piece: Piece
    start: int = 0
    end: int | None = None
    part: Part = "passages"

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= len(self.piece):
            raise ValueError(f"cached cells must lie in [0, {len(self.piece)}), were: [{self.start}, {self.stop})")

    @property
    def stop(self) -> int:
        return len(self.piece) if self.end is None else self.end

    @property
    def n_cells(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Text:
    """A span of a prompt, tokenised on its own.

    `special` lets the tokenizer read `<|im_end|>` and the like as control tokens: true for the chat template's own
    text, never for text of a user, a document or a model.
    """

    text: str
    part: Part = "template"
    special: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Stretches of a text that a model reads once, and whose cells it then reuses in prompts.

    The model reads `texts`, each tokenised apart, behind `home`, and caches the cells. The prompt holds the cells of
    the tokens that touch a stretch: (start, end) in characters of the joined texts, ascending, none touching another.
    The first `reread` of them are read again. A model that cannot compose cells reads the same tokens instead.
    """

    home: Prompt = field(repr=False)
    texts: tuple[str, ...]
    stretches: tuple[tuple[int, int], ...]
    reread: int = 0
    part: Part = "passages"

    @property
    def text(self) -> str:
        """The concatenated text of the stretches."""
        whole = "".join(self.texts)
        return "".join(whole[start:end] for start, end in self.stretches)


PromptSpan = Text | Soft | Cached | Excerpt


Prompt = tuple[PromptSpan, ...]
"""Spans in reading order. Each Text is tokenised apart from its neighbours."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message for a chat template. The spans of its content are data: they keep `special=False`."""

    role: Literal["system", "user", "assistant"]
    content: Prompt
