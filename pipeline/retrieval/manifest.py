"""The manifest: what an index holds, in one SQLite file. It is the truth about the index.

A file counts from the transaction that writes its row and its chunks' rows, which comes after its vectors are stored.
So a process that is killed leaves files that are wholly there or not there at all, and at worst vectors that no row
owns. `generation` counts the changes to the rows; the saved word index carries the count that it was made from.

The manifest of a published generation is one file that is never written again, and is opened so: SQLite then takes no
lock and wants no file beside it, which a read-only medium could not give.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.documents.places import marks_to_json, pages_of_marks, place_from_json
from pipeline.documents.properties import language_of_text
from pipeline.retrieval.manifest_formats import add_columns, allow_copies, columns, note_languages
from pipeline.retrieval.metadata import Metadata
from pipeline.storage.sqlite import transaction
from pipeline.types import Document, Heading, Passage, Span

FORMAT = 4
READABLE = (2, 3, 4)
"""Formats that can be searched. A writer brings its copy to the newest."""
_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    source TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    title TEXT NOT NULL, kind TEXT NOT NULL, text BLOB NOT NULL, pages TEXT NOT NULL, headings TEXT NOT NULL,
    notes TEXT NOT NULL, lines TEXT NOT NULL, paragraphs TEXT NOT NULL,
    ctime_ns INTEGER NOT NULL DEFAULT 0, inode INTEGER NOT NULL DEFAULT 0,
    labels TEXT NOT NULL DEFAULT '[]', reader TEXT NOT NULL DEFAULT '', author TEXT NOT NULL DEFAULT '',
    date TEXT NOT NULL DEFAULT '', language TEXT NOT NULL DEFAULT ''
);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, source TEXT NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, text TEXT NOT NULL, line INTEGER, page INTEGER, heading TEXT NOT NULL,
    paragraph INTEGER, marks TEXT NOT NULL
);
CREATE INDEX chunks_by_place ON chunks (source, start, stop);
CREATE INDEX chunks_by_id ON chunks (id, source, start);
CREATE TABLE unread (source TEXT PRIMARY KEY, why TEXT NOT NULL) WITHOUT ROWID;
"""
MAX_COPIES = 1000
"""How many places of one text are looked at."""
_TABLES = ("settings", "files", "chunks", "unread")
_PASSAGE = (
    "SELECT c.source, c.start, c.stop, c.text, c.line, c.page, c.heading, c.paragraph, c.marks, f.title, c.row "
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
    """A file as it stood on the disk when it was read.

    `ctime_ns` 0: a later change need not show in these stamps, so only the bytes tell whether the file is the same.
    `reader` is the reader of its format with its version, and the limits that it met: `csv/1` (formats.py).
    """

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0
    reader: str = ""


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A document, its state on the disk, and its chunks: what one row of the manifest stands for."""

    document: Document
    state: FileState
    chunks: tuple[Passage, ...]

    @property
    def ids(self) -> list[str]:
        return [chunk_id(chunk.text) for chunk in self.chunks]


def chunk_id(text: str) -> str:
    """The same for the same text, wherever it stands: it has one vector, and its words count once.

    Chunks of older formats have an id of their own each.
    """
    return hashlib.sha256(f"text\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _chunk_row(chunk: Passage) -> tuple[str | int | None, ...]:
    place = chunk.place
    heading, marks = json.dumps(place.heading), marks_to_json(place)
    return (chunk.source, chunk.start, chunk.end, chunk.text, place.line, place.page, heading, place.paragraph, marks)


class Manifest:
    """An open manifest. Raises sqlite3.Error where the file is damaged, locked or cannot be written."""

    def __init__(self, path: Path, may_write: bool = False) -> None:
        # An older longthread may have been killed, and what it wrote last be in a second file.
        is_whole = not path.with_name(f"{path.name}-wal").exists()
        mode = "rwc" if may_write else "ro&immutable=1" if is_whole else "ro"
        # LangChain asks from threads of a pool, one at a time (pipeline/langchain/retriever.py holds a lock).
        self.db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        if may_write:
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        self.db.close()

    def finish(self) -> None:
        """Makes the manifest one whole file on the disk, before it is published. Closes it."""
        self._set("finished", True)
        (mode,) = self.db.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode != "delete":
            raise sqlite3.OperationalError("its write-ahead log is in use")
        self.close()

    def upgrade(self) -> None:
        """Adds what a manifest of an older format lacks."""
        if self._get("format") == FORMAT:
            return
        with transaction(self.db):
            add_columns(self.db)
            note_languages(self.db, {source: language_of_text(self.document(source)) for source in self.sources()})
            allow_copies(self.db, _SCHEMA.split(";"))
            self._set("format", FORMAT)

    def settings(self) -> Settings | None:
        """What the index was made with; None for a manifest that has not been begun."""
        tables = {name for (name,) in self.db.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return None
        if "settings" not in tables:
            raise sqlite3.DatabaseError("the manifest is not one of longthread's")
        with _decoding():
            values = {key: json.loads(value) for key, value in self.db.execute("SELECT key, value FROM settings")}
        if values.get("format") not in READABLE:
            return Settings("", "", 0, "", values.get("format", 0))
        if not set(values).issuperset(Settings.__dataclass_fields__) or not tables.issuperset(_TABLES):
            raise sqlite3.DatabaseError("its settings are incomplete")
        return Settings(**{name: values[name] for name in Settings.__dataclass_fields__})

    def begin_anew(self, settings: Settings) -> None:
        """Empties the manifest and writes the settings, in one transaction."""
        with transaction(self.db):
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
        """False in what an older longthread leaves when it is interrupted."""
        return bool(self._get("finished"))

    @property
    def n_chunks(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM chunks").fetchone()[0])

    @property
    def n_ids(self) -> int:
        """How many different texts the chunks have: one vector each."""
        return int(self.db.execute("SELECT count(DISTINCT id) FROM chunks").fetchone()[0])

    def sources(self) -> list[str]:
        """Sorted."""
        return [source for (source,) in self.db.execute("SELECT source FROM files ORDER BY source")]

    def states(self) -> dict[str, FileState]:
        names = columns(self.db, "source", "sha256", "size", "mtime_ns", "ctime_ns", "inode", "reader")
        rows = self.db.execute(f"SELECT {names} FROM files ORDER BY source")  # noqa: S608 - names of ours
        return {source: FileState(*state) for source, *state in rows}

    def unread(self) -> list[tuple[str, str]]:
        """(path, reason) of each file that the updates so far passed over or could not read, sorted by path."""
        return [(source, why) for source, why in self.db.execute("SELECT source, why FROM unread ORDER BY source")]

    def set_unread(self, files: Iterable[tuple[str, str]]) -> None:
        with transaction(self.db):
            self.db.execute("DELETE FROM unread")
            self.db.executemany("INSERT OR REPLACE INTO unread VALUES (?, ?)", files)

    def notes(self) -> list[tuple[str, str]]:
        """(path, note) of each thing that a loader left out of a file that was read, sorted by path."""
        rows = self.db.execute("SELECT source, notes FROM files ORDER BY source")
        with _decoding():
            return [(source, note) for source, notes in rows for note in json.loads(notes)]

    def touch(self, states: Mapping[str, FileState]) -> None:
        """Notes new stamps of files whose bytes are the same, by source."""
        with transaction(self.db):
            self.db.executemany(
                "UPDATE files SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ? WHERE source = ?",
                [(s.size, s.mtime_ns, s.ctime_ns, s.inode, source) for source, s in states.items()],
            )

    def ids(self, sources: Sequence[str] | None = None) -> list[str]:
        """The ids of all chunks, or of those of some sources, each once."""
        if sources is None:
            rows = self.db.execute("SELECT id FROM chunks ORDER BY source, start")
            return list(dict.fromkeys(chunk for (chunk,) in rows))
        ids: dict[str, None] = {}
        for source in sources:
            rows = self.db.execute("SELECT id FROM chunks WHERE source = ?", (source,))
            ids.update(dict.fromkeys(row[0] for row in rows))
        return list(ids)

    def without_rows(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids that no chunk has, sorted."""
        query = "SELECT 1 FROM chunks WHERE id = ? LIMIT 1"
        return sorted(id_ for id_ in ids if self.db.execute(query, (id_,)).fetchone() is None)

    def first_rows(self, ids: Iterable[str]) -> list[int]:
        """The row of each text that stands for all chunks with it: the first by source and offset."""
        query = "SELECT row FROM chunks WHERE id = ? ORDER BY source, start LIMIT 1"
        return [row for id_ in ids for (row,) in self.db.execute(query, (id_,))]

    def sources_of(self, ids: Iterable[str]) -> list[str]:
        query = "SELECT source FROM chunks WHERE id = ?"
        return sorted({source for chunk in ids for (source,) in self.db.execute(query, (chunk,))})

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, text) of every text, in the order of source and offset: the first chunk stands for its copies."""
        yield from self.db.execute(
            "SELECT row, text FROM chunks c WHERE NOT EXISTS (SELECT 1 FROM chunks o WHERE o.id = c.id AND "
            "(o.source, o.start) < (c.source, c.start)) ORDER BY source, start, stop"
        )

    def passages_of_id(self, id_: str) -> list[tuple[int, Passage]]:
        """(row, passage) of each chunk with a text, by source and offset; of very many the first."""
        rows = self.db.execute(f"{_PASSAGE} c.id = ? ORDER BY c.source, c.start LIMIT {MAX_COPIES}", (id_,))
        return [(row[-1], _passage_of(row)) for row in rows]

    def id_of_row(self, row: int) -> str:
        return str(self.db.execute("SELECT id FROM chunks WHERE row = ?", (row,)).fetchone()[0])

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
        row = self.db.execute(query, (span.source, span.start, span.end)).fetchone()
        if row is None:
            raise KeyError(f"not a chunk of this index: {span}")
        return str(row[0])

    def document(self, source: str) -> Document:
        """Raises KeyError for a source that is not in the index."""
        names = columns(self.db,
            "sha256", "title", "kind", "text", "pages", "headings", "notes", "lines", "paragraphs", "labels", "author",
            "date", "language",
        )  # fmt: skip
        query = f"SELECT {names} FROM files WHERE source = ?"  # noqa: S608 - names of ours
        row = self.db.execute(query, (source,)).fetchone()
        if row is None:
            raise KeyError(f"not in this index: {source}")
        sha256, title, kind, text, pages, headings, notes, lines, paragraphs, labels, author, date, language = row
        with _decoding():
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
                author=author,
                date=date,
                language=language,
            )

    def metadata(self) -> dict[str, Metadata]:
        """What is known of each document, by source; without author, date and language in an older format."""
        names = columns(self.db, "source", "kind", "title", "author", "date", "mtime_ns", "language", "pages")
        rows = self.db.execute(f"SELECT {names} FROM files ORDER BY source")  # noqa: S608 - names of ours
        with _decoding():
            return {row[0]: _metadata_of(row) for row in rows}

    def chunk_rows(self, sources: Iterable[str]) -> Iterator[tuple[int, str]]:
        """(row, id) of each chunk of the sources."""
        for source in sources:
            yield from self.db.execute("SELECT row, id FROM chunks WHERE source = ?", (source,))

    def chunk_pages(self, sources: Iterable[str]) -> Iterator[tuple[int, str, str, tuple[int, ...]]]:
        """(row, id, source, pages) of each chunk of the sources; no pages for formats without them."""
        query = "SELECT row, id, page, marks FROM chunks WHERE source = ? ORDER BY start"
        for source in sources:
            for row, id_, page, marks in self.db.execute(query, (source,)):
                with _decoding():
                    later = () if page is None else pages_of_marks(marks)
                yield row, id_, source, () if page is None else tuple(dict.fromkeys((page, *later)))

    def pages(self, source: str) -> tuple[int, ...]:
        """The pages that a source's chunks stand on, each once."""
        return tuple(dict.fromkeys(page for _, _, _, pages in self.chunk_pages([source]) for page in pages))

    def replace(self, gone: Sequence[str], files: Sequence[IndexedFile]) -> None:
        """Forgets the sources that are gone and writes the files, in one transaction."""
        with transaction(self.db):
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
            "INSERT INTO files (source, sha256, size, mtime_ns, title, kind, text, pages, headings, notes, lines, "
            "paragraphs, ctime_ns, inode, labels, reader, author, date, language) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                state.ctime_ns,
                state.inode,
                json.dumps(document.labels),
                state.reader,
                document.author,
                document.date,
                document.language,
            ),
        )
        self.db.executemany(
            "INSERT INTO chunks (id, source, start, stop, text, line, page, heading, paragraph, marks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(id_, *_chunk_row(chunk)) for id_, chunk in zip(file.ids, file.chunks, strict=True)],
        )

    def _get(self, key: str) -> Any:
        row = self.db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        with _decoding():
            return json.loads(row[0])

    def _set(self, key: str, value: object) -> None:
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))


def _passage_of(row: Sequence[Any]) -> Passage:
    source, start, end, text, line, page, heading, paragraph, marks, title, _ = row
    with _decoding():
        if end - start < 0 or not isinstance(source, str) or not isinstance(text, str):
            raise ValueError("its place or its text is of another type")
        place = place_from_json(line, page, json.loads(heading), paragraph, marks)
        return Passage(source, start, end, text, place=place, title=title)


def _metadata_of(row: Sequence[Any]) -> Metadata:
    source, kind, title, author, date, mtime_ns, language, pages = row
    return Metadata(source, kind, title, author, date, mtime_ns, language, len(json.loads(pages)))


@contextmanager
def _decoding() -> Iterator[None]:
    """Values of a damaged row raise sqlite3.DatabaseError inside, as a damaged page of the file does."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, zlib.error) as error:
        raise sqlite3.DatabaseError(f"a row of the manifest is damaged: {error}") from error
