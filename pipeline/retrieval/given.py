"""retrieve.given: the documents that came with the question, cut into passages, in the order they have.

For questions whose context is part of the data (HotpotQA's ten paragraphs, a haystack): nothing is searched.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Runtime
from pipeline.documents.places import Places
from pipeline.errors import DataError
from pipeline.registry import check_types
from pipeline.types import Document, Passage, Question


@dataclass(frozen=True)
class Given:
    """Returns the question's own documents, each whole or in chunks as the pipeline's index cuts them; no score.

    Example: `retrieve.given: {whole: false}`

    :param whole: whether a document is one passage, however long it is; otherwise it is cut like an indexed document.
    """

    whole: bool = True

    searches_index = False

    def __post_init__(self) -> None:
        check_types(self, Given)

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        if not question.documents:
            raise DataError(
                "retrieve.given needs documents that come with the question, and this one has none: "
                "name them in the data, or search an index with retrieve.hybrid"
            )
        if not self.whole:
            return [passage for document in question.documents for passage in runtime.chunk(document)]
        return [_whole(document) for document in question.documents if document.text]


def _whole(document: Document) -> Passage:
    n = len(document.text)
    return Passage(document.source, 0, n, document.text, place=Places(document).at(0, n), title=document.title)
