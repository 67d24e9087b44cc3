"""compress.extensible: passages as soft vectors, one for every k tokens, which the frozen reader takes as text.

Flexibly Scaling Large Language Models' Contexts Through Extensible Tokenization (Shao et al. 2024, arXiv 2401.07793):
the first layers of the reader with a trained LoRA read the passages, and of every k tokens the last state is kept and
projected into the reader's input embeddings. k is chosen when the question comes; states are kept on the disk.

Ours differs: it is not every k-th token that becomes a vector but the sentences of the rarest words of each 256, as
many tokens; a vector is the input embedding of such a token plus that projection of its state, and a few learned ones
stand at each passage's end. The model is small, and trained for 45 minutes on two cores (docs/training.md). The reader
must be the very file that was trained for. Fidelity: approximate, needs training.

Which sentences these are does not depend on the question, and of the others next to nothing comes through: a number or
a name may be lost, and nothing says which. Take compress.sentences or compress.probe where the answer is a detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compressors.soft.encoder import Encoder
from compressors.soft.weights import weights_for
from pipeline.answers.cited import unwrapped
from pipeline.contracts import Tools
from pipeline.errors import ModelError
from pipeline.models.capabilities import Tokenizing
from pipeline.types import Passage, Question, Soft

KS = (2, 4, 8, 16)


@dataclass(frozen=True)
class Extensible:
    """Gives every passage as soft vectors, each for k tokens; its text stays, for citations and for the ledger.

    Passages are neither dropped nor cut; of n tokens there are ceil(n / k) vectors and those at the end. A compressor
    that cuts passages has to come before this one: after it, a part that it cuts is text again.

    :param k: how many tokens one vector stands for: 2, 4, 8 or 16.
    :param weights: path of the card of trained weights; None: those that there are for the reader's file.
    :param keep: whether the states of passages are kept in the cache folder, so that each is read once for every k.
    """

    k: int = 4
    weights: str | None = None
    keep: bool = True

    why_dropped = "soft vectors drop no passage"

    def __post_init__(self) -> None:
        if self.k not in KS:
            raise ValueError(f"k must be one of {', '.join(map(str, KS))}, was: {self.k}")

    def compress(self, question: Question, passages: Sequence[Passage], tools: Tools) -> list[Passage]:
        if not passages:
            return []
        encoder = self.encoder(tools)
        found = []
        for n, passage in enumerate(passages):
            tools.progress("read passages for vectors", n, len(passages))
            found.append(self.softened(passage, encoder))
        tools.progress("read passages for vectors", len(passages), len(passages))
        soft = [passage.soft for passage in found if passage.soft is not None]
        n_cells, n_tokens = sum(len(one.vectors) for one in soft), sum(one.stands_for for one in soft)
        tools.note(
            f"{n_cells} soft vectors stand for {n_tokens} tokens of {len(soft)} passages (k = {self.k}): the "
            "sentences of the rarest words have vectors of their own, the others at best a share in these"
        )
        return found

    def encoder(self, tools: Tools) -> Encoder:
        """Raises ModelError where there are no weights for the reader, or none for this k."""
        weights = weights_for(tools.reader, self.weights)
        if self.k not in weights.card.ks:
            trained = ", ".join(map(str, weights.card.ks))
            raise ModelError(f"compress.extensible: the weights are for k of {trained}, was: {self.k}")
        return Encoder(tools.reader, weights, tools, self.keep)

    def softened(self, passage: Passage, encoder: Encoder) -> Passage:
        """The passage with its vectors; one without a token as it is."""
        if not isinstance(encoder.reader, Tokenizing):
            raise ModelError(f"compress.extensible: {encoder.reader.name} does not tell its tokens")
        tokens = encoder.reader.tokenize(unwrapped(passage.text.strip()))
        if not len(tokens):
            return passage
        return replace(passage, soft=Soft(encoder.vectors(tokens, self.k), "passages", len(tokens)))
