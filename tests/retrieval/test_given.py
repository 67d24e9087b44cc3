import pytest

from pipeline.errors import DataError
from pipeline.retrieval.given import Given
from pipeline.types import Document, Question
from tests.compressors.workbench import scripted_runtime

BRIDGE = Document("bridge", "The bridge is red.\n\n" + "It was painted in 1931. " * 30, title="The bridge")
FERRY = Document("ferry", "The ferry is blue.")


def test_documents_come_whole_and_in_their_order() -> None:
    with scripted_runtime() as runtime:
        found = Given().search(Question("Which is red?", documents=(FERRY, BRIDGE)), runtime)
    assert [(p.source, p.start, p.end, p.text, p.title) for p in found] == [
        ("ferry", 0, len(FERRY.text), FERRY.text, ""),
        ("bridge", 0, len(BRIDGE.text), BRIDGE.text, "The bridge"),
    ]


def test_documents_are_cut_as_an_index_would_cut_them() -> None:
    with scripted_runtime() as runtime:
        found = Given(whole=False).search(Question("Which is red?", documents=(BRIDGE,)), runtime)
        assert all(runtime.embedder.count_tokens([p.text])[0] <= runtime.embedder.max_tokens for p in found)
    assert len(found) > 1
    assert all(p.text == BRIDGE.text[p.start : p.end] for p in found)


def test_a_question_without_documents_is_told_so() -> None:
    with scripted_runtime() as runtime, pytest.raises(DataError, match="needs documents that come with the question"):
        Given().search(Question("Which is red?"), runtime)
