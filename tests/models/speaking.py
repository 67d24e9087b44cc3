"""Tiny models that speak: each token is followed by one other, so they think and answer, always in the same words.

Attention and feed-forward layers add nothing; the last token alone decides what comes next. The models differ in how
they think: as Qwen3 (a switch in the template), as Qwen3.5 (the template opens the thought), as Ministral (control
tokens, no switch), without an end, in the channels of gpt-oss, and not at all. What they think is MUSINGS.

The last token decides alone, so `<|channel|>` and `<|message|>` can come once: the final header does not end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.models.gguf_file import _byte_tokens, gguf, tensor

MUSINGS = "Hmmm plan [3]."
THOUGHT = ["H", "mmm", " plan", " [3]", "."]
ANSWER = ["The", " garden", " has", " seven", " hives"]
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4

_TURNS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and '</think>' in m.content %}"
    "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
SWITCHED = _TURNS + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
OPENED = (
    _TURNS
    + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
)
BRACKETS = (
    "{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]"
    "{% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}{{ m.content.split('[/THINK]')[-1] }}"
    "<|im_end|>{% endif %}{% endfor %}"
)
HARMONY = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort | default('medium') }}<|end|>{% for m in messages %}"
    "<|start|>{{ 'developer' if m.role == 'system' else m.role }}"
    "{{ '<|channel|>final' if m.role == 'assistant' }}<|message|>{{ m.content }}<|end|>{% endfor %}<|start|>assistant"
)
PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant{{ '\n' }}"
)
_CHATML = {"<|im_start|>": CONTROL, "<|im_end|>": CONTROL}
_THINK = {"<think>": USER_DEFINED, "</think>": USER_DEFINED}
_BRACKETS = dict.fromkeys(
    ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]", "<|im_end|>"), CONTROL
)
_HARMONY = dict.fromkeys(
    ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|im_end|>"), CONTROL
)
KINDS: dict[str, tuple[str, dict[str, int], list[list[str]]]] = {
    "switched": (
        SWITCHED,
        {**_CHATML, **_THINK},
        [["\n", "<think>", *THOUGHT, "</think>", "\n\n", *ANSWER, "<|im_end|>"]],
    ),
    "opened": (
        OPENED,
        {**_CHATML, **_THINK},
        [["\n", *THOUGHT, "</think>", "\n\n", *ANSWER, "<|im_end|>"]],
    ),
    "control": (
        BRACKETS,
        _BRACKETS,
        [["[/INST]", "[THINK]", *THOUGHT, "[/THINK]", *ANSWER, "<|im_end|>"]],
    ),
    "endless": (
        SWITCHED,
        {**_CHATML, **_THINK},
        [["\n", "<think>", *THOUGHT, "H"], ["\n\n", *ANSWER, "<|im_end|>"]],
    ),
    "harmony": (
        HARMONY,
        _HARMONY,
        [
            [
                "t",
                "<|channel|>",
                "analysis",
                "<|message|>",
                *THOUGHT,
                "<|end|>",
                "<|start|>",
                "final",
                ":",
                *ANSWER,
                "<|return|>",
            ]
        ],
    ),
    "plain": (PLAIN, _CHATML, [["\n", *ANSWER, "<|im_end|>"]]),
}


def speaking(kind: str, folder: Path) -> Path:
    """The file of a model that speaks, made in a folder."""
    path = folder / f"{kind}.gguf"
    path.write_bytes(_speaking(*KINDS[kind]))
    return path


def _speaking(template: str, special: dict[str, int], chains: Sequence[Sequence[str]]) -> bytes:
    n_embd, n_ff, n_layer = 64, 32, 1
    tokens = [*_byte_tokens(), "ĊĊ"]
    types = [NORMAL] * len(tokens)
    for text in dict.fromkeys((*special, *(text for chain in chains for text in chain))):
        if _written(text) not in tokens:
            tokens.append(_written(text))
            types.append(special.get(text, NORMAL))
    embd, output = _rows(tokens, chains, n_embd)
    metadata = {
        "general.architecture": "llama",
        "general.file_type": 0,
        "llama.context_length": 4096,
        "llama.block_count": n_layer,
        "llama.embedding_length": n_embd,
        "llama.feed_forward_length": n_ff,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": 32,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": ["Ċ Ċ"],
        "tokenizer.ggml.eos_token_id": tokens.index("<|return|>" if "<|return|>" in tokens else "<|im_end|>"),
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": template,
    }
    random = np.random.default_rng(0)
    arrays = {"token_embd.weight": embd, "output.weight": output, "output_norm.weight": np.ones(n_embd)}
    for name in ("attn_norm", "ffn_norm"):
        arrays[f"blk.0.{name}.weight"] = np.ones(n_embd)
    for name, rows in (("q", n_embd), ("k", n_embd), ("v", n_embd)):
        arrays[f"blk.0.attn_{name}.weight"] = random.normal(0, 0.2, (rows, n_embd))
    arrays["blk.0.attn_output.weight"] = np.zeros((n_embd, n_embd))
    for name in ("gate", "up"):
        arrays[f"blk.0.ffn_{name}.weight"] = random.normal(0, 0.2, (n_ff, n_embd))
    arrays["blk.0.ffn_down.weight"] = np.zeros((n_embd, n_ff))
    tensors, data = [], b""
    for name, values in arrays.items():
        tensors.append(tensor(name, values.shape[::-1], 0, len(data)))
        data += values.astype(np.float32).tobytes()
        data += bytes(-len(data) % 32)
    return gguf(metadata, tensors, data)


def _rows(
    tokens: Sequence[str], chains: Sequence[Sequence[str]], n_embd: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Embeddings and output rows with which each token of a chain is followed by the next; others by anything."""
    random = np.random.default_rng(1)
    embd = random.normal(0, 0.1, (len(tokens), n_embd))
    output = random.normal(0, 0.1, (len(tokens), n_embd))
    output[:256] -= 1e-3
    pairs = [pair for chain in chains for pair in pairwise(chain)]
    for dimension, (token, following) in enumerate(pairs):
        embd[tokens.index(_written(token))] = 0
        embd[tokens.index(_written(token)), dimension] = 1
        output[tokens.index(_written(following)), dimension] = 8
    return embd, output


def _written(text: str) -> str:
    """A token's text in the alphabet of GPT-2's vocabulary."""
    return text.replace(" ", "Ġ").replace("\n", "Ċ")
