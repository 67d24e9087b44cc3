"""The readers of data sets, by the name that `--kind` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.data import beir, hotpotqa, jsonl, musique, smart, squad
from pipeline.evaluation.data.dataset import DataSet
from pipeline.settings import nearest

KINDS: dict[str, Callable[[Path], DataSet]] = {
    "squad": squad.read,
    "hotpotqa": hotpotqa.read,
    "musique": musique.read,
    "beir": beir.read,
    "smart": smart.read,
    "jsonl": jsonl.read,
}


def read_data(kind: str, path: str | Path) -> DataSet:
    """Reads the questions in a file or folder. Raises DataError with the file and the line or place of the fault."""
    if kind not in KINDS:
        raise ConfigError(
            f"there is no kind of data '{kind}'"
            + (nearest(kind, list(KINDS)) or "")
            + f"; there are: {', '.join(KINDS)}"
        )
    if not Path(path).exists():
        raise DataError(f"{path}: no such file or folder")
    return KINDS[kind](Path(path))
