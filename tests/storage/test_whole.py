"""Files written whole or not at all."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.storage.whole import is_left_over, new_file, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_whole(str(path), "Żak\r\nnext\n")
    assert path.read_bytes() == "Żak\r\nnext\n".encode()
    assert names(tmp_path) == ["a.txt"]


def test_a_lone_surrogate_becomes_its_escape(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", '"caf\udce9"')
    assert (tmp_path / "a.json").read_text("utf-8") == '"caf\\udce9"'


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(ZeroDivisionError, match="by zero"), new_file(path) as temporary:
        temporary.write_text("half of the n")
        assert 1 / 0
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        write_whole(path, "new")
    assert caught.value.filename == str(path)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a write says no file
    with pytest.raises(OSError, match="No space left") as caught_full, new_file(tmp_path / "b.txt"):
        raise full
    assert caught_full.value.filename == str(tmp_path / "b.txt")
    with pytest.raises(OSError, match="irectory"):
        write_whole(tmp_path, "new")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_is_written_to_and_stays_a_device() -> None:
    write_whole("/dev/null", "gone")
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole("/dev/full", "too much")
    assert caught.value.filename == "/dev/full"
    assert all(stat.S_ISCHR(os.stat(path).st_mode) for path in ("/dev/null", "/dev/full"))


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_whole(tmp_path / "real" / "a.txt", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a.txt")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    old = os.umask(0o022)
    try:
        write_whole(path, "public")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        path.chmod(0o640)
        write_whole(path, "as it was")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        write_whole(path, "private", private=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with new_file(tmp_path / "b", private=True) as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_long_name_has_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("ż" * 127)  # 254 bytes of the 255 that a name may have
    write_whole(path, "new")
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "0" * 100_000)
    code = (
        "import sys\nfrom pipeline.storage.whole import write_whole\nprint(flush=True)\n"
        "for n in range(10**9):\n    write_whole(sys.argv[1], str(n % 10) * 100_000)\n"
    )
    for delay in (0.0, 0.003, 0.01, 0.03, 0.1):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        text = path.read_text()
        assert len(text) == 100_000
        assert len(set(text)) == 1
    assert all(is_left_over(other) for other in tmp_path.iterdir() if other != path)
    assert not is_left_over(path)
