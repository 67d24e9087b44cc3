"""What an embedding model wants to read before a question and before a passage.

GGUF files do not carry it: sentence-transformers keeps it in a file beside the weights, which the converters leave out.
So it is known here by the name that a file gives itself, and can be named in the pipeline file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instructions:
    """`family` is the model that they were found for; empty where none is known."""

    question: str = ""
    passage: str = ""
    family: str = ""


_SEARCH = "Represent this sentence for searching relevant passages: "
_TASK = "Given a web search query, retrieve relevant passages that answer the query"
_KNOWN: tuple[tuple[str, Instructions], ...] = (
    (r"nomic.?embed", Instructions("search_query: ", "search_document: ", "nomic-embed")),
    (r"qwen3.*embedding", Instructions(f"Instruct: {_TASK}\nQuery:", "", "Qwen3-Embedding")),
    (
        r"embedding.?gemma",
        Instructions("task: search result | query: ", "title: none | text: ", "EmbeddingGemma"),
    ),
    (r"e5.*(mistral|instruct)", Instructions(f"Instruct: {_TASK}\nQuery: ", "", "e5-instruct")),
    (r"(^|[^a-z0-9])e5([^a-z0-9]|$)", Instructions("query: ", "passage: ", "e5")),
    (r"arctic.?embed.*v2", Instructions("query: ", "", "arctic-embed 2")),
    (r"arctic.?embed", Instructions(_SEARCH, "", "arctic-embed")),
    (r"bge.(small|base|large).en", Instructions(_SEARCH, "", "bge-en")),
    (r"bge.(small|base|large).zh", Instructions("为这个句子生成表示以用于检索相关文章：", "", "bge-zh")),
    (r"mxbai.?embed", Instructions(_SEARCH, "", "mxbai-embed")),
    (r"granite.?embedding|bge.?m3|gte.|jina.?embeddings.?v2|minilm|mpnet", Instructions("", "", "none needed")),
)
"""From the models' own cards. The first that fits counts."""
_NAMES = ("general.basename", "general.name", "general.finetune")


def known_instructions(metadata: Mapping[str, str], file_name: str) -> Instructions:
    """The instructions of the family that a file's metadata name, or its own name; empty for an unknown family."""
    text = " ".join([*(metadata.get(key, "") for key in _NAMES), file_name]).lower()
    return next((instructions for pattern, instructions in _KNOWN if re.search(pattern, text)), Instructions())
