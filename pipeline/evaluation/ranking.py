"""Measures a ranking of documents, with ir-measures on top of trec_eval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.errors import MissingExtraError

NAMES = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr")


def ranking(sources: Iterable[str], gains: Mapping[str, int]) -> dict[str, float]:
    """Measures documents in retrieval order. A document's rank is that of its first passage.

    Raises MissingExtraError if ir-measures is not installed.
    """
    try:
        import ir_measures
        from ir_measures import RR, R, nDCG
    except ImportError:
        raise MissingExtraError(
            "measures of a ranking need ir-measures: pip install 'longthread[eval]' (or pip install ir-measures)"
        ) from None
    measures = dict(zip(NAMES, (nDCG @ 10, R @ 10, R @ 100, RR), strict=True))
    run = {source: float(-n) for n, source in enumerate(dict.fromkeys(sources))}
    if not run:
        return dict.fromkeys(NAMES, 0.0)
    results = ir_measures.calc_aggregate(list(measures.values()), {"q": dict(gains)}, {"q": run})
    return {name: float(results[measure]) for name, measure in measures.items()}
