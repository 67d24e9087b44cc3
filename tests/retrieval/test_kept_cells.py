"""What an index has no more is in no kept cells on disk."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.models.piece_store import PieceStore
from pipeline.types import Piece
from tests.retrieval.folders import update, write
from tests.retrieval.letters import Letters

MODEL = "ab" * 32


def keep(store: PieceStore, n: int, text: str) -> Path:
    tokens, state = np.arange(2, dtype=np.int32), np.zeros(64, np.uint8)
    store.put(
        Piece(f"{n:02x}" * 32, MODEL, "prefix", 0, tokens, state, f"<passage>\n{text}\n</passage>\n", "You answer.")
    )
    assert store.flush(30)
    return store.path(f"{n:02x}" * 32)


def test_changed_and_removed_passages_lose_their_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    texts = {"a.txt": "Seven herons stand there.", "b.txt": "The keeper\nhas a lamp.", "c.txt": "Salt is dear."}
    docs, embedder = write(tmp_path / "docs", texts), Letters()
    update(tmp_path / "index", docs, embedder)
    store = PieceStore(tmp_path / "cache" / "pieces", MODEL, 1 << 20, 1 << 20)
    herons, keeper, salt = (keep(store, n, text.replace("\n", " ")) for n, text in enumerate(texts.values()))
    store.close()

    write(docs, {"b.txt": "The keeper has no lamp."})
    (docs / "a.txt").unlink()
    update(tmp_path / "index", docs, embedder)
    assert [path.exists() for path in (herons, keeper, salt)] == [False, False, True]
