"""What a component promises, as Protocols. Tests repeat the promises over every registered component.

A component is a frozen dataclass whose fields are its configuration; it holds no weights. What it needs while it
works (the reader, the embedder, the index) it takes from the `Runtime` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.answers.support import Verdict
    from pipeline.models.settings import EngineSettings
    from pipeline.retrieval.metadata import Metadata
    from pipeline.retrieval.scope import Scope
    from pipeline.types import (
        Document,
        Generation,
        Item,
        Message,
        Passage,
        Prompt,
        Question,
        Recall,
        Recalled,
        Sampling,
        State,
        Turn,
    )

Progress = Callable[[str, int, int], None]
"""Called as work goes on: what is being done, how much is done, of how much (0 when nobody knows yet)."""


# ---------------------------------------------------------------------------------------------------------- models
@runtime_checkable
class Stream(Protocol):
    """One answer on its way: iterating gives its text piece by piece (never half a character).

    `cancel` ends it early and frees its cells; the pieces so far stay. `result` waits for the end.
    """

    def __iter__(self) -> Iterator[str]: ...
    def cancel(self) -> None: ...
    def result(self) -> Generation: ...


class Model(Protocol):
    """A model that reads prompts and writes answers.

    `count(prompt)` is the exact number of cells that the prompt takes; `render` puts messages into the model's own
    chat template, ends with the start of the assistant's turn, and keeps the content of every message as data
    (special=False). `generate` takes any number of prompts and returns one stream for each, in order; a prompt longer
    than `window - max_tokens` raises ModelError with the numbers, before anything is decoded. Nothing is truncated.
    """

    @property
    def name(self) -> str:
        """The file's name, for the ledger."""

    @property
    def window(self) -> int:
        """Cells that one sequence may use, prompt and answer together."""

    def count_text(self, text: str) -> int:
        """Tokens of a text alone, special-token parsing off."""

    def count(self, prompt: Prompt) -> int: ...
    def render(self, messages: Sequence[Message]) -> Prompt: ...
    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> Sequence[Stream]: ...
    def close(self) -> None:
        """Frees the weights and the context. A closed model raises ModelError; closing twice does nothing."""


class Embedder(Protocol):
    """Texts to unit vectors.

    `embed` gives float32 of shape (n, dimension), L2-normalised, rows in the order of the texts; a text longer than
    `max_tokens` raises ValueError: nothing is truncated. `fingerprint` changes whenever the vectors could.
    """

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def max_tokens(self) -> int:
        """The longest text it reads whole, in its own tokens, the special ones that it adds included."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as it is read, special ones included, never cut."""

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]: ...
    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """What `embed` gives, and for each text its tokens' last states without the special ones, (n_tokens,
        dimension), each L2-normalised: the texts are read once for both.
        """

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Of each text where those tokens stand in it: (start, end) in characters, in their order."""


class Ranker(Protocol):
    """A cross-encoder: `rank` gives a score for each passage, float32 (n,), higher for a better answer."""

    @property
    def name(self) -> str: ...
    @property
    def has_two_types(self) -> bool:
        """Whether it was trained with two token types, of which only the first is set here."""

    def rank(self, question: str, passages: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]: ...
    def close(self) -> None: ...


@runtime_checkable
class QuestionEmbedder(Protocol):
    """An embedder that was trained to read questions behind an instruction of their own; `embed` reads passages."""

    def embed_questions(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]: ...


@runtime_checkable
class Superseded(Protocol):
    """Something open on the disk of which another process may publish a newer state."""

    @property
    def is_superseded(self) -> bool: ...


class Index(Protocol):
    """Chunks of documents, to be searched. Results are best first; ties are broken by source, then by offset.

    A `scope` keeps to a part of the index; None is all of it.
    """

    @property
    def n_chunks(self) -> int: ...
    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def counts(self) -> dict[str, int]:
        """How many passages each source has, by source."""

    @property
    def titles(self) -> dict[str, str]:
        """The title of each document, by source; empty where it has none."""

    @property
    def metadata(self) -> dict[str, Metadata]:
        """What is known of each document beside its text, by source."""

    def pages(self, source: str) -> tuple[int, ...]:
        """The pages that a document's passages stand on; none for formats without pages."""

    def passages(self, source: str) -> list[Passage]:
        """All passages of one source, in the order of the document."""

    def search_dense(self, question: str, k: int, scope: Scope | None = None) -> list[Passage]:
        """By cosine similarity of the embedder's vectors: the score is the cosine, in [-1, 1]."""

    def search_bm25(self, question: str, k: int, scope: Scope | None = None) -> list[Passage]:
        """By BM25 over stemmed words; passages that share no word with the question are not results."""

    def vectors(self, passages: Sequence[Passage]) -> NDArray[np.float32]:
        """The unit vectors of chunks that a search gave, (n, dimension), in their order."""

    def document(self, source: str) -> Document:
        """The document as it was indexed, so that a quote can be checked at its offsets."""


