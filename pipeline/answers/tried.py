"""Which layout suits a model: what `longthread models try` measured, kept under the hash of the model's file.

The user's own results lie in the cache folder, under calibrations/<first 16 digits of the key>/answers.json; those that
ship with longthread in pipeline/answers/trial/results. The user's take precedence. A file that `longthread models tune`
made from another counts as that other. The questions are asked by pipeline/evaluation/layout_trial.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.answers.layouts import LAYOUTS
from pipeline.contracts import Model
from pipeline.models.identity import model_key
from pipeline.storage.cache import cache_folder
from pipeline.storage.cards import Cards, write_card

FOLDER = Path(__file__).parent / "trial"
SHIPPED = FOLDER / "results"

MARGIN = 0.05
"""Quotes lead a model's answers if that raises the share of right answers by more than this."""

NOT_TRIED = (
    "{model} was not tried yet, and is asked in layout '{layout}': "
    "'longthread models try' with its name or path finds what suits it"
)
"""The ledger's line for a model without a result: fill in with `NOT_TRIED.format(model=..., layout=...)`."""


@dataclass(frozen=True)
class Result:
    """The figures of a model in one layout.

    Counts of questions: `right` (the answer holds an accepted answer), `wordless`, `looped`, `echoed` (answers with
    that fault), `faulty` (with any of them), `abstained_right` (on unanswerable questions) and `abstained_wrong` (on
    answerable ones). `f1` is the mean over the answerable questions, in [0, 1]. `tokens` counts prompts and answers
    together.
    """

    layout: str
    right: int
    f1: float
    wordless: int
    looped: int
    echoed: int
    faulty: int
    abstained_right: int
    abstained_wrong: int
    tokens: int


Way = Literal["read_passages", "passages", "read_sentences", "sentences"]
"""What a prompt holds: passages or the sentences chosen from them, read, or put together from kept cells."""

Reuse = Literal["exact", "passages", "sentences"]
"""What of a prompt is put together from kept cells: nothing, passages, or the sentences that a compressor chose."""

MAX_LOSS = 0.1
"""Nats a token: what putting cells together may take from the likelihood of the right answers."""


@dataclass(frozen=True)
class ReuseResult:
    """How a model answered in one way, in the layout that suits it best.

    `right` and `f1` are as in `Result`, of the questions with an answer. `gold_logprob` is the mean log-probability of
    a token of the right answer. `first_token_s` and `read` are the seconds to the first token and the tokens read for a
    prompt, when the passages were read before.
    """

    way: Way
    right: int
    f1: float
    gold_logprob: float
    first_token_s: float
    read: int
    layout: str = ""
    """A name in LAYOUTS; empty in results of older versions: the trial's layout."""


@dataclass(frozen=True)
class ReuseTried:
    """What putting kept cells together costs a model, and the `reuse` of assemble.cited that follows from it.

    :param recommended: see `best_reuse`.
    :param results: one for each way; empty where the model's cells cannot be put together.
    :param why_not: why they cannot.
    :param seconds: what all answers took together, passages that were read to be kept included.
    """

    recommended: Reuse
    results: tuple[ReuseResult, ...]
    why_not: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Tried:
    """The layout that suits a model, with its evidence.

    :param model: the name of the file.
    :param key: hash of the file: see pipeline/models/identity.py.
    :param layout: a name in LAYOUTS.
    :param answer: `quote` where more answers are right with quotes that lead than with the model's words: see
        `answer_first`.
    :param results: one a layout, in the order of LAYOUTS.
    :param n: number of questions; `n_answerable` of them have an answer in the documents.
    :param sentence_right: number of questions with an answer whose best-ranked sentence holds it.
    :param generated_right: number of questions with an answer that is right as it is shown, second attempts included,
        where the model's words lead.
    :param quoted_right: the same where quotes lead.
    :param seconds: what all answers took together; layouts share what their prompts have in common.
    :param seed: draws the questions where not all were asked.
    :param date: the day, in UTC.
    :param reuse: what putting kept cells together costs; None where it was not tried.
    """

    model: str
    key: str
    layout: str
    answer: Literal["generate", "quote"]
    results: tuple[Result, ...]
    n: int
    n_answerable: int
    sentence_right: int
    generated_right: int
    quoted_right: int
    seconds: float
    seed: int
    date: str
    reuse: ReuseTried | None = None

    def __post_init__(self) -> None:
        if self.layout not in {result.layout for result in self.results}:
            raise ValueError(f"layout must be one of those in results, was: {self.layout}")
        if not 0 < self.n_answerable <= self.n:
            raise ValueError(f"n_answerable must be in [1, {self.n}], was: {self.n_answerable}")

    def layout_for(self, reuse: Reuse) -> str:
        """The name of the layout for prompts with this `reuse` of assemble.cited."""
        for result in self.reuse.results if self.reuse is not None else ():
            if result.way == reuse and result.layout in LAYOUTS:
                return result.layout
        return self.layout

    @property
    def result(self) -> Result:
        """The figures of the chosen layout."""
        return next(result for result in self.results if result.layout == self.layout)


