"""Reads passages before there is a question, so that the question finds their cells: of an index, or while one types.

Both read what `assemble.cited` with `reuse: passages` or `reuse: sentences` will look for: the same texts, behind the
same beginning of a prompt, with the same model and settings. So `ask` and `chat` read only the question afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, runtime_checkable

from pipeline.contracts import GivesParents, Model, Progress, Runtime
from pipeline.conversation.sessions import all_sessions
from pipeline.errors import ConfigError, ModelError
from pipeline.last_prompt import shown_in
from pipeline.listener import silent
from pipeline.models.capabilities import ReadsAhead, why_not_compose
from pipeline.models.cell_limits import DISK, cell_limits
from pipeline.registry import stage_name
from pipeline.retrieval.parents import with_parents
from pipeline.storage.cache import cache_folder
from pipeline.storage.cell_files import size_of
from pipeline.types import Excerpt, Passage, Prompt, Question, State

if TYPE_CHECKING:
    from pipeline.pipeline import Pipeline

LOG = logging.getLogger("longthread.ahead")
N_TAGS = 10
"""Passages of a prompt whose numbers are read as well."""
PAUSE_S = 0.4
"""How long nothing is typed before the whole line is searched for."""
SEARCH_S = 1.0
"""Time between two searches for a line that grows."""
N_WHILE_GROWING = 3
"""Passages of such a search that are read: what the next words will ask for may be another passage."""
MAX_WHILE_TYPING = 16
"""Passages that are read while one line is typed."""
_POLL_S = 0.05
_FILE_BYTES = 4096
"""Texts, tokens and header of a piece's file, about."""

Stop = Literal["", "time", "disk", "interrupted", "room"]
"""What ended a reading before its end: the time, the limit of cells on disk, Ctrl-C, or a passage that the model's
context had no room for beside the prompts that it holds. "" if nothing did.
"""


@runtime_checkable
class LaysOutAhead(Protocol):
    """An assembler that knows what a prompt holds of a passage, whatever the question is."""

    reuse: str

    def reuse_for(self, reader: Model) -> str: ...
    def excerpts_ahead(self, passages: Sequence[Passage], runtime: Runtime) -> tuple[Prompt, ...]: ...
    def tags_ahead(self, n: int, runtime: Runtime) -> Prompt: ...


@dataclass(frozen=True)
class AheadReport:
    """What was read ahead of an index's passages.

    `n_kept` passages were kept before, `n_read` were read now (`n_tokens` tokens, tags included), `n_left` are still to
    read, and `n_too_long` do not fit the model's window. `stopped` is what ended it before its end. `disk_bytes` is
    what all kept cells take, of all indexes and models.
    """

    n_passages: int
    n_kept: int
    n_read: int
    n_left: int
    n_too_long: int
    n_tokens: int
    seconds: float
    disk_bytes: int
    stopped: Stop = ""


# ------------------------------------------------------------------------------------------------------- a whole index
def read_index(pipeline: Pipeline, minutes: float | None = None, progress: Progress | None = None) -> AheadReport:
    """Reads the passages of the pipeline's index with its reader, and keeps their cells on disk.

    The order is by use: first what the last prompts of sessions showed, the newest session first, then all documents in
    the order of their names, each from its beginning. Passages that are kept are passed over, so that an interrupted
    run is resumed by another. Ends after `minutes`, before the limit of cells on disk would push out other cells, and
    at a passage that the model cannot read beside what its context holds.

    Raises ConfigError for a pipeline that reads every passage anew, or whose passages depend on the question, and
    ModelError for a model whose cells cannot be put together.
    """
    assembler, reader = check(pipeline)
    report = progress or pipeline.listener.progress
    start = monotonic()
    end = None if minutes is None else start + 60 * minutes
    plan = _Plan.of(pipeline, assembler, reader)
    n_read = n_tokens = 0
    stopped: Stop = "disk" if plan.n_beyond_limit else ""
    try:
        if plan.has_room_for_tags:
            n_tokens += reader.read_ahead(assembler.tags_ahead(N_TAGS, pipeline))
        for prompt, _ in plan.prompts:
            if end is not None and monotonic() >= end:
                stopped = "time"
                break
            report("read ahead, tokens", min(n_tokens, plan.n_tokens), plan.n_tokens)
            n_tokens += reader.read_ahead(prompt)
            reader.finish_keeping()  # a kill then loses one passage
            if reader.n_to_read(prompt):
                stopped = "room"
                break
            n_read += 1
    except KeyboardInterrupt:
        stopped = "interrupted"
    reader.finish_keeping()
    n_left = len(plan.prompts) - n_read + plan.n_beyond_limit
    disk = size_of(cache_folder() / "pieces")[1]
    return AheadReport(
        plan.n_passages,
        plan.n_kept,
        n_read,
        n_left,
        plan.n_too_long,
        n_tokens,
        monotonic() - start,
        disk,
        stopped if n_left else "",
    )


