"""What a person gets: answers of the built-in pipelines, read as a person would read them. Prints one JSON line last.

    .venv/bin/python benchmarks/answers.py --set demo|harbour|xquad|absent|hotpotqa [--model PATH] [--n N]
                                           [--pipeline ask|chat|FILE] [--seed S] [--records FILE]

No prompt is special: the pipelines are pipeline/default.py's, the questions are asked as a user types them.

Sets: `demo` are the questions of the README and of `make demo`; `harbour` are 18 questions about 52 mixed files, those
whose format longthread cannot read counted apart as `unreadable`; `xquad` searches all 240 paragraphs; `absent` asks
the same questions with their paragraph taken out of the index, so that the right answer is to say so; `hotpotqa` has
each question's ten paragraphs. All but demo are marked eval in ../shared/data/INDEX.md.

Per question: `right`: an accepted answer stands in the answer (whole words, one normal form); `shown`: it stands in the
answer or in the first two quotes; `f1`: of the answer (SQuAD's words); shares of shown answers with a fault:
`wordless`, `looped`, `echoed` (delimiters of the prompt), `cut_unsaid` (cut at max_tokens, and that is not said),
`unsupported_unsaid` (a number or name of the answer stands in none of the quotes, headings, or the question, and that
is not said); `abstained_right`: share of unanswerable questions that were refused; `abstained_wrong`: of answerable
ones; `balanced_accuracy`: the mean of `abstained_right` and 1 - `abstained_wrong`, where the set has both kinds;
`citation_holds`: of right answers, a quote holds the accepted answer; `quoted`: share of answers that a quote replaced.
`tokens` and `seconds` are means per question: tokens of the prompt, and from the question to the citations.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.answers.citations import forms_of
from pipeline.config import PipelineConfig, load_config
from pipeline.conversation.conversation import Conversation
from pipeline.default import chat_pipeline, default_pipeline, with_model
from pipeline.docs_index import docs_folder, update_index
from pipeline.evaluation.answers import best, f1, holds
from pipeline.evaluation.corpus import materialise
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.statistics import mean_interval
from pipeline.gguf.tune import machine
from pipeline.pipeline import Pipeline
from pipeline.text.numbers import number_forms
from pipeline.text.words import content_words
from pipeline.types import Answer, Document, Passage, Question, State

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
MAX_QUOTES = 2

README_QUESTIONS = (
    ("How many beehives does the garden have?", ("seven", "7")),
    ("Who repaired the clock in 1987?", ("Lucia Ferrand",)),
    ("When does the ferry leave in winter?", ("9:00",)),
)
"""The README's own questions; those of `make demo` are read from its file."""


@dataclass(frozen=True)
class Case:
    """A question and what is right. `without` is the file that is taken out of the index for it; `documents` those
    that come with it.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    is_answerable: bool = True
    without: str = ""
    documents: tuple[Document, ...] = ()
    source: str = ""


# -------------------------------------------------------------------------------------------------------------- sets
def silent(what: str, done: int, total: int) -> None:
    """No progress display."""


def read_cases(name: str, n: int, seed: int) -> tuple[list[Case], Path | None]:
    """The questions of a set, and the folder of its documents; None where they come with the questions."""
    if name == "demo":
        own = [Case(f"readme-{i}", q, a) for i, (q, a) in enumerate(README_QUESTIONS)]
        lines = (ROOT / "configs" / "demo" / "questions.jsonl").read_text("utf-8").splitlines()
        items = [json.loads(line) for line in lines]
        return own + [_own(item) for item in items], ROOT / "configs" / "demo" / "documents"
    if name == "harbour":
        lines = (DATA / "harbour" / "questions.jsonl").read_text("utf-8").splitlines()
        return [_own(json.loads(line)) for line in lines], DATA / "harbour" / "docs"
    if name == "hotpotqa":
        data = read_data("hotpotqa", DATA / "hotpotqa" / "literaptor_100.json")
        items = sample(list(data.items), n, seed)
        asked = [(item.question, item.gold.answers) for item in items]
        return [Case(q.id, q.text, answers, documents=q.documents) for q, answers in asked], None
    data = read_data("squad", DATA / "xquad" / "xquad.en.json")
    corpus = materialise(data, silent)
    cases = []
    for item in sample(list(data.items), n, seed):
        source = str(corpus.path_of(item.gold.supports[0].source)) if item.gold.supports else ""
        is_absent = name == "absent"
        case = Case(item.question.id, item.question.text, item.gold.answers, not is_absent, source if is_absent else "")
        cases.append(case)
    return cases, corpus.documents


def _own(item: dict[str, Any]) -> Case:
    answers = tuple(item.get("answers", ()))
    return Case(item["id"], item["question"], answers, item.get("answerable", True), source=item.get("source") or "")


def sample(items: Sequence[Any], n: int, seed: int) -> list[Any]:
    if n >= len(items):
        return list(items)
    return [items[place] for place in sorted(random.Random(seed).sample(range(len(items)), n))]


class WithoutFile:
    """An index from which one file is taken out: searched deeper by as many chunks as the file has."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.hidden = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(source for source in self._index.sources if source != self.hidden)

    def search_dense(self, question: str, k: int, glob: Any = None) -> list[Passage]:
        return self._shown(self._index.search_dense(question, k + 20, glob), k)

    def search_bm25(self, question: str, k: int, glob: Any = None) -> list[Passage]:
        return self._shown(self._index.search_bm25(question, k + 20, glob), k)

    def _shown(self, passages: list[Passage], k: int) -> list[Passage]:
        return [passage for passage in passages if passage.source != self.hidden][:k]


