"""Measures how fast a model file reads and writes here, and how much another file of the same model differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import psutil

from pipeline.models.context import Context, Rows
from pipeline.models.llama import library
from pipeline.models.resolving import resolve
from pipeline.models.settings import EngineSettings
from pipeline.models.weights import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.contracts import Progress

TEXT = """\
The ferry to Lunna leaves the north pier at a quarter past six and again at noon; in winter, when the ice is
in, it leaves at noon alone. Captain Ester Holm, who has run it since 1987, keeps a book in which she enters
every crossing: the wind, the number of passengers, and what they carried. On 4 March 1991 she wrote: "Nine
people, two dogs, one piano. Wind from the west, 14 knots. The piano did not get wet." The book is now in
the museum, in the room above the stairs.

How does a lock work? A boat that goes upstream enters a chamber whose lower gates are open. The gates close
behind it, and water is let in from above until the level in the chamber is that of the upper river; then
the upper gates open, and the boat goes on. Nothing is pumped: the water runs downhill, as it would have
done in any case. A chamber 40 metres long and 5 metres wide that rises by 3 metres takes 600 cubic metres
of water each time, which is why, in a dry summer, the keeper waits until there are two boats.

def mean(values):
    total = 0
    for value in values:
        total += value
    return total / len(values)

Ask the committee for (a) the minutes of the last meeting, (b) the budget for the coming year, and (c) the
names of all members who voted against the bridge. If they refuse, write to the town clerk, who must answer
within thirty days.
"""
"""Our own text for comparing and timing: prose with names and numbers, an explanation, code, a list."""
_SECONDS = 1.0
"""Target duration of one measurement of reading."""
_MOST_SECONDS = 60.0
"""Time after which no further round begins."""


@dataclass(frozen=True, slots=True)
class FileSpeed:
    """Tokens per second: `prefill` of a prompt in one call, `decode` of one answer, token by token."""

    prefill: float
    decode: float


class OtherPrograms:
    """Measures the processor time of other programs from its creation on."""

    def __init__(self) -> None:
        self._start = self._now()

    def share(self) -> float:
        """Returns their share of all cores, in [0, 1], including time that a hypervisor gave to other machines."""
        wall, busy, own_seconds = (now - then for now, then in zip(self._now(), self._start, strict=True))
        cores = psutil.cpu_count() or 1
        return float(np.clip((busy - own_seconds) / max(1e-9, wall * cores), 0.0, 1.0))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Returns the seconds of the clock, of all busy cores, and of this process."""
        all_cores = psutil.cpu_times()._asdict()
        idle = ("idle", "iowait", "guest", "guest_nice")  # user time includes guests' time
        process_times = psutil.Process().cpu_times()
        return (
            perf_counter(),
            sum(v for name, v in all_cores.items() if name not in idle),
            process_times.user + process_times.system,
        )


class FileTrial:
    """Measures every file of one model with the same tokens, as many as take about a second to read."""

    def __init__(self, path: Path) -> None:
        with _opened(path) as context:
            tokens = context.weights.tokenize(TEXT)
            self.n_parameters = int(library().llama_model_n_params(context.weights.pointer))
            room = min(context.n_cells, context.n_batch)
            rate = _rate(context, tokens[:32])
            self.n_prefill = int(np.clip(rate * _SECONDS, 64, min(room, 512) - 64))
            self.n_decode = int(np.clip(rate * _SECONDS / 8, 8, 24))
            self.n_compared = min(256, len(tokens), room, (1 << 26) // context.weights.n_vocab)
        self.n_rounds = 0
        self.others = 0.0
        self.tokens: NDArray[np.int32] = np.resize(tokens, 1024)

    def measure(self, files: Sequence[Path], rounds: int, progress: Progress) -> dict[Path, FileSpeed]:
        """Measures the median speeds of each file over rounds that alternate between all files.

        No round begins after the first minute. `n_rounds` is the number of rounds, and `others` the share of the
        processor that other programs took.
        """
        speeds: dict[Path, list[FileSpeed]] = {file: [] for file in files}
        others = OtherPrograms()
        start = perf_counter()
        for n in range(rounds):
            if n > 0 and perf_counter() - start > _MOST_SECONDS:
                break
            self.n_rounds = n + 1
            for i, file in enumerate(files):
                progress("measure", n * len(files) + i, rounds * len(files))
                speeds[file].append(self._speed(file))
        self.others = others.share()
        return {
            file: FileSpeed(
                median(speed.prefill for speed in rounds_of_file), median(speed.decode for speed in rounds_of_file)
            )
            for file, rounds_of_file in speeds.items()
        }

    def _speed(self, file: Path) -> FileSpeed:
        with _opened(file) as context:
            context.decode([Rows(0, 0, self.tokens[:16])])  # warm-up: reads the weights from disk if needed
            context.cut(0, 0)
            n, start = self.n_prefill, perf_counter()
            context.logits(context.decode([Rows(0, 0, self.tokens[:n], outputs=(n - 1,))])[0])
            read = perf_counter()
            for i in range(n, n + self.n_decode):
                context.logits(context.decode([Rows(0, i, self.tokens[i : i + 1], outputs=(0,))])[0])
            return FileSpeed(n / (read - start), self.n_decode / (perf_counter() - read))

    def compare(self, given: Path, others: Sequence[Path], progress: Progress) -> dict[Path, tuple[float, float]]:
        """Computes for each other file the mean KL(given || other), in nats a token, and the top-token agreement."""
        agreements: dict[Path, tuple[float, float]] = {}
        if not others:
            return agreements
        progress("compare", 0, len(others) + 1)
        expected = self._logprobs(given)
        for n, other in enumerate(others, 1):
            progress("compare", n, len(others) + 1)
            agreements[other] = _divergence(expected, self._logprobs(other))
        return agreements

    def _logprobs(self, file: Path) -> NDArray[np.float32]:
        """Computes the next-token log-probabilities after each token of the text, (n_compared, n_vocab)."""
        with _opened(file) as context:
            result = np.empty((self.n_compared, context.weights.n_vocab), np.float32)
            for start in range(0, self.n_compared, 64):
                tokens = self.tokens[start : min(start + 64, self.n_compared)]
                outputs = context.decode([Rows(0, start, tokens, outputs=range(len(tokens)))])
                for i, output in enumerate(outputs, start):
                    logits = context.logits(output)
                    result[i] = logits - logits.max()
                    result[i] -= np.log(np.exp(result[i]).sum())
            return result


def _rate(context: Context, tokens: NDArray[np.int32]) -> float:
    """Estimates tokens per second. It reads twice, because the first run may load the weights from the disk."""
    for _ in range(2):
        context.cut(0, 0)
        start = perf_counter()
        context.logits(context.decode([Rows(0, 0, tokens, outputs=(len(tokens) - 1,))])[0])
    return len(tokens) / (perf_counter() - start)


def _divergence(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> tuple[float, float]:
    divergences = [float((np.exp(p) * (p - q)).sum(dtype=np.float64)) for p, q in zip(expected, actual, strict=True)]
    is_same = expected.argmax(axis=1) == actual.argmax(axis=1)
    return float(np.mean(divergences)), float(is_same.mean())


@contextmanager
def _opened(path: Path) -> Iterator[Context]:
    """Opens the file as the engine would, with a small context."""
    weights = Weights(path, EngineSettings(str(path)))
    settings = EngineSettings(str(path), n_ctx=min(1024, weights.n_ctx_trained))
    context = Context(weights, resolve(settings, weights), 1, settings.flash_attention)
    try:
        yield context
    finally:
        context.close()
        weights.close()
