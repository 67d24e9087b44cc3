"""A folder in sentence-transformers' layout: its settings, its tokenizer and its fingerprint. It loads no weights.

Texts are tokenised by us, once, so that their length can be checked: sentence-transformers would cut them.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.retrieval.batches import Batched, check_length
from pipeline.storage.cache import cache_folder
from pipeline.storage.hashes import sha256_of
from pipeline.storage.whole import write_whole

_WORD_CHARS = 24
_MOST_WORDS = 200_000
_WEIGHTS = {".safetensors", ".bin", ".json", ".txt", ".model"}
_NOT_WEIGHTS = {"onnx", "openvino", "data_config.json"}


def checked_folder(folder: Path) -> Path:
    """The folder, resolved. Raises ConfigError for one that is missing, or in another layout."""
    if not folder.is_dir():
        raise ConfigError(f"index.embedder: {folder}: no such folder: write minilm, none, a folder, or a GGUF file")
    for needed in ("modules.json", "tokenizer.json", "config.json"):
        if not (folder / needed).is_file():
            raise ConfigError(
                f"index.embedder: {folder}: not a sentence-transformers folder with a fast tokenizer: no {needed}"
            )
    return folder.resolve()


class SentenceFolder(Batched):
    """An embedder but for the model itself, which subclasses run in `_batches`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._words: dict[str, int] = {}

    @cached_property
    def fingerprint(self) -> str:
        return _fingerprint(self.folder)

    @cached_property
    def dimension(self) -> int:
        """Read from the modules' settings where they say it, else from the loaded model."""
        for module in reversed(self.settings("modules.json")):
            settings = self.settings(f"{module['path']}/config.json") if module["path"] else {}
            for key in ("out_features", "word_embedding_dimension", "embedding_dimension"):
                if key in settings:
                    return int(settings[key])
        return self._dimension_of_model()

    @cached_property
    def max_tokens(self) -> int:
        limit = self.settings("sentence_bert_config.json").get("max_seq_length")
        return int(limit or self.settings("config.json").get("max_position_embeddings", 512))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts of single words are remembered: a chunker asks for the same ones in every document."""
        if len(self._words) > _MOST_WORDS:
            self._words.clear()
        new = list(dict.fromkeys(text for text in texts if text not in self._words))
        counts = {text: len(encoding) for text, encoding in zip(new, self._encode(new), strict=True)}
        result = [self._words[text] if text in self._words else counts[text] for text in texts]
        self._words.update((text, n) for text, n in counts.items() if len(text) <= _WORD_CHARS)
        return result

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        lowered = [text.lower() if self._lowers else text for text in texts]
        result = []
        for text, read, encoding in zip(texts, lowered, self._tokenizer.encode_batch(lowered), strict=True):
            pairs = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
            spans = [span for span, is_special in pairs if not is_special]
            result.append(spans if len(read) == len(text) else _before_lowering(text, spans))
        return result

    def _dimension_of_model(self) -> int:
        raise NotImplementedError

    def _encodings(self, texts: Sequence[str]) -> list[Any]:
        """The texts as tokens. Raises ValueError for one that is too long."""
        encodings = self._encode(texts)
        for encoding in encodings:
            check_length(len(encoding), self.max_tokens)
        return encodings

    def _encode(self, texts: Sequence[str]) -> list[Any]:
        lowered = [text.lower() for text in texts] if self._lowers else list(texts)
        return list(self._tokenizer.encode_batch_fast(lowered))

    @cached_property
    def _lowers(self) -> bool:
        return bool(self.settings("sentence_bert_config.json").get("do_lower_case"))

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_truncation()  # tokenizer.json may carry the cut of the model's training
        tokenizer.no_padding()
        return tokenizer

    def settings(self, name: str) -> Any:
        """A JSON file of the folder; an empty mapping where it is not there."""
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _before_lowering(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places in text.lower() as places in the text: some characters become two ("\u0130" is "i" and a dot above)."""
    ends = list(accumulate(len(char.lower()) for char in text))
    return [(bisect_right(ends, start), bisect_left(ends, end) + 1 if end else 0) for start, end in spans]


def _fingerprint(folder: Path) -> str:
    """sha256 over the files that the vectors depend on; remembered in the cache by their paths, sizes and times."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHTS and _counts(path, folder))
    stats = [(path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:32]
    remembered = cache_folder() / "fingerprints" / key
    try:
        return remembered.read_text(encoding="ascii")
    except OSError:
        fingerprint = _hash(files, folder)
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_whole(remembered, fingerprint)
    except OSError:  # a cache that cannot be written costs half a second each time
        pass
    return fingerprint


def _counts(path: Path, folder: Path) -> bool:
    return path.is_file() and not _NOT_WEIGHTS & set(path.relative_to(folder).parts)


def _hash(files: Sequence[Path], folder: Path) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return total.hexdigest()
