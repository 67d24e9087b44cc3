"""rerank.yes_no: passages ranked by how much rather a model says Yes than No, asked whether the passage helps.

Relevance generation, as in Holistic Evaluation of Language Models (Liang et al. 2022, arXiv 2211.09110, appendix B) and
in monoT5 (Nogueira et al. 2020, arXiv 2003.06713), which fine-tunes for it. Ours takes any instruct model as it is, and
the log-odds in place of P(Yes), so that sure answers stay apart. The question comes first: it is read once, and all
passages fork from it. Fidelity: inspired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.checks import at_least
from pipeline.contracts import Model, Runtime
from pipeline.errors import ModelError, SettingError
from pipeline.models.capabilities import Scorer
from pipeline.models.settings import EngineSettings
from pipeline.registry import check_types
from pipeline.retrieval.reranking import check_k, ranked, titled, why_dropped
from pipeline.types import Message, Passage, Prompt, Question, Text

ASK = '\n\nDoes this passage help to answer the question? Answer only "Yes" or "No".'
LEAST_ROOM = 32
_AT_ONCE = 64
"""Passages between two reports of progress."""


@dataclass(frozen=True)
class YesNo:
    """Ranks passages by the log-odds that a model answers Yes to whether the passage helps.

    Example: `rerank.yes_no: {k: 6}`

    :param model: the model that is asked, a GGUF file or a name; null: the reader.
    :param k: number of passages to keep, at least 1; null: all of them.
    :param window: tokens of the prompt for one passage, at least 128. A longer passage is read in pieces, and the best
        piece counts.
    """

    model: str | None = None
    k: int | None = None
    window: int = 1024

    def __post_init__(self) -> None:
        check_types(self, YesNo)
        if self.model == "":
            raise SettingError("model", "must be a path or a name, was: ''")
        check_k(self.k)
        at_least("window", self.window, 128)

    @property
    def why_dropped(self) -> str:
        return why_dropped(self.k)

    def check(self) -> None:
        """Raises ModelError for a file that is missing or damaged."""
        if self.model is not None:
            from pipeline.gguf.catalogue import resolve

            resolve(self.model)

    def load(self, runtime: Runtime) -> None:
        self._judge(runtime)

    def rerank(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if not passages:
            return []
        model = self._judge(runtime)
        if not isinstance(model, Scorer):
            raise ModelError(f"rerank.yes_no: {model.name} cannot score; set 'model' to a GGUF file")
        prefix, after = prompt(question.query, model)
        room = min(self.window, model.window) - model.count((*prefix, Text(ASK), *after)) - 8
        if room < LEAST_ROOM:
            raise ModelError(
                f"rerank.yes_no: the question leaves {max(0, room)} of {min(self.window, model.window)} tokens for a "
                "passage: raise 'window', or ask shorter"
            )
        pieces = [(n, piece) for n, passage in enumerate(passages) for piece in cut(titled(passage), room, model)]
        best = [float("-inf")] * len(passages)
        for start in range(0, len(pieces), _AT_ONCE):
            part = pieces[start : start + _AT_ONCE]
            suffixes = [(Text(piece + ASK, "passages"), *after) for _, piece in part]
            for (n, _), (yes, no) in zip(part, model.score(prefix, suffixes, ["Yes", "No"]).tolist(), strict=True):
                best[n] = max(best[n], yes - no)
            runtime.listener.progress("rank passages", part[-1][0] + 1, len(passages))
        return ranked(passages, best, self.k)

    def _judge(self, runtime: Runtime) -> Model:
        if self.model is None:
            return runtime.reader
        return runtime.model(EngineSettings(model=self.model, n_ctx=self.window, n_cells=2 * self.window))


def prompt(question: str, model: Model) -> tuple[Prompt, Prompt]:
    """The prompt in the model's chat template: what stands before a passage, and what after `ASK`."""
    tail = Text(ASK, "passages")
    content = (Text(f"Question: {question}\n\nPassage:\n", "question"), tail)
    spans = model.render([Message("user", content)])
    place = next(n for n, span in enumerate(spans) if span is tail)
    return spans[:place], spans[place + 1 :]


def cut(text: str, room: int, model: Model) -> Iterator[str]:
    """The text, in halves of halves until each has at most `room` tokens."""
    if model.count_text(text) <= room or len(text) < 2:
        yield text
        return
    half = len(text) // 2
    yield from cut(text[:half], room, model)
    yield from cut(text[half:], room, model)
