"""Verbatim short-term memory: is a list of words less surprising when it appears in the context a second time?

Armeni, Honey and Linzen, Characterizing Verbatim Short-Term Memory in Neural Language Models, CoNLL 2022
(https://arxiv.org/abs/2210.13569). The frame sentences, conditions and measure are theirs, the nouns and the text
between are ours. Fidelity: faithful except for these. This is a cheap test of the KV cache: with the first list
removed from the cache, the second list must be as surprising as a new one.
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
"""The paper's numbers of tokens between the lists, with `AGAIN`. Ours are the nearest that whole sentences give."""
LENGTHS = (3, 5, 7, 10)
MAX_WORDS = 10

Condition = Literal["repeated", "permuted", "novel", "removed"]
CONDITIONS: tuple[Condition, ...] = ("repeated", "permuted", "novel", "removed")
"""The second list, in this order: the same as the first; the same words, each in another place; other words; the same
as the first, but with the first list's cells removed from the cache."""


@dataclass(frozen=True, slots=True)
class Stimulus:
    """Two lists with a text between them. Stimuli with the same `base` use the same words."""

    base: int
    first: tuple[str, ...]
    second: tuple[str, ...]
    between: str

    @property
    def text(self) -> str:
        return f"{PREFACE} {', '.join(self.first)}. {self.between} {AGAIN} {', '.join(self.second)}."

    def spans(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The character spans of the words of both lists."""
        head = len(f"{PREFACE} ")
        after = head + len(", ".join(self.first)) + len(f". {self.between} {AGAIN} ")
        return _spans(self.first, head), _spans(self.second, after)


@dataclass(frozen=True, slots=True)
class RepeatSurprisal:
    """The median repeat surprisal of the stimuli in percent, with its 95 % interval (bootstrap over base lists)."""

    condition: Condition
    length: int
    between_tokens: int
    median: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        return {**values, **{name: round(values[name], 2) for name in ("median", "low", "high")}}


@dataclass(frozen=True)
class Protocol:
    """How much to measure: `lists` base lists of ten words (at most 23), each in `shifts` circular shifts (1 to 10).

    :param lengths: words per list, each at most 10.
    :param between: tokens between the lists.
    """

    lists: int = 23
    shifts: int = 1
    lengths: tuple[int, ...] = LENGTHS
    between: tuple[int, ...] = TARGETS
    seed: int = 0
    nouns: tuple[str, ...] = NOUNS

    def __post_init__(self) -> None:
        max_lists = len(self.nouns) // MAX_WORDS
        if not 2 <= self.lists <= max_lists:
            raise ConfigError(f"`lists` must be in [2, {max_lists}], was: {self.lists}")
        if not 1 <= self.shifts <= MAX_WORDS:
            raise ConfigError(f"`shifts` must be in [1, {MAX_WORDS}], was: {self.shifts}")
        for length in self.lengths:
            if not 2 <= length <= MAX_WORDS:
                raise ConfigError(f"`lengths` must be in [2, {MAX_WORDS}], was: {length}")
        for tokens in self.between:
            if tokens < 1:
                raise ConfigError(f"`between` must be at least 1, was: {tokens}")

    def bases(self) -> list[tuple[str, ...]]:
        """The base lists. No word occurs in two of them."""
        words = Draws(self.seed, "verbatim lists").sample(self.nouns, self.lists * MAX_WORDS)
        return [tuple(words[start : start + MAX_WORDS]) for start in range(0, len(words), MAX_WORDS)]


def stimuli(protocol: Protocol, length: int, between: str, condition: Condition) -> list[Stimulus]:
    """All stimuli of one length, text and condition."""
    bases = protocol.bases()
    draws = Draws(protocol.seed, f"verbatim {length}")
    result = []
    for number, base in enumerate(bases):
        for shift in range(protocol.shifts):
            words = (base[shift:] + base[:shift])[:length]
            other = bases[(number + 1) % len(bases)]
            deranged = derangement(words, draws)
            novel = (other[shift:] + other[:shift])[:length]
            second = {"repeated": words, "removed": words, "permuted": deranged, "novel": novel}[condition]
            result.append(Stimulus(number, words, second, between))
    return result


def derangement(words: Sequence[str], draws: Draws) -> tuple[str, ...]:
    """The words in a random order in which none keeps its place."""
    while True:
        order = draws.shuffled(range(len(words)))
        if all(place != position for position, place in enumerate(order)):
            return tuple(words[place] for place in order)


def text_between(engine: Engine, tokens: int) -> tuple[str, int]:
    """Whole sentences whose tokens, with `AGAIN`, come nearest to `tokens`; and their number of tokens."""
    texts = [" ".join([BREAK, *BETWEEN[:n]]) for n in range(len(BETWEEN) + 1)]
    counts = [engine.count_text(f" {text} {AGAIN}") for text in texts]
    best = min(range(len(texts)), key=lambda n: abs(counts[n] - tokens))
    return texts[best], counts[best]


def measure(protocol: Protocol, engine: Engine, progress: Progress) -> tuple[list[RepeatSurprisal], list[str]]:
    """Measures the repeat surprisal of every condition, length and distance. Also gives notes on failures."""
    results: list[RepeatSurprisal] = []
    notes: list[str] = []
    cells = [(length, tokens) for length in protocol.lengths for tokens in protocol.between]
    total, done = len(cells) * len(CONDITIONS) * protocol.lists * protocol.shifts, 0
    for length, tokens in cells:
        between, n_tokens = text_between(engine, tokens)
        values: dict[Condition, list[tuple[int, float]]] = {condition: [] for condition in CONDITIONS}
        each = [stimuli(protocol, length, between, condition) for condition in CONDITIONS]
        for row in zip(*each, strict=True):  # the conditions of one list together: the cache keeps their shared prefix
            for condition, stimulus in zip(CONDITIONS, row, strict=True):
                done += 1
                progress(f"{length} words, {n_tokens} tokens between", done, total)
                try:
                    percent = repeat_surprisal(stimulus, engine, condition == "removed")
                except ModelError as error:
                    if condition != "removed":
                        raise
                    notes.append(f"removed: {error}")
                    continue
                values[condition].append((stimulus.base, percent))
        results += [
            RepeatSurprisal(condition, length, n_tokens, *median_interval(pairs, protocol.seed), len(pairs))
            for condition, pairs in values.items()
            if pairs
        ]
    return results, list(dict.fromkeys(notes))


def repeat_surprisal(stimulus: Stimulus, engine: Engine, is_removed: bool = False) -> float:
    """Mean surprisal of the second list, in percent of the first's. Leaves out the first word of each list."""
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
    """The median of (base, value) pairs with its 95 % percentile interval, from a bootstrap over whole bases."""
    groups: dict[int, list[float]] = {}
    for base, value in values:
        groups.setdefault(base, []).append(value)
    by_base = [np.array(group) for group in groups.values()]
    rng = np.random.default_rng(seed)
    medians = [
        float(np.median(np.concatenate([by_base[n] for n in rng.integers(0, len(by_base), len(by_base))])))
        for _ in range(draws)
    ]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(np.median([value for _, value in values])), float(low), float(high)


def _spans(words: Sequence[str], start: int) -> list[tuple[int, int]]:
    spans = []
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + len(", ")
    return spans


def _token_spans(engine: Engine, keys: Sequence[int], n_before: int) -> Iterator[tuple[int, int]]:
    """The character span of each token in the (ASCII) text. The first `n_before` tokens have empty spans."""
    start = 0
    for n, key in enumerate(keys):
        size = len(engine.weights.piece(key)) if n >= n_before else 0
        yield start, start + size
        start += size


def _meets(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span[0] < other[1] and other[0] < span[1]
