"""The contracts of components, as Protocols. Tests check them for every registered component.

A component is a frozen dataclass whose fields are its configuration; it holds no weights. While it works it takes the
reader, the embedder and the index from the `Runtime` that is passed to it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.answers.support import Verdict
    from pipeline.listener import Listener
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
"""Reports progress: the name of the work, the amount done, and the total (0 if unknown)."""


# ---------------------------------------------------------------------------------------------------------- models
@runtime_checkable
class Stream(Protocol):
    """One answer in progress: iterating yields its text piece by piece (never half a character).

    `cancel` ends it early and frees its cells; the pieces so far remain. `result` waits for the end.
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
        """Length limit of a text in its own tokens, including the special ones that it adds."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the tokens of each text, special ones included, without truncation."""

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]: ...
    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Returns the vectors of `embed` and, from the same pass, each text's last token states.

        The states have shape (n_tokens, dimension), without special tokens, each L2-normalised.
        """

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Returns the character span (start, end) of each of those tokens, in order, per text."""


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
    """An embedder that was trained with an instruction before questions; `embed` reads passages."""

    def embed_questions(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]: ...


@runtime_checkable
class Superseded(Protocol):
    """An open resource on disk of which another process may publish a newer state."""

    @property
    def is_superseded(self) -> bool: ...


class Index(Protocol):
    """A searchable index of document chunks. Results are best first; ties are broken by source, then by offset.

    A `scope` restricts the search to a part of the index; None is all of it.
    """

    @property
    def n_chunks(self) -> int: ...
    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def counts(self) -> dict[str, int]:
        """The number of passages of each source."""

    @property
    def titles(self) -> dict[str, str]:
        """The title of each document, by source; empty if it has none."""

    @property
    def metadata(self) -> dict[str, Metadata]:
        """The metadata of each document, by source."""

    def pages(self, source: str) -> tuple[int, ...]:
        """Returns the pages of a document's passages; none for formats without pages."""

    def passages(self, source: str) -> list[Passage]:
        """All passages of one source, in the order of the document."""

    def search_dense(self, question: str, k: int, scope: Scope | None = None) -> list[Passage]:
        """Searches by cosine similarity of the embedder's vectors; the score is the cosine, in [-1, 1]."""

    def search_bm25(self, question: str, k: int, scope: Scope | None = None) -> list[Passage]:
        """Searches by BM25 over stemmed words; passages that share no word with the question are no results."""

    def vectors(self, passages: Sequence[Passage]) -> NDArray[np.float32]:
        """Returns the unit vectors of these chunks, (n, dimension), in order."""

    def document(self, source: str) -> Document:
        """Returns the document as indexed, so that a quote can be checked at its offsets."""


class Runtime(Protocol):
    """The resources that the stages of one pipeline share in one process; each is loaded on first use."""

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
        """Returns the part of the index to search for the question; None for all of it."""

    @property
    def assembler(self) -> Assembler:
        """The pipeline's assemble stage."""

    @property
    def chooser(self) -> ChoosesAgain | None:
        """The compress stage that chooses again while the answer is written; None if none does."""

    @property
    def on_overflow(self) -> Literal["shed", "refuse"]:
        """The policy for a prompt that does not fit: see `Budget`."""

    @property
    def listener(self) -> Listener:
        """Who hears about the work."""

    @property
    def recollection(self) -> Recollection | None:
        """The open memory of the conversation that the question belongs to; None for a question on its own."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the user cancelled the answer; checked between two pieces of work."""

    def chunk(self, document: Document) -> list[Passage]:
        """Splits a document as the pipeline's index would."""

    def model(self, settings: EngineSettings) -> Model:
        """Returns a model other than the reader: loaded once per settings, closed with the pipeline."""

    def ranker(self, name: str) -> Ranker:
        """Returns a cross-encoder by file or name: loaded once, closed with the pipeline."""

    def note(self, text: str, once: bool = False) -> None:
        """Adds a line to the ledger, under the current stage; with `once`, for the first question only."""

    def take_notes(self) -> tuple[str, ...]:
        """Returns and clears the lines noted since the last call; for the runner."""


# ---------------------------------------------------------------------------------------------------------- stages
@runtime_checkable
class NeedsEmbedder(Protocol):
    """A component that may need vectors: `needs_embedder` says whether it does with its settings."""

    @property
    def needs_embedder(self) -> bool: ...


@runtime_checkable
class Explains(Protocol):
    """A component that gives the ledger its reason for dropping text."""

    @property
    def why_dropped(self) -> str: ...


@runtime_checkable
class Named(Protocol):
    """A component outside the registry that has a name for ledgers: `kind.name`."""

    @property
    def stage_name(self) -> str: ...


@runtime_checkable
class Scoped(Protocol):
    """A retriever whose settings restrict the search: see `pipeline.retrieval.scope`."""

    @property
    def glob(self) -> str | None: ...
    @property
    def filter(self) -> str | None: ...


@runtime_checkable
class GivesParents(Protocol):
    """A retriever that can give a hit with its section around it: `parents` is the limit in tokens, None for none."""

    @property
    def parents(self) -> int | None: ...


class Retriever(Protocol):
    """Finds passages for a question: best first, without duplicates, at most as many as its settings allow."""

    @property
    def searches_index(self) -> bool:
        """Whether the passages come from the pipeline's index, and not with the question or from elsewhere."""

    def search(self, question: Question, runtime: Runtime) -> list[Passage]: ...


