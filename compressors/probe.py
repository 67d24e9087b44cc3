"""compress.probe: keep the sentences that a small model's attention heads look at when they read the question.

After ActQKV (Xiao et al. 2025, arXiv 2502.13542: a probe query retrieves the relevant parts of a long context) and
Retrieval Head Mechanistically Explains Long-Context Factuality (Wu et al. 2024, arXiv 2404.15574: few heads retrieve).
The model reads the passages, then the question. For each of a few heads, a sentence's feature is the logarithm of the
attention to it, summed over its tokens. The attention is the mean over the question's tokens, or over the tokens after
it, where the answer is about to begin. Features are standardised over all sentences of the question. A weighted sum
gives a probability, together with the features of compress.exit_mini: the votes of the question's tokens, and the
shared words. Further weights raise sentences of passages that good sentences name, and sentences that name the passages
of good ones (compressors/links.py): the second hop, which the question does not mention.

Ours differs: it chooses text, not cached keys and values, once and before the reader. `longthread calibrate` chooses
the heads for the model's file on labelled sentences. The model may be smaller than the reader. Layers above the highest
chosen head are not run. Fidelity: inspired.

Long inputs are read in windows of about equal length. Each window begins with the same tokens, which most heads attend
to when they find nothing (an attention sink). So attention in all windows is relative to the same sink, and comparable
across windows. It is standardised over the whole question, never within a window: the best sentence of a window without
an answer would look as good as the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from compressors.alone import WorksAlone
from compressors.calibration.store import Head, ProbeCalibration, stored
from compressors.head_weights import HeadWeights
from compressors.selection import Limits, Units, UnitWindow, extract, windows
from pipeline.checks import at_least, in_range
from pipeline.contracts import Model, Progress, Runtime
from pipeline.errors import ModelError
from pipeline.models.capabilities import Attender
from pipeline.models.settings import EngineSettings
from pipeline.registry import check_types
from pipeline.types import Message, Passage, Prompt, Question, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LAYOUT = 3
"""Version of the prompt and the features. Calibrations of other versions are not used."""

LEAST_MASS = 1e-6
"""Added before the logarithm: less attention than this is noise."""


@dataclass(frozen=True)
class Probe(WorksAlone):
    """Keeps the sentences that a model's attention finds for the question, in the order of their source.

    All limits that are set apply. The best sentence always stays, unless it is below the threshold.

    Example: `compress.probe: {model: smollm2-135m, keep_ratio: 0.3}`

    :param model: the model that probes, a GGUF file or a name; null: the reader.
    :param keep_ratio: largest share of the tokens to keep, in (0, 1]; null: no limit.
    :param budget: largest number of the reader's tokens to keep, at least 1; null: no limit.
    :param threshold: lowest probability of a kept sentence, in [0, 1]; null: no limit.
    :param mass: keep the best sentences that together hold this share of all probability, in (0, 1]; null: no limit.
    :param top_k: largest number of sentences to keep, at least 1; null: no limit.
    :param similarity: whether to add two features from the embedder and the words: the votes of the question's tokens,
        and the shared words. A little slower, and better.
    :param links: whether to raise passages whose title a good sentence names, for multi-hop questions.
    :param window: tokens per window, at least 128.
    :param neighbours: number of sentences before and after each kept sentence that are kept as well, at least 0.
    """

    model: str | None = "smollm2-135m"
    keep_ratio: float | None = 0.3
    budget: int | None = None
    threshold: float | None = None
    mass: float | None = None
    top_k: int | None = None
    similarity: bool = True
    links: bool = True
    window: int = 2048
    neighbours: int = 0

    def __post_init__(self) -> None:
        check_types(self, Probe)
        self.limits  # noqa: B018 - its own checks
        in_range("threshold", self.threshold, 0, 1)
        at_least("window", self.window, 128)
        at_least("neighbours", self.neighbours, 0)

    @property
    def needs_embedder(self) -> bool:
        return self.similarity

    @property
    def limits(self) -> Limits:
        return Limits(self.top_k, self.threshold, self.budget, self.keep_ratio, self.mass)

    @property
    def why_dropped(self) -> str:
        by = "the question's attention, votes and words" if self.similarity else "the question's attention"
        return f"less likely to help, by {by}, than what was kept ({self.limits})"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        return extract(
            passages, runtime, lambda units: self.scores(question.query, units, runtime), self.limits, self.neighbours
        )

    def scores(self, question: str, units: Units, runtime: Runtime) -> NDArray[np.float64]:
        """The probability that each unit supports the answer, float64 (n_units,), in [0, 1]."""
        model = runtime.reader if self.model is None else runtime.model(self._settings)
        calibrated = calibration(model)
        mass = log_mass(question, units, model, calibrated.heads, self.window, runtime.listener.progress)
        weights = HeadWeights("compress.probe", calibrated, self.similarity, self.links)
        return weights.probabilities(question, units, mass, runtime)

    @cached_property
    def _settings(self) -> EngineSettings:
        return EngineSettings(model=self.model or "", n_ctx=self.window, n_seq_max=1, n_cached=0)


def calibration(model: Model) -> ProbeCalibration:
    """The calibration of this model's file. Raises ModelError, with the command that makes one, if there is none."""
    calibrated = stored(ProbeCalibration, model)
    if calibrated is None or calibrated.layout != LAYOUT:
        raise ModelError(
            f"compress.probe: nobody has looked yet which heads of {model.name} are worth asking: run 'longthread "
            "calibrate MODEL --method probe' once, or probe with smollm2-135m, whose heads are known"
        )
    return calibrated


