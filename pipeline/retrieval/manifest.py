"""The manifest: what an index holds, in one SQLite file. It is the truth about the index.

A file counts from the transaction that writes its row and its chunks' rows, which comes after its vectors are stored.
So a process that is killed leaves files that are wholly there or not there at all, and at worst vectors that no row
owns. `generation` goes up with every change; the saved word index carries the generation that it was made from.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.documents.places import marks_to_json, place_from_json
from pipeline.types import Document, Heading, Passage, Span

NAME = "manifest.sqlite"
FORMAT = 3
_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    source TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    title TEXT NOT NULL, kind TEXT NOT NULL, text BLOB NOT NULL, pages TEXT NOT NULL, headings TEXT NOT NULL,
    notes TEXT NOT NULL, lines TEXT NOT NULL, paragraphs TEXT NOT NULL, labels TEXT NOT NULL, reader TEXT NOT NULL
);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, text TEXT NOT NULL, line INTEGER, page INTEGER, heading TEXT NOT NULL,
    paragraph INTEGER, marks TEXT NOT NULL
);
CREATE INDEX chunks_by_place ON chunks (source, start, stop);
CREATE TABLE unread (source TEXT PRIMARY KEY, why TEXT NOT NULL) WITHOUT ROWID;
"""
_TABLES = ("settings", "files", "chunks", "unread")
_PASSAGE = (
    "SELECT c.source, c.start, c.stop, c.text, c.line, c.page, c.heading, c.paragraph, c.marks, f.title "
    "FROM chunks c JOIN files f ON f.source = c.source WHERE "
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an index was made with. Two indexes of the same settings and files hold the same passages and vectors."""

    embedder: str
    fingerprint: str
    dimension: int
    chunker: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it stood on the disk when it was read, and the reader of its format with its version: `csv/1`."""

    sha256: str
    size: int
    mtime_ns: int
    reader: str = ""


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A document, its state on the disk, and its chunks: what one row of the manifest stands for."""

    document: Document
    state: FileState
    chunks: tuple[Passage, ...]

    @property
    def ids(self) -> list[str]:
        return [chunk_id(chunk, self.document.sha256) for chunk in self.chunks]


def chunk_id(chunk: Passage, sha256: str) -> str:
    """The same for the same characters of the same bytes of a file, in every run."""
    return hashlib.sha256(f"{chunk.source}\0{chunk.start}\0{chunk.end}\0{sha256}".encode()).hexdigest()[:32]


def _chunk_row(chunk: Passage) -> tuple[str | int | None, ...]:
    place = chunk.place
    heading, marks = json.dumps(place.heading), marks_to_json(place)
    return (chunk.source, chunk.start, chunk.end, chunk.text, place.line, place.page, heading, place.paragraph, marks)


class Manifest:
    """An open manifest. Raises sqlite3.Error where the file is damaged, locked or cannot be written."""

    def __init__(self, path: Path) -> None:
        # LangChain asks from threads of a pool, one at a time (pipeline/langchain/retriever.py holds a lock).
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        self.db.close()

    def settings(self) -> Settings | None:
        """What the index was made with; None for a manifest that has not been begun."""
        tables = {name for (name,) in self.db.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return None
        if "settings" not in tables:
            raise sqlite3.DatabaseError("the manifest is not one of longthread's")
        values = {key: json.loads(value) for key, value in self.db.execute("SELECT key, value FROM settings")}
        if values.get("format") != FORMAT:
            return Settings("", "", 0, "", values.get("format", 0))
        if set(values) < set(Settings.__dataclass_fields__) or not tables.issuperset(_TABLES):
            raise sqlite3.DatabaseError("its settings are incomplete")
        return Settings(**{name: values[name] for name in Settings.__dataclass_fields__})

    def begin_anew(self, settings: Settings) -> None:
        """Empties the manifest and writes the settings, in one transaction."""
        with _Transaction(self.db):
            for table in _TABLES:
                self.db.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self.db.execute(statement)
            for key, value in {**asdict(settings), "generation": 0, "finished": True}.items():
                self._set(key, value)

    @property
    def generation(self) -> int:
        return int(self._get("generation"))

    @property
    def is_finished(self) -> bool:
        """False from the first change of an update until its end: an interrupted one leaves it so."""
        return bool(self._get("finished"))

    @is_finished.setter
    def is_finished(self, value: bool) -> None:
        self._set("finished", value)

    @property
    def n_chunks(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def sources(self) -> list[str]:
        """Sorted."""
        return [source for (source,) in self.db.execute("SELECT source FROM files ORDER BY source")]

    def states(self) -> dict[str, FileState]:
        rows = self.db.execute("SELECT source, sha256, size, mtime_ns, reader FROM files ORDER BY source")
        return {source: FileState(*state) for source, *state in rows}

    def unread(self) -> list[tuple[str, str]]:
        """(path, reason) of each file that the updates so far passed over or could not read, sorted by path."""
        return [(source, why) for source, why in self.db.execute("SELECT source, why FROM unread ORDER BY source")]

    def set_unread(self, files: Iterable[tuple[str, str]]) -> None:
        with _Transaction(self.db):
            self.db.execute("DELETE FROM unread")
            self.db.executemany("INSERT OR REPLACE INTO unread VALUES (?, ?)", files)

    def notes(self) -> list[tuple[str, str]]:
        """(path, note) of each thing that a loader left out of a file that was read, sorted by path."""
        rows = self.db.execute("SELECT source, notes FROM files ORDER BY source")
        return [(source, note) for source, notes in rows for note in json.loads(notes)]

    def touch(self, source: str, state: FileState) -> None:
        """Notes a new size and time of a file whose bytes are the same."""
        self.db.execute(
            "UPDATE files SET size = ?, mtime_ns = ? WHERE source = ?", (state.size, state.mtime_ns, source)
        )

    def ids(self, sources: Sequence[str] | None = None) -> list[str]:
        """The ids of all chunks, or of those of some sources."""
        if sources is None:
            return [chunk for (chunk,) in self.db.execute("SELECT id FROM chunks ORDER BY source, start")]
        found: list[str] = []
        for source in sources:
            found += [row[0] for row in self.db.execute("SELECT id FROM chunks WHERE source = ?", (source,))]
        return found

    def rows(self, sources: Sequence[str]) -> list[int]:
        found: list[int] = []
        for source in sources:
            found += [row[0] for row in self.db.execute("SELECT row FROM chunks WHERE source = ?", (source,))]
        return found

    def sources_of(self, ids: Iterable[str]) -> list[str]:
        query = "SELECT source FROM chunks WHERE id = ?"
        return sorted({source for chunk in ids for (source,) in self.db.execute(query, (chunk,))})

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, text) of every chunk, in the order of source and offset."""
        yield from self.db.execute("SELECT row, text FROM chunks ORDER BY source, start, stop")

    def passages_of_ids(self, ids: Sequence[str]) -> list[Passage | None]:
        """The passages of those ids, in their order; None for an id that no row owns."""
        return [self._passage("c.id = ?", chunk) for chunk in ids]

    def passage_of_row(self, row: int) -> Passage:
        passage = self._passage("c.row = ?", row)
        if passage is None:
            raise KeyError(f"no chunk has the row {row}")
        return passage

    def passages_of_source(self, source: str) -> list[Passage]:
        """All passages of one source in the order of the document; none for a source that is not in the index."""
        rows = self.db.execute(f"{_PASSAGE} c.source = ? ORDER BY c.start, c.stop", (source,))
        return [_passage_of(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many passages each source has, by source; an empty document has none."""
        query = (
            "SELECT f.source, count(c.row) FROM files f LEFT JOIN chunks c ON c.source = f.source "
            "GROUP BY f.source ORDER BY f.source"
        )
        return dict(self.db.execute(query))

    def titles(self) -> dict[str, str]:
        """The title of each document, by source."""
        return dict(self.db.execute("SELECT source, title FROM files ORDER BY source"))

    def id_of(self, span: Span) -> str:
        """Raises KeyError for a span that is not a chunk."""
        query = "SELECT id FROM chunks WHERE source = ? AND start = ? AND stop = ?"
        found = self.db.execute(query, (span.source, span.start, span.end)).fetchone()
        if found is None:
            raise KeyError(f"not a chunk of this index: {span}")
        return str(found[0])

    def document(self, source: str) -> Document:
        """Raises KeyError for a source that is not in the index."""
        query = "SELECT sha256, title, kind, text, pages, headings, notes, lines, paragraphs, labels FROM files "
        query += "WHERE source = ?"
        found = self.db.execute(query, (source,)).fetchone()
        if found is None:
            raise KeyError(f"not in this index: {source}")
        sha256, title, kind, text, pages, headings, notes, lines, paragraphs, labels = found
        return Document(
            source=source,
            text=zlib.decompress(text).decode("utf-8", "surrogatepass"),
            kind=kind,
            sha256=sha256,
            title=title,
            pages=tuple(json.loads(pages)),
            headings=tuple(Heading(*heading) for heading in json.loads(headings)),
            notes=tuple(json.loads(notes)),
            lines=tuple((offset, line) for offset, line in json.loads(lines)),
            paragraphs=tuple(json.loads(paragraphs)),
            labels=tuple((offset, label) for offset, label in json.loads(labels)),
        )

    def replace(self, gone: Sequence[str], files: Sequence[IndexedFile]) -> None:
        """Forgets the sources that are gone and writes the files, in one transaction."""
        with _Transaction(self.db):
            for source in (*gone, *(file.document.source for file in files)):
                self.db.execute("DELETE FROM files WHERE source = ?", (source,))
                self.db.execute("DELETE FROM chunks WHERE source = ?", (source,))
            for file in files:
                self._insert(file)
            self._set("generation", self.generation + 1)

    def _insert(self, file: IndexedFile) -> None:
        document, state = file.document, file.state
        headings = [(heading.start, heading.level, heading.title) for heading in document.headings]
        self.db.execute(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                document.source,
                state.sha256,
                state.size,
                state.mtime_ns,
                document.title,
                document.kind,
                zlib.compress(document.text.encode("utf-8", "surrogatepass"), 3),
                json.dumps(document.pages),
                json.dumps(headings),
                json.dumps(document.notes),
                json.dumps(document.lines),
                json.dumps(document.paragraphs),
                json.dumps(document.labels),
                state.reader,
            ),
        )
        self.db.executemany(
            "INSERT INTO chunks (id, source, start, stop, text, line, page, heading, paragraph, marks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(id_, *_chunk_row(chunk)) for id_, chunk in zip(file.ids, file.chunks, strict=True)],
        )

    def _passage(self, where: str, value: str | int) -> Passage | None:
        found = self.db.execute(_PASSAGE + where, (value,)).fetchone()
        return None if found is None else _passage_of(found)

    def _get(self, key: str) -> Any:
        return json.loads(self.db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()[0])

    def _set(self, key: str, value: Any) -> None:
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))


def _passage_of(row: Sequence[Any]) -> Passage:
    source, start, end, text, line, page, heading, paragraph, marks, title = row
    place = place_from_json(line, page, json.loads(heading), paragraph, marks)
    return Passage(source, start, end, text, place=place, title=title)


class _Transaction:
    """All of it or, on an error, nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __enter__(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if self.db.in_transaction:
            self.db.execute("COMMIT" if kind is None else "ROLLBACK")
