"""A model of the llama architecture that is trained in a moment, and texts for it: a token is a number below 40."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from compressors.soft.weights import MATRICES
from training.extensible.draw import Draws
from training.extensible.instances import Tokens
from training.extensible.llama import Llama, ModelShape
from training.extensible.recipe import Recipe
from training.extensible.teacher import Teacher
from training.extensible.texts import Corpus, PassageQuestion, information
from training.extensible.tokenizer import ExtensibleTokenizer, Words
from training.extensible.trainer import Trainer

SHAPE = ModelShape(n_layer=2, n_embd=32, n_head=4, n_head_kv=2, rope_base=10_000.0, epsilon=1e-5)
N_VOCAB = 40
RECIPE = Recipe(
    layers=1, rank=4, chunk=16, ks=(2, 4), k_shares=(1.0, 1.0), chunks=(1, 2),
    continuation=8, copy_tokens=8, cue=2, top=10, answers=0.3,
    sources=(("books", 1.0),), copies=2, warmup=2, tone_first=0.2, learning_rate=1e-3,
    weight_next=0.5, weight_contrast=0.5,
)  # fmt: skip


def tokenize(text: str) -> NDArray[np.int32]:
    """A token a character."""
    return np.array([ord(letter) % N_VOCAB for letter in text], np.int32)


def reader(seed: int = 0) -> Llama:
    draw = torch.Generator().manual_seed(seed)
    n_in = dict.fromkeys(MATRICES, 32) | {"ffn_down": 64}
    n_out = dict.fromkeys(MATRICES, 32) | {"attn_k": 16, "attn_v": 16, "ffn_gate": 64, "ffn_up": 64}
    weights = {"token_embd.weight": torch.randn(N_VOCAB, 32, generator=draw), "output_norm.weight": torch.ones(32)}
    for layer in range(SHAPE.n_layer):
        for name in MATRICES:
            matrix = torch.randn(n_out[name], n_in[name], generator=draw) / n_in[name] ** 0.5
            weights[f"blk.{layer}.{name}.weight"] = matrix
        weights |= {f"blk.{layer}.{name}.weight": torch.ones(32) for name in ("attn_norm", "ffn_norm")}
    return Llama(weights, SHAPE)


def text(n: int, seed: int = 0) -> Tokens:
    return np.random.default_rng(seed).integers(N_VOCAB, size=n)


CORPUS = Corpus({"books": (text(400), text(300, 1))}, (PassageQuestion((text(20, 2), text(30, 3)), 1, "Who?", "Me."),))


def trainer(recipe: Recipe = RECIPE, teacher: Teacher | None = None) -> Trainer:
    torch.manual_seed(recipe.seed)
    model = reader()
    words = Words(information(CORPUS, {"books": 1.0}, N_VOCAB), np.arange(N_VOCAB) % 2 == 0)
    tokenizer = ExtensibleTokenizer(model, recipe.layers, recipe.rank, recipe.ks, words, recipe.closing)
    return Trainer(tokenizer, Draws(CORPUS, recipe, tokenize), teacher or Teacher(model, recipe.top))