def best_layout(results: Sequence[Result], n_answerable: int) -> str:
    """Returns the layout with the most points: right answers less faulty ones, plus the sum of the answers' F1.

    F1 rewards concise answers: right answers alone would favour copying the passages. Ties are broken by the most right
    abstentions, then the fewest wrong ones, then the fewest tokens.
    """

    def rank(result: Result) -> tuple[float, int, int, int]:
        points = result.right - result.faulty + round(result.f1 * n_answerable, 1)
        return points, result.abstained_right, -result.abstained_wrong, -result.tokens

    return max(results, key=rank).layout


def answer_first(generated_right: int, quoted_right: int, n_answerable: int) -> Literal["generate", "quote"]:
    """Decides whether the model's words or quotes lead: quotes, if they raise the share of right answers by MARGIN.

    The model's words are shorter and answer in the question's terms, so they win a tie.
    """
    return "quote" if quoted_right - generated_right > MARGIN * n_answerable else "generate"


def best_reuse(results: Sequence[ReuseResult], n_answerable: int) -> Reuse:
    """Recommends `sentences` if it loses little, else `passages` if that loses little, else `exact`.

    Little: at most MARGIN of the questions lose their right answer, and a token of a right answer loses at most
    MAX_LOSS of its log-probability.
    """
    by_way = {result.way: result for result in results}

    def loses_little(way: Way, base: Way) -> bool:
        lost = by_way[base].right - by_way[way].right
        less_likely = round(by_way[base].gold_logprob - by_way[way].gold_logprob, 6)
        return lost <= MARGIN * n_answerable and less_likely <= MAX_LOSS

    if loses_little("sentences", "read_sentences"):
        return "sentences"
    return "passages" if loses_little("passages", "read_passages") else "exact"


def best_in_way(results: Sequence[ReuseResult], n_answerable: int) -> ReuseResult:
    """The best of one way's results in several layouts: by right answers and F1 as in `best_layout`, then by the
    likelihood of the right answer.
    """
    return max(results, key=lambda result: (result.right + round(result.f1 * n_answerable, 1), result.gold_logprob))


_CARDS = Cards(Tried, "the result of a trial", "delete it and run 'longthread models try' again")


def recommended_reuse(tried: Tried | None) -> Reuse:
    """Returns the `reuse` that a trial recommends; `exact` without a trial."""
    return "exact" if tried is None or tried.reuse is None else tried.reuse.recommended


def stored(model: Model) -> Tried | None:
    """Loads the result of this model, the user's before the shipped one; None for a model that was not tried.

    A result whose layout this version does not know is ignored. Raises ModelError, naming the file, if it is damaged.
    """
    key = model_key(model)
    paths = (_user_path(key), *sorted(SHIPPED.glob("*.json")))
    return _CARDS.find(key, paths, lambda value: value.get("layout") in LAYOUTS)


def store(tried: Tried) -> Path:
    """Writes a result to the user's calibrations; returns the file."""
    return write_card(_user_path(tried.key), tried)


def _user_path(key: str) -> Path:
    return cache_folder() / "calibrations" / key[:16] / "answers.json"
