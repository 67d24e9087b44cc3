"""A batch against the bare engine, and against a chain of LangChain's components. The last line is JSON.

    .venv/bin/pip install --no-deps --target .peers/langchain langchain-chroma==1.1.0      # for the chain's store
    .venv/bin/python benchmarks/batch.py --n 50

Questions of XQuAD (English), answered from its 240 paragraphs: the best k chunks by cosine, numbered, read, answered.
Six ways take turns on the same blocks of questions, so that a machine that slows down slows down for all:

- `bare`: the engine alone, given the prompts that the pipeline made, all of a block at once;
- `local` and `ray`: the pipeline with each executor, records written to the disk; Ray's start is `start_s`;
- `langchain`: langchain-chroma retrieves, langchain-core chains, a minimal chat model over llama_cpp.Llama answers; the
  same chunks, embedder, model file, threads, batch and prompt, so that the difference is what the chain costs;
- `as_given`: the same chain on the model file as it was given, where longthread reads the one that `longthread models
  tune` made of it: what someone gets who puts a chain together without it;
- `compressed`: the pipeline, local, with the sentences nearest to the question kept (compress.sentences).

Seconds are of the work alone: models are loaded and warm. `same_prompts` is the share of questions for which the
chain's prompt was ours to the letter. Ray's idle processes stand by while the others work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.append(str(Path(__file__).parent.parent / ".peers" / "langchain"))

from langchain_core.documents import Document as LangChainDocument
from langchain_core.language_models.llms import LLM
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from pipeline.answers.cited import Cited
from pipeline.config import PipelineConfig
from pipeline.contracts import Model
from pipeline.docs_index import update_index
from pipeline.evaluation.answers import best, f1
from pipeline.executors.folder import RunFolder, read_run
from pipeline.executors.local import LocalExecutor
from pipeline.executors.on_ray.driver import RayExecutor
from pipeline.executors.run import RunOptions, _about, _Work
from pipeline.executors.samples import Sample
from pipeline.executors.tasks import Executor, Task
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import machine, tuned
from pipeline.langchain.documents import to_document, to_passage
from pipeline.langchain.embeddings import LongthreadEmbeddings
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.retrieval.generations import newest
from pipeline.types import Passage, Prompt, Question, Text

ROOT = Path(__file__).parent.parent
INSTRUCTIONS = "Answer the question from the passages, with as few words as possible, and no sentence."
CITED = (("instructions", INSTRUCTIONS), ("show_titles", False))


# ---------------------------------------------------------------------------------------------------------------- data
def read_xquad(path: Path) -> tuple[list[str], list[Sample]]:
    """Every paragraph, and every question with its gold answers."""
    paragraphs, questions = [], []
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            paragraphs.append(paragraph["context"])
            for one in paragraph["qas"]:
                gold = [answer["text"] for answer in one["answers"]]
                questions.append(Sample(Question(one["question"], one["id"]), {"answers": gold}))
    return paragraphs, questions


def write_documents(paragraphs: Sequence[str], folder: Path) -> None:
    for n, text in enumerate(paragraphs):
        (folder / f"{n:03d}.txt").write_text(text, "utf-8")


# -------------------------------------------------------------------------------------------------------- the five ways
@dataclass
class Way:
    """What one way said to each question, and the seconds that it took in all."""

    seconds: float = 0.0
    said: dict[str, str] = field(default_factory=dict)
    tokens: int = 0

    def f1(self, samples: Iterable[Sample]) -> list[float]:
        return [best(f1, self.said[one.question.id], one.fields["answers"]) for one in samples]


class Batch:
    """An executor that stays open over blocks of questions, and its folder of records."""

    def __init__(self, config: PipelineConfig, index: Path, executor: Executor, folder: Path) -> None:
        self.config, self.executor = config, executor
        self.way = Way()
        self.started = executor.start()
        self.folder = RunFolder(folder, _about(config, index, newest(index), 0, RunOptions()), {}, lambda text: None)

    def run(self, samples: Sequence[Sample]) -> None:
        tasks = [Task(n, sample.key(self.config.hash, None), sample) for n, sample in enumerate(samples)]
        work = _Work(self.config, self.folder, [], RunOptions(), lambda status: None, 0)
        work.answer(self.executor, tasks)
        self.way.seconds += work.seconds
        self.way.tokens += work.prompt_tokens

    def end(self) -> Way:
        self.executor.close()
        self.folder.close()
        found = read_run(self.folder.folder)
        assert not found.failed, found.failed[0].error
        self.way.said = {record.id: plain(record.answer or "") for record in found.records}
        return self.way


def plain(answer: str) -> str:
    """An answer without its citations."""
    return re.sub(r"\s*\[\d+\]", "", answer).strip()


def text_of(prompt: Prompt) -> str:
    return "".join(span.text for span in prompt if isinstance(span, Text))


def bare(pipeline: Pipeline, prompts: Sequence[Prompt], samples: Sequence[Sample], way: Way) -> None:
    """The engine given all prompts of a block at once."""
    start = perf_counter()
    streams = pipeline.reader.generate(prompts, pipeline.config.generator.sampling)
    generations = [stream.result() for stream in streams]
    way.seconds += perf_counter() - start
    for sample, generation in zip(samples, generations, strict=True):
        way.said[sample.question.id] = plain(generation.text)
        way.tokens += generation.prompt_tokens - generation.reused_tokens


class LlamaChat(LLM):
    """llama_cpp.Llama as a model of LangChain: what ChatLlamaCpp does, without its chat handling."""

    llama: Any
    max_tokens: int

    @property
    def _llm_type(self) -> str:
        return "llama.cpp"

    def _call(self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any) -> str:
        done = self.llama.create_completion(prompt, max_tokens=self.max_tokens, temperature=0.0, stop=stop or [])
        return str(done["choices"][0]["text"])


def open_store(pipeline: Pipeline, chunks: Sequence[Passage], folder: Path) -> VectorStore:
    documents: list[LangChainDocument] = []
    for chunk in chunks:
        one = to_document(chunk)
        one.metadata = {key: value for key, value in one.metadata.items() if isinstance(value, str | int | float)}
        documents.append(one)
    embeddings = LongthreadEmbeddings(pipeline.embedder)
    try:
        from langchain_chroma import Chroma  # type: ignore[import-not-found]
    except ImportError:
        return InMemoryVectorStore.from_documents(documents, embeddings)
    kept: VectorStore = Chroma.from_documents(
        documents, embeddings, persist_directory=str(folder), collection_metadata={"hnsw:space": "cosine"}
    )
    return kept


class Chain:
    """Retrieve, lay out, read, answer: the parts of LangChain put together with its own operators."""

    def __init__(self, pipeline: Pipeline, store: VectorStore, k: int, model_file: Path) -> None:
        import llama_cpp

        engine: Any = pipeline.reader
        resolved, last = engine.resolved, pipeline.config.generator
        self.way = Way()
        self.prompts: dict[str, str] = {}
        self.llama = llama_cpp.Llama(
            str(model_file),
            n_ctx=resolved.n_ctx,
            n_batch=resolved.n_batch,
            n_ubatch=resolved.n_ubatch,
            n_threads=resolved.threads,
            n_threads_batch=resolved.threads,
            flash_attn=True,
            verbose=False,
        )
        self.store = type(store).__name__
        layout: Cited = make("assemble.cited", dict(CITED))

        def lay_out(found: dict[str, Any]) -> str:
            passages = tuple(to_passage(document, n) for n, document in enumerate(found["documents"], 1))
            prompt = text_of(layout.prompt(found["question"], layout.arrange(passages), engine))
            self.prompts[found["question"]] = prompt
            return prompt

        model = LlamaChat(llama=self.llama, max_tokens=last.max_tokens)
        retrieved = {"documents": store.as_retriever(search_kwargs={"k": k}), "question": RunnablePassthrough()}
        self.chain = retrieved | RunnableLambda(lay_out) | model

    def run(self, samples: Sequence[Sample]) -> None:
        start = perf_counter()
        for sample in samples:
            self.way.said[sample.question.id] = plain(self.chain.invoke(sample.question.text))
        self.way.seconds += perf_counter() - start


# ---------------------------------------------------------------------------------------------------------- the figures
def interval(differences: Sequence[float], seed: int) -> tuple[float, float, float]:
    """The mean, and its 95 % interval by a paired bootstrap of 10000 draws."""
    values = np.asarray(differences)
    draws = np.random.default_rng(seed).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def blocks(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def configs(model: str, k: int, top_k: int, n_ctx: int, max_tokens: int) -> tuple[PipelineConfig, PipelineConfig]:
    settings = (("model", model), ("n_ctx", n_ctx), ("n_cells", 2 * n_ctx), ("n_cached", 0), ("max_tokens", max_tokens))
    stages = (
        make("retrieve.dense", {"k": k}),
        make("assemble.cited", dict(CITED)),
        make("generate.llama", dict(settings)),
    )
    whole = PipelineConfig("the benchmark", stages)
    kept = make("compress.sentences", {"top_k": top_k, "score": "cosine"})
    return whole, replace(whole, stages=(stages[0], kept, *stages[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--k", type=int, default=8, help="chunks; 8 and 5 sentences are those of configs/default.yaml")
    parser.add_argument("--top-k", type=int, default=5, help="sentences that are kept by the compressed way")
    parser.add_argument(
        "--block", type=int, default=25, help="questions that a way answers before the next has its turn"
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "xquad" / "xquad.en.json")
    options = parser.parse_args()
    switch_off_telemetry()
    paragraphs, questions = read_xquad(options.data)
    samples = random.Random(options.seed).sample(questions, options.n)
    config, compressed_config = configs(options.model, options.k, options.top_k, 4096, options.max_tokens)
    with tempfile.TemporaryDirectory(prefix="longthread-batch-") as name:
        folder = Path(name)
        (folder / "documents").mkdir()
        write_documents(paragraphs, folder / "documents")
        update_index(folder / "index", [str(folder / "documents")], config.index, lambda *_: None)
        print(json.dumps(measure(config, compressed_config, samples, folder, options)))


def measure(
    config: PipelineConfig,
    compressed_config: PipelineConfig,
    samples: Sequence[Sample],
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    index = folder / "index"
    pipeline = Pipeline(config, index)
    local = Batch(config, index, LocalExecutor(pipeline), folder / "local")
    reader: Model = pipeline.reader
    small = pipeline.changed(compressed_config, index)  # with the same reader
    compressed = Batch(compressed_config, index, LocalExecutor(small), folder / "compressed")
    ray = None
    if not options.no_ray:
        ray = Batch(config, index, RayExecutor(config, index, None, None), folder / "ray")
    chunks = [
        passage for source in pipeline.index.sources for passage in pipeline.chunk(pipeline.index.document(source))
    ]
    given_file = resolve(options.model)
    store = open_store(pipeline, chunks, folder / "chroma")
    chain = Chain(pipeline, store, options.k, tuned(given_file, "read") or given_file)
    as_given = Chain(pipeline, store, options.k, given_file)
    prompts = prompts_of(pipeline, samples)
    alone = Way()
    warm(samples, [local, compressed, *([ray] if ray else [])], [chain, as_given])
    for n, block in enumerate(blocks(samples, options.block), 1):
        bare(pipeline, [prompts[one.question.id] for one in block], block, alone)
        local.run(block)
        if ray is not None:
            ray.run(block)
        chain.run(block)
        as_given.run(block)
        compressed.run(block)
        done = ", ".join(
            f"{name} {way.seconds:.1f}" for name, way in named(alone, local, ray, chain, as_given, compressed)
        )
        print(f"block {n}: seconds so far: {done}", file=sys.stderr, flush=True)
    start_s = None if ray is None else ray.started["start_s"]
    model_file = reader.name
    ways = dict(named(alone, local, ray, chain, as_given, compressed))
    for batch in (compressed, local, *([ray] if ray else [])):
        batch.end()
    same = sum(chain.prompts[one.question.text] == text_of(prompts[one.question.id]) for one in samples)
    scores = {name: way.f1(samples) for name, way in ways.items()}
    mean, low, high = interval(np.subtract(scores["compressed"], scores["langchain"]).tolist(), options.seed)
    return {
        "about": {
            "set": "xquad.en",
            "n": len(samples),
            "seed": options.seed,
            "k": options.k,
            "top_k": options.top_k,
            "block": options.block,
            "max_tokens": options.max_tokens,
            "model": options.model,
            "model_file": model_file,
            "store": chain.store,
            "machine": machine(),
            "load": os.getloadavg()[0],
        },
        "overhead_local": round(ways["local"].seconds / alone.seconds - 1, 4),
        "overhead_ray": None if ray is None else round(ways["ray"].seconds / alone.seconds - 1, 4),
        "start_s": start_s,
        "speedup_vs_langchain": round(chain.way.seconds / ways["local"].seconds, 3),
        "speedup_vs_langchain_as_given": round(as_given.way.seconds / ways["local"].seconds, 3),
        "speedup_vs_langchain_compressed": round(chain.way.seconds / ways["compressed"].seconds, 3),
        "speedup_vs_langchain_as_given_compressed": round(as_given.way.seconds / ways["compressed"].seconds, 3),
        "f1_diff_compressed": {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)},
        "same_prompts": same / len(samples),
        "seconds": {name: round(way.seconds, 2) for name, way in ways.items()},
        "f1": {name: round(float(np.mean(found)), 4) for name, found in scores.items()},
        "tokens_read": {name: way.tokens for name, way in ways.items() if way.tokens},
    }


def named(
    alone: Way, local: Batch, ray: Batch | None, chain: Chain, as_given: Chain, compressed: Batch
) -> Iterator[tuple[str, Way]]:
    yield "bare", alone
    yield "local", local.way
    if ray is not None:
        yield "ray", ray.way
    yield "langchain", chain.way
    yield "as_given", as_given.way
    yield "compressed", compressed.way


def prompts_of(pipeline: Pipeline, samples: Sequence[Sample]) -> dict[str, Prompt]:
    """The prompts that the pipeline makes, for the bare engine."""
    from pipeline.stages import run_stage, stage_ledger
    from pipeline.types import State

    found = {}
    for sample in samples:
        state = State(sample.question, ledger=stage_ledger(pipeline.window, pipeline.reserve, ""))
        for stage in pipeline.config.stages[:-1]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
        found[sample.question.id] = state.prompt
    return found


def warm(samples: Sequence[Sample], batches: Sequence[Batch], chains: Sequence[Chain]) -> None:
    """Everything is loaded and has run once, on a question that is not asked again."""
    question = replace(samples[0], question=Question("Why is the sea salt?", "warm"))
    for batch in batches:
        list(batch.executor.run(iter([Task(0, "warm", question)]), 0, lambda n: None))
    for one in chains:
        one.chain.invoke("Why is the sea salt?")


if __name__ == "__main__":
    main()
