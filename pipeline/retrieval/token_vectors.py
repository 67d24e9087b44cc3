"""Token vectors of passages on disk, so that a passage is read by the embedder once, for all questions and processes.

compress.exit_mini, gate.support and compress.probe compare a question with the vectors of all tokens of a passage:
0.5 s of MiniLM for 1000 tokens. Kept, they cost milliseconds. Off unless the environment says otherwise:

LONGTHREAD_TOKEN_VECTORS      float16 (768 bytes a token of MiniLM) or int8 (388); off keeps none, the default
LONGTHREAD_TOKEN_VECTORS_MB   the limit on disk, 1000 by default; the least recently used go first

A file holds the text that was read, so that forgetting a text finds it (storage/kept_cells.py), and lies in a private
folder of the cache, under the fingerprint of the embedder: a text that stands in several indexes is kept once.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.errors import ConfigError
from pipeline.storage import cell_files, kept_cells, lru
from pipeline.storage.cache import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOG = logging.getLogger("longthread.cells")
FORM, LIMIT = "LONGTHREAD_TOKEN_VECTORS", "LONGTHREAD_TOKEN_VECTORS_MB"
NAME = "token_vectors"
N_TEXTS = kept_cells.N_TEXTS[NAME]
_DEFAULT_MB = 1000.0

Form = Literal["float16", "int8"]


@dataclass(frozen=True)
class TextVectors:
    """A text's unit vector, float32 (dimension,), and those of its tokens, float32 (n_tokens, dimension)."""

    vector: NDArray[np.float32]
    tokens: NDArray[np.float32]


@dataclass(frozen=True)
class TokenVectors:
    """The vectors that one embedder made, in files of `folder`. `max_bytes` is the limit of all embedders together."""

    folder: Path
    form: Form
    max_bytes: int

    def get(self, text: str) -> TextVectors | None:
        """The vectors of a text; None where they are not kept, or are damaged."""
        path = self._path(text)
        content = cell_files.read(path) if path.exists() else None
        if content is None:
            return None
        fields, sections = content
        if len(sections) != 4 or sections[0].tobytes() != _bytes_of(text):
            return None
        vector, tokens, scales = sections[1].view(np.float32), sections[2], sections[3].view(np.float32)
        is_packed = fields["form"] == "int8"
        rows = tokens.view(np.int8 if is_packed else np.float16).reshape(-1, len(vector)).astype(np.float32)
        lru.touch(path)
        return TextVectors(vector, _normalised(rows * scales[:, None] if is_packed else rows))

    def put(self, text: str, vectors: TextVectors) -> None:
        """Keeps the vectors of a text. What cannot be written is read again: it costs only time."""
        scales = np.zeros(0, np.float32)
        tokens: NDArray[np.generic] = vectors.tokens.astype(np.float16)
        if self.form == "int8":
            scales = np.abs(vectors.tokens).max(axis=1, initial=1e-9) / np.float32(127)
            tokens = np.rint(vectors.tokens / scales[:, None]).astype(np.int8)
        text_bytes = np.frombuffer(_bytes_of(text), np.uint8)
        sections: list[NDArray[np.generic]] = [
            text_bytes,
            vectors.vector.astype(np.float32),
            tokens,
            scales.astype(np.float32),
        ]
        try:
            cell_files.write(self._path(text), {"form": self.form}, sections)
        except OSError as error:
            LOG.warning("%s: not kept: %s", self._path(text), error.strerror or error)

    def evict(self) -> None:
        """Deletes the least recently used files beyond the limit."""
        cell_files.evict(self.folder.parent, self.max_bytes)

    def _path(self, text: str) -> Path:
        return self.folder / f"{hashlib.sha256(_bytes_of(text)).hexdigest()[:40]}.kv"


def kept_vectors(fingerprint: str) -> TokenVectors | None:
    """Where the vectors of an embedder are kept; None where they are not to be. Raises ConfigError for bad settings."""
    form = os.environ.get(FORM, "").strip() or "off"
    if form == "off":
        return None
    if form not in ("float16", "int8"):
        raise ConfigError(f"{FORM} must be off, float16 or int8, was: {form}")
    text = os.environ.get(LIMIT, "").strip()
    try:
        megabytes = float(text) if text else _DEFAULT_MB
    except ValueError:
        megabytes = -1.0
    if not 0 < megabytes < 1e9:
        raise ConfigError(f"{LIMIT} must be a number of megabytes above 0, was: {text}")
    folder = cache_folder() / NAME / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
    return TokenVectors(folder, "float16" if form == "float16" else "int8", int(megabytes * 1_000_000))


def read_kept(store: TokenVectors, texts: Sequence[str], passages: Collection[str]) -> dict[int, TextVectors]:
    """The vectors of those texts that are passages and are kept, by the text's number."""
    found = ((n, store.get(text)) for n, text in enumerate(texts) if text in passages)
    return {n: vectors for n, vectors in found if vectors is not None}


def delete_vectors(lost: Iterable[str]) -> int:
    """Deletes the vectors that hold text of chunks which are in no index any more; gives the number of files.

    What was read is a stretch of a passage, behind the title of its document and a colon. A passage is a chunk, or a
    section of several. So a chunk may hold the stretch, lie in it, or reach into it from before or from behind.
    """
    texts = _LostTexts([flat for text in lost if (flat := cell_files.flat(text))])
    gone = 0
    for path in (cache_folder() / NAME).glob("*/*.kv") if texts.chunks else ():
        sections = cell_files.read_first(path, N_TEXTS)
        if sections is None:
            continue
        words = cell_files.flat(sections[0].decode("utf-8", "replace")).split(": ")
        if any(texts.touch(": ".join(words[n:])) for n in range(len(words))):  # a title may hold a colon as well
            path.unlink(missing_ok=True)
            gone += 1
    return gone


class _LostTexts:
    """Flat texts of lost chunks, by their first and last words, so that a stretch is compared with few of them."""

    def __init__(self, chunks: Sequence[str]) -> None:
        self.chunks = chunks
        self._by_first: dict[str, list[str]] = {}
        self._by_last: dict[str, list[str]] = {}
        for chunk in chunks:
            self._by_first.setdefault(chunk.split(" ", 1)[0], []).append(chunk)
            self._by_last.setdefault(chunk.rsplit(" ", 1)[-1], []).append(chunk)

    def touch(self, stretch: str) -> bool:
        """Whether a chunk shares text with a stretch of the same document. One word is enough: it costs only time."""
        if not stretch:
            return False
        if any(stretch in chunk or chunk in stretch for chunk in self.chunks):
            return True
        words = stretch.split(" ")
        return any(
            chunk.startswith(" ".join(words[n:]))
            for n, word in enumerate(words)
            for chunk in self._by_first.get(word, ())
        ) or any(
            chunk.endswith(" ".join(words[: n + 1]))
            for n, word in enumerate(words)
            for chunk in self._by_last.get(word, ())
        )


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-9)
    return result
