"""What the reader says after the context itself: kept on disk, so that a second run with the same draws is cheaper."""

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
class Told:
    """The likeliest tokens at some places, (n, top), and their log-probabilities, best first."""

    tokens: Tensor
    logs: Tensor


class Teacher:
    """The reader after raw text. One pass tells of the text after every chunk, since each is after those before it.

    `folder` keeps what was told, 6 bytes a token of the top; None: nothing is kept. A torn file is made again.
    """

    def __init__(self, reader: Llama, top: int, folder: Path | None = None) -> None:
        self.reader, self.top, self.folder = reader, top, folder

    def told(self, instance: Instance) -> list[Told | None]:
        """Of each branch of kind `next` what the reader says of tokens[first:]; None for other branches."""
        after = {branch.after: branch for branch in instance.branches if branch.kind == "next"}
        if not after:
            return [None] * len(instance.branches)
        last = max(after)
        context = instance.context.reshape(-1)[: last * instance.context.shape[1]]
        text = np.concatenate([instance.before, context, after[last].tokens])
        start, chunk = len(instance.before), instance.context.shape[1]
        cells = {
            n: range(start + n * chunk + one.first - 1, start + n * chunk + len(one.tokens) - 1)
            for n, one in after.items()
        }
        tokens, logs = self._kept(text, [n for places in cells.values() for n in places])
        lengths = [len(places) for places in cells.values()]
        split = [Told(*pair) for pair in zip(tokens.split(lengths), logs.split(lengths), strict=True)]
        by_place = dict(zip(cells, split, strict=True))
        return [by_place[branch.after] if branch.kind == "next" else None for branch in instance.branches]

    def _kept(self, text: Tokens, cells: list[int]) -> tuple[Tensor, Tensor]:
        if self.folder is None:
            return self._ask(text, cells)
        key = hashlib.sha256(text.tobytes() + np.array([self.top, *cells]).tobytes()).hexdigest()[:32]
        path = self.folder / f"{key}.npz"
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
                return torch.from_numpy(kept["tokens"].astype(np.int64)), torch.from_numpy(kept["logs"]).float()
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
