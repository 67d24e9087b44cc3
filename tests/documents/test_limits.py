"""No file takes all memory: what is too large is refused before it is read or unpacked, and that can be set."""

import gzip
import io
import os
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from PIL.Image import Image

from pipeline.documents.archives import members
from pipeline.documents.discover import OUTPUT, OUTSIDE, discover
from pipeline.documents.limits import read_file, read_stream
from pipeline.documents.load import load
from pipeline.errors import ConfigError, DataError, DocumentError
from pipeline.executors.samples import read_samples
from tests.documents.pdf_file import pdf
from tests.retrieval.folders import write


def bomb(member: str, n_bytes: int) -> bytes:
    """An archive of few bytes that unpacks to many."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, b" " * n_bytes)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "member"),
    [
        ("epub", "chapter.txt"),  # a page may have any name
        ("docx", "word/document.xml"),
        ("xlsx", "xl/workbook.xml"),
        ("pptx", "ppt/presentation.xml"),
        ("odt", "content.xml"),
        ("epub", "chapter.xhtml"),
    ],
)
def test_an_archive_that_unpacks_to_more_than_the_limit_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, member: str
) -> None:
    monkeypatch.setenv("LONGTHREAD_MAX_UNPACKED_MB", "2")
    path = tmp_path / f"bomb.{suffix}"
    path.write_bytes(bomb(member, 3_000_000))
    monkeypatch.setattr("zipfile.ZipFile.read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(DocumentError, match=r"bomb\.\w+: unpacks to 3 MB, and at most 2 MB .*LONGTHREAD_MAX_UNPACKED"):
        load(path)


def test_a_type_that_unpacks_to_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.odt"
    path.write_bytes(bomb("mimetype", 100_000_000))
    tracemalloc.start()
    with pytest.raises(DocumentError, match=r"no item named 'content\.xml'"):
        load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_a_tar_is_not_unpacked_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    monkeypatch.setenv("LONGTHREAD_MAX_UNPACKED_MB", "2")
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 100_000_000
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(DocumentError, match=r"bomb\.tar\.gz: unpacks to 100 MB, and at most 2 MB"):
        members(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_in_each_compression(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in ("a.txt", "n" * 200 + ".txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"One"))
    assert members(path) == {"a.txt": "", "n" * 200 + ".txt": ""}
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if mode != "w" else b"torn")
    with pytest.raises(DocumentError, match=r"a\.tar: a broken archive \(.*\): pack it again$"):
        members(path)


def test_a_stray_cell_far_down_costs_no_time(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["name", "n"])
    sheet.append(["Ida", 3])
    sheet["XFD1048576"] = "stray"
    book.save(tmp_path / "a.xlsx")
    start = time.monotonic()
    document = load(tmp_path / "a.xlsx")
    assert document.text == "name: Ida; n: 3\nstray"
    assert document.place(document.text.index("stray")).label == "Sheet!XFD1048576"
    assert time.monotonic() - start < 20


def test_merged_cells_without_end_are_refused(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["name", "n"])
    sheet.append(["Ida", 3])
    sheet.merge_cells("D1:E9")
    book.save(tmp_path / "few.xlsx")
    assert load(tmp_path / "few.xlsx").text == "name: Ida; n: 3"
    with zipfile.ZipFile(tmp_path / "few.xlsx") as few, zipfile.ZipFile(tmp_path / "all.xlsx", "w") as target:
        for name in few.namelist():
            target.writestr(name, few.read(name).replace(b"D1:E9", b"D1:XFD1048576"))
    with pytest.raises(DocumentError, match=r"all\.xlsx: merges 17176723456 cells, whole columns or rows"):
        load(tmp_path / "all.xlsx")


def test_a_page_as_large_as_a_hall_is_drawn_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.documents import ocr

    drawn: list[tuple[int, int]] = []

    def recognise(image: Image) -> ocr.Recognised:
        drawn.append(image.size)
        return ocr.Recognised("A sign.", 1.0)

    monkeypatch.setattr(ocr, "is_installed", lambda: True)
    monkeypatch.setattr(ocr, "recognise", recognise)
    monkeypatch.setattr(ocr, "MAX_PIXELS", 250_000)
    data = pdf([[]])
    assert b"[0 0 612 792]" in data
    (tmp_path / "hall.pdf").write_bytes(data)
    assert load(tmp_path / "hall.pdf").text == "A sign."
    ((width, height),) = drawn
    assert 200_000 < width * height < 260_000
    monkeypatch.setattr(ocr, "MAX_PIXELS", 50_000_000)
    load(tmp_path / "hall.pdf")
    assert drawn[1] == (1700, 2200)  # 200 dpi


def test_a_sparse_file_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_MAX_FILE_MB", "1")
    with (tmp_path / "sparse.txt").open("wb") as stream:
        stream.truncate(5_000_000_000)
    with pytest.raises(DocumentError, match=r"holds 5000 MB, and at most 1 MB .*LONGTHREAD_MAX_FILE_MB higher"):
        load(tmp_path / "sparse.txt")


def test_a_stream_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_MAX_FILE_MB", "1.5")
    assert read_stream(io.BytesIO(b"x" * 1_500_000), "standard input") == b"x" * 1_500_000
    with open("/dev/zero", "rb") as zeros, pytest.raises(DocumentError, match=r"holds more than 1\.5 MB"):
        read_stream(zeros, "standard input")


@pytest.mark.parametrize("name", ["zero.jsonl", "zero.csv"])
def test_a_device_holds_no_questions(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device, not a file"):
        read_samples(tmp_path / name)


def test_a_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_MAX_LINE_MB", "1")
    write(tmp_path, {"long.txt": "word " * 400_000, "lines.txt": "word\n" * 400_000})
    with pytest.raises(DocumentError, match=r"a line of 2 million characters, and at most 1 million are read"):
        load(tmp_path / "long.txt")
    assert len(load(tmp_path / "lines.txt").text) == 2_000_000


def test_a_limit_that_is_no_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_MAX_FILE_MB", "much")
    with pytest.raises(ConfigError, match="LONGTHREAD_MAX_FILE_MB must be a number of megabytes above 0, was: much"):
        read_file(write(tmp_path, {"a.txt": "a"}) / "a.txt")


def test_links_in_a_circle_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DocumentError, match="a: a link in a circle"):
        discover([str(tmp_path / "a")])
    (tmp_path / "c").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DocumentError, match="c: a link to nothing"):
        discover([str(tmp_path / "c")])


@pytest.mark.parametrize("pattern", ["", "/*", "/**"])
def test_a_link_that_leaves_the_folder_is_followed_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    secret = write(tmp_path / "elsewhere", {"secret.txt": "The code is 1234."})
    docs = write(tmp_path / "docs", {"a.txt": "A page."})
    (docs / "file.txt").symlink_to(secret / "secret.txt")
    (docs / "folder").symlink_to(secret)
    (docs / "inside.txt").symlink_to(docs / "a.txt")
    found = discover([f"{docs}{pattern}"])
    assert found.files == (docs / "a.txt",)
    assert {path for path, why in found.skipped if why == OUTSIDE} == {f"{docs}/file.txt", f"{docs}/folder"}
    assert discover([str(docs / "file.txt")]).files == (secret / "secret.txt",)  # named, so asked for
    monkeypatch.setenv("LONGTHREAD_FOLLOW_LINKS", "1")
    assert discover([f"{docs}{pattern}"]).files == (docs / "a.txt", secret / "secret.txt")


def test_what_longthread_wrote_is_no_document(tmp_path: Path) -> None:
    docs = write(
        tmp_path / "docs",
        {
            "a.txt": "A page.",
            "out/run.json": "{}",
            "out/records.jsonl": "{}",
            "eval/eval.json": "{}",
            "eval/summary.json": "{}",
            "eval/arm/run.json": "{}",
            "other/run.json": "{}",
        },
    )
    found = discover([str(docs)])
    assert [path.name for path in found.files] == ["a.txt", "run.json"]
    assert dict(found.skipped) == {f"{docs}/out": OUTPUT, f"{docs}/eval": OUTPUT}
    assert len(discover([str(docs / "out")]).files) == 2  # named, so asked for
    assert os.path.isdir(docs / "out")
