"""Overlaps of spans, in characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.types import Span


def union(spans: Iterable[Span]) -> dict[str, list[tuple[int, int]]]:
    """The union of the spans: disjoint (start, end) stretches for each source, in order."""
    by_source: dict[str, list[tuple[int, int]]] = {}
    for span in spans:
        by_source.setdefault(span.source, []).append((span.start, span.end))
    return {source: _merged(stretches) for source, stretches in by_source.items()}


def _merged(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif start < end:
            merged.append((start, end))
    return merged


def n_chars(spans: Iterable[Span]) -> int:
    """Counts the characters that the spans cover, each once."""
    return sum(end - start for stretches in union(spans).values() for start, end in stretches)


def n_common(some: Iterable[Span], others: Iterable[Span]) -> int:
    """Counts the characters that both sets of spans cover."""
    a, b = union(some), union(others)
    return sum(
        max(0, min(end, stop) - max(start, begin))
        for source in a.keys() & b.keys()
        for start, end in a[source]
        for begin, stop in b[source]
    )


def touches(span: Span, others: Sequence[Span]) -> bool:
    """Whether the span overlaps one of the others."""
    return any(span.source == o.source and span.start < o.end and o.start < span.end for o in others)