def keeps_passages(pipeline: Pipeline) -> bool:
    """Whether the pipeline's prompts take passages that were read before, as far as its settings say."""
    assembler = pipeline.assembler
    return isinstance(assembler, LaysOutAhead) and assembler.reuse != "exact"


def check(pipeline: Pipeline) -> tuple[LaysOutAhead, ReadsAhead]:
    """The assembler and the reader. Raises ConfigError or ModelError where nothing could be read ahead for them."""
    config, assembler, reader = pipeline.config, pipeline.assembler, pipeline.reader
    if not isinstance(assembler, LaysOutAhead) or not keeps_passages(pipeline):
        raise ConfigError(
            f"{config.path}: its prompts read every passage anew, so what is read ahead would not be used: set reuse "
            "of assemble.cited to sentences or passages, as configs/reuse.yaml does"
        )
    if assembler.reuse_for(reader) == "exact":  # auto
        raise ConfigError(
            f"{config.path}: 'reuse: auto' of assemble.cited reads every passage anew with {reader.name}, so what is "
            "read ahead would not be used: set reuse to sentences or passages, or have 'longthread models try MODEL' "
            "measure what the model loses by them"
        )
    retriever = config.stages[0]
    if not hasattr(retriever, "parents"):
        raise ConfigError(
            f"{config.path}: {stage_name(config.stages[0])} gives passages that depend on the question, so none can be "
            "read ahead: take retrieve.hybrid, retrieve.dense or retrieve.bm25"
        )
    if why := why_not_compose(reader):
        raise ModelError(f"{reader.name}: passages cannot be read ahead: {why}")
    if not isinstance(reader, ReadsAhead):
        raise ModelError(f"{reader.name} keeps no cells, so passages cannot be read ahead")
    if cell_limits().max_disk_bytes == 0:
        raise ConfigError(f"{DISK} is 0, so no cells are kept on disk: raise it to read passages ahead")
    return assembler, reader


@dataclass(frozen=True)
class _Plan:
    """What is to be read of an index: prompts of one passage each, with their tokens, as many as the disk may hold.

    `has_room_for_tags` says whether the disk may hold the numbers of passages as well.
    """

    prompts: list[tuple[Prompt, int]]
    n_passages: int
    n_kept: int
    n_too_long: int
    n_beyond_limit: int
    has_room_for_tags: bool

    @property
    def n_tokens(self) -> int:
        return sum(n for _, n in self.prompts)

    @classmethod
    def of(cls, pipeline: Pipeline, assembler: LaysOutAhead, reader: ReadsAhead) -> Self:
        passages = _by_use(pipeline)
        room: float = _disk_room()
        tags = assembler.tags_ahead(N_TAGS, pipeline)
        n = reader.n_to_read(tags)
        tag_bytes = n * reader.kept_cell_bytes + (len(tags) * _FILE_BYTES if n else 0)
        has_room_for_tags = tag_bytes <= room
        room -= tag_bytes if has_room_for_tags else 0
        prompts: list[tuple[Prompt, int]] = []
        n_kept = n_too_long = n_beyond = 0
        for prompt in assembler.excerpts_ahead(passages, pipeline):
            n = reader.n_to_read(prompt)
            n_bytes = n * reader.kept_cell_bytes + _FILE_BYTES
            if n == 0:
                n_kept += 1
            elif _is_too_long(prompt, n, pipeline.reader):
                n_too_long += 1
            elif n_beyond or n_bytes > room:
                n_beyond += 1
            else:
                room -= n_bytes
                prompts.append((prompt, n))
        return cls(prompts, len(passages), n_kept, n_too_long, n_beyond, has_room_for_tags)


def _disk_room() -> int:
    """Bytes that may still be kept before the limit would push out other cells."""
    return cell_limits().max_disk_bytes - size_of(cache_folder() / "pieces")[1]


def _is_too_long(prompt: Prompt, n: int, model: Model) -> bool:
    """Whether n tokens of a prompt's texts, behind their home, are more than the model's window."""
    return n + max((model.count(span.home) for span in prompt if isinstance(span, Excerpt)), default=0) > model.window


