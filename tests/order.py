"""The order of the test files: the slow ones first, so that no worker begins one when the others are done.

A worker takes whole files (`--dist loadfile`) in this order (`--no-loadscope-reorder`). pytest-xdist's own order is by
the number of tests, in which a file of four tests that kill processes comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

SLOW_FILES: tuple[str, ...] = (
    "tests/memory/test_forgetting.py",
    "tests/cli/test_edges.py",
    "tests/test_readme.py",
    "tests/answers/test_attribution.py",
    "tests/models/test_engine.py",
    "tests/test_wheel.py",
    "tests/compressors/test_contract.py",
    "tests/library/test_library_script.py",
    "tests/cli/test_calibrate.py",
    "tests/cli/test_demo.py",
    "tests/memory/test_crash.py",
    "tests/retrieval/test_interrupted.py",
    "tests/chat/test_terminal.py",
    "tests/models/test_sliding_window.py",
    "tests/compressors/test_extensible.py",
    "tests/cli/test_tutorial.py",
    "tests/retrieval/test_rerankers.py",
    "tests/models/test_catalogue.py",
    "tests/retrieval/test_converted.py",
    "tests/cli/test_hostile.py",
    "tests/models/test_tune.py",
    "tests/test_network.py",
    "tests/cli/test_eval.py",
    "tests/answers/test_reuse.py",
    "tests/models/test_leaks.py",
    "tests/training/test_extensible.py",
    "tests/executors/test_run.py",
    "tests/executors/test_damaged.py",
    "tests/retrieval/test_parallel.py",
    "tests/cli/test_models_try.py",
    "tests/cli/test_thoughts.py",
    "tests/models/test_pieces.py",
    "tests/memory/test_hierarchical.py",
    "tests/memory/test_damaged_session.py",
    "tests/models/test_hybrid.py",
    "tests/chat/test_bytes.py",
    "tests/chat/test_talk.py",
    "tests/models/test_zoo.py",
)
"""Files that start processes, type into terminals, train, or read long prompts: those that take longest first.

A run names the files that took more than SLOW_S seconds and are not here, with what they took.
"""
SLOW_S = 20.0
ALONE: tuple[str, ...] = ("tests/executors", "tests/cli/test_run.py", "tests/test_network.py")
"""Folders and files of the tests with the mark `alone`, which `make test` names in its second run."""


def in_order(items: Iterable[T], file_of: Callable[[T], str]) -> list[T]:
    """Sorts tests by file: SLOW_FILES first, then the files with most tests. The order inside a file stays."""
    items = list(items)
    n_tests = Counter(map(file_of, items))
    slow = {name: place for place, name in enumerate(SLOW_FILES)}
    others = {name: len(slow) + place for place, (name, _) in enumerate(n_tests.most_common())}
    places = others | slow
    return sorted(items, key=lambda item: places[file_of(item)])


def unlisted(seconds: Mapping[str, float]) -> list[str]:
    """A line for each file that is slow and not in SLOW_FILES, the slowest first."""
    slow = sorted(((taken, name) for name, taken in seconds.items() if taken > SLOW_S), reverse=True)
    return [f"{taken:.0f} s: {name}" for taken, name in slow if name not in SLOW_FILES]
