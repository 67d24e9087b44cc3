"""Continuous batching: many prompts are read and answered in one context, and each llama.cpp call serves all of them.

A step is one call. It takes the next token of every answer in flight, then pieces of the prompts that are still being
read, few enough that the answers do not stall. The batcher admits a prompt once its cells, and those of its longest
answer, are certain to be free. So nothing is ever truncated or aborted half-way. Prompts are admitted in order of
arrival.

Every token attends over the cells of all sequences, if only to mask them. So reading a prompt beside others costs more
than reading it alone, and the batcher admits it only if answering together saves more than that. Short prompts, and
those with a common prefix, are therefore answered many at a time, long ones one after the other (measured on XQuAD's
questions with 1300 tokens each: docs/experiments.md).

A prompt shares its common prefix with an idle sequence or with another prompt in flight. If the other is still reading
that part, the prompt follows it and takes over the cells once they are there (recurrent models: halts.py).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import Kind, common
from pipeline.models.context import Rows
from pipeline.models.halts import marks_of, next_halt
from pipeline.models.job import USUAL_ANSWER, Job
from pipeline.models.lookup import draft
from pipeline.models.pool import Pool, rows_of
from pipeline.models.stream import EngineStream
from pipeline.types import Finish, Generation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORTH_WAITING = 32
"""Least common prefix, in cells, for which a prompt waits until another has read it."""
_STEP = {False: 5.0, True: 50.0}
"""Cost of a call for a single token, in tokens of a large batch: measured on a CPU, a guess for a GPU."""
_SECONDS_A_CALL = 1.5
"""Target duration of a call that only reads prompts, so that progress and Ctrl-C get through."""


class Batcher:
    """Runs jobs on a pool's sequences, at most `n_seq_max` at a time; further jobs wait."""

    def __init__(self, pool: Pool, n_seq_max: int, piece: int, draft_most: int) -> None:
        self.pool = pool
        self.n_seq_max = n_seq_max
        self.piece = piece
        self.draft_most = draft_most
        self.waiting: deque[Job] = deque()
        self.active: list[Job] = []
        self.n_steps = 0
        self.n_drafted = 0
        self.n_accepted = 0
        self._cells_per_s = 0.0
        self._attention_share = pool.context.weights.attention_share
        self._step_costs = _STEP[pool.context.weights.is_on_gpu]

    # --------------------------------------------------------------------------------------------------- the outside
    def submit(self, job: Job, lock: threading.RLock) -> EngineStream:
        """Queues a prompt that the engine has checked to fit. Its stream holds the lock while it drives the batch."""

        def drive() -> None:
            with lock:
                if not job.stream.is_over:  # another thread may have driven it to its end meanwhile
                    self.step()

        def cancel() -> None:
            with lock:
                self.cancel(job)

        job.stream = EngineStream(drive, cancel)
        self.waiting.append(job)
        return job.stream

    def cancel(self, job: Job) -> None:
        """Cancels a job and frees its cells at once."""
        if job.stream.is_over:
            return
        if job in self.waiting:
            self.waiting.remove(job)
        self._end(job, "cancelled")

    def cancel_all(self) -> None:
        for job in [*self.active, *self.waiting]:
            self.cancel(job)

    @property
    def n_committed(self) -> int:
        """Upper bound on the cells that the active jobs still need."""
        return sum(self._needs(job) for job in self.active)

    def step(self) -> None:
        """Makes one llama.cpp call for all jobs that can continue. An error or Ctrl-C in it ends every active job."""
        self._admit()
        self.pool.end_stays()
        if not self.active:
            raise ModelError("nothing is left to do, yet an answer is waited for: this is a fault of longthread")
        try:
            self.pool.make_room(self.n_committed)  # what was scored meanwhile may have left its cells there
            self._step()
        except BaseException as error:
            for job in list(self.active):
                self._end(job, "cancelled", is_whole=False)
                if isinstance(error, ModelError):
                    job.stream.fail(error)
            raise

    # ---------------------------------------------------------------------------------------------------- letting in
    def _admit(self) -> None:
        while self.waiting and len(self.active) < self.n_seq_max and self.pool.n_sequences > 0:
            if not self._let_in(self.waiting[0]):
                return
            self.active.append(self.waiting.popleft())

    def _let_in(self, job: Job) -> bool:
        """Admits a job if its cells are certain to be free: gives it a sequence and its shared prefix."""
        keys = job.cells.keys[:-1]  # the last cell is decoded anew: its logits are wanted
        source, n_shared = self._nearest_now(keys)
        leader, n_follow = self._nearest_soon(keys)
        if leader is None or n_follow < n_shared + _WORTH_WAITING:
            leader, n_follow = None, 0
        if not self._pays(job, None if leader else source, max(n_shared, n_follow)):
            return False
        job.marks = marks_of(job, self.pool, self.active)  # before idle sequences go that show where it parts
        # The longest answer counts in full: a prompt must never run out of cells after its first token was shown.
        needs = job.n_most - max(n_shared, n_follow)
        if not self.pool.make_room(self.n_committed + needs, keep=source):
            # the source itself may hold what is missing: better to read all of it again than to wait for ever
            if self.active or not self.pool.make_room(job.n_most):
                return False
            source, n_shared = None, 0
        job.sequence = self.pool.take(keep=source)
        if job.sequence == source:
            source, n_shared = None, 0
        job.leader, job.n_follow = leader, n_follow
        if source is not None and leader is None:
            self._share(job, source, n_shared)
        job.started = perf_counter()
        return True

    def _pays(self, job: Job, source: int | None, n_shared: int) -> bool:
        """Whether a job should start beside those in flight instead of after them. All costs are in tokens read."""
        if not self.active:
            return True
        n_beside = self.pool.context.n_cells - self.pool.n_cells + self.n_committed
        if source is None or any(other.sequence == source for other in self.active):
            n_beside -= n_shared
        n_answer = min(job.room, USUAL_ANSWER)
        n_own = job.cells.n_to_read(n_shared) + n_answer
        n_others = sum(other.n_to_come for other in self.active)
        looks = n_own * n_beside + n_others * n_own
        return looks * self._attention_share < n_answer * self._step_costs

    def _nearest_now(self, keys: NDArray[np.int64]) -> tuple[int | None, int]:
        """Returns the sequence, idle or active, with the longest decoded common prefix."""
        source, n_shared = self.pool.nearest(keys)
        for other in self.active:
            n = self.pool.reach(other.sequence, common(keys, other.keys[: other.n_done]))
            if n > n_shared:
                source, n_shared = other.sequence, n
        return source, n_shared

    def _nearest_soon(self, keys: NDArray[np.int64]) -> tuple[Job | None, int]:
        """Returns the reading job with the longest common prefix."""
        best: tuple[Job | None, int] = (None, 0)
        for other in self.active:
            if other.is_reading and other.leader is None:
                n = common(keys, other.cells.keys)
                if n > best[1] and (self.pool.can_cut or n >= other.n_done):
                    best = other, n
        return best

    def _share(self, job: Job, source: int, n: int) -> None:
        self.pool.share(source, job.sequence, n)
        job.n_done = job.n_reused = n
        job.group.read(n)

    def _needs(self, job: Job) -> int:
        return job.n_most - max(self.pool.book.n_held(job.sequence), job.n_follow if job.leader else 0)

    # -------------------------------------------------------------------------------------------------------- a step
    def _step(self) -> None:
        self.n_steps += 1
        self._follow()
        for job in self.active:
            if job.is_reading and job.leader is None:
                job.place_cached(self.pool)
        answering = [] if self._is_soft_turn() else [job for job in self.active if not job.is_reading]
        rows, guesses = self._answer_rows(answering)
        room = self.pool.context.n_batch - sum(map(len, rows))
        if answering:
            room = min(room, self.piece)
        elif self._cells_per_s:
            room = min(room, max(64, int(self._cells_per_s * _SECONDS_A_CALL)))
        readers, reading = self._reading_rows(room, has_tokens=bool(rows))
        self._decode(answering, guesses, rows, readers, reading)

    def _is_soft_turn(self) -> bool:
        """Whether this call is for soft vectors: they cannot share a call with tokens, so the two take turns."""
        reader = next((job for job in self.active if job.is_reading and job.leader is None), None)
        return reader is not None and reader.next_kind == "soft" and self.n_steps % 2 == 1

    def _follow(self) -> None:
        """Lets followers take over the common prefix that their leader has read."""
        for job in self.active:
            leader = job.leader
            if leader is not None and leader.n_done >= job.n_follow:
                job.leader = None
                self._share(job, leader.sequence, job.n_follow)

    def _answer_rows(self, answering: Sequence[Job]) -> tuple[list[Rows], list[list[int]]]:
        rows, guesses = [], []
        for job in answering:
            left = job.room - len(job.answer)
            room = self.pool.context.n_batch // max(1, len(answering)) - 1
            guess = draft(job.keys, min(self.draft_most, left - 1, room)) if self.draft_most else []
            tokens = np.array([job.answer[-1], *guess], np.int32)
            rows.append(Rows(job.sequence, job.n_done, tokens, None, range(len(tokens))))
            guesses.append(guess)
        return rows, guesses

    def _reading_rows(self, room: int, has_tokens: bool) -> tuple[list[Job], list[Rows]]:
        """Returns pieces of the prompts being read, in order of arrival; soft vectors only in a separate call."""
        readers: list[Job] = []
        rows: list[Rows] = []
        kind: Kind | None = "tokens" if has_tokens else None
        for job in self.active:
            if room <= 0:
                break
            if not job.is_reading or job.leader is not None:
                continue
            start, end, its_kind = next(
                job.cells.runs(job.n_done, min(next_halt(job, self.pool, self.active), job.n_done + room))
            )
            if kind is not None and its_kind != kind:
                continue
            kind = its_kind
            outputs = [end - start - 1] if end == len(job.cells) else []
            rows.append(rows_of(job.cells, job.sequence, start, end, kind, outputs))
            readers.append(job)
            room -= end - start
        return readers, rows

    def _decode(
        self,
        answering: Sequence[Job],
        guesses: Sequence[list[int]],
        rows: list[Rows],
        readers: Sequence[Job],
        reading: list[Rows],
    ) -> None:
        if not rows and not reading:
            raise ModelError("no job can go on: this is a fault of longthread")
        start = perf_counter()
        outputs = iter(self.pool.decode([*rows, *reading]))
        if not rows:
            self._cells_per_s = sum(map(len, reading)) / max(1e-6, perf_counter() - start)
        for job, guess in zip(answering, guesses, strict=True):
            places = [next(outputs) for _ in range(len(guess) + 1)]
            job.n_done += 1 + len(guess)
            self._choose(job, guess, places)
        for job, row in zip(readers, reading, strict=True):
            job.n_done += len(row)
            job.group.read(len(row))
            if job.n_done in job.marks:
                self.pool.mark(job.sequence)
            if not job.is_reading:
                job.answered = perf_counter()
                self._choose(job, [], [next(outputs)])

    def _choose(self, job: Job, guess: list[int], places: Sequence[int]) -> None:
        """Chooses the next token, and further ones while they agree with the draft."""
        self.n_drafted += len(guess)
        for n, place in enumerate(places):
            token = self._next_token(job, place)
            if self._take_token(job, token):
                return
            if n < len(guess) and token != guess[n]:
                break
            self.n_accepted += n < len(guess)
        job.n_done = len(job.keys) - 1
        self.pool.cut(job.sequence, job.n_done)

    def _next_token(self, job: Job, place: int) -> int:
        """Returns the sampled or forced token of an output. A grammar applies from the start of the answer."""
        if not job.pending:
            job.pending = self._fitting(job, job.thoughts.forced())
        if job.pending:
            return job.sampler.accept(job.pending.pop(0))
        thoughts, sampler = job.thoughts, job.sampler
        opens = sampler.has_grammar and thoughts.may_open and thoughts.opens(sampler.likely(place))
        return sampler.choose(place, is_free=opens or not thoughts.is_answering)

    @staticmethod
    def _fitting(job: Job, tokens: list[int]) -> list[int]:
        return tokens if len(job.answer) + len(tokens) < job.room else []

    def _take_token(self, job: Job, token: int) -> bool:
        """Adds a token to the thoughts or the answer; returns True if it ended the generation."""
        weights, thoughts = self.pool.context.weights, job.thoughts
        if weights.is_end(token):
            job.pending = self._fitting(job, thoughts.at_end())
            if not job.pending:
                self._end(job, "stop")
                return True
            token = job.pending.pop(0)
        job.buffer[len(job.cells) + len(job.answer)] = token
        job.answer.append(token)
        n_before = thoughts.n_answer
        thought, answer = thoughts.take(token, weights.piece(token))
        job.stream.put(job.text.push(answer), thoughts.n_answer - n_before)
        job.stream.put_thought(job.thought_text.push(thought), thoughts.n_thought)
        if thoughts.n_thought and not thoughts.n_answer and job.group.progress is not None:
            job.group.progress("think", thoughts.n_thought, job.budget)
        if job.text.is_stopped or thoughts.is_over:
            self._end(job, "stop")
            return True
        if thoughts.n_answer >= job.sampling.max_tokens or len(job.answer) == job.room:
            self._end(job, "length")
            return True
        return False

    # ------------------------------------------------------------------------------------------------------- the end
    def _end(self, job: Job, finish: Finish, is_whole: bool = True) -> None:
        """Returns a job's cells (those of a whole job may stay as a prefix for others) and closes its stream."""
        if job.sequence >= 0:
            self.active.remove(job)
            self._hand_over(job)
            n = min(job.n_done, self.pool.book.n_held(job.sequence), len(job.keys))
            if is_whole:
                self.pool.cut(job.sequence, n)
                self.pool.retire(job.sequence, job.keys[:n].copy())
            else:
                self.pool.release(job.sequence)
            job.sequence = -1
        job.sampler.close()
        thoughts = job.thoughts
        thought, answer = thoughts.rest()
        job.stream.put(job.text.push(answer) + job.text.end())
        job.stream.put_thought(job.thought_text.push(thought) + job.thought_text.end(), thoughts.n_thought)
        now = perf_counter()
        answered = job.answered or now
        job.stream.finish(
            Generation(
                text=job.stream.text,
                finish=finish,
                prompt_tokens=len(job.cells),
                reused_tokens=job.n_reused,
                answer_tokens=thoughts.n_answer,
                prefill_s=job.stored_s + (answered - job.started if job.started else 0.0),
                decode_s=now - answered,
                thoughts=job.stream.thoughts.strip(),
                thought_tokens=thoughts.n_thought,
                is_thought_cut=thoughts.is_cut,
                restored_tokens=job.n_restored,
                shifted_tokens=job.n_shifted,
                is_composed=not job.cells.is_exact,
                stored_tokens=job.n_stored,
                stored_s=job.stored_s,
                saved_s=job.saved_s,
            )
        )

    def _hand_over(self, job: Job) -> None:
        """Reassigns the followers of a job that ends early: the one that shares most reads on, the rest follow it."""
        followers = [other for other in self.active if other.leader is job]
        if not followers:
            return
        first = max(followers, key=lambda other: other.n_follow)
        first.leader = None
        self._share(first, job.sequence, min(job.n_done, first.n_follow))
        for other in followers:
            if other is not first:
                other.leader = first
                other.n_follow = min(other.n_follow, common(other.cells.keys[:-1], first.cells.keys))
