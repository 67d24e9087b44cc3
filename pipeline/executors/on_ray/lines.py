"""The actors of a stage and the questions that they hold, as the driver knows them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pipeline.executors.on_ray.actors import NodePlace
from pipeline.executors.on_ray.plan import PoolPlan
from pipeline.executors.tasks import Task
from pipeline.types import State


@dataclass(eq=False)
class Flight:
    """A question in the pipeline, and the number of actors that died while they worked on it."""

    task: Task
    state: State
    n_deaths: int = 0

    @property
    def is_alone(self) -> bool:
        return self.n_deaths > 0


@dataclass(eq=False)
class Slot:
    """An actor and its work. `place` is None until it has started."""

    actor: Any
    since: float
    place: NodePlace | None = None
    flights: list[Flight] = field(default_factory=list)


@dataclass(eq=False)
class Line:
    """A stage: its actors and its queue."""

    number: int
    plan: PoolPlan
    bound: int
    slots: list[Slot] = field(default_factory=list)
    waiting: deque[Flight] = field(default_factory=deque)
    n_deaths_in_a_row: int = 0
    is_late: bool = False

    @property
    def n_in_flight(self) -> int:
        return sum(len(slot.flights) for slot in self.slots)

    def free_slot(self, flight: Flight) -> Slot | None:
        """Returns the least busy actor that may take this question now."""
        ready = [slot for slot in self.slots if slot.place is not None and not any(f.is_alone for f in slot.flights)]
        slot = min(ready, key=lambda slot: len(slot.flights), default=None)
        if slot is None or len(slot.flights) >= (1 if flight.is_alone else self.plan.max_in_flight):
            return None
        return slot
