"""The `executor` section of a pipeline file: where the stages run. It never changes an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import SettingError
from pipeline.registry import check_types


@dataclass(frozen=True, slots=True)
class StagePool:
    """The actors of one stage.

    :param replicas: number of actors, at least 1. auto: one for each node; for generate, one for each GPU where there
        are any.
    :param num_cpus: cores that Ray reserves for each, at least 0. auto: for generate, those that the other stages
        leave; for others, a little, since they work while the generator waits for them.
    :param num_gpus: GPUs for each, at least 0. auto: for generate, 1 if the cluster has one and llama.cpp was built for
        it.
    :param max_in_flight: number of questions at a time for each, at least 1. auto: for generate, the sequences of its
        engine (`n_seq_max`); for others 2, so that one is ready when another is done.
    """

    replicas: int | Literal["auto"] = "auto"
    num_cpus: float | Literal["auto"] = "auto"
    num_gpus: float | Literal["auto"] = "auto"
    max_in_flight: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        check_types(self, StagePool)
        for name, value, least in (
            ("replicas", self.replicas, 1),
            ("num_cpus", self.num_cpus, 0),
            ("num_gpus", self.num_gpus, 0),
            ("max_in_flight", self.max_in_flight, 1),
        ):
            if not isinstance(value, str) and value < least:
                raise SettingError(name, f"must be at least {least}, was: {value}")


@dataclass(frozen=True)
class ExecutorSettings:
    """How a batch runs: in this process, or as Ray actors. The numbers of a pool are for Ray.

    :param kind: `local` or `ray`; `--executor` on the command line goes before it.
    :param address: address of a running Ray cluster to join (`auto`, `HOST:PORT`); null: Ray is started here and ended.
    :param num_cpus: cores of a Ray that is started here, at least 1. auto: all that this process may use.
    :param object_store_mb: its shared memory in MiB, for the states that go from stage to stage, at least 80.
    :param waiting: largest number of questions that wait before a stage, for each of its places, at least 1: the bound
        on the work in flight.
    :param max_restarts: number of times in a row that a stage's actors may die without an answer before the run is
        stopped, at least 0.
    :param stages: the pool of a stage, by its name (`compress.exit`) or its kind (`generate`).
    """

    kind: Literal["local", "ray"] = "local"
    address: str | None = None
    num_cpus: int | Literal["auto"] = "auto"
    object_store_mb: int = 256
    waiting: int = 2
    max_restarts: int = 8
    stages: dict[str, StagePool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self, ExecutorSettings)
        for name, value, least in (
            ("num_cpus", self.num_cpus, 1),
            ("object_store_mb", self.object_store_mb, 80),
            ("waiting", self.waiting, 1),
            ("max_restarts", self.max_restarts, 0),
        ):
            if not isinstance(value, str) and value < least:
                raise SettingError(name, f"must be at least {least}, was: {value}")

    def pool(self, stage: str) -> StagePool:
        """Returns the settings of a stage, by its name, else by its kind, else the defaults."""
        kind = stage.partition(".")[0]
        return self.stages.get(stage) or self.stages.get(kind) or StagePool()
