"""A loaded GGUF file: vocabulary and metadata, and with `Weights` also weights and adapters. It has no context."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect
from pipeline.gguf.layers import layers_of
from pipeline.models.amx import use_extra_buffers
from pipeline.models.control import control
from pipeline.models.first_look import look_first
from pipeline.models.llama import complaints, library
from pipeline.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    from numpy.typing import NDArray

    from pipeline.contracts import Progress
    from pipeline.models.settings import EngineSettings, Lora

_EVERY_LAYER = 9999
_SHORT = 8192
"""Length limit, in characters, of texts whose tokens are cached."""


class Vocabulary:
    """The vocabulary and the metadata of a file, without its weights: quick to load, and small.

    `metadata` maps the GGUF's keys to their values as text (llama.cpp omits arrays).
    """

    def __init__(self, path: Path) -> None:
        parameters = library().llama_model_default_params()
        parameters.vocab_only = True
        self._open(path, parameters)

    def _open(self, path: Path, parameters: object) -> None:
        """Loads the file. Raises ModelError, with llama.cpp's reason, for a missing, foreign or damaged file."""
        self.path = path
        _check_magic(path)
        look_first(path)
        lib = self._lib = library()
        complaints()
        self.pointer = lib.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.pointer:
            reason = complaints() or "no reason given"
            raise ModelError(f"{path}: llama.cpp cannot load this file: {reason}. {_advice(reason)}")
        self._free = weakref.finalize(self, lib.llama_model_free, self.pointer)
        self.vocab = lib.llama_model_get_vocab(self.pointer)
        self.metadata = self._read_metadata()
        self.n_vocab: int = lib.llama_vocab_n_tokens(self.vocab)
        self._pieces: dict[int, bytes] = {}
        self._buffer = ctypes.create_string_buffer(512)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        """The tokenizer, made on first use: a file without a vocabulary works with token numbers only."""
        templates = (text for key, text in self.metadata.items() if key.startswith("tokenizer.chat_template"))
        return Tokenizer(self._lib, self.vocab, "\n".join(templates))

    @cached_property
    def _kept(self) -> _lru_cache_wrapper[NDArray[np.int32]]:
        """A cache of the tokens of short texts, since passages are counted several times."""
        return lru_cache(4096)(self._tokenizer.tokens)

    @property
    def is_closed(self) -> bool:
        return not self._free.alive

    def close(self) -> None:
        self._free()

    # ---------------------------------------------------------------------------------------------------- vocabulary
    def tokenize(self, text: str, special: bool = False) -> NDArray[np.int32]:
        """Tokenises the text alone, without BOS and EOS; the result is read-only.

        `special` parses text such as `<|im_end|>` as control tokens; without it there are none (tokenizer.py).
        """
        return self._kept(text, special) if len(text) <= _SHORT else self._tokenizer.tokens(text, special)

    def protect(self, template: str) -> None:
        """Prevents contents from being parsed as marks of a chat template that is not the file's own."""
        self._tokenizer.protect(template)
        self._kept.cache_clear()

    def piece(self, token: int) -> bytes:
        """Returns the bytes of a token; none for control tokens."""
        piece = self._pieces.get(token)
        if piece is None:
            n = self._lib.llama_token_to_piece(self.vocab, token, self._buffer, len(self._buffer), 0, False)
            if n < 0:
                self._buffer = ctypes.create_string_buffer(-n)
                return self.piece(token)
            piece = self._pieces[token] = self._buffer.raw[:n]
        return piece

    def is_special(self, token: int) -> bool:
        """Whether the token is a control token or a user-defined one."""
        return self._tokenizer.is_special(token)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Returns the character span of each token of the text alone. Several tokens of one character all have it, and
        characters that the vocabulary cannot spell are in none.

        Raises ModelError if the tokens do not spell the text, as with a vocabulary that normalises.
        """
        data = text.encode("utf-8", "surrogatepass")
        is_first = np.frombuffer(data, np.uint8) & 0xC0 != 0x80
        n_begun = np.concatenate([[0], np.cumsum(is_first)])  # characters that begin before each byte
        spans: list[tuple[int, int]] = []
        end = 0
        for n, token in enumerate(self.tokenize(text).tolist()):
            piece = self.piece(token)
            if n == 0 and not data.startswith(b" "):
                piece = piece.removeprefix(b" ")  # some vocabularies put a space before every text
            low = data.find(piece, end)
            if low < 0:
                raise ModelError(f"{self.path.name}: its tokens do not spell the text that they were made from")
            end = low + len(piece)
            is_inside = low < len(data) and not is_first[low]
            spans.append((int(n_begun[low] - is_inside), int(n_begun[end])))
        return spans

    def text_of(self, token: int) -> str:
        """Returns a token's text in the vocabulary, including control tokens; empty for none (-1)."""
        text = self._lib.llama_vocab_get_text(self.vocab, token) if 0 <= token < self.n_vocab else b""
        return str((text or b"").decode("utf-8", "replace"))

    def is_end(self, token: int) -> bool:
        """Whether the token ends a turn or a text."""
        return bool(self._lib.llama_vocab_is_eog(self.vocab, token))

    @property
    def bos(self) -> str:
        """The text of the BOS token; empty if the vocabulary adds none."""
        return self.text_of(self._lib.llama_vocab_bos(self.vocab)) if self.adds_bos else ""

    @property
    def adds_bos(self) -> bool:
        return bool(self._lib.llama_vocab_get_add_bos(self.vocab))

    def special_texts(self) -> dict[str, str]:
        """The texts of `bos_token` and `eos_token` for chat templates, whether or not the vocabulary adds them."""
        lib = self._lib
        return {
            "bos_token": self.text_of(lib.llama_vocab_bos(self.vocab)),
            "eos_token": self.text_of(lib.llama_vocab_eos(self.vocab)),
        }

    def _read_metadata(self) -> dict[str, str]:
        lib, metadata = self._lib, {}
        for index in range(lib.llama_model_meta_count(self.pointer)):
            key = _read_text(lambda b, n, i=index: lib.llama_model_meta_key_by_index(self.pointer, i, b, n))
            metadata[key] = _read_text(
                lambda b, n, i=index: lib.llama_model_meta_val_str_by_index(self.pointer, i, b, n)
            )
        return metadata