class Runtime(Protocol):
    """What the stages of one pipeline share in one process; each is made on first use."""

    @property
    def reader(self) -> Model: ...
    @property
    def embedder(self) -> Embedder: ...
    @property
    def index(self) -> Index: ...
    @property
    def searches_index(self) -> bool:
        """Whether passages come from the index, and not with the question or from elsewhere."""

    def scope(self, question: Question) -> Scope | None:
        """The part of the index that the question is searched in; None for all of it."""

    @property
    def assembler(self) -> Assembler:
        """The pipeline's assemble stage."""

    @property
    def on_overflow(self) -> Literal["shed", "refuse"]:
        """What to do with a prompt that does not fit: see `Budget`."""

    @property
    def progress(self) -> Progress: ...
    @property
    def on_text(self) -> Callable[[str], None]:
        """Called with each piece of an answer as it is written."""

    @property
    def on_retry(self) -> Callable[[str], None]:
        """Called with the reason when the pieces so far are no answer and the model is asked once more."""

    @property
    def recollection(self) -> Recollection | None:
        """The open memory of the conversation that the question belongs to; None for a question on its own."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the person wants the answer to end: looked at between two pieces of work."""

    def chunk(self, document: Document) -> list[Passage]:
        """A document as the pipeline's index would cut it."""

    def model(self, settings: EngineSettings) -> Model:
        """A model beside the reader: loaded when first asked for, kept for equal settings, closed with the pipeline."""

    def ranker(self, name: str) -> Ranker:
        """A cross-encoder by its file or its name: loaded when first asked for, kept, closed with the pipeline."""

    def note(self, text: str, once: bool = False) -> None:
        """Enters a line into the ledger, under the stage at work; with `once`, for the first question only."""

    def take_notes(self) -> tuple[str, ...]:
        """The lines noted since this was last called: for the runner."""


# ---------------------------------------------------------------------------------------------------------- stages
@runtime_checkable
class NeedsEmbedder(Protocol):
    """A component that may work with vectors: `needs_embedder` says whether it does, with these settings."""

    @property
    def needs_embedder(self) -> bool: ...


@runtime_checkable
class Explains(Protocol):
    """A component that says in a few words why it drops what it drops, for the ledger."""

    @property
    def why_dropped(self) -> str: ...


@runtime_checkable
class Named(Protocol):
    """A component outside the registry with a name for ledgers: `kind.name`."""

    @property
    def stage_name(self) -> str: ...


@runtime_checkable
class Scoped(Protocol):
    """A retriever with settings that keep to a part of the index: see `pipeline.retrieval.scope`."""

    @property
    def glob(self) -> str | None: ...
    @property
    def filter(self) -> str | None: ...


class Retriever(Protocol):
    """Finds passages for a question: best first, at most the number its settings name, none twice."""

    @property
    def searches_index(self) -> bool:
        """Whether the passages come from the pipeline's index, and not with the question or from elsewhere."""

    def search(self, question: Question, runtime: Runtime) -> list[Passage]: ...


class Reranker(Protocol):
    """Puts passages into a better order, and may keep the best alone: none is changed but in its score, none is new.

    Best first; of equal scores the passage that came first. The same input gives the same result.
    """

    @property
    def why_dropped(self) -> str: ...
    def check(self) -> None:
        """Raises what `load` would, as far as a glance shows it."""

    def load(self, runtime: Runtime) -> None:
        """Loads its model before the first question."""

    def rerank(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]: ...


class Compressor(Protocol):
    """Makes retrieved text smaller.

    Every result passage lies inside an input passage (extractive) or carries the spans that it was made from
    (abstractive); an empty input gives an empty result; the same input gives the same result. What is dropped is
    entered into the ledger by the runner, which compares input and output: a compressor cannot drop in silence.
    """

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]: ...


