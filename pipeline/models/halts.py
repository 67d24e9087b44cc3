"""Where a prompt halts while it is read, because others may go on from there: for recurrent models (checkpoints.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.models.cells import common
from pipeline.models.pool import distant

if TYPE_CHECKING:
    from pipeline.models.job import Job
    from pipeline.models.pool import Pool


def marks_of(job: Job, pool: Pool, active: Sequence[Job]) -> list[int]:
    """Where checkpoints of a prompt will help, in ascending order: its sections' ends, and where it parts from another.

    Those in cells that it takes over are passed by: the checkpoints there are taken over as well.
    """
    if pool.can_cut or not pool.checkpoints.max_bytes:
        return []
    keys = job.cells.keys[:-1]
    parting = max([pool.parting(keys), *(common(keys, other.keys) for other in active)])
    return distant([*job.cells.sections, parting], 0, len(keys))


def next_halt(job: Job, pool: Pool, active: Sequence[Job]) -> int:
    """Up to which cell a prompt may be read in the next call: to its next mark, or to where a follower parts from it.

    A follower takes over the whole state of its leader, so the leader must not be further.
    """
    if pool.can_cut:
        return len(job.cells)
    halts = [*job.marks, *(other.n_follow for other in active if other.leader is job), len(job.cells)]
    return min(place for place in halts if place > job.n_done)
