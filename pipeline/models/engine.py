"""The engine: one owner of one llama.cpp context, with many sequences in it.

with open_engine(EngineSettings(model="smollm2-135m"), path) as engine:
    prompt = engine.render([Message("user", (Text("Why is the sea salt?"),))])
    for piece in engine.generate([prompt], Sampling(max_tokens=64))[0]:
        print(piece, end="")

capabilities.py describes its abilities beyond `contracts.Model`. It belongs to one process; concurrent calls of several
threads wait for one another.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from pipeline.contracts import Progress
from pipeline.errors import ModelError
from pipeline.gguf.purpose import require_generator
from pipeline.models import ablation, attention, scoring
from pipeline.models.batching import Batcher
from pipeline.models.cells import Cells, in_prefix_order
from pipeline.models.context import Context
from pipeline.models.excerpts import has_excerpts, n_cells
from pipeline.models.first_look import look_first
from pipeline.models.job import Group, Job
from pipeline.models.keeping import KeepsCells, LaidOut
from pipeline.models.pool import Pool
from pipeline.models.resolving import N_SPARE, can_fork, resolve
from pipeline.models.sampler import Sampler
from pipeline.models.settings import EngineSettings, ResolvedSettings
from pipeline.models.stream import EngineStream
from pipeline.models.template_settings import DAY
from pipeline.models.templates import template_of
from pipeline.models.thinking import BRIEF_TOKENS, CLOSING_ROOM, Profile, find_profile, tail_of
from pipeline.models.thoughts import Marks, thoughts_of
from pipeline.models.weights import Weights
from pipeline.types import Message, Prompt, Sampling, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.attention import Attention


def open_engine(settings: EngineSettings, path: Path, progress: Progress | None = None) -> Engine:
    """Loads the weights in `path` and creates a context on them.

    Raises ModelError for a file that is missing, damaged or no GGUF, and for a context that the model or this machine
    cannot hold, with the numbers.
    """
    from pipeline.gguf.header import inspect

    inspect(path)
    require_generator(path)
    look_first(path, settings, progress)
    weights = Weights(path, settings, progress)
    try:
        return Engine(settings, weights)
    except BaseException:
        weights.close()
        raise


class Engine(KeepsCells):
    """A model that answers, scores, embeds and exposes its attention. See `open_engine`."""

    def __init__(self, settings: EngineSettings, weights: Weights) -> None:
        self.settings = settings
        self.weights = weights
        self.template = template_of(weights, settings)
        self.thinks = False
        self.resolved: ResolvedSettings = resolve(settings, weights)
        resolved = self.resolved
        n_sequences = resolved.n_seq_max + resolved.n_cached + (N_SPARE if weights.is_recurrent else 1)
        # The pool moves cells on a sequence of its own: a shift moves a cell for all sequences that hold it.
        n_sequences += can_fork(weights, resolved)
        self.context = Context(weights, resolved, n_sequences, settings.flash_attention)
        self.pool = Pool(self.context, resolved.n_cached, resolved.checkpoint_bytes)
        # Rejected draft tokens have to be cut from the sequence again, which recurrent states do not allow.
        drafts = settings.draft_max if settings.draft == "lookup" and self.pool.can_cut else 0
        self.batcher = Batcher(self.pool, resolved.n_seq_max, settings.prefill_piece, drafts)
        self._lock = threading.RLock()
        self._probe: attention.AttentionReader | None = None

    # ----------------------------------------------------------------------------------------- a model: the contract
    @property
    def name(self) -> str:
        return self.weights.path.name

    @property
    def path(self) -> Path:
        """The file of the weights."""
        return self.weights.path

    @property
    def adapters(self) -> tuple[Path, ...]:
        """The files of the adapters and of the control vectors, in order."""
        lora, vectors = self.settings.lora, self.settings.control_vectors
        return (*(Path(adapter.path) for adapter in lora), *(Path(vector.path) for vector in vectors))

    @property
    def window(self) -> int:
        return self.resolved.n_ctx

    def count_text(self, text: str) -> int:
        self._check_open()
        return len(self.weights.tokenize(text))

    def tokenize(self, text: str) -> NDArray[np.int32]:
        """Tokens of a text alone, special-token parsing off."""
        self._check_open()
        return self.weights.tokenize(text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of a text alone."""
        self._check_open()
        return self.weights.token_spans(text)

    @property
    def n_decoded(self) -> int:
        """The number of cells decoded since the model was opened."""
        return self.pool.n_decoded

    def count(self, prompt: Prompt) -> int:
        self._check_open()
        return sum(n_cells(span, self.weights) for span in prompt)

    def render(self, messages: Sequence[Message]) -> Prompt:
        self._check_open()
        return self.profile.prompt(self.template, messages, thinks=False)

    def render_answer(self, messages: Sequence[Message], begin: str = "") -> Prompt:
        self._check_open()
        return self.profile.prompt(self.template, messages, self.thinks, begin)

    def before_answer(self, prompt: Prompt) -> Prompt:
        return self.profile.before_answer(prompt, self.thinks)

    @cached_property
    def profile(self) -> Profile:
        """The model's thinking profile, from its template."""
        return find_profile(self.template, self.weights)

    @cached_property
    def marks(self) -> Marks:
        """The tokens that open and close its thoughts."""
        return Marks.of(self.profile, self.weights)

    def set_day(self, day: str) -> None:
        """Sets the template's date, unless the settings name one."""
        if self.settings.date == DAY:
            self.template = self.template.on(day)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> list[EngineStream]:
        """Returns one stream per prompt, in order. Decoding starts when a stream is read; reading one advances all.

        Prompts with a common prefix are processed one after the other, so that the second reuses the first's cells.
        `sampling` is for all prompts, or one per prompt. Raises ModelError, before anything is decoded, for an empty
        prompt, for one that does not fit beside its longest answer, and for an invalid grammar.
        """
        samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        if len(samplings) != len(prompts):
            raise ModelError(
                f"{len(prompts)} prompts, but {len(samplings)} samplings: give one, or one for each prompt"
            )
        with self._lock:
            self._check_open()
            names = [f"prompt {n}" if len(prompts) > 1 else "the prompt" for n in range(len(prompts))]
            for prompt, options, name in zip(prompts, samplings, names, strict=True):
                # Laying out a prompt with excerpts decodes their passages, so its length is checked before that.
                if has_excerpts(prompt):
                    self._check_length(self.count(prompt), options.max_tokens, name)
            laid = [self._laid_out(prompt, progress) for prompt in prompts]
            for layout, options, name in zip(laid, samplings, names, strict=True):
                self._check_fits(layout.cells, options.max_tokens, name)
            for layout in laid:
                self._go_on(layout.cells)
            group = Group(progress, sum(len(layout.cells) for layout in laid))
            jobs = [
                self._job(prompt, layout, options, group)
                for prompt, layout, options in zip(prompts, laid, samplings, strict=True)
            ]
            # Neighbours in the queue then share the longest prefixes, while the cells of these are still there.
            order = in_prefix_order([layout.cells.keys for layout in laid])
            streams = {n: self.batcher.submit(jobs[n], self._lock) for n in order}
            return [streams[n] for n in range(len(jobs))]

    def check_sampling(self, sampling: Sampling) -> None:
        """Raises ModelError for a grammar or a JSON schema that llama.cpp cannot read, and for a bias of no token."""
        with self._lock:
            self._check_open()
            Sampler(self.context, sampling).close()

    def _job(self, prompt: Prompt, laid: LaidOut, sampling: Sampling, group: Group) -> Job:
        """Creates a prompt's job. Thoughts have a budget in addition to the answer's, as far as the window allows."""
        profile, cells = self.profile, laid.cells
        has_grammar = sampling.grammar is not None or sampling.json_schema is not None
        least = BRIEF_TOKENS if profile.is_brief and not has_grammar else 0
        budget = max(sampling.thinking_tokens, least) if profile.is_there else 0
        # A prompt that leaves no room for thoughts still gets its whole answer: the thoughts' budget shrinks first.
        spare = self.window - len(cells) - sampling.max_tokens
        spare = min(spare, budget + CLOSING_ROOM) if profile.is_there else 0
        budget = max(0, min(budget, spare - CLOSING_ROOM))
        thoughts = thoughts_of(self.marks, self.weights, tail_of(prompt), budget, has_grammar)
        room = sampling.max_tokens + spare
        job = Job(cells, sampling, Sampler(self.context, sampling), group, thoughts, room, budget)
        job.n_stored, job.stored_s = laid.n_stored, laid.stored_s
        return job

    def close(self) -> None:
        with self._lock:
            if self.is_closed:
                return
            self.batcher.cancel_all()
            if self._probe is not None:
                self._probe.close()
            # `pieces` is a cached property: reading it here would make the store, and compose's test, just to close it.
            if "pieces" in self.__dict__:
                self.pieces.store.close()
            self.context.close()
            self.weights.close()

    @property
    def is_closed(self) -> bool:
        return self.context.is_closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ what it thinks
    def score(self, prefix: Prompt, suffixes: Sequence[Prompt | str], targets: Sequence[str]) -> NDArray[np.float32]:
        """Scores log P(target | prefix + suffix), float32 (n_suffixes, n_targets), summed over a target's tokens.

        The prefix is decoded once and forked; it stays in the cache for the next call. Prefix, suffixes and targets are
        each tokenised apart (scoring.py describes the consequences). Raises ModelError for an empty prefix, an empty
        target, or a prefix and suffix longer than the window.
        """
        with self._lock:
            self._check_open()
            begin = self.cells(prefix)
            ends = [self.cells((Text(s),) if isinstance(s, str) else s) for s in suffixes]
            tokens = [self.weights.tokenize(target).tolist() for target in targets]
            if len(begin) == 0 or not all(tokens):
                raise ModelError("score: the prefix and each target must have at least one token")
            longest = max(map(len, tokens), default=1) - 1
            for n, end in enumerate(ends):
                self._check_fits(begin.then(end), longest, f"prefix and suffix {n}")
            if not ends or not tokens:
                return np.zeros((len(ends), len(tokens)), np.float32)
            return scoring.score(self.pool, begin, ends, tokens)

    def logprobs(
        self, prompt: Prompt | str, start: int = 1, without: tuple[int, int] | None = None
    ) -> NDArray[np.float32]:
        """Computes log P of each token given its predecessors, from number `start` (>= 1) on, float32 (n - start,).

        Memory does not grow with n x n_vocab. Soft vectors give NaN. `without` removes the cells [low, high) from the
        cache before cell start - 1 is read. Raises ModelError if the architecture cannot remove cells.
        """
        with self._lock:
            self._check_open()
            cells = self.cells(prompt)
            if not 1 <= start <= max(1, len(cells)):
                raise ModelError(f"logprobs: start must be in [1, {len(cells)}], was: {start}")
            if without is not None and not 0 <= without[0] <= without[1] < start:
                raise ModelError(f"logprobs: without must lie in [0, {start - 1}), was: {without}")
            self._check_fits(cells, 0, "the text", needs_logits=False)
            return scoring.logprobs(self.pool, cells, start, without)

    @property
    def can_forget(self) -> bool:
        """Whether cells can be removed from a sequence; recurrent layers do not allow it."""
        return self.pool.can_cut

    def ablate(
        self,
        prompt: Prompt,
        target: Prompt,
        cuts: Sequence[tuple[int, int]],
        tail: int,
        endings: Sequence[Prompt | None] | None = None,
    ) -> NDArray[np.float32]:
        """Computes log P of each target token after the prompt without each cut, (n_cuts, n_target): see ablation.py.

        Raises ModelError for an empty target or ending, for a cut that does not lie before `tail`, for a tail outside
        the prompt, and if the architecture cannot remove cells.
        """
        with self._lock:
            self._check_open()
            cells, tokens = self.cells(prompt), self.cells(target)
            if len(tokens) == 0 or tokens.vectors is not None:
                raise ModelError("ablate: the target must have at least one token, and no soft vectors")
            if not 0 <= tail < len(cells):
                raise ModelError(f"ablate: tail must be in [0, {len(cells)}), was: {tail}")
            for low, high in cuts:
                if not 0 <= low <= high <= tail:
                    raise ModelError(f"ablate: a cut must lie in [0, {tail}), was: {(low, high)}")
            self._check_fits(cells, len(tokens), "the prompt")
            ends = [None if ending is None else self.cells(ending) for ending in endings or ()]
            if any(end is not None and (len(end) == 0 or end.vectors is not None) for end in ends):
                raise ModelError("ablate: an ending must have at least one token, and no soft vectors")
            tails = [None if end is None else end.keys.tolist() for end in ends] if endings is not None else None
            return ablation.ablate(self.pool, cells, tokens.keys.tolist(), cuts, tail, tails)

    def next_logprobs(self, prompt: Prompt | str) -> NDArray[np.float32]:
        """Computes log P of every token after the prompt, float32 (n_vocab,)."""
        with self._lock:
            self._check_open()
            cells = self.cells(prompt)
            self._check_fits(cells, 0, "the prompt")
            return scoring.distribution(self.pool, cells)

    def embed(
        self, prompts: Sequence[Prompt | str], positions: Sequence[Sequence[int]] | None = None
    ) -> list[NDArray[np.float32]]:
        """Computes the last hidden states, after the final norm: float32 (n_positions, n_embd) per prompt.

        `positions` count from 0, negative ones from the end; by default the last cell of each prompt.
        """
        with self._lock:
            self._check_open()
            result = []
            for n, prompt in enumerate(prompts):
                cells = self.cells(prompt)
                self._check_fits(cells, 0, f"prompt {n}", needs_logits=False)
                wanted = [-1] if positions is None else list(positions[n])
                places = [place + len(cells) if place < 0 else place for place in wanted]
                if not places or not all(0 <= place < len(cells) for place in places):
                    raise ModelError(
                        f"embed: positions of prompt {n} must lie in its {len(cells)} cells, were: {wanted}"
                    )
                if any(cells.cached(place, place + 1) for place in places):
                    raise ModelError(f"embed: positions {wanted} of prompt {n} hold cached cells, which are not read")
                result.append(scoring.states(self.pool, cells, places))
            return result

    def attend(self, prefix: Prompt, query: Prompt, heads: Sequence[tuple[int, int]] | None = None) -> Attention:
        """Reads the query's attention to each cell of the prefix: see attention.py. `heads` are (layer, head)."""
        with self._lock:
            self._check_open()
            begin, end = self.cells(prefix), self.cells(query)
            self._check_fits(begin.then(end), 0, "prefix and query")
            # The probe's own context takes memory (no flash attention), so it is made on first use.
            if self._probe is None:
                self._probe = attention.AttentionReader(self.weights, self.resolved)
            return self._probe.attend(begin, end, heads)

    # ----------------------------------------------------------------------------------------------------- internals
    def _check_open(self) -> None:
        if self.is_closed:
            raise ModelError(f"{self.name}: the model is closed")

    def _check_length(self, n: int, n_answer: int, what: str) -> None:
        if n == 0:
            raise ModelError(f"{what} is empty")
        if n + n_answer > self.window:
            reserved = f" and {n_answer} are kept for the answer" if n_answer else ""
            raise ModelError(
                f"{what} has {n} tokens{reserved}, but the window of {self.name} holds {self.window}: "
                "raise n_ctx, or give it less"
            )

    def _check_fits(self, cells: Cells, n_answer: int, what: str, needs_logits: bool = True) -> None:
        self._check_length(len(cells), n_answer, what)
        if needs_logits and cells.ends_cached:
            raise ModelError(f"{what} ends in cached cells: put at least one token behind them, which is read")
        bad = cells.keys[cells.keys >= self.weights.n_vocab]
        if len(bad):
            raise ModelError(f"{what} holds token {bad[0]}, but the vocabulary ends at {self.weights.n_vocab - 1}")