class Gate(Protocol):
    """Decides whether the passages hold an answer: the verdict says why a question is refused, or that it passes."""

    def judge(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> Verdict: ...


class Recollection(Protocol):
    """The open memory of one conversation, in one folder. One process writes; nobody else reads meanwhile.

    What `commit` was given is there after a crash at any later moment. A turn that was forgotten is in no tier and in
    no byte of the folder's files. `turns` and `items` are in the order of the turns; times are ISO 8601 in UTC.
    """

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every turn that was committed and not forgotten."""

    @property
    def next_number(self) -> int:
        """The number of the turn that comes next: a number that was forgotten is not given again."""

    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        """What bears on the question, in at most `room` tokens of the reader as the texts alone count."""

    def commit(self, turn: Turn) -> None:
        """Keeps a turn whose number is `next_number`: durable when it returns."""

    def settle(self, runtime: Runtime, progress: Progress | None = None) -> None:
        """Moves what exceeds its tier's budget to the next, which may ask the model. Interrupted, it goes on later."""

    def items(self) -> tuple[Item, ...]: ...
    def search(self, text: str, k: int = 10) -> tuple[Recalled, ...]:
        """The k remembered texts nearest to a text, best first, with their weights; tokens are not counted (0)."""

    def forget(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> tuple[int, ...]:
        """Forgets turns by number, all before a time, or all that hold a text (case apart). Gives their numbers."""

    def named(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> tuple[int, ...]:
        """The numbers of the turns that `forget` would forget. Raises DataError as it does."""

    def scrub(self) -> None:
        """Leaves no byte of what was deleted earlier, also where that was interrupted."""

    def undo(self) -> Turn | None:
        """Forgets the last turn, gives it back, and frees its number; None where there is none."""

    def export(self, path: Path) -> int:
        """Writes all of it as JSON lines; gives the number of turns."""

    def import_(self, path: Path) -> int:
        """Takes in what `export` wrote, into a memory that is empty. Raises DataError with the line that is wrong."""

    def close(self) -> None:
        """Closing twice does nothing."""


@runtime_checkable
class DocumentReader(Protocol):
    """A recollection that reads documents longer than the window: segment by segment, with recall from earlier ones."""

    def read(self, pieces: Sequence[Passage], runtime: Runtime, progress: Progress | None = None) -> int:
        """Takes in the pieces of documents in their order; gives how many were new. Interrupted, it goes on later."""


class Memory(Protocol):
    """Remembers a conversation: in a pipeline file at most one, right before `assemble`."""

    def open(self, folder: Path, runtime: Runtime) -> Recollection:
        """The memory in a folder, made where there is none. Raises StoreError for one that a newer longthread wrote."""


class Assembler(Protocol):
    """Lays out the prompt and keeps it within the window: fills `shown`, `prompt` and the ledger's `parts`."""

    def assemble(self, state: State, runtime: Runtime, reserve: int) -> State: ...


@runtime_checkable
class Reuses(Protocol):
    """An assembler that can compose prompts of kept cells: `reuse` is `exact` where it does not."""

    @property
    def reuse(self) -> str: ...


class Generator(Protocol):
    """Has the reader answer the prompt. `max_tokens` is the room that has to be kept for the answer.

    `generate` reads the stream of `runtime.reader.generate([prompt], sampling)`: batches read many of them at a time.
    """

    @property
    def max_tokens(self) -> int: ...
    @property
    def sampling(self) -> Sampling: ...
    @property
    def n_parallel(self) -> int:
        """How many questions its reader answers at a time."""

    @property
    def model_name(self) -> str:
        """The reader as the settings name it: a path, or a name of the catalogue."""

    @property
    def reader_key(self) -> Hashable:
        """Equal for generators that can share one reader."""

    def model_file(self) -> Path | None:
        """The file that the reader is loaded from; None for one without. Raises ModelError if it is missing."""

    def check(self) -> None:
        """Raises what `load` would, as far as a glance shows it: before documents are indexed for it."""

    def load(self, progress: Progress) -> Model:
        """The reader that these settings describe, loaded. The pipeline owns it and closes it."""

    def generate(self, prompt: Prompt, runtime: Runtime, sampling: Sampling | None = None) -> Generation:
        """`sampling` takes the place of the settings' own."""


Component = Retriever | Reranker | Compressor | Gate | Memory | Assembler | Generator
"""A stage of a pipeline: a frozen dataclass of settings with the method of its kind."""