class Weights(Vocabulary):
    """The weights of one file. Contexts must be freed before them; `Context` ensures that by holding a reference."""

    def __init__(
        self,
        path: Path,
        settings: EngineSettings | None = None,
        progress: Progress | None = None,
        use_extra: bool | None = None,
    ) -> None:
        """Loads the file, by default for the CPU alone. Raises ModelError, with llama.cpp's reason, for a missing,
        foreign or damaged file.

        `use_extra`: whether weights may lie in llama.cpp's extra buffer types; None: as amx.py decides.
        """
        lib = library()
        parameters = lib.llama_model_default_params()
        parameters.use_extra_bufts = use_extra_buffers(progress) if use_extra is None else use_extra
        parameters.n_gpu_layers = n_gpu_layers = 0 if settings is None else gpu_layers(settings)
        if settings is not None:
            _set_loading(lib, parameters, settings)
        if progress is not None:
            parameters.progress_callback = lib.llama_progress_callback(
                lambda done, _: progress("load model", round(done * 100), 100) or True
            )
        self._open(path, parameters)
        self._check_lock(settings)
        self.is_on_gpu = n_gpu_layers > 0 and bool(lib.llama_supports_gpu_offload())
        self.n_embd: int = lib.llama_model_n_embd(self.pointer)
        self.n_layer: int = lib.llama_model_n_layer(self.pointer)
        self.n_ctx_trained: int = lib.llama_model_n_ctx_train(self.pointer)
        self.n_swa: int = lib.llama_model_n_swa(self.pointer)
        self.size: int = lib.llama_model_size(self.pointer)
        self.n_parameters: int = lib.llama_model_n_params(self.pointer)
        self.n_positions: int = inspect(path).n_positions
        self.has_rope = lib.llama_model_rope_type(self.pointer) != lib.LLAMA_ROPE_TYPE_NONE
        self.is_recurrent = bool(lib.llama_model_is_recurrent(self.pointer) or lib.llama_model_is_hybrid(self.pointer))
        self.layers = layers_of(path, self.is_recurrent)
        self.n_head = self.layers.n_head
        self.n_head_kv: int = lib.llama_model_n_head_kv(self.pointer)
        if lib.llama_model_has_encoder(self.pointer) or not lib.llama_model_has_decoder(self.pointer):
            self.close()
            raise ModelError(f"{path}: an encoder cannot answer; take a model that generates text")
        try:
            self.adapters = [
                (self._load_adapter(adapter), adapter.scale) for adapter in (settings.lora if settings else ())
            ]
            self.control = control(settings.control_vectors, self) if settings else None
        except ModelError:
            self.close()
            raise

    @property
    def attention_share(self) -> float:
        """The cost of attending to one more cell, relative to a token's cost for the weights (multiplications).

        0 if no layer attends.
        """
        n_multiplied = self.n_parameters - self.n_vocab * self.n_embd  # embeddings are looked up
        return 2 * len(self.layers.attending) * self.n_embd / n_multiplied

    @property
    def architecture(self) -> str:
        return self.metadata.get("general.architecture", "")

    def number(self, key: str, default: float) -> float:
        """Returns the metadata's value of `<architecture>.<key>`."""
        return float(self.metadata.get(f"{self.architecture}.{key}", default))

    @property
    def n_rotated(self) -> float:
        """The number of rotated dimensions of a head."""
        return self.number("rope.dimension_count", self.n_embd / max(1, self.n_head))

    def head_sizes(self, key: Literal["key_length", "value_length"]) -> set[int]:
        """Returns the distinct head sizes in the cache over all layers; empty if no layer has heads."""
        if self.n_head == 0 and f"{self.architecture}.attention.{key}" not in self.metadata:
            return set()
        size = int(self.number(f"attention.{key}", self.n_embd // max(1, self.n_head)))
        return {size, int(self.number(f"attention.{key}_swa", size))}

    def _check_lock(self, settings: EngineSettings | None) -> None:
        """Raises ModelError if the weights could not be locked in memory: llama.cpp only warns."""
        if settings is None or not settings.mlock:
            return
        reason = complaints()
        if "mlock" in reason or not self._lib.llama_supports_mlock():
            self.close()
            raise ModelError(
                f"mlock: the weights of {self.path.name} cannot be kept in memory: {reason or 'not on this system'}; "
                "raise the limit ('ulimit -l unlimited'), or set mlock to false"
            )

    def _load_adapter(self, lora: Lora) -> object:
        if not Path(lora.path).is_file():
            raise ModelError(f"lora: no such file: {lora.path}")
        adapter: object = self._lib.llama_adapter_lora_init(self.pointer, lora.path.encode())
        if not adapter:
            raise ModelError(f"lora: {lora.path} does not fit {self.path.name}: {complaints() or 'no reason given'}")
        return adapter


def _set_loading(lib: ModuleType, parameters: ctypes.Structure, settings: EngineSettings) -> None:
    """Sets how weights are loaded, and their distribution over GPUs."""
    modes = {
        (False, False): lib.LLAMA_LOAD_MODE_NONE,
        (True, False): lib.LLAMA_LOAD_MODE_AUTO,  # mapped, unless a GPU cannot use that
        (False, True): lib.LLAMA_LOAD_MODE_MLOCK,
        (True, True): lib.LLAMA_LOAD_MODE_MMAP_MLOCK,
    }
    parameters.load_mode = modes[settings.mmap, settings.mlock]
    parameters.split_mode = getattr(lib, f"LLAMA_SPLIT_MODE_{settings.split_mode.upper()}")
    parameters.main_gpu = settings.main_gpu
    if settings.tensor_split:
        n = lib.llama_max_devices()
        if len(settings.tensor_split) > n:
            raise ModelError(
                f"tensor_split: {len(settings.tensor_split)} shares are too many: llama.cpp takes {n} GPUs"
            )
        shares = (*settings.tensor_split, *[0.0] * (n - len(settings.tensor_split)))
        parameters.tensor_split = (ctypes.c_float * n)(*shares)


def gpu_layers(settings: EngineSettings) -> int:
    """Returns the layers to put on a GPU: those of the settings, or all if llama.cpp was built for one."""
    auto = _EVERY_LAYER if library().llama_supports_gpu_offload() else 0
    return auto if settings.n_gpu_layers == "auto" else settings.n_gpu_layers


def _advice(reason: str) -> str:
    """Returns a remedy for llama.cpp's reason not to load a file."""
    if "unknown model architecture" in reason or "unknown pre-tokenizer" in reason or "unknown tokenizer" in reason:
        from importlib.metadata import version

        return f"A newer llama-cpp-python than {version('llama-cpp-python')} may know it; else take another model"
    if any(word in reason for word in ("wrong shape", "not found", "missing", "wrong type", "wrong array")):
        return "The file was converted wrongly, or for another version of llama.cpp: take another conversion of it"
    return "Is the download complete ('longthread models verify' tells), and is there memory for the weights?"


def _check_magic(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"no such model file: {path}")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{path} is no GGUF file: it begins with {magic!r}, not b'GGUF'")


def _read_text(read: Callable[..., int]) -> str:
    size = 4096
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = read(buffer, size)
        if n < size:
            return buffer.value.decode("utf-8", "replace") if n >= 0 else ""
        size = n + 1
