"""Vectors of sentences that come back: the same passages serve other questions, and every turn of a chat.

What was embedded last is kept in memory, up to `ROOM` bytes, under a hash of the text and of what embedded it. A text's
vectors depend on what was read beside it by rounding alone (1e-7): a sentence that is found here may differ so from
one that is read anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from pipeline.contracts import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOM = 64 << 20
"""Bytes kept in a process: of MiniLM 40 000 sentences for their cosine, or 1400 with their token vectors."""


def embed(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """What the embedder's `embed` gives, float32 (n, dimension); it reads what is not kept."""
    import numpy as np

    def read(new: Sequence[str]) -> list[_Row]:
        return [_Row(vector.copy()) for vector in embedder.embed(new)]

    return np.stack([row.vector for row in KEPT.rows(embedder.fingerprint, texts, read, lambda row: True)])


def token_vectors(
    embedder: Embedder, texts: Sequence[str], passages: Collection[str] = ()
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """What the embedder's `token_vectors` gives, float32 (n, dimension) and (n_tokens, dimension) for each text.

    Those of `passages`, which are some of the texts, are kept on disk as well, if that is switched on
    (token_vectors.py).
    """
    import numpy as np

    from pipeline.retrieval.token_vectors import TextVectors, kept_vectors, read_kept

    store = kept_vectors(embedder.fingerprint) if passages else None
    passages = frozenset(passages)

    def read(new: Sequence[str]) -> list[_Row]:
        kept = {} if store is None else read_kept(store, new, passages)
        rest = [n for n in range(len(new)) if n not in kept]
        rows = {n: _Row(vectors.vector, vectors.tokens) for n, vectors in kept.items()}
        if rest:
            vectors, states = embedder.token_vectors([new[n] for n in rest])
            rows |= {n: _Row(vector.copy(), s) for n, vector, s in zip(rest, vectors, states, strict=True)}
        fresh = [n for n in rest if new[n] in passages]
        for n in fresh:
            states_of = rows[n].states
            if store is not None and states_of is not None:
                store.put(new[n], TextVectors(rows[n].vector, states_of))
        if store is not None and fresh:
            store.evict()
        return [rows[n] for n in range(len(new))]

    rows = KEPT.rows(embedder.fingerprint, texts, read, lambda row: row.states is not None)
    return np.stack([row.vector for row in rows]), [row.states for row in rows if row.states is not None]


@dataclass(frozen=True)
class _Row:
    """A text's unit vector, and those of its tokens where they were wanted."""

    vector: NDArray[np.float32]
    states: NDArray[np.float32] | None = None

    @property
    def n_bytes(self) -> int:
        return self.vector.nbytes + (0 if self.states is None else self.states.nbytes)


class Kept:
    """Rows by the hash of their text; those that were not wanted for longest leave when there are more than `room`."""

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self.n_bytes = 0
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def rows(
        self,
        reader: str,
        texts: Sequence[str],
        read: Callable[[Sequence[str]], list[_Row]],
        is_enough: Callable[[_Row], bool],
    ) -> list[_Row]:
        """The texts' rows in their order; those that are not kept, or not enough, are read, each text once.

        `reader` is the fingerprint of what reads: rows of others are not its own.
        """
        keys = [
            hashlib.blake2b(f"{reader}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in texts
        ]
        with self._lock:
            known = {key: row for key in keys if (row := self._rows.get(key)) is not None and is_enough(row)}
            for key in known:
                self._rows.move_to_end(key)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            fresh = dict(zip(new, read(list(new.values())), strict=True))
            known |= fresh
            with self._lock:
                self._keep(fresh)
        return [known[key] for key in keys]

    def _keep(self, fresh: dict[bytes, _Row]) -> None:
        for key, row in fresh.items():
            old = self._rows.pop(key, None)
            self.n_bytes += row.n_bytes - (old.n_bytes if old else 0)
            self._rows[key] = row
        while self.n_bytes > self.room:
            _, row = self._rows.popitem(last=False)
            self.n_bytes -= row.n_bytes


KEPT = Kept()
