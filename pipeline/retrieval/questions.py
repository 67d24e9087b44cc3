"""A question's vector, however long the question is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.contracts import Embedder, QuestionEmbedder
from pipeline.types import Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def question_vector(embedder: Embedder, question: str) -> NDArray[np.float32]:
    """The unit vector of a question, float32 of shape (dimension,).

    One that is longer than what the embedder reads is cut like a document, and its vector is the direction of the
    parts' mean: all of it counts, nothing is truncated.
    """
    import numpy as np

    embed = embedder.embed_questions if isinstance(embedder, QuestionEmbedder) else embedder.embed
    vectors = embed(question_parts(embedder, question))
    mean = np.asarray(vectors.mean(axis=0), np.float32)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def question_parts(embedder: Embedder, question: str) -> list[str]:
    """The question, in one part if the embedder reads it whole, else in parts of about the same length."""
    if embedder.count_tokens([question])[0] <= embedder.max_tokens:
        return [question]
    from pipeline.documents.chunking import Chunker

    document = Document("question", question)
    cut = Chunker(embedder.max_tokens).chunk(document, embedder.count_tokens, embedder.max_tokens)
    return [part.text for part in cut]
