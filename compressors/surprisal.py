"""compress.surprisal: drop sentences that a model can predict. A baseline in the family of LLMLingua.

Compressing Context to Enhance Inference Efficiency of Large Language Models (Selective Context: Li et al. 2023, arXiv
2310.06201) and LLMLingua (Jiang et al. 2023, arXiv 2310.05736): the information of a token is -log P given the tokens
before it, from a small model. Ours drops whole sentences instead of tokens, so that the rest can be read and cited. It
has no budgets by part and no iteration, and ignores the question. Fidelity: inspired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from compressors.alone import WorksAlone
from compressors.selection import Limits, Units, extract, windows
from pipeline.checks import at_least
from pipeline.contracts import Model, Progress, Runtime
from pipeline.errors import ModelError
from pipeline.models.capabilities import Surprised
from pipeline.models.settings import EngineSettings
from pipeline.registry import check_types
from pipeline.types import Message, Passage, Prompt, Question, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Surprisal(WorksAlone):
    """Keeps the sentences that a model finds most surprising, for any question, in the order of their source.

    Example: `compress.surprisal: {keep_ratio: 0.5}`

    :param model: the model that measures surprisal, a GGUF file or a name; null: the reader.
    :param keep_ratio: largest share of the tokens to keep, in (0, 1]; null: no limit.
    :param budget: largest number of the reader's tokens to keep, at least 1; null: no limit.
    :param top_k: largest number of sentences to keep, at least 1; null: no limit.
    :param window: tokens per window, at least 128. A window does not see the one before.
    """

    model: str | None = "smollm2-135m"
    keep_ratio: float | None = 0.5
    budget: int | None = None
    top_k: int | None = None
    window: int = 1024

    def __post_init__(self) -> None:
        check_types(self, Surprisal)
        self.limits  # noqa: B018 - its own checks
        at_least("window", self.window, 128)

    @property
    def limits(self) -> Limits:
        return Limits(self.top_k, None, self.budget, self.keep_ratio)

    @property
    def why_dropped(self) -> str:
        return f"less surprising than what was kept ({self.limits})"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        def scores(units: Units) -> NDArray[np.float64]:
            model = runtime.reader if self.model is None else runtime.model(self._settings)
            return self.scores(units, model, runtime.listener.progress)

        return extract(passages, runtime, scores, self.limits)

    def scores(self, units: Units, model: Model, progress: Progress) -> NDArray[np.float64]:
        """The mean surprisal of each unit's tokens, in nats, float64 (n_units,)."""
        import numpy as np

        if not isinstance(model, Surprised):
            raise ModelError(f"compress.surprisal: {model.name} gives no probabilities; set 'model' to a GGUF file")
        total, count = np.zeros(len(units)), np.zeros(len(units))
        start = opening(model)
        n_start = model.count(start)
        for piece in windows(units, model, min(self.window, model.window) - n_start - 8):
            spans = [Text(text, "passages") for _, text in piece]
            surprise = -model.logprobs((*start, *spans), n_start)
            low = 0
            for (unit, _), span in zip(piece, spans, strict=True):
                high = low + model.count((span,))
                total[unit] += surprise[low:high].sum()
                count[unit] += high - low
                low = high
            progress("read sentences", piece[-1][0] + 1, len(units))
        return np.asarray(total / count.clip(min=1))

    @cached_property
    def _settings(self) -> EngineSettings:
        return EngineSettings(model=self.model or "", n_ctx=self.window, n_seq_max=1, n_cached=0)


def opening(model: Model) -> Prompt:
    """The part of the model's chat template before the user's text."""
    text = Text(".", "passages")
    spans = model.render([Message("user", (text,))])
    return spans[: next(n for n, span in enumerate(spans) if span is text)]
