"""What can be told of a sentence and a question without a language model: the features of compress.exit_mini.

Likeness in the embedder's eyes, by the texts' vectors and by their tokens' vectors in both directions (MaxSim: Khattab
and Zaharia, ColBERT, arXiv 2004.12832), words that both have, weighted by how rare they are among the sentences at hand
(Robertson's idf), and how much a sentence says that the question does not. Each is standardised over the question's
sentences: what counts is which of them stand out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compressors import remembered
from compressors.selection import Units
from compressors.sentences import best_of, pieces
from pipeline.answers.words import content_words
from pipeline.contracts import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEATURES = ("cosine", "asked_for", "asked", "overlap", "overlap_titled", "new_words")
"""In the order of the columns.

`cosine` of question and sentence in its title. `asked_for`: the mean over the question's tokens of the best cosine
among the sentence's; `asked`: the mean over the sentence's tokens of the best among the question's. `overlap`: the
share of the question's words, by their idf, that stand in the sentence, `overlap_titled` in it or in its title.
`new_words`: log(1 + how many of its content words are not the question's).
"""


def features(question: str, units: Units, embedder: Embedder) -> NDArray[np.float64]:
    """The columns of FEATURES for each unit, (n_units, 6), as they are: not standardised."""
    import numpy as np

    return np.column_stack([_likeness(question, units, embedder), _words(question, units)])


def _likeness(question: str, units: Units, embedder: Embedder) -> NDArray[np.float64]:
    """The first three; of a sentence that is read in pieces, the best piece counts for each."""
    import numpy as np

    owners, texts = pieces(units.parts, embedder)
    vectors, (asked, *said) = remembered.token_vectors(embedder, [question, *texts])
    rows = np.zeros((len(texts), 3), np.float32)
    rows[:, 0] = vectors[1:] @ vectors[0]
    for row, states in zip(rows, said, strict=True):
        if len(states) and len(asked):
            near = asked @ states.T
            row[1:] = near.max(axis=1).mean(), near.max(axis=0).mean()
    return np.column_stack([best_of(column, owners, len(units)) for column in rows.T]).astype(np.float64)


def _words(question: str, units: Units) -> NDArray[np.float64]:
    """The last three."""
    import numpy as np

    asked = content_words(question)
    said = [frozenset(content_words(part.text)) for part in units.parts]
    titles = [frozenset(content_words(passage.title)) for passage in units.passages]
    n_with = {word: sum(word in words for words in said) for word in asked}
    rare = {word: math.log(1 + (len(said) + 0.5) / (n + 0.5)) for word, n in n_with.items()}
    total = sum(rare.values()) or 1.0
    found = []
    for words, owner in zip(said, units.owners, strict=True):
        alone = sum(rare[word] for word in asked if word in words)
        titled = sum(rare[word] for word in asked if word in words or word in titles[owner])
        found.append((alone / total, titled / total, math.log1p(len(words - set(asked)))))
    return np.array(found, np.float64)
