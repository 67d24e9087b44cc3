"""Ray's life cycle: starts or joins it, quietly, without dashboard and telemetry, and shuts it down.

Ray takes some seconds and a gigabyte of memory to start.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import psutil

from pipeline.config.executor import ExecutorSettings
from pipeline.errors import MissingExtraError, RunError
from pipeline.executors.on_ray.private_folder import PrivateFolder, is_alive, processes_of
from pipeline.offline import switch_off_telemetry

_QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, Ray keeps to 127.0.0.1 on every system, and looks for no other address. It reads it when it is imported."""


_SERVICES = {
    "gcs_server": "GCS",
    "raylet/raylet": "raylet",
    "ray::RuntimeEnvAgent": "RuntimeEnvAgent",
    "ray::DashboardAgent": "DashboardAgent",
}
"""Ray's own processes, by a part of their command line or title. Without one, new actors wait for minutes."""
_SHUTDOWN_S = 20.0


def library(is_alone: bool = False) -> ModuleType:
    """Imports `ray`, silenced; with `is_alone` restricted to this machine's loopback.

    Raises MissingExtraError with the install line.
    """
    switch_off_telemetry()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if is_alone:
        os.environ.setdefault(_LOOPBACK, "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError(
            'Ray is not installed: pip install "longthread[ray]", or use the `executor` local'
        ) from None
    module: ModuleType = ray
    return module


@dataclass(frozen=True)
class Node:
    """A machine of the cluster and its total resources."""

    id: str
    address: str
    cpus: float
    gpus: float


class Session:
    """A connection to Ray. An existing connection is used and left open."""

    def __init__(self, settings: ExecutorSettings) -> None:
        """Raises RunError if no Ray answers at the address, or if Ray cannot be started."""
        self._token = own_token() if settings.address is None else {}  # read when ray is imported
        ray = self.ray = library(is_alone=settings.address is None)
        self._folder: PrivateFolder | None = None
        self._services: dict[str, psutil.Process] = {}
        self.is_ours = not ray.is_initialized()
        self.start_s = 0.0
        if not self.is_ours:
            return
        start = time.perf_counter()
        _hush(ray)
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        try:
            if settings.address is not None:
                ray.init(address=settings.address, **quiet)
            else:
                self._folder = PrivateFolder()
                with _with_few_processes(), self._folder.marked():
                    ray.init(
                        address="local",
                        num_cpus=cores() if settings.num_cpus == "auto" else settings.num_cpus,
                        object_store_memory=settings.object_store_mb << 20,
                        include_dashboard=False,
                        _temp_dir=self._folder.for_ray,
                        **quiet,
                    )
        except Exception as error:  # Ray raises a bare Exception if its node is not up in 30 s
            self.close()
            where = f"no Ray can be joined at {settings.address}" if settings.address else "Ray cannot be started here"
            raise RunError(f"{where}: {str(error).splitlines()[0]}") from None
        self.start_s = time.perf_counter() - start

    @property
    def is_private(self) -> bool:
        """Whether this session started its own Ray."""
        return self._folder is not None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The live nodes with cores, ordered by id."""
        nodes = [
            Node(
                entry["NodeID"],
                entry["NodeManagerAddress"],
                entry["Resources"].get("CPU", 0),
                entry["Resources"].get("GPU", 0),
            )
            for entry in self.ray.nodes()
            if entry["Alive"]
        ]
        return tuple(sorted((node for node in nodes if node.cpus > 0), key=lambda node: node.id))

    def ended_service(self) -> str:
        """Returns the name of a process of Ray's own that has ended for good; empty if all are alive.

        For a joined Ray it only checks that a node with cores is left.
        """
        if self._folder is None:
            return "" if self.nodes else "last node"
        for name, process in self._services.items():
            if not is_alive(process):
                return name
        if len(self._services) < len(_SERVICES):  # Ray starts its agents later than itself
            for process in processes_of(self._folder.path):
                with contextlib.suppress(psutil.Error):
                    command = process.cmdline()[0]
                    for name in [name for part, name in _SERVICES.items() if part in command]:
                        self._services.setdefault(name, process)
        return ""

    def close(self) -> None:
        """Leaves Ray, and shuts it down if this session started it. Kills a Ray that does not answer."""
        if self.is_ours:
            leaving = threading.Thread(target=self.ray.shutdown, daemon=True)
            leaving.start()
            leaving.join(_SHUTDOWN_S)
        for name in self._token:
            os.environ.pop(name, None)
        if self._folder is not None:
            self._folder.close()


def _hush(ray: ModuleType) -> None:
    """Silences Ray, which prints a worker's death to stdout despite `log_to_driver`; our records hold it."""
    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *arguments, **named: None


@contextlib.contextmanager
def _with_few_processes() -> Iterator[None]:
    """Keeps Ray from starting its dashboard process and its log monitor.

    Ray starts the first even if the dashboard is disabled. That process then queries the metadata services of three
    clouds before it checks whether usage statistics are disabled (UsageStatsHead.run, Ray 2.60). Ray has no switch for
    it, and longthread does not use it. The second takes 1 % of a core for lines that nobody reads.
    """
    from ray._private.node import Node

    start, monitor = Node.start_api_server, Node.start_log_monitor
    Node.start_api_server = lambda self, **how: None
    Node.start_log_monitor = lambda self, **how: None
    try:
        yield
    finally:
        Node.start_api_server, Node.start_log_monitor = start, monitor


def own_token() -> dict[str, str]:
    """Sets a token, so that no other user of the machine can use this Ray; the user's own settings take precedence."""
    if "RAY_AUTH_MODE" in os.environ or "RAY_AUTH_TOKEN" in os.environ:
        return {}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _secret()}
    os.environ.update(token)
    return token


@cache
def _secret() -> str:
    """Returns one secret per process: Ray reads it once, and a second Ray needs the same."""
    return secrets.token_hex(32)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
