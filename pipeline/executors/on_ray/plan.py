"""Resolves every `auto` of the section `executor` on a cluster: actors and resources for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import PipelineConfig
from pipeline.errors import RunError
from pipeline.executors.on_ray.session import Node
from pipeline.registry import stage_name

_LIGHT = 0.1
"""Cores for a stage before `generate`: few enough that all stages fit and `generate` gets the rest."""
_LIGHT_IN_FLIGHT = 2


@dataclass(frozen=True)
class PoolPlan:
    """The actors of one stage. `threads` None leaves the choice to the engine."""

    stage: str
    replicas: int
    num_cpus: float
    num_gpus: float
    max_in_flight: int
    threads: int | None = None

    @property
    def places(self) -> int:
        """The questions that its actors hold together."""
        return self.replicas * self.max_in_flight

    def __str__(self) -> str:
        gpus = f", {self.num_gpus:g} GPUs" if self.num_gpus else ""
        threads = f", {self.threads} threads" if self.threads else ""
        actors = "1 actor" if self.replicas == 1 else f"{self.replicas} actors"
        return f"{self.stage}: {actors} of {self.num_cpus:g} cores{gpus}{threads}, {self.max_in_flight} at a time"


def plan(config: PipelineConfig, nodes: Sequence[Node]) -> tuple[PoolPlan, ...]:
    """Plans one pool per stage, in order. Raises RunError for a pool that no node can hold."""
    if not nodes:
        raise RunError("the Ray cluster has no node with cores")
    settings = config.executor
    n_gpus = int(sum(node.gpus for node in nodes))
    smallest = min(node.cpus for node in nodes)
    n_light = len(config.stages) - 1
    light = min(_LIGHT, smallest / 2 / max(1, n_light))
    taken = sum(
        light
        if (pool := settings.pool(stage_name(stage))).num_cpus == "auto"
        else float(pool.num_cpus) * _replicas(pool.replicas, 1)
        for stage in config.stages[:-1]
    )
    pools = []
    for stage in config.stages:
        pool = settings.pool(stage_name(stage))
        is_last = stage is config.stages[-1]
        gpus = (1.0 if is_last and n_gpus else 0.0) if pool.num_gpus == "auto" else float(pool.num_gpus)
        replicas = _replicas(pool.replicas, n_gpus if is_last and gpus else len(nodes))
        each_node = -(-replicas // len(nodes))
        heavy = max(light, round((smallest - taken) / each_node, 2)) if smallest > taken else light
        cpus = (heavy if is_last else light) if pool.num_cpus == "auto" else float(pool.num_cpus)
        sequences = config.generator.n_parallel if is_last else _LIGHT_IN_FLIGHT
        in_flight = sequences if pool.max_in_flight == "auto" else pool.max_in_flight
        threads = max(1, int(smallest // each_node)) if is_last and each_node > 1 else None
        pools.append(PoolPlan(stage_name(stage), replicas, round(cpus, 3), gpus, in_flight, threads))
        _check_room(pools[-1], nodes)
    return tuple(pools)


def _replicas(replicas: int | str, auto: int) -> int:
    return replicas if isinstance(replicas, int) else auto


def _check_room(pool: PoolPlan, nodes: Sequence[Node]) -> None:
    if not any(node.cpus >= pool.num_cpus and node.gpus >= pool.num_gpus for node in nodes):
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus))
        raise RunError(
            f"executor.stages.{pool.stage}: {pool.num_cpus:g} cores and {pool.num_gpus:g} GPUs are wanted for each "
            f"actor, and the largest node has {largest.cpus:g} and {largest.gpus:g}: lower num_cpus or num_gpus"
        )
