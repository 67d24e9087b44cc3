"""The teacher's predictions after the raw context. Cached on disk, so a second run with the same draws is cheaper."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.storage.whole import new_file
from training.extensible.instances import Instance, Tokens
from training.extensible.llama import Llama


@dataclass(frozen=True, eq=False)
class TeacherLogs:
    """The most likely tokens at n places, (n, top), and their log-probabilities, best first."""

    tokens: Tensor
    logs: Tensor


class Teacher:
    """The reader after raw text. One pass gives the predictions after every chunk, because the chunks are consecutive.

    `folder` caches the predictions, 6 bytes per token of the top; None: no cache. A damaged file is made again.
    """

    def __init__(self, reader: Llama, top: int, folder: Path | None = None) -> None:
        self.reader, self.top, self.folder = reader, top, folder

    def predict(self, instance: Instance) -> list[TeacherLogs | None]:
        """The reader's predictions of tokens[first:] for each branch of kind `next`; None for other branches."""
        after = {branch.after: branch for branch in instance.branches if branch.kind == "next"}
        if not after:
            return [None] * len(instance.branches)
        last = max(after)
        context = instance.context.reshape(-1)[: last * instance.context.shape[1]]
        text = np.concatenate([instance.before, context, after[last].tokens])
        start, chunk = len(instance.before), instance.context.shape[1]
        cells = {
            n: range(start + n * chunk + branch.first - 1, start + n * chunk + len(branch.tokens) - 1)
            for n, branch in after.items()
        }
        tokens, logs = self._cached(text, [n for places in cells.values() for n in places])
        lengths = [len(places) for places in cells.values()]
        split = [TeacherLogs(*pair) for pair in zip(tokens.split(lengths), logs.split(lengths), strict=True)]
        by_place = dict(zip(cells, split, strict=True))
        return [by_place[branch.after] if branch.kind == "next" else None for branch in instance.branches]

    def _cached(self, text: Tokens, cells: list[int]) -> tuple[Tensor, Tensor]:
        if self.folder is None:
            return self._ask(text, cells)
        key = hashlib.sha256(text.tobytes() + np.array([self.top, *cells]).tobytes()).hexdigest()[:32]
        path = self.folder / f"{key}.npz"
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                return torch.from_numpy(arrays["tokens"].astype(np.int64)), torch.from_numpy(arrays["logs"]).float()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            tokens, logs = self._ask(text, cells)
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as part, part.open("wb") as file:
            np.savez(file, tokens=tokens.numpy().astype(np.int32), logs=logs.half().numpy())
        return tokens, logs.half().float()

    def _ask(self, text: Tokens, cells: list[int]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            x = self.reader.embed(torch.from_numpy(text))[None]
            states = self.reader.states(x, torch.arange(len(text)))[0]
            logs, tokens = self.reader.logits(states[cells]).log_softmax(-1).topk(self.top)
        return tokens, logs
