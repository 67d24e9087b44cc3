"""Numbers and sizes in words."""

from __future__ import annotations

from collections.abc import Iterable


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`, `0 indexes`."""
    return f"{n} {noun if n == 1 else plural or f'{noun}s'}"


def listed(names: Iterable[str], n_most: int = 8) -> str:
    """The first names, each once, and how many more there are: `a, b and 3 more`."""
    distinct = list(dict.fromkeys(names))
    n_more = len(distinct) - n_most
    return ", ".join(distinct[:n_most]) + (f" and {n_more} more" if n_more > 0 else "")


def size_text(n_bytes: int) -> str:
    """A size on disk or in memory: `0.3 MB`, `98 MB`, `2.0 GB`."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def below(value: float, limit: float) -> str:
    """A value and the larger limit that it misses, with as many digits as tell them apart: `0.138, below 0.143`."""
    digits = next((n for n in range(2, 17) if f"{value:.{n}f}" != f"{limit:.{n}f}"), 17)
    return f"{value:.{digits}f}, below {limit:.{digits}f}"
