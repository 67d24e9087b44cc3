"""compress.extensible: passages as soft vectors, one for every k tokens, which the frozen reader takes as text.

Flexibly Scaling Large Language Models' Contexts Through Extensible Tokenization (Shao et al. 2024, arXiv 2401.07793):
the first layers of the reader, with a trained LoRA, read the passages. Of every k tokens the last state is kept and
projected into the reader's input embeddings. k is chosen at question time, and states are cached on disk.

Ours differs: instead of every k-th token, the sentences with the rarest words of each 256 tokens become vectors, as
many tokens in all. A vector is the input embedding of such a token plus the projection of its state, and a few learned
vectors end each passage. The model is small: it was trained for 45 minutes on two cores (docs/training.md). The weights
work only with the reader's file that they were trained for. Fidelity: approximate, needs training.

The chosen sentences do not depend on the question, and almost nothing of the others comes through. A number or a name
may be lost without a sign. Use compress.sentences or compress.probe if the answer is a detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compressors.alone import WorksAlone
from compressors.soft.encoder import SoftEncoder
from compressors.soft.weights import weights_for
from pipeline.answers.prompt_parts import unwrapped
from pipeline.contracts import Runtime
from pipeline.errors import ModelError, SettingError
from pipeline.models.capabilities import Tokenizing
from pipeline.registry import check_types
from pipeline.types import Passage, Question, Soft

KS = (2, 4, 8, 16)


@dataclass(frozen=True)
class Extensible(WorksAlone):
    """Turns every passage into soft vectors, one per k tokens. Its text stays for citations and for the ledger.

    Passages are neither dropped nor cut. n tokens become ceil(n / k) vectors plus the closing ones. Put compressors
    that cut passages before this one: a passage that is cut later becomes text again.

    Example: `compress.extensible: {k: 4}`

    :param k: tokens per vector, one of 2, 4, 8, 16.
    :param weights: path of the card of trained weights; null: the known weights of the reader's file.
    :param keep: whether to cache the states of passages on disk, so that each passage is read once for all k.
    """

    k: int = 4
    weights: str | None = None
    keep: bool = True

    why_dropped = "soft vectors drop no passage"

    def __post_init__(self) -> None:
        check_types(self, Extensible)
        if self.k not in KS:
            raise SettingError("k", f"must be one of {', '.join(map(str, KS))}, was: {self.k}")

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if not passages:
            return []
        encoder = self.encoder(runtime)
        softened = []
        for n, passage in enumerate(passages):
            runtime.listener.progress("read passages for vectors", n, len(passages))
            softened.append(self.softened(passage, encoder))
        runtime.listener.progress("read passages for vectors", len(passages), len(passages))
        soft = [passage.soft for passage in softened if passage.soft is not None]
        n_cells, n_tokens = sum(len(part.vectors) for part in soft), sum(part.stands_for for part in soft)
        runtime.note(
            f"{n_cells} soft vectors stand for {n_tokens} tokens of {len(soft)} passages (k = {self.k}): the "
            "sentences of the rarest words have vectors of their own, the others at best a share in these"
        )
        return softened

    def encoder(self, runtime: Runtime) -> SoftEncoder:
        """The encoder of the reader. Raises ModelError without weights for the reader or for this k."""
        weights = weights_for(runtime.reader, self.weights)
        if self.k not in weights.card.ks:
            trained = ", ".join(map(str, weights.card.ks))
            raise ModelError(f"compress.extensible: the weights are for k of {trained}, was: {self.k}")
        return SoftEncoder(runtime.reader, weights, runtime, self.keep)

    def softened(self, passage: Passage, encoder: SoftEncoder) -> Passage:
        """The passage with its vectors. A passage without tokens stays unchanged."""
        if not isinstance(encoder.reader, Tokenizing):
            raise ModelError(f"compress.extensible: {encoder.reader.name} does not tell its tokens")
        tokens = encoder.reader.tokenize(unwrapped(passage.text.strip()))
        if not len(tokens):
            return passage
        return replace(passage, soft=Soft(encoder.vectors(tokens, self.k), "passages", len(tokens)))
