"""Determines the purpose of a GGUF file by its header: generation, embedding, ranking, or none of these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import ModelError
from pipeline.gguf.header import GgufInfo, inspect

Kind = Literal["generator", "embedder", "reranker", "encoder", "diffusion", "part of a model", "vocabulary", "other"]

_POOLING = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""`llama_pooling_type`; a generator has none."""
_RANK = 4
_EMBEDDERS = (
    *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"),
    *("gemma-embedding", "llama-embed"),
)
_ENCODERS = ("t5", "t5encoder", "eagle3", "dflash")
_DIFFUSION = ("dream", "llada", "llada-moe", "rnd1")
_PARTS = {
    "controlvector": "a control vector: name it under generate.llama: {control_vectors: [{path: ...}]}",
    "clip": "the part of a model that sees pictures (mmproj): take the model's own file",
    "imatrix": "an importance matrix, made for quantising: take the model's own file",
}
"""Architectures that are no complete models."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """A file's purpose, and the reason, as the end of a sentence that begins with the file's name."""

    kind: Kind
    why: str


def purpose(info: GgufInfo) -> Purpose:
    """Determines the purpose of a file from its header, without loading it."""
    architecture = info.architecture
    if info.kind == "adapter":
        return Purpose("part of a model", "is an adapter: name it under generate.llama: {lora: [{path: ...}]}")
    for part, what in _PARTS.items():
        if part in (architecture, info.kind) or (part == "clip" and info.kind == "mmproj"):
            return Purpose("part of a model", f"is {what}")
    if info.n_tensors == 0:
        return Purpose("vocabulary", "holds a vocabulary and no weights: take the model's own file")
    pooling = info.metadata.get(f"{architecture}.pooling_type")
    if pooling == _RANK:
        return Purpose("reranker", "is a reranker: it scores a passage for a query")
    if architecture in _ENCODERS:
        return Purpose("encoder", f"has an encoder ({architecture}), which longthread does not run")
    if architecture in _DIFFUSION:
        return Purpose("diffusion", f"writes by diffusion ({architecture}), not token by token, and cannot be run here")
    if architecture in _EMBEDDERS or pooling in _POOLING:
        how = f"pooling: {_POOLING[pooling]}" if isinstance(pooling, int) and pooling in _POOLING else architecture
        return Purpose("embedder", f"is an embedding model ({how}): it turns texts into vectors")
    if info.metadata.get(f"{architecture}.attention.causal") is False:
        return Purpose("embedder", "is an encoder (its attention is not causal): it turns texts into vectors")
    return Purpose("generator", "writes text")


def require_generator(path: Path) -> None:
    """Raises ModelError, with the file's purpose, if it is no generator."""
    file_purpose = purpose(inspect(path))
    if file_purpose.kind != "generator":
        advice = {
            "embedder": ". It can stand under index.embedder; to answer, take a model that writes text",
            "reranker": ". It can stand under rerank.gguf; to answer, take a model that writes text",
            "encoder": "; take a model that writes text",
            "diffusion": "; take a model that writes token by token",
        }
        raise ModelError(f"{path} {file_purpose.why}{advice.get(file_purpose.kind, '')}")