# ---------------------------------------------------------------------------------------------------------- measuring
_DELIMITER = re.compile(r"</?\s*(?:passage|memory)\d*\b|(?:\A|\n)\s*(?:Question|Passages?):", re.IGNORECASE)
_CLAIM = re.compile(r"\b(?:[A-ZÄÖÜÇŞİĞ][\w'’-]*\w|\d[\d.,:]*\d|\d)\b")
_YES_NO = ("yes", "no")
_MARKS = re.compile(r"\[\s*\d{1,3}(?:\s*[,;]\s*\d{1,3})*\s*\]")


def quotes_of(answer: Answer) -> list[Passage]:
    return [citation.quote for citation in answer.citations if citation.quote is not None]


def is_wordless(text: str) -> bool:
    """Nothing is said beside marks and an opening such as `The answer is:`."""
    bare = re.sub(r"\b(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\b\s*:?", " ", _MARKS.sub(" ", text), flags=re.IGNORECASE)
    return not re.search(r"\w", bare)


def is_looped(text: str) -> bool:
    """A phrase of one to three words stands four times in a row, or of four to forty words twice."""
    words = [word.strip(".,;:!?\"'*") for word in text.casefold().split()]
    for start in range(len(words)):
        for period in range(1, min(40, (len(words) - start) // 2) + 1):
            phrase = words[start : start + period]
            times = 2 if period >= 4 else 4
            if words[start : start + period * times] == phrase * times:
                return True
    return False


def unsupported_unsaid(case: Case, answer: Answer) -> bool:
    """Whether a number or name of the answer stands in no quote, heading or the question, and that is not said."""
    seen = [case.question]
    for citation in answer.citations:
        if citation.quote is not None and citation.passage is not None:
            seen += [citation.quote.text, citation.passage.title, *citation.passage.place.heading]
    claims = [claim for claim in _CLAIM.findall(_MARKS.sub(" ", answer.text)) if claim not in answer.unsupported]
    claims = [re.sub(r"['’]s$", "", claim) for claim in claims if content_words(claim)]  # "They" names nobody
    plain = "\n".join(seen)
    forms = forms_of(plain)  # thirty-four is 34
    return any(
        not holds(plain, claim)
        and claim.casefold() not in plain.casefold()
        and not (claim.casefold() in _YES_NO or set(content_words(claim)) <= forms)
        and not (claim[0].isdigit() and number_forms(answer.text) <= forms)  # 5 million is five million
        for claim in claims
    )


def measured(case: Case, state: State, seconds: float) -> dict[str, Any]:
    """One question's row."""
    answer = state.answer or Answer("")
    text = "" if answer.is_abstention else answer.text
    quotes = quotes_of(answer)[:MAX_QUOTES]
    stands = [holds(quote.text, gold) for quote in quotes for gold in case.answers]
    is_right = any(holds(text, gold) for gold in case.answers)
    generation = state.ledger.generation
    is_cut = generation is not None and generation.finish == "length"
    return {
        "id": case.id,
        "question": case.question,
        "answers": case.answers,
        "is_answerable": case.is_answerable,
        "answer": answer.text,
        "by": answer.by,
        "said": answer.said,
        "why": answer.why,
        "faults": answer.faults,
        "unsupported": answer.unsupported,
        "quotes": [" ".join(quote.text.split()) for quote in quotes],
        "cited_by": [citation.by for citation in answer.citations],
        "layout": state.ledger.layout,
        "right": is_right,
        "shown": is_right or any(stands),
        "f1": best(f1, text, case.answers) if case.answers else float("nan"),
        "abstained": answer.is_abstention,
        "wordless": not answer.is_abstention and is_wordless(answer.text),
        "looped": not answer.is_abstention and is_looped(answer.text),
        "echoed": not answer.is_abstention and bool(_DELIMITER.search(answer.text)),
        "cut_unsaid": is_cut and answer.by == "model" and not re.search("max_tokens|repeat", "\n".join(answer.faults)),
        "unsupported_unsaid": not answer.is_abstention and unsupported_unsaid(case, answer),
        "citation_holds": any(holds(q.text, a) for q in quotes_of(answer) for a in case.answers) if is_right else None,
        "notes": [f"{entry.stage}: {note}" for entry in state.ledger.stages for note in entry.notes],
        "tokens": state.ledger.prompt_tokens,
        "seconds": seconds,
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures over the questions; those of answers over the answerable ones."""
    can = [row for row in rows if row["is_answerable"]]
    cannot = [row for row in rows if not row["is_answerable"]]
    result: dict[str, Any] = {"n": len(rows), "n_answerable": len(can)}
    for name in ("right", "shown", "f1"):
        values = [float(row[name]) for row in can]
        result[name] = _mean(values)
        if not values:
            continue
        mean = mean_interval(values)
        result[f"{name}_interval"] = None if mean.low is None else [round(mean.low, 4), round(mean.high or 0.0, 4)]
    for name in ("wordless", "looped", "echoed", "cut_unsaid", "unsupported_unsaid"):
        result[name] = _mean([float(row[name]) for row in rows])
    result["abstained_right"] = _mean([float(row["abstained"]) for row in cannot])
    result["abstained_wrong"] = _mean([float(row["abstained"]) for row in can])
    if can and cannot:
        result["balanced_accuracy"] = round((result["abstained_right"] + 1 - result["abstained_wrong"]) / 2, 4)
    held = [row["citation_holds"] for row in rows if row["citation_holds"] is not None]
    result["citation_holds"] = _mean([float(value) for value in held])
    result["quoted"] = _mean([float(row["by"] == "quote") for row in rows])
    result["tokens"] = _mean([row["tokens"] for row in rows])
    result["seconds"] = _mean([row["seconds"] for row in rows])
    return result


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


# -------------------------------------------------------------------------------------------------------------- asking
def config_for(name: str, model: str | None, has_own_documents: bool) -> PipelineConfig:
    """The built-in pipeline, or that of a file; for documents that come with the question `retrieve.given` is first."""
    config = {"ask": default_pipeline(), "chat": chat_pipeline()}.get(name) or load_config(name)
    if model:
        config = with_model(config, model)
    if has_own_documents:
        from pipeline.registry import make

        config = replace(config, stages=(make("retrieve.given"), *config.stages[1:]))
    return config


def ask_all(cases: Sequence[Case], config: PipelineConfig, folder: Path | None, is_chat: bool) -> list[dict[str, Any]]:
    """Every question, one after the other; in the chat each in a conversation of its own."""
    index = Path("no index")
    if folder is not None:
        index = docs_folder([str(folder)], config.index)
        report = update_index(index, [str(folder)], config.index, silent)
        print(f"{report.n_chunks} passages of {folder}", file=sys.stderr)
    rows = []
    with Pipeline(config, index) as pipeline:
        pipeline.reader  # noqa: B018 - loaded before the clock runs
        if folder is not None and any(case.without for case in cases):
            hiding = WithoutFile(pipeline.index)
            pipeline.use(index=hiding)
        pipeline.embedder.embed(["warm"])
        for n, case in enumerate(cases, 1):
            if case.without:
                hiding.hidden = case.without
            start = perf_counter()
            if is_chat:
                with tempfile.TemporaryDirectory() as session, Conversation(pipeline, Path(session)) as conversation:
                    state = conversation.ask(case.question)
            else:
                state = pipeline.ask(Question(case.question, case.id, documents=case.documents))
            rows.append(measured(case, state, perf_counter() - start))
            if n % 10 == 0 or n == len(cases):
                so_far = summary(rows)
                names = ("right", "shown", "f1", "abstained_right", "abstained_wrong")
                line = ", ".join(f"{name} {so_far[name]}" for name in names)
                print(f"{n}/{len(cases)}: {line}", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--set", default="demo", choices=("demo", "harbour", "xquad", "absent", "hotpotqa"))
    parser.add_argument("--model", help="a GGUF file or a name from 'longthread models list' (default: the built-in)")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pipeline", default="ask", help="ask, chat, or a pipeline file to compare with these")
    parser.add_argument("--records", help="a file for one JSON line per question")
    arguments = parser.parse_args()
    cases, folder = read_cases(arguments.set, arguments.n, arguments.seed)
    config = config_for(arguments.pipeline, arguments.model, folder is None)
    unreadable: list[str] = []
    if arguments.set == "harbour":
        cases, unreadable = readable(cases, folder, config)
    rows = ask_all(cases, config, folder, arguments.pipeline == "chat")
    if arguments.records:
        lines = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        Path(arguments.records).write_text(lines, "utf-8")
    result = {
        "set": arguments.set,
        "pipeline": arguments.pipeline,
        "model": Path(str(config.generator.model_name)).name,
        "seed": arguments.seed,
        **summary(rows),
        "unreadable": unreadable,
        "machine": machine(),
    }
    print(json.dumps(result, ensure_ascii=False, default=str))


def readable(cases: Sequence[Case], folder: Path | None, config: PipelineConfig) -> tuple[list[Case], list[str]]:
    """The questions whose file can be read today, and the ids of the others."""
    assert folder is not None
    index = docs_folder([str(folder)], config.index)
    update_index(index, [str(folder)], config.index, silent)
    with Pipeline(config, index) as pipeline:
        names = {Path(source).name for source in pipeline.index.sources}
    known = [case for case in cases if not case.source or case.source in names]
    return known, [case.id for case in cases if case not in known]


if __name__ == "__main__":
    main()
