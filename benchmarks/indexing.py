"""How fast documents are indexed, against the least that anyone must do: encode the same chunks and add them to Chroma.

    python benchmarks/indexing.py
    python benchmarks/indexing.py --limit-books 1 --limit-abstracts 200

Indexes Cranfield, CISI and the Gutenberg books as files, through the real update: reading, cutting, counting,
embedding, storing, BM25 and the manifest. The bare way gets the chunks as a list: SentenceTransformer.encode and
Chroma's add, both with their defaults. Weights are loaded before either clock starts, and the two take turns, part by
part, so that a slow moment of the machine meets both. `n_offset_errors` counts chunks whose text does not stand at its
offsets in the indexed document, or whose words do not stand in the file. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.retrieval import DATA, SETS, collection_of, write_files
from pipeline.config import IndexSettings
from pipeline.documents.discover import discover
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import chunker, open_embedder
from pipeline.retrieval.index import DocumentIndex
from pipeline.retrieval.open_index import open_index
from pipeline.retrieval.sentence_folder import SentenceFolder
from pipeline.types import Passage


def lay_out(folder: Path, limit_books: int | None, limit_abstracts: int | None) -> list[Path]:
    """The documents as files: one folder for each part of the work."""
    for name in SETS:
        documents = collection_of(DATA / name).documents
        write_files(dict(list(documents.items())[:limit_abstracts]), folder / name)
    for book in sorted((DATA / "gutenberg").glob("*.txt"))[:limit_books]:
        (folder / book.stem).mkdir()
        (folder / book.stem / book.name).write_bytes(book.read_bytes())
    return sorted(path for path in folder.iterdir() if path.is_dir())


class Clock:
    """Seconds of the wall and seconds of this process's threads: the latter ask less of the machine's peace."""

    def __init__(self) -> None:
        self.started = [perf_counter(), process_time()]

    def read(self) -> NDArray[np.float64]:
        return np.subtract([perf_counter(), process_time()], self.started)


class Bare:
    """sentence-transformers and Chroma, as their front pages show them, with the same weights."""

    def __init__(self, weights: Path, folder: Path) -> None:
        import chromadb
        from chromadb.config import Settings
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(weights), local_files_only=True)
        self.model.encode(["warm"])
        client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        self.collection: Any = client.create_collection(
            "bare", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        self.batch = client.get_max_batch_size()

    def add(self, texts: Sequence[str], start: int) -> None:
        vectors = self.model.encode(list(texts))
        for at in range(0, len(texts), self.batch):
            part = slice(at, at + self.batch)
            ids = [str(start + n) for n in range(len(texts))][part]
            self.collection.add(ids=ids, embeddings=vectors[part])


def offset_errors(index: DocumentIndex, chunks: Sequence[Passage]) -> int:
    """Chunks that are not what stands at their offsets, or whose words, one after the other, the file does not hold."""
    found = 0
    for source in index.sources:
        document = index.document(source)
        original = " ".join(Path(source).read_text(encoding="utf-8-sig").split())
        for chunk in (chunk for chunk in chunks if chunk.source == source):
            at_offsets = document.text[chunk.start : chunk.end] == chunk.text
            found += not (at_offsets and " ".join(chunk.text.split()) in original)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-books", type=int, help="only so many books")
    parser.add_argument("--limit-abstracts", type=int, help="only so many abstracts of each set")
    arguments = parser.parse_args()
    switch_off_telemetry()
    load = os.getloadavg()[0]
    settings = IndexSettings()
    embedder, cutter = open_embedder(settings), chunker(settings)
    assert isinstance(embedder, SentenceFolder)
    embedder.embed(["warm"])
    ours = theirs = np.zeros(2)
    chunks: list[Passage] = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "docs").mkdir()
        parts = lay_out(place / "docs", arguments.limit_books, arguments.limit_abstracts)
        bare = Bare(embedder.folder, place / "bare")
        for part in parts:
            clock = Clock()
            with open_index(place / "index", embedder, cutter, mode="write") as index:
                report = index.update(discover([str(part)]), lambda what, done, total: None)
            took = clock.read()
            assert not report.failed, report.failed
            with open_index(place / "index", embedder, cutter) as index:
                all_chunks = [chunk for source in index.sources for chunk in index.passages(source)]
            fresh = [chunk for chunk in all_chunks if Path(chunk.source).parent == part]
            clock = Clock()
            bare.add([chunk.text for chunk in fresh], len(chunks))
            took_bare = clock.read()
            chunks += fresh
            ours, theirs = ours + took, theirs + took_bare
            print(f"{part.name:10} {len(fresh):5} chunks: {took[0]:6.1f} s; bare {took_bare[0]:6.1f} s", flush=True)
        with open_index(place / "index", embedder, cutter) as index:
            errors = offset_errors(index, chunks)
            n_files = len(index.sources)
    answer = {
        "files": n_files,
        "chunks": len(chunks),
        "seconds": round(ours[0], 2),
        "bare_seconds": round(theirs[0], 2),
        "chunks_per_s": round(len(chunks) / ours[0], 1),
        "ratio_to_bare": round(theirs[0] / ours[0], 3),
        "cpu_seconds": round(ours[1], 2),
        "bare_cpu_seconds": round(theirs[1], 2),
        "cpu_ratio_to_bare": round(theirs[1] / ours[1], 3),
        "n_offset_errors": errors,
        "load_before": round(load, 2),
        "cores": os.cpu_count(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