class Reranker(Protocol):
    """Reorders passages, and may keep only the best. It changes nothing but scores, and adds no passages.

    Best first; ties keep the input's order. The same input gives the same result.
    """

    @property
    def why_dropped(self) -> str: ...
    def check(self) -> None:
        """Raises the errors of `load` that a quick check can find."""

    def load(self, runtime: Runtime) -> None:
        """Loads its model before the first question."""

    def rerank(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]: ...


class Compressor(Protocol):
    """Makes retrieved text smaller.

    Every result passage lies inside an input passage (extractive) or carries the spans that it was made from
    (abstractive); an empty input gives an empty result; the same input gives the same result. The runner compares input
    and output and enters dropped text into the ledger, so a compressor cannot drop text silently.
    """

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]: ...


@runtime_checkable
class ChoosesAgain(Protocol):
    """A compressor that can choose again while the answer is written.

    `again` is the number of tokens of the answer between two choices; None if it chooses once. `choose_again` gives
    `kept`, which are earlier results, and what the beginning of the answer asks for beside it, both out of `passages`.
    """

    @property
    def again(self) -> int | None: ...
    def choose_again(
        self, question: Question, passages: Sequence[Passage], kept: Sequence[Passage], written: str, runtime: Runtime
    ) -> list[Passage]: ...


class Gate(Protocol):
    """Decides whether the passages hold an answer. The verdict holds the reason for a refusal."""

    def judge(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> Verdict: ...


class Recollection(Protocol):
    """The open memory of one conversation, in one folder, exclusive to one process.

    A committed turn survives a crash at any later moment. A forgotten turn is in no tier and in no byte of the folder's
    files. `turns` and `items` are in the order of the turns; times are ISO 8601 in UTC.
    """

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns that were committed and not forgotten."""

    @property
    def next_number(self) -> int:
        """The number of the next turn. Numbers of forgotten turns are not reused."""

    def warm_up(self) -> None:
        """Imports what the next recall needs and takes long to import. It may run in a thread beside other calls."""

    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        """Recalls what is relevant to the question, in at most `room` tokens of the reader (texts alone)."""

    def commit(self, turn: Turn) -> None:
        """Stores a turn whose number is `next_number`; it is durable on return."""

    def settle(self, runtime: Runtime, progress: Progress | None = None) -> None:
        """Moves what exceeds a tier's budget to the next tier. It may ask the model, and resumes if interrupted."""

    def items(self) -> tuple[Item, ...]: ...
    def search(self, text: str, k: int = 10) -> tuple[Recalled, ...]:
        """Returns the k remembered texts nearest to a text, best first, with weights and without token counts (0)."""

    def forget(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> tuple[int, ...]:
        """Forgets turns by number, all before a time, or all with a text (ignoring case). Returns their numbers."""

    def named(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> tuple[int, ...]:
        """Returns the numbers of the turns that `forget` would forget. Raises DataError as it does."""

    def scrub(self) -> None:
        """Erases every byte of deleted turns, also after an interrupted deletion."""

    def undo(self) -> Turn | None:
        """Forgets the last turn, returns it, and frees its number; None if there is no turn."""

    def export(self, path: Path) -> int:
        """Writes the memory as JSON lines; returns the number of turns."""

    def import_(self, path: Path) -> int:
        """Reads the output of `export` into an empty memory. Raises DataError with the bad line."""

    def close(self) -> None:
        """Closing twice does nothing."""


@runtime_checkable
class DocumentReader(Protocol):
    """A recollection that reads documents longer than the window, segment by segment, with recall from earlier ones."""

    def read(self, pieces: Sequence[Passage], runtime: Runtime, progress: Progress | None = None) -> int:
        """Reads the pieces of documents in order; returns the number of new ones. It resumes if interrupted."""


class Memory(Protocol):
    """Remembers a conversation. A pipeline has at most one, right before `assemble`."""

    def open(self, folder: Path, runtime: Runtime) -> Recollection:
        """Opens or creates the memory in a folder. Raises StoreError if a newer longthread wrote it."""


class Assembler(Protocol):
    """Builds the prompt within the window: fills `shown`, `prompt` and the ledger's `parts`."""

    def assemble(self, state: State, runtime: Runtime, reserve: int) -> State: ...


@runtime_checkable
class Reuses(Protocol):
    """An assembler that can compose prompts of cached cells: `reuse` is `exact` if it does not."""

    @property
    def reuse(self) -> str: ...


class Generator(Protocol):
    """Asks the reader to answer the prompt. `max_tokens` cells of the window are reserved for the answer.

    `generate` reads the stream of `runtime.reader.generate([prompt], sampling)`; batches read many streams at a time.
    """

    @property
    def max_tokens(self) -> int: ...
    @property
    def sampling(self) -> Sampling: ...
    @property
    def n_parallel(self) -> int:
        """The number of questions that its reader answers at a time."""

    @property
    def model_name(self) -> str:
        """The reader as the settings name it: a path, or a name of the catalogue."""

    @property
    def reader_key(self) -> Hashable:
        """Equal for generators that can share one reader."""

    def model_file(self) -> Path | None:
        """Returns the reader's file; None for a reader without one. Raises ModelError if it is missing."""

    def check(self) -> None:
        """Raises the errors of `load` that a quick check can find, before documents are indexed for it."""

    def load(self, progress: Progress) -> Model:
        """Loads the reader that these settings describe. The pipeline owns and closes it."""

    def generate(self, prompt: Prompt, runtime: Runtime, sampling: Sampling | None = None) -> Generation:
        """Answers a prompt. `sampling` overrides the settings."""


Component = Retriever | Reranker | Compressor | Gate | Memory | Assembler | Generator
"""A stage of a pipeline: a frozen dataclass of settings with the method of its kind."""
