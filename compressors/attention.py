"""compress.attention: keep the sentences that the reader's own attention finds, without reading any passage again.

After ActQKV (Xiao et al. 2025, arXiv 2502.13542: a probe query retrieves the relevant parts of the cache) and Landmark
Attention (Mohtashami and Jaggi 2023, arXiv 2305.16300: attention itself retrieves blocks of the cache). The kept cells
of all candidate passages are put in place, which takes milliseconds (pipeline/models/pieces.py). The question is read
behind them once, up to the highest of a few calibrated heads. Their attention, summed over each sentence's cells,
scores the sentences. With `assemble.cited: {reuse: sentences}` the answer is then written from the cells of the chosen
sentences alone: those of the others are left out. So a passage is read when it is first shown, and never again.

Ours differs: it chooses whole sentences, by a few heads, once for all layers and before the answer. The features are
those of compress.probe, and so are the weights, fitted on composed cells by `longthread calibrate MODEL --method
attention`; a model without such a calibration is asked with the heads of its calibration for compress.probe. Passages
have not seen one another, which the attention of the question does not mind: docs/experiments.md has the figures.
Fidelity: inspired.

With `again`, the choice is made again while the answer is written, after Recycled Attention (Xu et al. 2024, arXiv
2411.05787: a step of full attention now and then chooses the cells of the steps between): the question and what is
written of the answer look at all candidates, and what they ask for beside the sentences that are already shown is shown
as well (pipeline/answers/writing.py).

Where the reader cannot put cells together, the passages are read: slower, with the same words, and noted in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compressors.alone import WorksAlone
from compressors.calibration.store import AttentionCalibration, Head, ProbeCalibration, stored
from compressors.head_weights import HeadWeights
from compressors.probe import LAYOUT as PROBE_LAYOUT
from compressors.probe import LEAST_MASS, mass_of
from compressors.selection import Limits, Units, balanced, choose, units_in
from pipeline.answers.candidates import Candidates, ShowsCandidates
from pipeline.answers.cited import Cited
from pipeline.checks import at_least, in_range
from pipeline.contracts import Model, Progress, Runtime
from pipeline.errors import ModelError
from pipeline.models.capabilities import Attender, why_not_compose
from pipeline.registry import check_types
from pipeline.types import Passage, Prompt, Question, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LAYOUT = 1
"""Version of the prompt and the features. Calibrations of other versions are not used."""


@dataclass(frozen=True)
class Attention(WorksAlone):
    """Keeps the sentences that the reader's attention finds for the question, in the order of their source.

    All limits that are set apply. The best sentence always stays, unless it is below the threshold.

    Example: `compress.attention: {keep_ratio: null, top_k: 5}`

    :param keep_ratio: largest share of the tokens to keep, in (0, 1]; null: no limit.
    :param budget: largest number of the reader's tokens to keep, at least 1; null: no limit.
    :param threshold: lowest probability of a kept sentence, in [0, 1]; null: no limit.
    :param share: keep the best sentences that together hold this share of the attention to all sentences (top-p), in
        (0, 1]: few if the attention rests on few sentences; null: no limit.
    :param top_k: largest number of sentences to keep, at least 1; null: no limit.
    :param similarity: whether to add two features from the embedder and the words, as compress.probe does: the votes of
        the question's tokens, and the shared words. Better; the embedder reads the passages unless their token vectors
        are kept (pipeline/retrieval/token_vectors.py).
    :param links: whether to raise passages whose title a good sentence names, for multi-hop questions.
    :param window: largest number of tokens in one reading of the question, at least 256. More candidates are asked in
        several windows.
    :param neighbours: number of sentences before and after each kept sentence that are kept as well, at least 0.
    :param again: choose again each time that the answer has grown by this many tokens, at least 4, with the question
        and what is written; null: once, before the answer. The limits hold for each choice. What was shown stays, so
        that together there may be more; the question and what is written are read anew behind it.
    """

    keep_ratio: float | None = 0.3
    budget: int | None = None
    threshold: float | None = None
    share: float | None = None
    top_k: int | None = None
    similarity: bool = True
    links: bool = True
    window: int = 4096
    neighbours: int = 0
    again: int | None = None

    def __post_init__(self) -> None:
        check_types(self, Attention)
        self.limits  # noqa: B018 - its own checks
        in_range("threshold", self.threshold, 0, 1)
        in_range("share", self.share, 0, 1, is_open=True)
        at_least("window", self.window, 256)
        at_least("neighbours", self.neighbours, 0)
        at_least("again", self.again, 4)

    @property
    def needs_embedder(self) -> bool:
        return self.similarity

    @property
    def limits(self) -> Limits:
        return Limits(self.top_k, self.threshold, self.budget, self.keep_ratio)

    @property
    def why_dropped(self) -> str:
        limits = str(self.limits) if self.share is None else ", ".join(filter(None, (str(self.limits), self._share)))
        return f"less looked at by the reader, when it reads the question, than what was kept ({limits})"

    @property
    def _share(self) -> str:
        return f"share {self.share}"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        units = Units.of(passages, runtime)
        if not units:
            return []
        scores, attention = self.measure(question.query, units, runtime)
        return choose(units, scores, runtime, self._limits_for(scores, attention), self.neighbours)

    def choose_again(
        self, question: Question, passages: Sequence[Passage], kept: Sequence[Passage], written: str, runtime: Runtime
    ) -> list[Passage]:
        """The sentences of `kept`, and those that the question and what is written of its answer ask for."""
        units = Units.of(passages, runtime)
        scores, attention = self.measure(question.query, units, runtime, written)
        limits = self._limits_for(scores, attention)
        return choose(units, scores, runtime, limits, self.neighbours, units_in(units, kept))

    def _limits_for(self, scores: NDArray[np.float64], attention: NDArray[np.float64]) -> Limits:
        """The limits, with the number of sentences that hold the share of the attention."""
        limits = self.limits
        if self.share is None:
            return limits
        n_most = n_of_share(scores, attention, self.share)
        return replace(limits, top_k=n_most if limits.top_k is None else min(n_most, limits.top_k))

    def scores(self, question: str, units: Units, runtime: Runtime) -> NDArray[np.float64]:
        """The probability that each unit supports the answer, float64 (n_units,), in [0, 1]."""
        return self.measure(question, units, runtime)[0]

    def measure(
        self, question: str, units: Units, runtime: Runtime, written: str = ""
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The probability that each unit supports the answer, and its share of the attention, float64 (n_units,).

        `written` is the beginning of the answer, which looks at the units like the question.
        """
        import numpy as np

        reader = runtime.reader
        calibrated = calibration(reader, runtime)
        why = why_not_compose(reader)
        if why:
            runtime.note(f"compress.attention reads all passages for each question: {why}", once=True)
        assembler = runtime.assembler
        if not isinstance(assembler, ShowsCandidates):
            runtime.note("compress.attention lays passages out as assemble.cited does: others keep no cells", once=True)
            assembler = Cited()
        progress = runtime.listener.progress
        mass = log_mass(question, units, reader, assembler, calibrated.heads, self.window, progress, written)
        attention = np.exp(mass) - LEAST_MASS
        attention = (attention / attention.sum(axis=0).clip(min=LEAST_MASS)).mean(axis=1)
        weights = HeadWeights("compress.attention", calibrated, self.similarity, self.links)
        asked = f"{question} {written}" if written else question
        return weights.probabilities(asked, units, mass, runtime), attention


