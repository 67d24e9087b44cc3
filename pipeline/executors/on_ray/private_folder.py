"""The private folder of a local Ray, and the clean-up of its processes when the driver is gone.

Ray makes its folder world-writable (0777), so longthread puts it inside a private one (0700). All processes of that Ray
have the folder's name in their environment. A watcher, this file run as a script, waits for the driver to end, however
it ends, then kills these processes and deletes the folder. The next start cleans up after a killed watcher.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PREFIX = "longthread-ray-"
MARK = "LONGTHREAD_RAY_FOLDER"
"""Environment variable of every process of a Ray that was started here: the private folder."""
_LOCK = "driver.lock"
_SECONDS = 20.0


class PrivateFolder:
    """A new folder for one Ray; close it after Ray's shutdown."""

    def __init__(self) -> None:
        from pipeline.storage.locks import acquire

        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = acquire(self.path / _LOCK)
        script = [sys.executable, "-I", __file__, str(self.path)]
        silent = subprocess.DEVNULL
        self._watcher = subprocess.Popen(
            script, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True
        )

    @property
    def for_ray(self) -> str:
        """Ray's own folder. A short name: the paths of its sockets may have 107 bytes."""
        return str(self.path / "r")

    @contextmanager
    def marked(self) -> Iterator[None]:
        """Marks processes that start inside the context as this folder's Ray."""
        os.environ[MARK] = str(self.path)
        try:
            yield
        finally:
            os.environ.pop(MARK, None)

    def close(self) -> None:
        """Makes the watcher kill the rest of Ray and delete the folder."""
        self._lock.release()
        assert self._watcher.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError):
            self._watcher.stdin.close()
        try:
            self._watcher.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()


def processes_of(folder: Path) -> list[psutil.Process]:
    """Returns all live processes of the Ray in a folder.

    A process that sets its title (Ray's agents) overwrites its environment. It is recognised as a child of another, or
    by the log that it writes into the folder.
    """
    processes: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(folder) or _writes_into(process, folder):
                processes |= {member.pid: member for member in (process, *process.children(recursive=True))}
    return [process for process in processes.values() if is_alive(process)]


def _writes_into(process: psutil.Process, folder: Path) -> bool:
    if not process.name().startswith("ray::"):
        return False
    return any(Path(file.path).is_relative_to(folder) for file in process.open_files())


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs and is no zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def end(folder: Path) -> None:
    """Kills the processes of the Ray in a folder, including new ones, and deletes the folder."""
    until = time.monotonic() + _SECONDS
    while (processes := processes_of(folder)) and time.monotonic() < until:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=1)
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Cleans up after Rays whose driver and watcher are both gone."""
    from pipeline.storage.locks import HeldError, locked

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, HeldError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / _LOCK).exists():
                continue
            with locked(folder / _LOCK):
                end(folder)


def watch(folder: Path) -> None:
    """Waits until the driver is gone, which closes this process's standard input, then cleans up."""
    with contextlib.suppress(OSError):
        while sys.stdin.buffer.read(1):
            pass
    end(folder)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
