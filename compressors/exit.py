"""compress.exit: keep the sentences that a classifier calls useful for the question.

EXIT: Context-Aware Extractive Compression for Enhancing Retrieval-Augmented Generation (Hwang et al., Findings of ACL
2025, arXiv 2412.12559). The prompt is the paper's, in its order: query, context, sentence. P(Yes) of the next token is
taken against P(No) only. Sentences at or above a threshold are kept, in the order of the source.

Ours differs: the prompt uses the model's own chat template. The context of a sentence is its passage with the title (as
in the paper's training data; their script gave all passages), or a window of sentences if the passage is too long. Our
splitter cuts sentences, and a title is not a sentence. All sentences of a passage share one forked prefix. The paper's
threshold of 0.5 is for its own classifier, Gemma-2B with a LoRA adapter; `model` and `lora` accept both as GGUF files.
P(Yes) of a stock model means little (Gemma-2B keeps 99 %), so `longthread calibrate` fits its threshold. Fidelity:
faithful.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from compressors.alone import WorksAlone
from compressors.calibration.store import ExitCalibration, stored
from compressors.selection import Limits, Units, halves
from pipeline.checks import at_least
from pipeline.contracts import Model, Progress, Runtime
from pipeline.errors import ModelError, SettingError
from pipeline.models.capabilities import Scorer
from pipeline.models.settings import EngineSettings, Lora
from pipeline.registry import check_types
from pipeline.types import Message, Passage, Prompt, Question, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAPER_THRESHOLD = 0.5
ASK = '\nIs this sentence useful in answering the query? Answer only "Yes" or "No".'


@dataclass(frozen=True)
class Exit(WorksAlone):
    """Keeps the sentences that a classifier calls useful, in the order of their source (EXIT, arXiv 2412.12559).

    Example: `compress.exit: {threshold: 0.5, model: smollm2-135m}`

    :param threshold: lowest P(Yes) of a kept sentence, in [0, 1]. auto: as calibrated for the model's file. Without a
        calibration auto is 0.5, the paper's threshold, and a note says so.
    :param model: the classifier, a GGUF file or a name; null: the reader.
    :param lora: a LoRA adapter for `model`, as a GGUF file; null: no adapter.
    :param window: tokens per prompt of the classifier, at least 128. Longer passages are read in windows.
    :param top_k: largest number of sentences to keep, those with the highest P(Yes), at least 1; null: no limit.
    :param budget: largest number of the reader's tokens to keep, at least 1; null: no limit.
    :param keep_ratio: largest share of the tokens to keep, in (0, 1]; null: no limit.
    """

    threshold: float | Literal["auto"] = "auto"
    model: str | None = None
    lora: str | None = None
    window: int = 1024
    top_k: int | None = None
    budget: int | None = None
    keep_ratio: float | None = None

    def __post_init__(self) -> None:
        check_types(self, Exit)
        if self.threshold != "auto" and not 0 <= self.threshold <= 1:
            raise SettingError("threshold", f"must be in [0, 1] or auto, was: {self.threshold}")
        if self.lora is not None and self.model is None:
            raise SettingError("lora", "needs 'model', the GGUF file that the adapter was made for")
        at_least("window", self.window, 128)
        self._limits(0.0)

    @property
    def why_dropped(self) -> str:
        return "P(Yes) is below the threshold" + (f", or beyond {self._limits(None)}" if self._has_limits else "")

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        units = Units.of(passages, runtime)
        if not units:
            return []
        model = self.classifier(runtime)
        scores = self.p_of(question.query, units, model, runtime.listener.progress).tolist()
        limits = self._limits(self.least(model, runtime))
        return units.merged(limits.choose(scores, lambda: units.tokens(runtime.reader)), scores)

    def least(self, model: Model, runtime: Runtime) -> float:
        """The threshold. Adds a note unless the user set it."""
        if self.threshold != "auto":
            return self.threshold
        calibration = stored(ExitCalibration, model)
        if calibration is not None:
            evidence = calibration.evidence
            runtime.note(
                f"P(Yes) >= {calibration.threshold:.4g}, fitted on {evidence.n_questions} questions: "
                f"recall {evidence.recall:.2f} at {evidence.kept_ratio:.2f} of the tokens",
                once=True,
            )
            return calibration.threshold
        runtime.note(
            f"P(Yes) >= {PAPER_THRESHOLD}, the paper's threshold for its own classifier: {model.name} is not "
            "calibrated, and may keep everything or nothing; 'longthread calibrate' fits the threshold",
            once=True,
        )
        return PAPER_THRESHOLD

    def classifier(self, runtime: Runtime) -> Model:
        return runtime.reader if self.model is None else runtime.model(self._settings)

    def p_of(self, question: str, units: Units, model: Model, progress: Progress | None = None) -> NDArray[np.float64]:
        """P(Yes) of each unit, float64 (n_units,), in [0, 1]. Raises ModelError for a model that cannot score."""
        import numpy as np

        if not isinstance(model, Scorer):
            raise ModelError(f"compress.exit: {model.name} cannot score; set 'model' to a GGUF file")
        best = np.zeros(len(units))
        for owners, context, sentences in self.windows(question, units, model):
            scores = self.p_yes(question, context, sentences, model)
            np.maximum.at(best, owners if len(owners) == len(scores) else owners * len(scores), scores)
            if progress is not None:
                progress("score sentences", owners[-1] + 1, len(units))
        return best

    def p_yes(self, question: str, context: str, sentences: Sequence[str], model: Model) -> NDArray[np.float64]:
        """P(Yes) / (P(Yes) + P(No)) of each sentence, float64 (n_sentences,)."""
        import numpy as np

        assert isinstance(model, Scorer)  # noqa: S101 - checked by the caller
        prefix, after = prompt(question, context, model)
        suffixes = [(Text(sentence + ASK, "passages"), *after) for sentence in sentences]
        logprobs = model.score(prefix, suffixes, ["Yes", "No"])
        margin = logprobs[:, 0].astype(np.float64) - logprobs[:, 1]
        return np.asarray(1 / (1 + np.exp(-margin)))

    def windows(self, question: str, units: Units, model: Model) -> Iterator[tuple[list[int], str, list[str]]]:
        """Yields the windows: positions of units, their context, and the sentences to ask about.

        A window is a stretch of one passage's units. A unit longer than its share of the window is split into pieces,
        and its best piece counts.
        """
        window = min(self.window, model.window)
        begin, end = prompt(question, "", model)
        room = window - model.count(begin) - model.count((Text(ASK), *end)) - 8
        if room < 32:
            raise ModelError(
                f"compress.exit: the question takes {window - room} of {window} tokens, which leaves no room for a "
                "context: raise 'window', or ask shorter"
            )
        for owner, positions in _by_owner(units):
            passage = units.passages[owner]
            title = f"{passage.title}\n" if passage.title else ""
            # Half of the room for the context: the prompt repeats the sentence, which may be the whole context.
            for low, high in _stretches([model.count_text(units.with_gap(n)) for n in positions], room // 2):
                stretch = positions[low:high]
                text = "".join(units.with_gap(n) for n in stretch).strip()
                if len(stretch) == 1 and model.count_text(text) > room // 2:
                    for piece in halves(text, room // 2, model):
                        yield stretch, piece, [piece]
                else:
                    head = title if model.count_text(title) <= room // 4 else ""
                    yield stretch, head + text, [units.parts[n].text for n in stretch]

    def _limits(self, threshold: float | None) -> Limits:
        return Limits(self.top_k, threshold, self.budget, self.keep_ratio)

    @property
    def _has_limits(self) -> bool:
        return bool(str(self._limits(None)))

    @cached_property
    def _settings(self) -> EngineSettings:
        lora = (Lora(self.lora),) if self.lora is not None else ()
        return EngineSettings(model=self.model or "", n_ctx=self.window, n_cells=2 * self.window, lora=lora)


def prompt(question: str, context: str, model: Model) -> tuple[Prompt, Prompt]:
    """The paper's prompt in the model's chat template: the part before the sentence, and the part after `ASK`."""
    tail = Text(ASK, "passages")
    content = (
        Text(f"Query:\n{question}\nFull context:\n", "question"),
        Text(f"{context}\nSentence:\n", "passages"),
        tail,
    )
    spans = model.render([Message("user", content)])
    index = next(n for n, span in enumerate(spans) if span is tail)
    return spans[:index], spans[index + 1 :]


def _by_owner(units: Units) -> Iterator[tuple[int, list[int]]]:
    positions: dict[int, list[int]] = {}
    for n, owner in enumerate(units.owners):
        positions.setdefault(owner, []).append(n)
    yield from positions.items()


def _stretches(costs: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Yields stretches [low, high) of consecutive costs with a sum of at most `room`, or of a single larger cost."""
    low, used = 0, 0
    for n, cost in enumerate(costs):
        if n > low and used + cost > room:
            yield low, n
            low, used = n, 0
        used += cost
    if low < len(costs):
        yield low, len(costs)
