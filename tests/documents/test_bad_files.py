"""Files that are no documents: each is refused with its path, what is wrong, and the way out."""

from __future__ import annotations

import builtins
import inspect
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents.formats import FORMATS
from pipeline.documents.load import load
from pipeline.errors import DocumentError, LongthreadError, MissingExtraError
from tests.documents.docx_file import docx, paragraph
from tests.documents.pdf_file import pdf

OLE = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600
DOCX = docx(paragraph("Text. " * 500))
PDF = pdf([["Text."]])


def torn(archive: bytes, name: str) -> bytes:
    """A ZIP file with its parts compressed, and broken bytes in one of them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.namelist():
            target.writestr(part, source.read(part))
    data = buffer.getvalue()
    start = data.index(name.encode()) + len(name) + 4
    return data[:start] + b"\xff" * 6 + data[start + 6 :]


SUFFIXES = [suffix for format_ in FORMATS.values() for suffix in format_.suffixes if format_.name != "picture"]

BAD = {
    "half.zip": (b"PK\x03\x04junk", r"a broken archive: pack it again$"),
    "blank.mbox": (b"\n\n \n", r"an empty file$"),
    "empty.txt": (b"", r"an empty file$"),
    "blank.md": (b" \n\t\r\n", r"an empty file$"),
    "photo.txt": (b"\x89PNG\r\n\0\0", r"a binary file, not text: what can be read is text, Markdown"),
    "program": (b"\x7fELF\0\0\0", r"a binary file"),
    "cut.txt": (b"\xff\xfeab\0", r"not valid UTF-16, which the file's first bytes announce: save the file again"),
    "nul.txt": ("a\0b".encode("utf-16"), r"a binary file"),
    "secret.pdf": (
        pdf([["Text."]], password="x"),  # noqa: S106
        r"the PDF is encrypted: save it without a password \(qpdf",
    ),
    "text.pdf": (b"just text", r"a broken PDF, or none at all: open it in a viewer"),
    "half.pdf": (PDF[: len(PDF) // 2], r"a broken PDF, or none at all"),
    "scan.pdf": (pdf([[], []]), r"holds no text: pages 1, 2 without text"),
    "text.docx": (b"just text", r"a broken DOCX \(File is not a zip file\): open it in a word processor"),
    "torn.docx": (torn(DOCX, "word/document.xml"), r"a broken DOCX \(Error -3 while decompressing data"),
    "half.docx": (DOCX[: len(DOCX) // 2], r"a broken DOCX"),
    "secret.docx": (OLE, r"a DOCX with a password, or an old DOC: save it as DOCX without one$"),
    "sheet.docx": (
        docx("").replace(b"word/document.xml", b"xl/workbook.xmlxx"),
        r"not a DOCX, for it holds no word/doc",
    ),
    "xml.docx": (docx("<w:p>"), r"a broken DOCX \(mismatched tag"),
    "empty.docx": (docx(""), r"holds no text$"),
    "old.doc": (OLE, r"document of Word 97: save it as DOCX$"),
    "old": (OLE, r"old Office file, or one with a password: save it as DOCX, XLSX or PPTX without a password$"),
    "secret.dat": (OLE + "EncryptedPackage".encode("utf-16-le"), r"Office file with a password: save it without"),
    "empty.html": (b"<html><body></body></html>", r"holds no text$"),
    "comment.html": (b"<!-- -->", r"cannot be parsed as HTML|holds no text"),
}


def test_parts_that_are_nested_deeper_than_python_goes_are_said(tmp_path: Path) -> None:
    """3000 parts in each other do it with Python's own limit, and take the library a minute."""
    (tmp_path / "a.eml").write_bytes(
        b"From: a\nMIME-Version: 1.0\n"
        + b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(150))
    )
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 120)
    try:
        with pytest.raises(DocumentError, match=r"a\.eml: its parts are nested too deeply$"):
            load(tmp_path / "a.eml")
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_path_and_the_way_out(tmp_path: Path, name: str) -> None:
    data, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DocumentError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_vanished_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"gone\.txt: no such file$"):
        load(tmp_path / "gone.txt")
    with pytest.raises(DocumentError, match=r": not a file$"):
        load(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: have the system refuse
        monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(DocumentError, match=r"a\.txt: may not be read: give yourself the right to \(chmod \+r\)$"):
        load(path)


@pytest.mark.parametrize(
    ("name", "data", "library", "extra"),
    [
        ("a.pdf", PDF, "pypdfium2", "pdf"),
        ("a.html", b"<p>Text.</p>", "lxml", "html"),
        ("a.docx", DOCX, "mammoth", "docx"),
    ],
)
def test_a_missing_library_is_told_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, library: str, extra: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    real = builtins.__import__

    def without(module: str, *rest: object, **named: object) -> object:
        if module.split(".")[0] == library:
            raise ImportError(module)
        return real(module, *rest, **named)  # type: ignore[arg-type]

    for module in [module for module in sys.modules if module.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"{library}.*pip install 'longthread\[[a-z,]*{extra}"):
        load(path)


@pytest.fixture(scope="module")
def without_ocr() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.documents.ocr.is_installed", lambda: False)
        yield


@pytest.mark.usefixtures("without_ocr")
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [PDF, DOCX, b"<html><body><p>Text.</p></body></html>", b"# Text\n", b"Subject: a\n\nb: c\n", b'{"a": [1, "b"]}']
    ),
    st.data(),
)
def test_damaged_bytes_give_a_document_or_an_error_of_ours(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for at in draw.draw(st.lists(st.integers(0, len(data) - 1), max_size=12)):
        damaged[at] = draw.draw(st.integers(0, 255))
    suffix = draw.draw(st.sampled_from(SUFFIXES))
    path = Path(f"/tmp/longthread-damaged-{os.getpid()}{suffix}")  # noqa: S108
    path.write_bytes(bytes(damaged[: draw.draw(st.integers(0, len(data)))]))
    try:
        document = load(path)
    except LongthreadError:
        return
    finally:
        path.unlink()
    assert document.text.strip()
    assert all(0 <= heading.start < len(document.text) for heading in document.headings)
