"""Writes an answer in parts, with a new choice of passages between two of them.

After Recycled Attention (Xu et al. 2024, arXiv 2411.05787): what the next tokens may look at is chosen anew now and
then, by the question and all that was written. Here the compressor chooses (`pipeline.contracts.ChoosesAgain`). If it
finds something, the prompt is laid out again with it, and the answer goes on behind its own beginning: the passages'
cells are kept ones, the question and the beginning are read. If it finds nothing, the answer goes on where it was.

Ours differs: a choice holds whole sentences and all layers, and only adds. What was shown stays in the prompt, since
the beginning of the answer rests on it and may be cited from it. Fidelity: inspired.

Each part has a sampler of its own: penalties, DRY and mirostat count from its first token on, and its seed is that of
the answer plus its number. An answer with a grammar, a schema, thoughts or passage numbers of the model's own is
written in one part, which is noted.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any, cast

from pipeline.contracts import ChoosesAgain, Runtime
from pipeline.errors import ModelError, WindowError
from pipeline.listener import silent
from pipeline.models.capabilities import Thinks
from pipeline.text.counting import counted
from pipeline.types import Generation, Passage, Prompt, Sampling, State, Text

ADDED = "were chosen as well"
"""The end of the note on a choice that found something."""
_HALF_A_CHARACTER = "\ufffd"


class Writing:
    """The answer to an assembled state, in as many parts as the pipeline's compressor wants.

    `prompt`, `sampling` and `runtime` are those of the next part: generate it, `take` it, `choose_again`, until
    `is_over`. Between two parts the answer is on the screen, so that the runtime shows no progress. `state` then shows
    all that the answer was written from, `generation` is the whole of it, and `notes` say what was added. `before` is
    the state at the beginning.
    """

    def __init__(self, state: State, sampling: Sampling, runtime: Runtime) -> None:
        self.before = self.state = state
        self.is_over = False
        self.notes: list[str] = []
        self.runtime = runtime
        self._whole = sampling
        self._written = ""
        self._parts: list[Generation] = []
        self._seconds = 0.0
        self._prompt_of = 0
        """The part that read the present prompt first."""
        self._cells_written = 0
        """The cells of the answer in that part's prompt."""
        chooser = runtime.chooser if state.candidates else None
        why_not = _why_not(state, sampling, runtime) if chooser is not None else ""
        if why_not:
            self.notes.append(f"sentences are chosen once and not again: {why_not}")
        self._chooser: ChoosesAgain | None = None if why_not else chooser

    @property
    def prompt(self) -> Prompt:
        return (*self.state.prompt, Text(self._written, "answer")) if self._written else self.state.prompt

    @property
    def sampling(self) -> Sampling:
        if self._chooser is None:
            return self._whole
        n = min(self._chooser.again or self._n_left, self._n_left)
        return replace(self._whole, max_tokens=n, seed=self._whole.seed + len(self._parts))

    def take(self, part: Generation) -> None:
        """Takes what was generated for `prompt`. Unless it is the last part, `choose_again` follows."""
        self._parts.append(part)
        if self._chooser is None:
            self.is_over = True
            return
        self._written += part.text
        stops = [at for stop in self._whole.stop if stop and (at := self._written.find(stop)) >= 0]
        if stops:  # one that began in the part before
            self._written = self._written[: min(stops)]
            self._parts[-1] = replace(part, finish="stop")
        self.is_over = self._parts[-1].finish != "length" or self._n_left <= 0 or not part.answer_tokens
        if not self.is_over:
            self.runtime = cast("Runtime", _WithoutProgress(self.runtime)) if len(self._parts) == 1 else self.runtime
            self._written = self._written.rstrip(_HALF_A_CHARACTER)

    def choose_again(self, is_alone: bool = True) -> None:
        """Lays the prompt out with what is chosen now, if that is more than before and all of it fits.

        Raises ModelError if other answers in flight hold what it takes; with `is_alone` it is noted instead.
        """
        if self._chooser is None or self.runtime.is_cancelled:
            return
        start = perf_counter()
        try:
            self._choose_again(self._chooser)
        except ModelError as error:
            if not is_alone:
                raise
            self.notes.append(f"{self._where} no sentences could be chosen again: {error}")
        self._seconds += perf_counter() - start

    @property
    def generation(self) -> Generation:
        """The parts as one answer. Figures of the prompt are those of the last one that was laid out."""
        first, last = self._parts[0], self._parts[-1]
        if len(self._parts) == 1:
            return replace(first, text=self._written) if self._chooser is not None else first
        read = self._parts[self._prompt_of]
        later = sum(part.prefill_s for part in self._parts[1:])
        return replace(
            read,
            text=self._written,
            finish=last.finish,
            prompt_tokens=read.prompt_tokens - self._cells_written,
            answer_tokens=sum(part.answer_tokens for part in self._parts),
            prefill_s=first.prefill_s,
            decode_s=self._seconds + later + sum(part.decode_s for part in self._parts),
            is_composed=any(part.is_composed for part in self._parts),
        )

    @property
    def _n_left(self) -> int:
        return self._whole.max_tokens - sum(part.answer_tokens for part in self._parts)

    @property
    def _where(self) -> str:
        n_tokens = sum(part.answer_tokens for part in self._parts)
        return f"after {counted(n_tokens, 'token')} of the answer"

    def _choose_again(self, chooser: ChoosesAgain) -> None:
        state, runtime, reader = self.state, self.runtime, self.runtime.reader
        earlier_notes = runtime.take_notes()
        kept = [passage for passage in state.shown if _lies_in(passage, state.candidates)]
        others = [passage for passage in state.passages if not _lies_in(passage, state.candidates)]
        try:
            chosen = chooser.choose_again(state.question, state.candidates, kept, self._written, runtime)
            asked = replace(state, passages=(*chosen, *others), shown_before=state.shown)
            after = runtime.assembler.assemble(asked, runtime, state.ledger.reserved)
        except WindowError as error:
            self.notes.append(f"{self._where} no sentences could be chosen again: {error}")
            return
        finally:
            runtime.take_notes()  # they were noted at the first choice
            for note in earlier_notes:
                runtime.note(note)
        if not all(_lies_in(passage, after.shown) for passage in (*state.shown, *chosen)):
            self.notes.append(f"{self._where} more sentences were chosen, for which the window has no room")
            return
        if all(_lies_in(passage, state.shown) for passage in after.shown):
            return
        n_before, n_after = (sum(reader.count_text(one.text) for one in shown) for shown in (state.shown, after.shown))
        self.notes.append(f"{self._where} sentences of {counted(n_after - n_before, 'token')} {ADDED}")
        self.state = replace(after, shown_before=state.shown_before)
        self._prompt_of = len(self._parts)
        self._cells_written = reader.count((Text(self._written, "answer"),)) if self._written else 0


class _WithoutProgress:
    """A runtime whose listener hears of text alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.listener = replace(runtime.listener, progress=silent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def _why_not(state: State, sampling: Sampling, runtime: Runtime) -> str:
    """Why an answer has to be written in one part; empty if it has not."""
    if sampling.grammar is not None or sampling.json_schema is not None:
        return "a grammar or a schema determines the answer's form"
    reader = runtime.reader
    if sampling.thinking_tokens or (isinstance(reader, Thinks) and reader.profile.is_brief):
        return "the model thinks before it answers"
    if state.cite_by != "evidence":
        return "the model cites by the passages' numbers, which would change"
    return ""


def _lies_in(passage: Passage, others: tuple[Passage, ...]) -> bool:
    """Whether another passage holds all of this one."""
    return any(
        passage.span == other.span
        or (passage.source == other.source and other.start <= passage.start and passage.end <= other.end)
        for other in others
    )
