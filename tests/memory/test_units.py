"""The tables of hierarchical memory: places of pieces, and files that an older longthread wrote."""

from pathlib import Path

from memory.hierarchical.units import UnitTables
from pipeline.conversation.transcript import Transcript
from pipeline.documents.chunking import Chunker
from pipeline.documents.load import load
from pipeline.types import Place, Turn

OLD = """CREATE TABLE pieces (
    turn INTEGER PRIMARY KEY, source TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    line INTEGER NOT NULL, page INTEGER, heading TEXT NOT NULL, title TEXT NOT NULL
)"""


def opened(folder: Path, text: str) -> Transcript:
    transcript = Transcript(folder)
    if not transcript.turns:
        transcript.commit(Turn(1, text, "", "2026-11-29T12:00:00Z"))
    return transcript


def test_a_piece_of_a_page_keeps_the_lines_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html>\n<body>\n<p>The lamp was lit\nby Augusta Renn.</p></body></html>")
    [piece] = Chunker(60).chunk(load(tmp_path / "a.html"), lambda texts: [len(text.split()) for text in texts], 60)
    units = UnitTables(opened(tmp_path / "session", piece.text))
    units.add_piece(1, piece)
    [read] = units.pieces().values()
    assert read == piece
    start = piece.text.index("Augusta")
    assert read.part(start, read.end).place.line == 4
    units.transcript.close()


def test_pieces_that_an_older_longthread_wrote_are_read(tmp_path: Path) -> None:
    transcript = opened(tmp_path / "session", "One.\nTwo.")
    transcript.db.execute(OLD)
    transcript.db.execute("INSERT INTO pieces VALUES (1, '/a.txt', 0, 9, 3, NULL, '[\"A\"]', 'A')")
    for _ in range(2):  # the second time there is nothing to convert
        [piece] = UnitTables(transcript).pieces().values()
        assert (piece.text, piece.place) == ("One.\nTwo.", Place(3, None, ("A",)))
        assert piece.part(5, 9).place.line == 4
    transcript.close()
