"""Answers from long documents, by models that you run yourself.

    import longthread as lt

    answer = lt.ask("How many beehives are there?", docs="garden/")
    stages = [lt.Hybrid(k=8), lt.ExitMini(keep_ratio=0.3), lt.Cited(), lt.Llama("smollm2-135m")]
    with lt.Pipeline(stages, docs="garden/") as p:
        answer = p.ask("How many beehives are there?")
        print(answer.text, answer.citations[0].quote.text, answer.ledger)

What stands here is stable: it changes only with a note in the changelog. Importing it loads nothing else; each name is
loaded when it is first used. docs/library.md has an example of everything.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compressors.attention import Attention as Attention
    from compressors.chain import Chain as Chain
    from compressors.crag import Crag as Crag
    from compressors.exit import Exit as Exit
    from compressors.exit_mini import ExitMini as ExitMini
    from compressors.extensible import Extensible as Extensible
    from compressors.fallback import Fallback as Fallback
    from compressors.highlight import Highlight as Highlight
    from compressors.if_faster import IfFaster as IfFaster
    from compressors.neighbours import Neighbours as Neighbours
    from compressors.probe import Probe as Probe
    from compressors.protect import Protect as Protect
    from compressors.reorder import Reorder as Reorder
    from compressors.route import Route as Route
    from compressors.sentences import Sentences as Sentences
    from compressors.surprisal import Surprisal as Surprisal
    from longthread.answer import Answer as Answer
    from longthread.evaluation import evaluate as evaluate
    from longthread.pipeline import AnswerStream as AnswerStream
    from longthread.pipeline import Pipeline as Pipeline
    from longthread.pipeline import ask as ask
    from longthread.pipeline import preset as preset
    from memory.full import Full as Full
    from memory.hierarchical import Hierarchical as Hierarchical
    from memory.none import Nothing as Nothing
    from memory.window import Window as Window
    from pipeline.alone import compress as compress
    from pipeline.answers.cited import Cited as Cited
    from pipeline.answers.llama import Llama as Llama
    from pipeline.answers.plain import Plain as Plain
    from pipeline.answers.scripted import Scripted as Scripted
    from pipeline.answers.support import Support as Support
    from pipeline.config import Budget as Budget
    from pipeline.config import IndexSettings as IndexSettings
    from pipeline.config.executor import ExecutorSettings as ExecutorSettings
    from pipeline.errors import LongthreadError as LongthreadError
    from pipeline.retrieval.bm25 import Bm25 as Bm25
    from pipeline.retrieval.dense import Dense as Dense
    from pipeline.retrieval.given import Given as Given
    from pipeline.retrieval.hops import Hops as Hops
    from pipeline.retrieval.hybrid import Hybrid as Hybrid
    from pipeline.retrieval.open_index import open_index as open_index
    from pipeline.retrieval.rerank_gguf import GgufReranker as GgufReranker
    from pipeline.retrieval.rerank_yes_no import YesNo as YesNo
    from pipeline.types import Citation as Citation
    from pipeline.types import Document as Document
    from pipeline.types import Ledger as Ledger
    from pipeline.types import Passage as Passage
    from pipeline.types import Question as Question

_HOMES = {
    "longthread.answer": "Answer",
    "pipeline.alone": "compress",
    "longthread.evaluation": "evaluate",
    "longthread.pipeline": "AnswerStream Pipeline ask preset",
    "pipeline.config": "Budget IndexSettings",
    "pipeline.errors": "LongthreadError",
    "pipeline.config.executor": "ExecutorSettings",
    "pipeline.retrieval.open_index": "open_index",
    "pipeline.types": "Citation Document Ledger Passage Question",
    # the components, as pipeline/registry.py has them
    "pipeline.retrieval.bm25": "Bm25",
    "pipeline.retrieval.dense": "Dense",
    "pipeline.retrieval.given": "Given",
    "pipeline.retrieval.hops": "Hops",
    "pipeline.retrieval.hybrid": "Hybrid",
    "pipeline.retrieval.rerank_gguf": "GgufReranker",
    "pipeline.retrieval.rerank_yes_no": "YesNo",
    "pipeline.answers.support": "Support",
    "compressors.attention": "Attention",
    "compressors.chain": "Chain",
    "compressors.crag": "Crag",
    "compressors.exit": "Exit",
    "compressors.exit_mini": "ExitMini",
    "compressors.extensible": "Extensible",
    "compressors.fallback": "Fallback",
    "compressors.if_faster": "IfFaster",
    "compressors.highlight": "Highlight",
    "compressors.neighbours": "Neighbours",
    "compressors.probe": "Probe",
    "compressors.protect": "Protect",
    "compressors.reorder": "Reorder",
    "compressors.route": "Route",
    "compressors.sentences": "Sentences",
    "compressors.surprisal": "Surprisal",
    "memory.full": "Full",
    "memory.hierarchical": "Hierarchical",
    "memory.none": "Nothing",
    "memory.window": "Window",
    "pipeline.answers.cited": "Cited",
    "pipeline.answers.llama": "Llama",
    "pipeline.answers.plain": "Plain",
    "pipeline.answers.scripted": "Scripted",
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'longthread' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__"]
