"""A model without weights: one token per word, and answers by a simple rule.

It copies the sentence of the passages that shares most content words with the question (the first on a tie), and cites
its passage. If no sentence shares a word, it answers "Not in the documents."; without a question, it copies the first
sentence. A prompt that ends in the beginning of this answer gets the rest of it. Its likelihoods and attention follow
the words that a text shares with the question. It serves tests, a first look, and development of everything except the
model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from pipeline.contracts import Progress, Stream
from pipeline.errors import ModelError
from pipeline.text.words import content_words, coverage
from pipeline.types import Excerpt, Finish, Generation, Message, Part, Prompt, PromptSpan, Sampling, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.models.attention import Attention

_WORD = re.compile(r"\s*\S+|\s+$")
_PASSAGE = re.compile(r"<passage(\d*) (\d+)>\n(.*?)\n</passage\1>", re.DOTALL)


class ScriptedModel:
    """The scripted model; `n_ctx` is its window in words."""

    def __init__(self, n_ctx: int = 2048) -> None:
        self._n_ctx = n_ctx
        self._n_decoded = 0
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
        return sum(self.count_text(span.text) if isinstance(span, Text | Excerpt) else span.n_cells for span in prompt)

    def render(self, messages: Sequence[Message]) -> Prompt:
        """Writes `role:` on a separate line before each content, and `assistant:` at the end."""
        spans: list[PromptSpan] = []
        for message in messages:
            spans += [Text(f"{message.role}:\n", special=True), *message.content, Text("\n", special=True)]
        return (*spans, Text("assistant:\n", special=True))

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], progress: Progress | None = None
    ) -> Sequence[Stream]:
        if self._is_closed:
            raise ModelError("scripted: the model is closed")
        samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        if len(samplings) != len(prompts):
            raise ModelError(
                f"{len(prompts)} prompts, but {len(samplings)} samplings: give one, or one for each prompt"
            )
        for n, (prompt, options) in enumerate(zip(prompts, samplings, strict=True)):
            if self.count(prompt) + options.max_tokens > self.window:
                raise ModelError(
                    f"prompt {n} has {self.count(prompt)} tokens, and {options.max_tokens} are kept for the answer: "
                    f"the window holds {self.window}"
                )
        return [_ScriptedStream(self, prompt, options) for prompt, options in zip(prompts, samplings, strict=True)]

    def score(self, prefix: Prompt, suffixes: Sequence[Prompt | str], targets: Sequence[str]) -> NDArray[np.float32]:
        """Gives the first target the probability c, (1 + shared words) / (2 + the question's words), others 1 - c."""
        import numpy as np

        words = content_words(_text(prefix, "question"))
        result = np.zeros((len(suffixes), len(targets)), np.float32)
        for n, suffix in enumerate(suffixes):
            text = suffix if isinstance(suffix, str) else _text(suffix, "passages")
            c = (1 + coverage(words, text) * len(words)) / (2 + len(words))
            result[n] = np.log(1 - c)
            result[n, :1] = np.log(c)
        return result

    def attend(self, prefix: Prompt, query: Prompt, heads: Sequence[tuple[int, int]] | None = None) -> Attention:
        """Makes all heads equal: a query word attends evenly to the prefix's words with the same stem, if any."""
        import numpy as np

        from pipeline.models.attention import Attention

        begin, end = self._words(prefix), self._words(query)
        wanted = tuple(heads) if heads is not None else ((0, 0),)
        mass = np.zeros((len(wanted), len(end), len(begin)), np.float32)
        stems = [set(content_words(word)) for word in begin]
        for n, word in enumerate(end):
            word_stems = set(content_words(word))
            same = [m for m, stem in enumerate(stems) if word_stems & stem]
            mass[:, n, same] = 1 / max(1, len(same))
        return Attention(mass, wanted)

    def logprobs(self, prompt: Prompt | str, start: int = 1) -> NDArray[np.float32]:
        """Gives each word the share of equal words before it, with add-one smoothing."""
        return self._likelihoods(self._words((Text(prompt),) if isinstance(prompt, str) else prompt), start)

    def _likelihoods(self, words: Sequence[str], start: int) -> NDArray[np.float32]:
        import numpy as np

        self._n_decoded += len(words)
        seen: Counter[str] = Counter()
        share = []
        for n, word in enumerate(words):
            share.append((1 + seen[word]) / (2 + n))
            seen[word] += 1
        return np.log(np.array(share[start:], np.float32))

    can_forget = True

    @property
    def n_decoded(self) -> int:
        """Words read by `logprobs` and `ablate`."""
        return self._n_decoded

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [word.span() for word in _WORD.finditer(text)]

    def ablate(
        self,
        prompt: Prompt,
        target: Prompt,
        cuts: Sequence[tuple[int, int]],
        tail: int,
        endings: Sequence[Prompt | None] | None = None,
    ) -> NDArray[np.float32]:
        """Computes `logprobs` of the remaining words; here no word depends on the cut."""
        import numpy as np

        words, ends = self._words(prompt), self._words(target)
        rows = []
        for n, (low, high) in enumerate(cuts):
            ending = endings[n] if endings is not None else None
            end = words[tail:] if ending is None else self._words(ending)
            left = [*words[:low], *words[high:tail], *end]
            rows.append(self._likelihoods([*left, *ends], len(left)))
        return np.array(rows, np.float32)

    def _words(self, prompt: Prompt) -> list[str]:
        return [word for span in prompt if isinstance(span, Text | Excerpt) for word in _WORD.findall(span.text)]

    def close(self) -> None:
        self._is_closed = True


class _ScriptedStream:
    """An answer, word by word."""

    def __init__(self, model: ScriptedModel, prompt: Prompt, sampling: Sampling) -> None:
        start = perf_counter()
        whole, begun = answer(prompt), _text(prompt, "answer")
        self._words = _WORD.findall(whole.removeprefix(begun))
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
    """Returns the scripted answer to a prompt of assemble.cited; for other prompts "Not in the documents."."""
    from pipeline.text.sentences import sentences

    text, question = _text(prompt, "passages"), _text(prompt, "question")
    if not question:
        return next((" ".join(text[start:end].split()) for start, end in sentences(text)), "Nothing.")
    passages = _PASSAGE.findall(text)
    words = tuple(word for word in content_words(question) if word != "question")
    candidates = [
        (coverage(words, text[start:end]), number, text[start:end])
        for _, number, text in passages
        for start, end in sentences(text)
    ]
    best = max(candidates, key=lambda candidate: candidate[0], default=(0.0, "", ""))
    return f"{' '.join(best[2].split())} [{best[1]}]" if best[0] > 0 else "Not in the documents."


def _text(prompt: Prompt, part: Part) -> str:
    return "".join(span.text for span in prompt if isinstance(span, Text | Excerpt) and span.part == part)
