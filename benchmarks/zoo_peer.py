"""A hybrid model of the zoo against `llama_cpp.Llama`: what each decodes for the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.zoo_talks import TEXT
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Sampling, Text

LONG = TEXT * 8


def peer(path: Path) -> dict[str, Any]:
    """Tokens decoded and seconds against `llama_cpp.Llama`: 16 suffixes on one prefix, 16 prompts over 4 documents.

    The prompts of a document follow one another; `interleaved` they do not.
    """
    documents = [LONG.replace("seven", f"{n}") for n in (3, 5, 7, 9)]
    suffixes = [f"\nSentence {n}: the bees are awake. Useful?" for n in range(16)]
    prompts = [(documents[n // 4], f"\nQuestion {n}: how many hives?") for n in range(16)]
    mixed = [prompts[n % 4 * 4 + n // 4] for n in range(16)]
    with open_engine(EngineSettings(model=str(path), n_ctx=2048, n_cells=8192, threads=1), path) as engine:
        start, n = perf_counter(), engine.n_decoded
        engine.score((Text(documents[0]),), suffixes, [" Yes", " No"])
        ours_fan = (engine.n_decoded - n, perf_counter() - start)
        ours_batch, ours_mixed = _ours(engine, prompts), _ours(engine, mixed)
    theirs_fan = _llama(path, [documents[0] + suffix for suffix in suffixes], 1)
    theirs_batch, theirs_mixed = (_llama(path, ["".join(one) for one in each], 8) for each in (prompts, mixed))
    return {
        name: {
            "ours_tokens": ours[0],
            "llama_tokens": theirs[0],
            "times_fewer": round(theirs[0] / ours[0], 2),
            "ours_s": round(ours[1], 3),
            "llama_s": round(theirs[1], 3),
        }
        for name, ours, theirs in (
            ("16_suffixes", ours_fan, theirs_fan),
            ("16_prompts_over_4_documents", ours_batch, theirs_batch),
            ("interleaved", ours_mixed, theirs_mixed),
        )
    }


def _ours(engine: Engine, prompts: Sequence[tuple[str, str]]) -> tuple[int, float]:
    engine.pool.forget()
    start, n = perf_counter(), engine.n_decoded
    parted = [(Text(document, "passages"), Text(question, "question")) for document, question in prompts]
    for stream in engine.generate(parted, Sampling(max_tokens=8)):
        stream.result()
    return engine.n_decoded - n, perf_counter() - start


def _llama(path: Path, prompts: Sequence[str], n_answer: int) -> tuple[int, float]:
    from llama_cpp import Llama

    llama = Llama(str(path), n_ctx=2048, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False)
    n_decoded, evaluate = 0, llama.eval

    def counted(tokens: Sequence[int]) -> None:
        nonlocal n_decoded
        n_decoded += len(tokens)
        evaluate(tokens)

    llama.eval = counted
    start = perf_counter()
    for prompt in prompts:
        tokens = llama.tokenize(prompt.encode(), add_bos=False)
        for n, _ in enumerate(llama.generate(tokens, temp=0.0), start=1):
            if n == n_answer:
                break
    seconds = perf_counter() - start
    llama.close()
    return n_decoded, seconds
