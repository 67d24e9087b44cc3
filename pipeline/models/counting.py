"""A reader that counts and renders prompts from its vocabulary alone, for a process that does not answer.

The stages before `generate` need exact token counts and no weights. SmolLM2's vocabulary loads at once and takes a few
megabytes. Any other request loads the whole model, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contracts import Model, Progress, Stream
from pipeline.models.excerpts import n_cells
from pipeline.models.templates import template_of
from pipeline.models.thinking import Profile, find_profile
from pipeline.models.weights import Vocabulary
from pipeline.types import Message, Prompt, Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.models.attention import Attention
    from pipeline.models.settings import EngineSettings


class CountingModel:
    """A model's vocabulary. `window` and `why_not_compose` come from the answering model; `load` opens the whole model.

    `settings` name its chat template.
    """

    why_not_compose: str = ""

    def __init__(
        self,
        path: Path,
        window: int,
        adapters: tuple[Path, ...],
        load: Callable[[], Model],
        settings: EngineSettings | None = None,
        why_not_compose: str = "",
    ) -> None:
        self.path = path
        self.window = window
        self.adapters = adapters
        self.why_not_compose = why_not_compose
        self._load = load
        self._vocabulary = Vocabulary(path)
        self._template = template_of(self._vocabulary, settings)
        self.thinks = False
        self._profile = find_profile(self._template, self._vocabulary)

    @property
    def name(self) -> str:
        return self.path.name

    def count_text(self, text: str) -> int:
        return len(self._vocabulary.tokenize(text))

    def tokenize(self, text: str) -> NDArray[np.int32]:
        return self._vocabulary.tokenize(text)

    def count(self, prompt: Prompt) -> int:
        return sum(n_cells(span, self._vocabulary) for span in prompt)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._vocabulary.token_spans(text)

    def render(self, messages: Sequence[Message]) -> Prompt:
        return self._profile.prompt(self._template, messages, thinks=False)

    def render_answer(self, messages: Sequence[Message], begin: str = "") -> Prompt:
        return self._profile.prompt(self._template, messages, self.thinks, begin)

    def before_answer(self, prompt: Prompt) -> Prompt:
        return self._profile.before_answer(prompt, self.thinks)

    @property
    def profile(self) -> Profile:
        return self._profile

    # ----------------------------------------------------------------------------------------- what needs the weights
    @cached_property
    def whole(self) -> Any:
        return self._load()

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> Sequence[Stream]:
        streams: Sequence[Stream] = self.whole.generate(prompts, sampling, progress)
        return streams

    def score(self, prefix: Prompt, suffixes: Sequence[Prompt | str], targets: Sequence[str]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self.whole.score(prefix, suffixes, targets)
        return scores

    def attend(self, prefix: Prompt, query: Prompt, heads: Sequence[tuple[int, int]] | None = None) -> Attention:
        attention: Attention = self.whole.attend(prefix, query, heads)
        return attention

    def logprobs(self, prompt: Prompt | str, start: int = 1) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self.whole.logprobs(prompt, start)
        return values

    def __getattr__(self, name: str) -> Any:
        """Delegates rarely used attributes of an engine (`cells`, `embed`, `weights`)."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole, name)

    def close(self) -> None:
        if "whole" in self.__dict__:
            self.__dict__.pop("whole").close()
        self._vocabulary.close()
