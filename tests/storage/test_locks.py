"""Locks between processes, and the notes of their holders."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.locks import HeldError, Holder, acquire, locked, note_files, read_holder, write_holder


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    with pytest.raises(HeldError, match="another process holds it"):
        acquire(tmp_path / "lock")
    with pytest.raises(HeldError, match="another process holds it"), locked(tmp_path / "lock"):
        pass
    lock.release()
    with locked(tmp_path / "lock"), pytest.raises(HeldError, match="another process holds it"):
        acquire(tmp_path / "lock")
    acquire(tmp_path / "lock").release()


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pipeline.storage.locks import acquire\n"
        "lock = acquire(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(HeldError, match="another process holds it"):
        acquire(tmp_path / "lock")
    child.kill()
    child.communicate()
    acquire(tmp_path / "lock").release()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_private_lock_and_its_note_are_closed_to_others(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", wait=True, private=True):
        write_holder(tmp_path / "note", Holder(), private=True)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "lock": 0o600,
        "note": 0o600,
    }


def test_the_note_names_who_holds_it_and_how_far_it_is(tmp_path: Path) -> None:
    assert read_holder(tmp_path / "note") is None
    holder = Holder(what="embed", done=3, total=9)
    write_holder(tmp_path / "note", holder)
    assert read_holder(tmp_path / "note") == holder
    assert holder.pid == os.getpid()
    assert {path.name for path in tmp_path.iterdir()} <= note_files(tmp_path / "note")


def test_the_note_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "note").write_text(json.dumps({"pid": 7, "since": "2026-11-01 12:00:00+00:00"}), "utf-8")
    assert read_holder(tmp_path / "note") == Holder(7, "2026-11-01 12:00:00+00:00")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"pid": 7}', '{"pid": "7", "since": "now"}', '{"pid": 7, "x": 1}']
)
def test_a_damaged_note_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "note").write_text(text, "utf-8")
    assert read_holder(tmp_path / "note") is None