def calibration(reader: Model, runtime: Runtime) -> ProbeCalibration:
    """The calibration of this model's file, that for compress.probe where there is no other (noted once).

    Raises ModelError, with the command that makes one, if there is neither.
    """
    calibrated = stored(AttentionCalibration, reader)
    if calibrated is not None and calibrated.layout == LAYOUT:
        return calibrated
    probed = stored(ProbeCalibration, reader)
    if probed is not None and probed.layout == PROBE_LAYOUT:
        runtime.note(
            f"compress.attention asks the heads that compress.probe found in {reader.name}: 'longthread calibrate "
            "MODEL --method attention' chooses them on kept cells",
            once=True,
        )
        return probed
    raise ModelError(
        f"compress.attention: nobody has looked yet which heads of {reader.name} are worth asking: run 'longthread "
        "calibrate MODEL --method attention' once, or choose with compress.exit_mini, which asks no heads"
    )


def log_mass(
    question: str,
    units: Units,
    reader: Model,
    assembler: ShowsCandidates,
    heads: Sequence[Head] | None,
    window: int,
    progress: Progress,
    written: str = "",
) -> NDArray[np.float64]:
    """The logarithm of the attention to each unit, float64 (n_units, n_heads), as in compressors/probe.py.

    Where a part of the answer is written, its tokens count as the question's, for heads of either place.
    """
    import numpy as np

    if not isinstance(reader, Attender):
        raise ModelError(f"compress.attention: the attention of {reader.name} cannot be read: it takes a GGUF file")
    owned = _owned(units)
    total: NDArray[np.float64] | None = None
    done = 0
    answer: Prompt = (Text(written, "answer"),) if written else ()
    n_written = reader.count(answer)
    groups = _groups(question, units, reader, assembler, min(window, reader.window) - n_written)
    for group, shown in groups:
        mass = mass_of(reader, shown.prefix, (*shown.query, *answer), shown.question, heads, n_written)
        if total is None:
            total = np.zeros((len(units), len(mass)))
        cells, cell_units = _cells_of_units(shown, group, owned, units)
        np.add.at(total, cell_units, mass[:, cells].T)
        done += len(group)
        progress("look at passages", done, sum(len(group) for group, _ in groups))
    assert total is not None  # noqa: S101 - there is at least one unit
    return np.asarray(np.log(total + LEAST_MASS))


