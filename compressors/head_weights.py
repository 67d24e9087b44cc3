"""Weighs the attention of calibrated heads: the step that compress.probe and compress.attention share.

The two differ in what the model reads before the question. The features, the weights and the order in which they apply
are the same, so a fit for one is a fair guess for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compressors.calibration.store import ProbeCalibration
from compressors.classifier import shipped
from compressors.features import features, standardised
from compressors.links import Links
from compressors.selection import Units
from compressors.votes import nearest_tokens
from pipeline.contracts import Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class HeadWeights:
    """Turns the attention to units into the probability that each of them supports the answer.

    :param stage: the compressor's name, for notes.
    :param calibration: the heads' weights. Columns of attention are in the order of its heads.
    :param similarity: whether to add the features of the embedder and the words.
    :param links: whether to raise units of passages that good units name, and units that name those.
    """

    stage: str
    calibration: ProbeCalibration
    similarity: bool
    links: bool

    def probabilities(
        self, question: str, units: Units, log_mass: NDArray[np.float64], runtime: Runtime
    ) -> NDArray[np.float64]:
        """The probabilities, float64 (n_units,), in [0, 1]. `log_mass` is the log of the attention, (n_units, n_heads).

        Features are standardised over all units of the question.
        """
        import numpy as np

        columns = standardised(log_mass)
        weighing = self.calibration.alone
        if self.similarity:
            weighing = self.calibration.with_similarity
            columns = np.hstack([columns, self._similarity(question, units, runtime)])
        logits = weighing.logits(columns)
        if self.links:
            strengths = standardised(Links.of(units).strengths(logits))
            logits = self.calibration.links.logits(np.hstack([logits[:, None], strengths]))
        return np.asarray(1 / (1 + np.exp(-logits)))

    def _similarity(self, question: str, units: Units, runtime: Runtime) -> NDArray[np.float64]:
        embedder = runtime.embedder
        if embedder.fingerprint != shipped().embedder:
            runtime.note(
                f"{self.stage} was calibrated with another embedder than {embedder.name}: its probabilities are a "
                "guess here; 'similarity: false' goes by attention alone"
            )
        nearest = nearest_tokens(question, units, embedder)
        return standardised(features(question, units, nearest, self.calibration.temperature))
