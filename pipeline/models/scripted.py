"""A model without weights: one token a word, and an answer by a rule that a reader can follow.

It copies the sentence of the passages that shares most content words with the question (the first of equals), and cites
the passage that holds it. Where no sentence shares a word it says "Not in the documents.". For tests, for a first look,
and for working on everything that is not the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from time import perf_counter

from pipeline.answers.words import content_words, coverage
from pipeline.contracts import Progress, Stream
from pipeline.errors import ModelError
from pipeline.types import Finish, Generation, Message, Prompt, Sampling, Soft, Text

_WORD = re.compile(r"\s*\S+|\s+$")
_PASSAGE = re.compile(r"<passage(\d*) (\d+)>\n(.*?)\n</passage\1>", re.DOTALL)


class ScriptedModel:
    """The scripted model; `n_ctx` is its window in words."""

    def __init__(self, n_ctx: int = 2048) -> None:
        self._n_ctx = n_ctx
        self._is_closed = False

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def window(self) -> int:
        return self._n_ctx

    def count_text(self, text: str) -> int:
        return len(_WORD.findall(text))

    def count(self, prompt: Prompt) -> int:
        return sum(self.count_text(span.text) if isinstance(span, Text) else len(span.vectors) for span in prompt)

    def render(self, messages: Sequence[Message]) -> Prompt:
        """`role:` on a line of its own before each content, and `assistant:` at the end."""
        spans: list[Text | Soft] = []
        for message in messages:
            spans += [Text(f"{message.role}:\n", special=True), *message.content, Text("\n", special=True)]
        return (*spans, Text("assistant:\n", special=True))

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> Sequence[Stream]:
        if self._is_closed:
            raise ModelError("scripted: the model is closed")
        each = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        if len(each) != len(prompts):
            raise ModelError(f"{len(prompts)} prompts, but {len(each)} samplings: give one, or one for each prompt")
        for n, (prompt, one) in enumerate(zip(prompts, each, strict=True)):
            if self.count(prompt) + one.max_tokens > self.window:
                raise ModelError(
                    f"prompt {n} has {self.count(prompt)} tokens, and {one.max_tokens} are kept for the answer: "
                    f"the window holds {self.window}"
                )
        return [_ScriptedStream(self, prompt, one) for prompt, one in zip(prompts, each, strict=True)]

    def close(self) -> None:
        self._is_closed = True


class _ScriptedStream:
    """An answer, word by word."""

    def __init__(self, model: ScriptedModel, prompt: Prompt, sampling: Sampling) -> None:
        start = perf_counter()
        self._words = _WORD.findall(answer(prompt))
        self._said: list[str] = []
        self._most = sampling.max_tokens
        self._n_prompt = model.count(prompt)
        self._prefill_s = perf_counter() - start
        self._is_cancelled = False

    def __iter__(self) -> Iterator[str]:
        while len(self._said) < min(self._most, len(self._words)) and not self._is_cancelled:
            self._said.append(self._words[len(self._said)])
            yield self._said[-1]

    def cancel(self) -> None:
        self._is_cancelled = len(self._said) < min(self._most, len(self._words))

    def result(self) -> Generation:
        for _ in self:
            pass
        finish: Finish = "cancelled" if self._is_cancelled else "length" if len(self._words) > self._most else "stop"
        return Generation("".join(self._said), finish, self._n_prompt, 0, len(self._said), self._prefill_s, 0.0)


def answer(prompt: Prompt) -> str:
    """What the scripted model says to a prompt of assemble.cited; otherwise that it is not in the documents."""
    from pipeline.documents.sentences import sentences

    passages = _PASSAGE.findall("".join(s.text for s in prompt if isinstance(s, Text) and s.part == "passages"))
    words = content_words(" ".join(s.text for s in prompt if isinstance(s, Text) and s.part == "question"))
    words = tuple(word for word in words if word != "question")
    found = [
        (coverage(words, text[start:end]), number, text[start:end])
        for _, number, text in passages
        for start, end in sentences(text)
    ]
    best = max(found, key=lambda one: one[0], default=(0.0, "", ""))
    return f"{' '.join(best[2].split())} [{best[1]}]" if best[0] > 0 else "Not in the documents."
