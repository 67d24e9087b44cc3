"""Prompts: spans of text, vectors and kept cells, in the order in which a model reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Part = Literal["template", "system", "memory", "passages", "history", "question", "answer"]
"""What a span of a prompt is for: the context meter of ledger and chat adds tokens up by it."""


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """Input embeddings in the place of tokens: `vectors` is float32 of shape (n, n_embd).

    `stands_for` is the number of tokens that the vectors were made from, for the ledger.
    """

    vectors: NDArray[np.float32]
    part: Part = "passages"
    stands_for: int = 0

    @property
    def n_cells(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The cells of a text that a model read once, behind a prefix, to be placed in other prompts (models/pieces.py).

    `key` names it: a hash of everything that decides what the cells hold. `model` is the part of that which belongs to
    the model, its settings and the build of llama.cpp. `tokens` is int32 (n,), read at the positions from `position`
    on; `prefix` is the digest of the cells before them. `state` is uint8, the cells as llama.cpp saves them. `text` and
    `before` are the text of the piece and of its prefix: whoever forgets a text finds the cells that took it in.
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
    """What reading it took; 0 where that is not known."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """Cells [start, end) of a piece in the place of tokens; `end` None: up to its last.

    Placed rather than read. Behind another prefix than its own, or moved, that is an approximation: the cells have not
    seen what stands before them in this prompt.
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

    `special` allows the tokenizer to read `<|im_end|>` and the like as control tokens: true for the chat template's
    own text, never for anything that a person, a document or a model wrote.
    """

    text: str
    part: Part = "template"
    special: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Stretches of a text that a model reads once, and whose cells it places in prompts from then on.

    The model reads `texts`, each tokenised apart, behind `home`, and keeps the cells. The prompt holds those of the
    tokens that touch a stretch: (start, end) in characters of the joined texts, ascending, none touching another. The
    first `reread` of them are read anew. A model whose cells cannot be put together reads the same tokens instead.
    """

    home: Prompt = field(repr=False)
    texts: tuple[str, ...]
    stretches: tuple[tuple[int, int], ...]
    reread: int = 0
    part: Part = "passages"

    @property
    def text(self) -> str:
        """The text of the stretches, one after the other."""
        whole = "".join(self.texts)
        return "".join(whole[start:end] for start, end in self.stretches)


PromptSpan = Text | Soft | Cached | Excerpt


Prompt = tuple[PromptSpan, ...]
"""Spans in the order in which the model reads them. Each Text is tokenised apart from its neighbours."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn for a chat template. The spans of its content are data: they keep `special=False`."""

    role: Literal["system", "user", "assistant"]
    content: Prompt