def log_mass(
    question: str,
    units: Units,
    model: Model,
    heads: Sequence[Head] | None,
    window: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """The logarithm of the attention to each unit, float64 (n_units, n_heads).

    Attention is summed over the unit's tokens and averaged over the tokens that attend. With `heads` None, the columns
    are all heads of all layers for the question's tokens, then all again for the tokens where the answer begins.
    """
    import numpy as np

    if not isinstance(model, Attender):
        raise ModelError(f"compress.probe: the attention of {model.name} cannot be read; set 'model' to a GGUF file")
    best: NDArray[np.float64] | None = None
    pieces = _windows(question, units, model, min(window, model.window))
    done = 0
    for piece in pieces:
        prefix, query, owners, question_cells = _prompt(question, units, piece, model)
        mass = mass_of(model, prefix, query, question_cells, heads)
        if best is None:
            best = np.zeros((len(units), len(mass)))
        for unit, low, high in owners:
            np.maximum(best[unit], mass[:, low:high].sum(axis=1), out=best[unit])
        done += len(piece)
        progress("probe sentences", done, sum(map(len, pieces)))
    assert best is not None  # noqa: S101 - there is at least one unit
    return np.asarray(np.log(best + LEAST_MASS))


def mass_of(
    model: Attender,
    prefix: Prompt,
    query: Prompt,
    question: tuple[int, int],
    heads: Sequence[Head] | None,
    n_written: int = 0,
) -> NDArray[np.float64]:
    """The attention to each cell of the prefix, float64 (n_heads, n_prefix), averaged over the tokens that attend.

    `question` is the range of the question's cells in the query. Its last `n_written` cells are the beginning of the
    answer, and count for both places. Heads as in `log_mass`.
    """
    import numpy as np

    read = None if heads is None else sorted({(layer, head) for layer, head, _ in heads})
    attention = model.attend(prefix, query, read).mass
    n_query = attention.shape[1]
    asking = np.r_[question[0] : question[1], n_query - n_written : n_query]
    by = {
        "question": attention[:, asking].mean(axis=1, dtype=np.float64),
        "answer": attention[:, min(question[1], n_query - 1) :].mean(axis=1, dtype=np.float64),
    }
    if heads is None or read is None:
        return np.concatenate([by["question"], by["answer"]])
    return np.stack([by[position][read.index((layer, head))] for layer, head, position in heads])


def _windows(question: str, units: Units, model: Model, window: int) -> list[UnitWindow]:
    """Splits the units into windows of about equal length, with room for the question and the titles."""
    prefix, query, _, _ = _prompt(question, units, [], model)
    titles = [_title_tokens(units, n, model) for n in range(len(units))]
    room = window - model.count(prefix) - model.count(query) - max(titles) - 8
    if room < 32:
        raise ModelError(
            f"compress.probe: the question takes {window - room} of {window} tokens, which leaves no room for the "
            "passages and their titles: raise 'window', or ask shorter"
        )
    return windows(units, model, room, titles)


def _title_tokens(units: Units, n: int, model: Model) -> int:
    """The tokens of the title before unit `n`; 0 unless the unit is the first of its passage."""
    is_first = n == 0 or units.owners[n - 1] != units.owners[n]
    return model.count_text(_title(units, n)) if is_first else 0


def _title(units: Units, n: int) -> str:
    title = units.passages[units.owners[n]].title
    return f"\n\n{title}\n" if title else "\n\n"


def _prompt(
    question: str, units: Units, piece: UnitWindow, model: Model
) -> tuple[Prompt, Prompt, list[tuple[int, int, int]], tuple[int, int]]:
    """The prefix and the query of one window, (unit, low, high) for each unit, and (low, high) of the question.

    [low, high) are a unit's cells in the prefix, and the question's cells in the query. Each unit is a separate span,
    tokenised alone, so that its cells are known exactly.
    """
    question_span = Text(f" {question.strip()}", "question")
    # A template may strip white space at the ends of a message, and `is` below does not find a stripped span. So the
    # lead, not the question, is the span to search for.
    lead = Text("\n\nQuestion:" if piece else "Question:", "question")
    content: list[Text] = []
    of_unit: dict[int, int] = {}
    for k, (n, text) in enumerate(piece):
        if k == 0 or units.owners[piece[k - 1][0]] != units.owners[n]:
            content.append(Text(_title(units, n).lstrip("\n") if k == 0 else _title(units, n), "passages"))
            text = text.lstrip()
        span = Text(text, "passages")
        of_unit[id(span)] = n
        content.append(span)
    spans = model.render([Message("user", (*content, lead, question_span))])
    index = next(n for n, other in enumerate(spans) if other is lead)
    owners: list[tuple[int, int, int]] = []
    low = 0
    for other in spans[:index]:
        high = low + model.count((other,))
        if id(other) in of_unit:
            owners.append((of_unit[id(other)], low, high))
        low = high
    start = model.count((lead,))
    return spans[:index], spans[index:], owners, (start, start + model.count((question_span,)))
