"""Positions at which reading a prompt halts, so that others can continue there: recurrent models (checkpoints.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.models.cells import common
from pipeline.models.pool import distant

if TYPE_CHECKING:
    from pipeline.models.job import Job
    from pipeline.models.pool import Pool


def marks_of(job: Job, pool: Pool, active: Sequence[Job]) -> list[int]:
    """Returns useful checkpoint positions, ascending: the ends of sections, and where the prompt leaves another.

    Positions in shared cells are left out: their checkpoints are shared as well.
    """
    if pool.can_cut or not pool.checkpoints.max_bytes:
        return []
    keys = job.cells.keys[:-1]
    parting = max([pool.parting(keys), *(common(keys, other.keys) for other in active)])
    return distant([*job.cells.sections, parting], 0, len(keys))


def next_halt(job: Job, pool: Pool, active: Sequence[Job]) -> int:
    """Returns the last cell for the next call: the prompt's next mark, or the point where a follower leaves it.

    A follower takes over the whole state of its leader, so the leader must not read beyond that.
    """
    if pool.can_cut:
        return len(job.cells)
    halts = [*job.marks, *(other.n_follow for other in active if other.leader is job), len(job.cells)]
    return min(place for place in halts if place > job.n_done)