def n_of_share(scores: NDArray[np.float64], attention: NDArray[np.float64], share: float) -> int:
    """How many of the best sentences, by score, hold this share of the attention; at least one."""
    import numpy as np

    best_first = np.argsort(-scores, kind="stable")
    held = np.cumsum(attention[best_first])
    return min(len(held), int(np.searchsorted(held, share * held[-1] - 1e-9)) + 1)


@dataclass(frozen=True)
class Part:
    """What is shown of passage number `number`: all of it, or where it is too long, a part from `offset` on."""

    number: int
    passage: Passage
    offset: int = 0


def _owned(units: Units) -> list[NDArray[np.int64]]:
    """The numbers of each passage's units, in their order."""
    import numpy as np

    owners = np.array(units.owners, np.int64)
    return [np.flatnonzero(owners == n) for n in range(len(units.passages))]


def _cells_of_units(
    shown: Candidates, group: Sequence[Part], owned: Sequence[NDArray[np.int64]], units: Units
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells of the prefix whose tokens end in a unit, and the number of that unit for each of them."""
    import numpy as np

    cells: list[NDArray[np.int64]] = []
    cell_units: list[NDArray[np.int64]] = []
    for n, part in enumerate(group):
        numbers, passage = owned[part.number], units.passages[part.number]
        spans = [_span(units.parts[unit], passage) for unit in numbers]
        starts, ends = np.array([low for low, _ in spans]), np.array([high for _, high in spans])
        inside = np.flatnonzero(shown.owners == n)
        characters = shown.characters[inside] + part.offset
        which = np.searchsorted(starts, characters, side="right") - 1
        is_in = (which >= 0) & (characters < ends[which])
        cells.append(inside[is_in])
        cell_units.append(numbers[which[is_in]])
    return np.concatenate(cells), np.concatenate(cell_units)


def _span(unit: Passage, passage: Passage) -> tuple[int, int]:
    """Where a unit stands in its passage's text."""
    start = 0 if unit.spans else unit.start - passage.start
    return start, start + len(unit.text)


def _groups(
    question: str, units: Units, reader: Model, assembler: ShowsCandidates, window: int
) -> list[tuple[list[Part], Candidates]]:
    """The passages, in order, in groups of about equal length that fit a window with the question, and their prompts.

    One group where all of them fit. A passage that alone is too long is shown in parts.
    """
    everything = [Part(n, passage) for n, passage in enumerate(units.passages)]
    shown = assembler.candidates(question, [part.passage for part in everything], reader)
    n_query = reader.count(shown.query)
    if len(shown.owners) + n_query <= window:
        return [(everything, shown)]
    room = window - len(assembler.candidates(question, [], reader).owners) - n_query - _FRAME
    if room < 2 * _FRAME:
        raise ModelError(
            f"compress.attention: the question and what stands around it take {window - room} of {window} tokens, "
            "which leaves too little room for passages: raise 'window' or n_ctx, or ask shorter"
        )
    parts = [part for whole in everything for part in _fitting(whole, room, reader)]
    costs = [_cost(part.passage, reader) for part in parts]
    return [
        (group, assembler.candidates(question, [part.passage for part in group], reader))
        for group in balanced(parts, costs, room)
    ]


_FRAME = 32
"""Tokens that a passage's tags and number may take, and a limit below which parts of passages are too short."""


def _cost(passage: Passage, reader: Model) -> int:
    """Upper bound on the tokens of a passage with its title and tags."""
    titles = sum(reader.count_text(text) + 2 for text in (passage.title, *passage.place.heading))
    return reader.count_text(passage.text) + titles + _FRAME


def _fitting(part: Part, room: int, reader: Model) -> list[Part]:
    """The part, halved until each half fits the room, or has a single character."""
    passage = part.passage
    if len(passage.text) < 2 or _cost(passage, reader) <= room:
        return [part]
    middle = len(passage.text) // 2
    space = passage.text.rfind(" ", 1, middle)
    middle = middle if space < 0 else space
    first = replace(passage, end=passage.start + middle, text=passage.text[:middle], soft=None, sentences=(), copies=())
    second = replace(first, start=first.end, end=passage.end, text=passage.text[middle:])
    later = Part(part.number, second, part.offset + middle)
    return [*_fitting(Part(part.number, first, part.offset), room, reader), *_fitting(later, room, reader)]