def _parents(pipeline: Pipeline) -> int | None:
    retriever = pipeline.config.retriever
    return retriever.parents if isinstance(retriever, GivesParents) else None


def _by_use(pipeline: Pipeline) -> list[Passage]:
    """The passages of the index as its retriever gives them, the most useful first."""
    index, parents = pipeline.index, _parents(pipeline)
    spans: dict[str, list[tuple[int, int, int]]] = {}
    for rank, passage in enumerate(shown_in(all_sessions())):
        spans.setdefault(passage.source, []).append((passage.start, passage.end, rank))
    first: list[tuple[int, Passage]] = []
    later: list[Passage] = []
    for source in sorted(index.sources):
        for chunk in index.passages(source):
            ranks = [rank for low, high, rank in spans.get(source, ()) if low < chunk.end and chunk.start < high]
            if ranks:
                first.append((min(ranks), chunk))
            else:
                later.append(chunk)
    ordered = [*(chunk for _, chunk in sorted(first, key=lambda pair: pair[0])), *later]
    if parents is None:
        return ordered
    grown = (with_parents([chunk], parents, pipeline) for chunk in ordered)
    return list({passage.span: passage for passages in grown for passage in passages}.values())


# ------------------------------------------------------------------------------------------------------ while one types
class IdleReader:
    """Reads the passages that the next question is likely to need, in a thread, until it is stopped.

    First those that the last answer was found among and those that follow the ones that it showed. Once a second the
    best passages for the words so far take their place, and all that are retrieved for the line whenever typing pauses.
    `stop` halts the model within milliseconds and waits for the thread: the pipeline has one user at a time. What goes
    wrong is left to the question, which says it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        last: State | None,
        typed: Callable[[], str],
        wait_until_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipeline = pipeline.changed(pipeline.config, pipeline.index_folder)  # with notes of its own
        self.pipeline.listener = replace(self.pipeline.listener, progress=silent)
        self.n_tokens = 0
        """Tokens that were read."""
        self._last = last
        self._typed = typed
        self._wait_until_ready = wait_until_ready
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="longthread-ahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._wait_until_ready()
            self._read(*check(self.pipeline))
        except (ConfigError, ModelError) as error:
            LOG.debug("nothing is read ahead: %s", error)
        except Exception:
            LOG.debug("reading ahead failed", exc_info=True)

    def _read(self, assembler: LaysOutAhead, reader: ReadsAhead) -> None:
        room = _disk_room()
        n_left = MAX_WHILE_TYPING
        pending = self._near_last()
        line = searched = ""
        typed_at = searched_at = monotonic()
        while not self._stopping.is_set():
            text, now = self._typed(), monotonic()
            if text != line:
                line, typed_at = text, now
            has_paused = now - typed_at >= PAUSE_S
            wanted = line.strip() if has_paused else _whole_words(line)
            if wanted != searched and (has_paused or now - searched_at >= SEARCH_S):
                searched, searched_at = wanted, now
                pending = self._for_line(wanted, None if has_paused else N_WHILE_GROWING) or pending
            passage = next(pending, None) if n_left else None
            if passage is None:
                self._stopping.wait(_POLL_S)
                continue
            for prompt in assembler.excerpts_ahead([passage], self.pipeline):
                n = reader.n_to_read(prompt)
                n_bytes = round(n * reader.kept_cell_bytes) + _FILE_BYTES
                if not n or n_bytes > room or _is_too_long(prompt, n, self.pipeline.reader):
                    continue
                room -= n_bytes
                n_left -= 1
                self.n_tokens += reader.read_ahead(prompt, self._stopping.is_set)

    def _near_last(self) -> Iterator[Passage]:
        """What the last answer was found among, then what follows the passages that it showed."""
        if self._last is None:
            return
        yield from self._last.found
        if _parents(self.pipeline) is not None:
            return
        for passage in self._last.shown:
            chunks = self.pipeline.index.passages(passage.source)
            yield from [chunk for chunk in chunks if chunk.start >= passage.end][:1]

    def _for_line(self, line: str, n: int | None) -> Iterator[Passage] | None:
        """The first n passages that are retrieved for a line; None for a command and for less than two words."""
        retriever = self.pipeline.config.retriever
        if retriever is None or line.startswith("/") or len(line.split()) < 2:
            return None
        passages: Sequence[Passage] = retriever.search(Question(line), self.pipeline)
        return iter(passages[:n])


def _whole_words(line: str) -> str:
    """The line without the word that is being typed."""
    return line.strip() if line[-1:].isspace() else line.rpartition(" ")[0].strip()
