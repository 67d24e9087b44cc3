"""Optional abilities of a model, one Protocol each: test them with isinstance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pipeline.types import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.contracts import Model
    from pipeline.models.attention import Attention
    from pipeline.models.thinking import Profile
    from pipeline.types import Message, Piece, Prompt, Sampling


@runtime_checkable
class Scorer(Protocol):
    """Scores log P(target | prefix + suffix), float32 (n_suffixes, n_targets): natural logarithms, summed over a
    target's tokens. The prefix is read once for all suffixes.
    """

    def score(
        self, prefix: Prompt, suffixes: Sequence[Prompt | str], targets: Sequence[str]
    ) -> NDArray[np.float32]: ...


@runtime_checkable
class Attender(Protocol):
    """Returns the attention of the query's tokens to each cell of the prefix; by default for all (layer, head)."""

    def attend(self, prefix: Prompt, query: Prompt, heads: Sequence[tuple[int, int]] | None = None) -> Attention: ...


@runtime_checkable
class Surprised(Protocol):
    """Computes log P of each token given its predecessors, from number `start` (>= 1) on, float32 (n - start,)."""

    def logprobs(self, prompt: Prompt | str, start: int = 1) -> NDArray[np.float32]: ...


@runtime_checkable
class Ablates(Protocol):
    """Computes log P of each token of `target` after the prompt with a stretch of cells hidden.

    float32 (n_cuts, n_target). A cut is a stretch [low, high) of cells; an empty one hides nothing. The prompt is read
    once; after a cut only its cells from `tail` on and the target are read again, so the cells between still depend on
    the cut. `endings`, one per cut, replace the prompt's cells from `tail` on; None: the prompt's own. `can_forget` is
    false if the architecture cannot remove cells.
    """

    @property
    def can_forget(self) -> bool: ...
    def ablate(
        self,
        prompt: Prompt,
        target: Prompt,
        cuts: Sequence[tuple[int, int]],
        tail: int,
        endings: Sequence[Prompt | None] | None = None,
    ) -> NDArray[np.float32]: ...


@runtime_checkable
class Forgets(Protocol):
    """Deletes all cells that hold a text or were read behind it, in memory and on disk; returns their number."""

    def forget(self, text: str) -> int: ...


@runtime_checkable
class Composes(Protocol):
    """Caches the cells of texts and reuses them in prompts: `Excerpt` spans name the texts, which are read if they are
    not cached; `Cached` spans hold a piece.

    `piece` returns the cells of a text behind a prefix, from memory, from disk, or by reading it. `why_not_compose` is
    empty if the model's cells can be moved and composed.
    """

    @property
    def why_not_compose(self) -> str: ...
    def piece(self, prefix: Prompt, text: Prompt) -> Piece: ...


def why_not_compose(reader: Model) -> str:
    """Returns why a reader cannot compose cached cells; empty if it can. An engine's first call tests it for a second.

    It looks at the class: a counting reader would load the whole model for an attribute that it lacks.
    """
    if not hasattr(type(reader), "why_not_compose"):
        return f"{reader.name} keeps no cells"
    return str(reader.why_not_compose)  # type: ignore[attr-defined]


@runtime_checkable
class ReadsAhead(Protocol):
    """Reads the texts of a prompt's excerpts before there is a question, and keeps their cells.

    `n_to_read` counts the tokens of those that are not kept yet. `read_ahead` reads them, one text after the other, and
    gives the tokens that it read; it ends soon after `is_halted` turns true. `finish_keeping` waits until all is on
    disk. `kept_cell_bytes` is what a token takes there.
    """

    @property
    def kept_cell_bytes(self) -> float: ...
    def n_to_read(self, prompt: Prompt) -> int: ...
    def read_ahead(self, prompt: Prompt, is_halted: Callable[[], bool] | None = ...) -> int: ...
    def finish_keeping(self, timeout_s: float = ...) -> bool: ...


@runtime_checkable
class Resumes(Protocol):
    """Saves cells to disk, so that a conversation continues after a restart without reading it again.

    `keep` writes the cells of a prompt and its answer if they are still there; `resume` makes the next prompt look for
    a saved prefix.
    """

    def keep(self, prompt: Prompt) -> bool: ...
    def resume(self) -> None: ...


@runtime_checkable
class Thinks(Protocol):
    """Can think before it answers. `thinks` switches that for the following answers.

    `render_answer` renders messages for such an answer, with its given first words (none if the model thinks first).
    `render` is for everything else and opens no thought. `before_answer` returns the prompt right before the answer:
    without the thought, but with its marks.
    """

    thinks: bool

    @property
    def profile(self) -> Profile: ...
    def render_answer(self, messages: Sequence[Message], begin: str = "") -> Prompt: ...
    def before_answer(self, prompt: Prompt) -> Prompt: ...


def before_answer(reader: Model, prompt: Prompt) -> Prompt:
    """Returns the prompt right before the answer, for scoring an answer."""
    return reader.before_answer(prompt) if isinstance(reader, Thinks) else prompt


def render_answer(reader: Model, messages: Sequence[Message], begin: str = "") -> Prompt:
    """Renders the prompt for an answer, which begins with these words unless the model thinks first."""
    if isinstance(reader, Thinks):
        return reader.render_answer(messages, begin)
    prompt = reader.render(messages)
    return (*prompt, Text(begin, "answer")) if begin else prompt


@runtime_checkable
class ChecksSampling(Protocol):
    """Raises ModelError for sampling settings with which every answer would fail."""

    def check_sampling(self, sampling: Sampling) -> None: ...


@runtime_checkable
class Dated(Protocol):
    """Sets the date of its chat template, in ISO 8601. The default is a fixed day."""

    def set_day(self, day: str) -> None: ...


@runtime_checkable
class Metered(Protocol):
    """Counts decoded cells: the difference of two readings is the cost of the work between."""

    @property
    def n_decoded(self) -> int: ...


@runtime_checkable
class Embeds(Protocol):
    """Last hidden states, after the final norm: for each prompt float32 (n_positions, n_embd)."""

    def embed(
        self, prompts: Sequence[Prompt | str], positions: Sequence[Sequence[int]] | None = None
    ) -> list[NDArray[np.float32]]: ...


@runtime_checkable
class Tokenizing(Protocol):
    """Tokens of a text alone, int32 (n,), special-token parsing off."""

    def tokenize(self, text: str) -> NDArray[np.int32]: ...


@runtime_checkable
class TokenSpans(Protocol):
    """Character span (start, end) of each token of a text alone. Tokens that share a character have it both."""

    def token_spans(self, text: str) -> list[tuple[int, int]]: ...


@runtime_checkable
class OnFile(Protocol):
    """A model whose weights are a file. `adapters` are the files of its adapters."""

    @property
    def path(self) -> Path: ...
    @property
    def adapters(self) -> tuple[Path, ...]: ...
