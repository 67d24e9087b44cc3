"""Verbatim short-term memory: is a list of words that stood in the context less surprising the second time?

Armeni, Honey and Linzen, Characterizing Verbatim Short-Term Memory in Neural Language Models, CoNLL 2022
(https://arxiv.org/abs/2210.13569). Their frame sentences, conditions and measure; the nouns and the text between are
ours. Fidelity: faithful but for these. A cheap test for everything that touches the cache: with the first list removed
from it, the second has to be as surprising as a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.contracts import Progress
from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.nouns import NOUNS
from pipeline.types import Prompt, Text

if TYPE_CHECKING:
    from pipeline.models.engine import Engine

PREFACE = "Before the meeting, Mary wrote down the following list of words:"
AGAIN = "When she got back, she read the list again:"
BREAK = "After the meeting, she took a break and had a cup of coffee."
BETWEEN = (
    "The coffee was hot, and the small room behind the office was empty at that hour.",
    "Outside it had begun to rain, and people hurried along the street under grey umbrellas.",
    "She thought of the long drive that lay before her and of the work that was still to be done.",
    "Somebody had left a newspaper on the table, but there was nothing in it that she cared to read.",
    "A colleague came in, said a few words about the weather, and went out again without closing the door.",
    "She could hear two others talking in the corridor about a film that they had both seen the evening before.",
    "It had been a slow week, with many visitors and little time to think about anything but what came next.",
    "The telephone rang once in the next room, then stopped, and nobody seemed to mind that it had not been answered.",
    "When the rain grew lighter she stood up, washed her cup, and put it back on the shelf where she had found it.",
    "For a moment she stayed at the window and watched how the lights came on in the building on the other side.",
    "Then she walked down the stairs to the ground floor and asked whether anything had been left for her that day.",
    "Nothing had, so she talked a little with the man who worked there, who had just come back from seeing his family.",
    "He told her about the train, which had been late, and about his brother, who wanted to move to the country.",
    "She listened, said that she was glad to hear it, and promised to come by again before the end of the month.",
    "On the way back she met nobody, and the long corridor was as quiet as it always was late in the afternoon.",
    "She tried the handle of the door, found that it was open, and went in to look for what she had forgotten there.",
    "There was still some light, and all the seats stood as they had been left when everybody had got up and gone.",
    "Somebody had opened a window, so that it was cold now, and the noise of the street could be heard from below.",
)
TARGETS = (26, 47, 99, 194, 435)
"""Tokens between the lists, `AGAIN` included, that the paper has; ours are the nearest that whole sentences give."""
LENGTHS = (3, 5, 7, 10)
MOST = 10

Condition = Literal["repeated", "permuted", "novel", "removed"]
CONDITIONS: tuple[Condition, ...] = ("repeated", "permuted", "novel", "removed")
"""The second list is the first; the first in an order in which no word keeps its place; one of other words; the first
again, but with the first list's cells removed from the cache."""


