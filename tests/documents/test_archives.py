"""Archives as folders: what is in them, and every limit on what is taken out of them."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from pipeline.documents import archives
from pipeline.documents.archives import members, read_member
from pipeline.errors import DocumentError


def zipped(files: dict[str, bytes | str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def nested(depth: int) -> bytes:
    """A ZIP file inside `depth` others, with a text in the innermost."""
    data = zipped({"a.txt": "A."})
    for _ in range(depth):
        data = zipped({"in.zip": data})
    return data


def test_archives_are_opened_down_to_a_depth(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(nested(2))
    assert members(tmp_path / "a.zip") == {"in.zip/in.zip/a.txt": ""}
    (tmp_path / "b.zip").write_bytes(nested(3))
    assert members(tmp_path / "b.zip") == {"in.zip/in.zip/in.zip": "an archive inside 3 others: unpack it"}


def test_members_are_counted_and_their_bytes_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, bytes | str] = {f"{n}.txt": "x" * 400_000 for n in range(2)}
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({**files, "in.zip": zipped(files)}))
    assert len(members(path)) == 4
    archives._unpacked.cache_clear()
    monkeypatch.setenv("LONGTHREAD_MAX_UNPACKED_MB", "1.5")
    with pytest.raises(DocumentError, match=r"a\.zip: unpacks to 2 MB, and at most 1\.5 MB"):
        members(path)
    monkeypatch.delenv("LONGTHREAD_MAX_UNPACKED_MB")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 4)
    with pytest.raises(DocumentError, match=r"a\.zip: holds more than 4 files: unpack it into a folder"):
        members(path)


def test_nothing_is_unpacked_before_all_of_it_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({f"{n}.txt": "x" * 900_000 for n in range(3)}))
    monkeypatch.setenv("LONGTHREAD_MAX_UNPACKED_MB", "2")
    monkeypatch.setattr("zipfile.ZipFile.read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(DocumentError, match="unpacks to 3 MB"):
        members(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "in/../../out.txt"])
def test_a_name_that_leads_out_is_no_document(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({name: "Out.", "a.txt": "A."}))
    assert members(tmp_path / "a.zip") == {"out.txt": "its name leads out of the archive", "a.txt": ""}


def test_an_encrypted_member_and_a_broken_one_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": "A" * 99, "b.txt": "B" * 99, "c.zip": b"PK\x03\x04no archive"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # the flag of the first member, in both of its headers
    (tmp_path / "a.zip").write_bytes(data)
    found = members(tmp_path / "a.zip")
    assert found["a.txt"] == "encrypted in its archive: unpack it"
    assert found["b.txt"] == ""
    assert found["c.zip"].startswith("a broken archive (")
    assert read_member(tmp_path / "a.zip/b.txt") == b"B" * 99
    with pytest.raises(DocumentError, match="encrypted in its archive"):
        read_member(tmp_path / "a.zip/a.txt")


def test_an_archive_that_changed_is_unpacked_again(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"a.txt": "One."}))
    assert read_member(path / "a.txt") == b"One."
    path.write_bytes(zipped({"a.txt": "Two."}))
    os.utime(path, ns=(1, 1))
    assert read_member(path / "a.txt") == b"Two."


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_both_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.txt", "First.")
        archive.writestr("in/a.txt", "Second.")
    assert members(tmp_path / "a.zip") == {"in/a.txt": "", "in/a (2).txt": ""}
    assert read_member(tmp_path / "a.zip/in/a (2).txt") == b"Second."
