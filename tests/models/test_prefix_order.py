"""Prompts of one request that begin alike are worked on one after the other."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.cells import in_prefix_order
from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Sampling, Text

ROWS = st.lists(st.lists(st.integers(-3, 3), max_size=6), max_size=12)


@given(ROWS)
@settings(max_examples=300, derandomize=True)
def test_each_common_prefix_has_its_rows_side_by_side(lists: list[list[int]]) -> None:
    rows = [np.array(row, np.int64) for row in lists]
    order = in_prefix_order(rows)
    assert sorted(order) == list(range(len(rows)))
    for length in range(7):
        heads = [tuple(lists[n][:length]) for n in order if len(lists[n]) >= length]
        changes = sum(a != b for a, b in pairwise(heads))
        assert changes == max(0, len(set(heads)) - 1), f"rows with the same first {length} cells are apart"


@given(ROWS)
@settings(max_examples=300, derandomize=True)
def test_rows_without_a_common_prefix_keep_their_order(lists: list[list[int]]) -> None:
    order = in_prefix_order([np.array([n, *row], np.int64) for n, row in enumerate(lists)])
    assert order == list(range(len(lists)))
    rows = [np.array(row, np.int64) for row in lists]
    firsts = [in_prefix_order(rows)[0]] if rows else []
    assert firsts == [0] * len(firsts), "the first prompt is worked on first"


def test_questions_on_documents_in_turn_read_each_document_once(tiny: Path) -> None:
    documents = [Text(f"Chronicle number {n}. " + f"The harbour had {n} cranes. " * 20) for n in range(3)]
    questions = [Text(f"\nQuestion {n}:{' please,' * n} how many cranes?") for n in range(3)]
    prompts = [(document, question) for question in questions for document in documents]
    with open_engine(EngineSettings(n_ctx=1024, n_cells=1024, n_seq_max=1, n_cached=1), tiny) as engine:
        streams = engine.generate(prompts, Sampling(max_tokens=4))
        results = [stream.result() for stream in streams]
        n_read = sum(result.prompt_tokens - result.reused_tokens for result in results)
        n_once = sum(engine.count((document,)) for document in documents)
        assert n_read < n_once + sum(engine.count((question,)) + 2 for _, question in prompts)
        assert [result.prompt_tokens for result in results] == [engine.count(prompt) for prompt in prompts]