@dataclass(frozen=True, slots=True)
class Stimulus:
    """Two lists with a text between. `base` says which lists are made of the same words."""

    base: int
    first: tuple[str, ...]
    second: tuple[str, ...]
    between: str

    @property
    def text(self) -> str:
        return f"{PREFACE} {', '.join(self.first)}. {self.between} {AGAIN} {', '.join(self.second)}."

    def spans(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Where the words of both lists stand in the text, as characters."""
        head = len(f"{PREFACE} ")
        after = head + len(", ".join(self.first)) + len(f". {self.between} {AGAIN} ")
        return _spans(self.first, head), _spans(self.second, after)


@dataclass(frozen=True, slots=True)
class Surprisal:
    """Median repeat surprisal in percent over the stimuli, with its 95 % interval (bootstrap over base lists)."""

    condition: Condition
    length: int
    between_tokens: int
    median: float
    low: float
    high: float
    n: int

    def told(self) -> dict[str, Any]:
        told = asdict(self)
        return {**told, **{name: round(told[name], 2) for name in ("median", "low", "high")}}


@dataclass(frozen=True)
class Protocol:
    """How much is measured. `lists` base lists of ten words (at most 23), each in `shifts` circular shifts (1 to 10).

    :param lengths: words of a list, each at most 10.
    :param between: tokens of the text between.
    """

    lists: int = 23
    shifts: int = 1
    lengths: tuple[int, ...] = LENGTHS
    between: tuple[int, ...] = TARGETS
    seed: int = 0
    nouns: tuple[str, ...] = NOUNS

    def __post_init__(self) -> None:
        most = len(self.nouns) // MOST
        if not 2 <= self.lists <= most:
            raise ConfigError(f"--lists must be in [2, {most}], was: {self.lists}")
        if not 1 <= self.shifts <= MOST:
            raise ConfigError(f"--shifts must be in [1, {MOST}], was: {self.shifts}")
        for length in self.lengths:
            if not 2 <= length <= MOST:
                raise ConfigError(f"--lengths must be in [2, {MOST}], was: {length}")
        for tokens in self.between:
            if tokens < 1:
                raise ConfigError(f"--between must be at least 1, was: {tokens}")

    def bases(self) -> list[tuple[str, ...]]:
        """The base lists: no word is in two of them."""
        words = Draws(self.seed, "verbatim lists").sample(self.nouns, self.lists * MOST)
        return [tuple(words[at : at + MOST]) for at in range(0, len(words), MOST)]


def stimuli(protocol: Protocol, length: int, between: str, condition: Condition) -> list[Stimulus]:
    """All stimuli of one length, text and condition."""
    bases = protocol.bases()
    draws = Draws(protocol.seed, f"verbatim {length}")
    found = []
    for number, base in enumerate(bases):
        for shift in range(protocol.shifts):
            words = (base[shift:] + base[:shift])[:length]
            other = bases[(number + 1) % len(bases)]
            deranged = derangement(words, draws)
            novel = (other[shift:] + other[:shift])[:length]
            second = {"repeated": words, "removed": words, "permuted": deranged, "novel": novel}[condition]
            found.append(Stimulus(number, words, second, between))
    return found


def derangement(words: Sequence[str], draws: Draws) -> tuple[str, ...]:
    """The words in an order of chance in which none keeps its place."""
    while True:
        order = draws.shuffled(range(len(words)))
        if all(place != at for at, place in enumerate(order)):
            return tuple(words[place] for place in order)


def text_between(engine: Engine, tokens: int) -> tuple[str, int]:
    """Whole sentences that with `AGAIN` come nearest to so many tokens, and how many they are."""
    texts = [" ".join([BREAK, *BETWEEN[:n]]) for n in range(len(BETWEEN) + 1)]
    counts = [engine.count_text(f" {text} {AGAIN}") for text in texts]
    best = min(range(len(texts)), key=lambda n: abs(counts[n] - tokens))
    return texts[best], counts[best]


def measure(protocol: Protocol, engine: Engine, progress: Progress) -> tuple[list[Surprisal], list[str]]:
    """Repeat surprisal of every condition, length and distance; and notes on what could not be measured."""
    results: list[Surprisal] = []
    notes: list[str] = []
    cells = [(length, tokens) for length in protocol.lengths for tokens in protocol.between]
    total, done = len(cells) * len(CONDITIONS) * protocol.lists * protocol.shifts, 0
    for length, tokens in cells:
        between, n_tokens = text_between(engine, tokens)
        values: dict[Condition, list[tuple[int, float]]] = {condition: [] for condition in CONDITIONS}
        each = [stimuli(protocol, length, between, condition) for condition in CONDITIONS]
        for row in zip(*each, strict=True):  # the conditions of one list in turn: what they begin with is read once
            for condition, stimulus in zip(CONDITIONS, row, strict=True):
                done += 1
                progress(f"{length} words, {n_tokens} tokens between", done, total)
                try:
                    found = repeat_surprisal(stimulus, engine, condition == "removed")
                except ModelError as error:
                    if condition != "removed":
                        raise
                    notes.append(f"removed: {error}")
                    continue
                values[condition].append((stimulus.base, found))
        results += [
            Surprisal(condition, length, n_tokens, *median_interval(own, protocol.seed), len(own))
            for condition, own in values.items()
            if own
        ]
    return results, list(dict.fromkeys(notes))


def repeat_surprisal(stimulus: Stimulus, engine: Engine, is_removed: bool = False) -> float:
    """100 x mean surprisal of the second list / that of the first, the first word of each left out, in percent."""
    begin = engine.weights.special_texts()["bos_token"]
    prompt: Prompt = (Text(begin, special=True), Text(stimulus.text)) if begin else (Text(stimulus.text),)
    cells = engine.cells(prompt)
    places = list(_token_spans(engine, [int(key) for key in cells.keys], engine.count(prompt[:-1])))
    first, second = stimulus.spans()
    if is_removed:
        low = min(n for n, span in enumerate(places) if _meets(span, first[0]))
        high = 1 + max(n for n, span in enumerate(places) if _meets(span, first[-1]))
        start = min(n for n, span in enumerate(places) if _meets(span, second[0]))
        whole = np.concatenate([engine.logprobs(prompt)[: start - 1], engine.logprobs(prompt, start, (low, high))])
    else:
        whole = engine.logprobs(prompt)
    surprisal = -np.asarray(whole, np.float64)
    of_first, of_second = (
        [sum(surprisal[n - 1] for n, place in enumerate(places) if n and _meets(place, span)) for span in spans[1:]]
        for spans in (first, second)
    )
    return float(100 * np.mean(of_second) / np.mean(of_first))


def median_interval(values: Sequence[tuple[int, float]], seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """The median of (base, value) pairs, and the 95 % percentile interval of a bootstrap that draws whole bases."""
    groups: dict[int, list[float]] = {}
    for base, value in values:
        groups.setdefault(base, []).append(value)
    own = [np.array(group) for group in groups.values()]
    rng = np.random.default_rng(seed)
    medians = [
        float(np.median(np.concatenate([own[n] for n in rng.integers(0, len(own), len(own))]))) for _ in range(draws)
    ]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(np.median([value for _, value in values])), float(low), float(high)


def _spans(words: Sequence[str], at: int) -> list[tuple[int, int]]:
    found = []
    for word in words:
        found.append((at, at + len(word)))
        at += len(word) + len(", ")
    return found


def _token_spans(engine: Engine, keys: Sequence[int], n_before: int) -> Iterator[tuple[int, int]]:
    """The characters of the text that each token covers; the text is ASCII. Tokens before it cover none."""
    at = 0
    for n, key in enumerate(keys):
        size = len(engine.weights.piece(key)) if n >= n_before else 0
        yield at, at + size
        at += size


def _meets(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
