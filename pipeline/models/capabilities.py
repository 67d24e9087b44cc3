"""What a model may be able to do beyond answering, one Protocol each: ask with isinstance."""

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
    """Log P(target | prefix + suffix), float32 (n_suffixes, n_targets): natural logarithms, summed over a target's
    tokens. The prefix is read once, however many suffixes there are.
    """

    def score(
        self, prefix: Prompt, suffixes: Sequence[Prompt | str], targets: Sequence[str]
    ) -> NDArray[np.float32]: ...


@runtime_checkable
class Attender(Protocol):
    """How much the query's tokens attend to each cell of the prefix; all (layer, head) pairs by default."""

    def attend(self, prefix: Prompt, query: Prompt, heads: Sequence[tuple[int, int]] | None = None) -> Attention: ...


@runtime_checkable
class Surprised(Protocol):
    """Log P of each token given those before it, for those from number `start` (>= 1) on, float32 (n - start,)."""

    def logprobs(self, prompt: Prompt | str, start: int = 1) -> NDArray[np.float32]: ...


@runtime_checkable
class Ablates(Protocol):
    """Log P of each token of `target` after the prompt when a stretch of the prompt's cells cannot be seen.

    float32 (n_cuts, n_target). A cut is a stretch [low, high) of cells; an empty one leaves the prompt as it is. The
    prompt is read once; after a cut only its cells from `tail` on and the target are read again, so that the cells
    between keep what they took in of the cut. `endings`, one for each cut, replace the prompt's cells from `tail` on;
    None: the prompt's own. `can_forget` is false where the architecture cannot leave out cells.
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
    """Deletes all cells that hold a text or were read behind it, in memory and on disk; gives how many."""

    def forget(self, text: str) -> int: ...


@runtime_checkable
class Composes(Protocol):
    """Keeps the cells of texts that it read, and takes them in prompts instead of reading them: `Excerpt` spans name
    the texts, which are read where they are not kept; `Cached` spans hold a piece.

    `piece` gives the cells of a text behind a prefix: from memory, from disk, or else read now. `why_not_compose` is
    empty where the model's cells can be moved and put together.
    """

    @property
    def why_not_compose(self) -> str: ...
    def piece(self, prefix: Prompt, text: Prompt) -> Piece: ...


def why_not_compose(reader: Model) -> str:
    """Why a reader cannot put kept cells together; empty where it can. An engine tries it when first asked, for about a
    second.

    Looked up on the class: a reader that only counts takes what it lacks from the whole model, which would be loaded.
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
    """Keeps what it read on disk, so that a conversation goes on after a restart without reading it again.

    `keep` writes the cells of a prompt and of its answer, where they are still there; `resume` has the next prompt look
    for what it begins with.
    """

    def keep(self, prompt: Prompt) -> bool: ...
    def resume(self) -> None: ...


@runtime_checkable
class Thinks(Protocol):
    """Can think before it answers. `thinks` says whether it does for the answers that it is asked for from now on.

    `render_answer` renders messages for such an answer, with the words that it begins with (none where the model thinks
    first). `render` is for everything else: what it renders opens no thought. `before_answer` is a prompt as it stands
    where the answer begins: the thought is left out, and its marks are there.
    """

    thinks: bool

    @property
    def profile(self) -> Profile: ...
    def render_answer(self, messages: Sequence[Message], begin: str = "") -> Prompt: ...
    def before_answer(self, prompt: Prompt) -> Prompt: ...


def before_answer(reader: Model, prompt: Prompt) -> Prompt:
    """The prompt as it stands where the answer begins, to score an answer by."""
    return reader.before_answer(prompt) if isinstance(reader, Thinks) else prompt


def render_answer(reader: Model, messages: Sequence[Message], begin: str = "") -> Prompt:
    """The prompt for an answer, which begins with these words unless the model thinks first."""
    if isinstance(reader, Thinks):
        return reader.render_answer(messages, begin)
    prompt = reader.render(messages)
    return (*prompt, Text(begin, "answer")) if begin else prompt


@runtime_checkable
class ChecksSampling(Protocol):
    """Raises ModelError for settings of sampling that every answer would fail with."""

    def check_sampling(self, sampling: Sampling) -> None: ...


@runtime_checkable
class Dated(Protocol):
    """Tells its chat template what day it is: ISO 8601. Without a call it is a fixed day."""

    def set_day(self, day: str) -> None: ...


@runtime_checkable
class Metered(Protocol):
    """Counts the cells that it decodes: read the number before and after to know what something cost."""

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
    """A model whose weights are a file. `adapters` are the files of what was added to them."""

    @property
    def path(self) -> Path: ...
    @property
    def adapters(self) -> tuple[Path, ...]: ...
