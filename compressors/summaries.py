"""Summarises groups of passages with the reader: new ones in one batch, the others from the cache.

The cache key is the model's file, the prompt with all its passages, and the length. So a corpus is summarised once for
many questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts import Model, Runtime
from pipeline.errors import ModelError
from pipeline.models.identity import model_key
from pipeline.storage.cache import cache_folder
from pipeline.text.counting import counted
from pipeline.types import Message, Passage, Prompt, Sampling, Text


@dataclass(frozen=True)
class Summary:
    """A summary and the passages that it was made from: those of its group that fit the reader's window."""

    text: str
    made_from: tuple[Passage, ...]

    def passage(self, title: str, score: float) -> Passage:
        """The summary as a passage, at the place of the first of its passages."""
        first = self.made_from[0]
        spans = tuple(span for passage in self.made_from for span in (passage.spans or (passage.span,)))
        return Passage(first.source, first.start, first.end, self.text, score, first.place, title, spans)


def summarise(
    groups: Sequence[Sequence[Passage]], instructions: str, max_tokens: int, runtime: Runtime
) -> list[Summary]:
    """Summarises each group, in order. Leaves out passages beyond the reader's window, with a note.

    Raises ModelError if not even the first passage of a group fits.
    """
    fitted = [_fitted(group, instructions, max_tokens, runtime.reader) for group in groups]
    n_left = sum(map(len, groups)) - sum(map(len, fitted))
    if n_left:
        runtime.note(f"{counted(n_left, 'passage')} dropped: the window that a summary is made from has no room")
    prompts = [_prompt(group, instructions, runtime.reader) for group in fitted]
    files = [_file(prompt, max_tokens, runtime.reader) for prompt in prompts]
    texts = [_load(file) for file in files]
    new = [n for n, text in enumerate(texts) if text is None]
    if len(new) < len(groups):
        runtime.note(f"{len(groups) - len(new)} of {len(groups)} summaries were made before")
    if new:
        streams = runtime.reader.generate(
            [prompts[n] for n in new], Sampling(max_tokens=max_tokens), runtime.listener.progress
        )
        n_cut = 0
        for n, stream in zip(new, streams, strict=True):
            generation = stream.result()
            n_cut += generation.finish == "length"
            texts[n] = " ".join(generation.text.split())
            _save(files[n], texts[n] or "")
        if n_cut:
            runtime.note(f"{n_cut} of {len(groups)} summaries were cut at {max_tokens} tokens")
    return [Summary(text or "", tuple(group)) for text, group in zip(texts, fitted, strict=True)]


def _fitted(group: Sequence[Passage], instructions: str, max_tokens: int, reader: Model) -> Sequence[Passage]:
    """The first passages of the group that fit the window together with their summary."""
    room = reader.window - max_tokens
    low, high = 0, len(group)  # bisection: each count renders a whole prompt
    while low < high:
        middle = (low + high + 1) // 2
        if reader.count(_prompt(group[:middle], instructions, reader)) <= room:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        n_tokens = reader.count(_prompt(group[:1], instructions, reader))
        raise ModelError(
            f"a passage of {n_tokens} tokens with its instructions does not fit the {room} tokens that the window of "
            f"{reader.name} has beside a summary of {max_tokens}: raise n_ctx, or cut smaller chunks"
        )
    return group[:low]


def _prompt(group: Sequence[Passage], instructions: str, reader: Model) -> Prompt:
    """The prompt. The passages have no numbers or tags, because small models copy these into the summary."""
    texts = [Text(f"{passage.text.strip()}\n\n", "passages") for passage in group]
    return reader.render([Message("user", (*texts, Text(instructions, "system")))])


def _file(prompt: Prompt, max_tokens: int, reader: Model) -> Path:
    text = "\0".join(span.text for span in prompt if isinstance(span, Text))
    key = hashlib.sha256(f"{model_key(reader)}\0{max_tokens}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return cache_folder() / "summaries" / key[:2] / f"{key}.json"


def _load(file: Path) -> str | None:
    """The summary in a file. None without a file or for a damaged one, which is then made again."""
    try:
        summary = json.loads(file.read_text("utf-8"))["text"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary if isinstance(summary, str) else None


def _save(file: Path, text: str) -> None:
    from pipeline.storage.files import write_json

    write_json(file, {"text": text})
