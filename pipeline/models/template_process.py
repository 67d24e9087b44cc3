"""Runs chat templates in a separate process, with limits of time and memory, and caches their output.

`chat_template.py` sends marks instead of contents. A template's output therefore depends only on the shape of the
conversation, and is cached in memory and on disk: most prompts start no process.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.storage.cache import cache_folder
from pipeline.storage.files import write_json

_WORKER_FILE = Path(__file__).with_name("template_worker.py")
MEMORY = 1 << 29
"""Bytes of address space for the process."""
SECONDS = 10.0
"""Time limit for the renderings of one request, which usually take milliseconds."""
_START_SECONDS = 60.0
"""Time limit for the process's start: it imports jinja, while the machine may be loading weights."""
_MOST_KEPT = 1000
"""Limit of cached renderings on disk per template."""


@dataclass(frozen=True)
class Rendering:
    """The output of a template, or in `error` its exception."""

    text: str = ""
    error: str = ""


class TemplateLimitError(ModelError):
    """A template took too much time or memory, or ended its process."""


class Worker:
    """The process, started on first use and again after it ended. Concurrent calls wait for one another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()

    def ask(self, work: Mapping[str, object]) -> list[Rendering]:
        """Sends work to the process. Raises TemplateLimitError if it does not answer in time, or ends."""
        with self._lock:
            if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
                self.close()
                self._process = self._start()
            reply = self._exchange(self._process, json.dumps(work), SECONDS)
            if not reply:
                is_memory = self._process.wait() == 3
                self.close()
                limit = f"{MEMORY >> 20} MB of memory" if is_memory else f"{SECONDS:.0f} seconds"
                raise TemplateLimitError(f"it needs more than {limit}, or ends the process")
            return [Rendering(**rendering) for rendering in json.loads(reply)]

    def close(self) -> None:
        """Ends the process, unless it belongs to the process that this one was forked from."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process, self._owner = None, os.getpid()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER_FILE), str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            start_new_session=True,  # the parent alone handles Ctrl-C
        )
        hello = {"template": "", "day": "2000-01-01", "requests": []}
        if not self._exchange(process, json.dumps(hello), _START_SECONDS):
            process.kill()
            process.communicate()
            raise ModelError(f"{sys.executable} cannot start the process that renders chat templates")
        return process

    @staticmethod
    def _exchange(process: subprocess.Popen[str], line: str, seconds: float) -> str:
        """Returns the answer to a line; empty if the process ended, or was killed after the time limit."""
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return process.stdout.readline()
        except (BrokenPipeError, OSError):
            return ""
        finally:
            timer.cancel()


_WORKER = Worker()
atexit.register(_WORKER.close)


@dataclass(eq=False)
class Renderer:
    """One template on one day. Its output is cached by request."""

    source: str
    day: str
    _kept: dict[str, Rendering] = field(init=False, repr=False)
    _limit: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        identity = json.dumps([self.source, self.day, _code_digest()])
        digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        self._path = cache_folder() / "templates" / f"{digest[:32]}.json"
        self._kept = self._read()

    def render(self, requests: Sequence[Mapping[str, object]]) -> list[Rendering]:
        """Renders each request. Raises TemplateLimitError; a template that exceeded a limit is not tried again."""
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._kept}
        if missing:
            if self._limit:
                raise TemplateLimitError(self._limit)
            try:
                work = {"template": self.source, "day": self.day, "requests": list(missing.values())}
                self._kept.update(zip(missing, _WORKER.ask(work), strict=True))
            except TemplateLimitError as error:
                self._limit = str(error)
                raise
            self._write()
        return [self._kept[key] for key in keys]

    def _read(self) -> dict[str, Rendering]:
        try:
            return {key: Rendering(**rendering) for key, rendering in json.loads(self._path.read_text("utf-8")).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self) -> None:
        """Writes the cache. Another process may have written meanwhile: its entries are lost and rendered again."""
        latest = dict(list(self._kept.items())[-_MOST_KEPT:])
        try:
            write_json(
                self._path,
                {key: {"text": rendering.text, "error": rendering.error} for key, rendering in latest.items()},
            )
        except (ModelError, UnicodeError):
            return  # a full or read-only disk costs time, not the prompt


def _code_digest() -> str:
    return hashlib.sha256(_WORKER_FILE.read_bytes()).hexdigest()
