"""retrieve.hops: follows what one passage names to the next one, until nothing new is found. For multi-hop questions.

Iterative retrieval, as in IRCoT (Trivedi et al., ACL 2023, https://arxiv.org/abs/2212.10509); inspired. There
a model reasons its way to each next query; here a rule reads it off the text, which is exact for keys and values, and a
model may choose among names. Every hop is entered into the ledger, so that it shows what was found by searching, and
what was left for the model that answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.documents.places import Places
from pipeline.registry import check_types
from pipeline.retrieval.dense import check_settings
from pipeline.retrieval.scope import Scope, scope_of
from pipeline.text.words import content_words, coverage
from pipeline.types import Document, Message, Passage, Question, Sampling, Span, Text

_UUID = r"[^\s\"'-]{8}(?:-[^\s\"'-]{4}){3}-[^\s\"'-]{12}"
_IDENTIFIER = r"(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]{4,}\w"
_KEY = re.compile(rf"{_UUID}|(?<![\w-]){_IDENTIFIER}(?![\w-])")
_SEPARATOR = r"\s*(?::|=>|=|->|→)\s*"
_VALUE = r"(?:\"(?P<double>[^\"\n]+)\"|'(?P<single>[^'\n]+)'|(?P<bare>[^\s\"',;{}\[\]]+))"
_IS_VALUE = re.compile(r"(?::|=>|=|->|→)\s*[\"']?$")
_CELLS = rf"\s*[,;|\t]\s*{_VALUE}"
_NAME = re.compile(
    r"[^\W\d_a-zà-öø-ÿ][\w’'-]*(?:[ \n]+(?:(?:of|de|del|van|von|da|la)[ \n]+)?[^\W\d_a-zà-öø-ÿ][\w’'-]*)*"
)
_MOST_KEY_CHARS = 200
_NEAR = 400
_NONE = "nothing"


@dataclass(frozen=True)
class Hops:
    """Follows keys to values, or names from sentence to sentence, and returns the passages on the way, in its order.

    A question with identifiers in it (a UUID, `INV-2024-17`) has them looked up as keys: a passage that holds the key,
    a sign such as `:` or `=`, and a value, gives the next key. Any other question is searched for its best sentence,
    whose names are looked up next. Where nothing can be followed it is a plain search by words.

    Example: `retrieve.hops: {k: 32, by: keys}`

    :param k: number of passages to return, at least 1; those of the hops come first.
    :param hops: largest number of hops, at least 1.
    :param pool: number of passages that are searched through at each hop, at least 1.
    :param by: `keys`, `names`, or `auto`: keys where the question has some.
    :param give: `chain` returns every hop; `end` only the last hop of the longest way from each start. The ledger says
        so.
    :param fill: whether the results of a plain search follow the hops, up to `k`.
    :param whole: whether a hop is returned as its whole passage, instead of the pair or the sentence alone.
    :param first: how the first sentence of a way by names is searched for: `bm25`, or `hybrid`, which needs an
        embedder.
    :param branches: number of sentences with a name that are followed, at least 1.
    :param namer: who chooses the name that is looked up next: `rule` takes every new one in its order; `reader`, the
        model that answers, chooses one of them under a grammar, or ends the search.
    :param glob: only documents whose path matches this pattern, such as "manual/*"; null: all documents.
    :param filter: only documents whose properties match, such as "kind=pdf and year>=2024" (filters.py); null: all
        documents.
    """

    k: int = 32
    hops: int = 32
    pool: int = 20
    by: Literal["auto", "keys", "names"] = "auto"
    give: Literal["chain", "end"] = "chain"
    fill: bool = False
    whole: bool = False
    first: Literal["bm25", "hybrid"] = "bm25"
    branches: int = 2
    namer: Literal["rule", "reader"] = "rule"
    glob: str | None = None
    filter: str | None = None

    searches_index = True

    def __post_init__(self) -> None:
        check_types(self, Hops)
        check_settings(self.k, None, self.filter)
        for name in ("hops", "pool", "branches"):
            at_least(name, getattr(self, name), 1)

    @property
    def needs_embedder(self) -> bool:
        return self.first == "hybrid"

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        scope = scope_of(self, question)
        keys = keys_of(question.query) if self.by != "names" else []
        hops = self.by_keys(keys, scope, runtime) if keys else []
        if not hops and self.by != "keys":
            hops = self.by_names(question, scope, runtime)
        if not hops:
            runtime.note("nothing to follow: a plain search by words")
        if self.fill or not hops:
            hops = _distinct([*hops, *runtime.index.search_bm25(question.query, self.k, scope)])
        return [replace(passage, score=1 / rank) for rank, passage in enumerate(hops[: self.k], 1)]

    # ------------------------------------------------------------------------------------------------- keys and values
    def by_keys(self, keys: Sequence[str], scope: Scope | None, runtime: Runtime) -> list[Passage]:
        """The pairs on the ways that start at the keys: each way in the order of its hops, the longest last."""
        passages: list[Passage] = []
        for key in keys:
            ways = sorted(self.ways(key, scope, runtime), key=len)
            if not ways:
                runtime.note(f'no passage holds "{key}" as a key')
                continue
            self.tell(key, ways, runtime)
            kept = [ways[-1][-1:]] if self.give == "end" else ways
            passages += [hop.given(self.whole) for way in kept for hop in way]
        return _distinct(passages)

    def ways(self, key: str, scope: Scope | None, runtime: Runtime) -> list[list[Hop]]:
        """Every way from a key to where it ends, as its hops. A key that stands twice is where ways part."""
        ways: list[list[Hop]] = []
        pairs: dict[str, list[Hop]] = {}
        open_: list[tuple[str, list[Hop]]] = [(key, [])]
        while open_ and len(ways) < self.k:
            current, way = open_.pop(0)
            if current not in pairs:
                pairs[current] = self.look_up(current, scope, runtime)
            seen = {hop.key for hop in way} | {current}
            onward = [] if len(way) >= self.hops else [hop for hop in pairs[current] if hop.value not in seen]
            if way and not onward:
                ways.append(way)
            open_ += [(hop.value, [*way, hop]) for hop in onward]
        return ways

    def look_up(self, key: str, scope: Scope | None, runtime: Runtime) -> list[Hop]:
        """Where the key stands as a key, with its value; by source and offset."""
        if len(key) > _MOST_KEY_CHARS:
            return []
        passages = runtime.index.search_bm25(key, self.pool, scope)
        hops = {hop.pair.span: hop for passage in passages for hop in hops_in(key, passage, passage)}
        for passage in [] if hops else passages:
            near = _with_surroundings(passage, runtime.index.document(passage.source))
            hops.update((hop.pair.span, hop) for hop in hops_in(key, near, passage))
        return [hops[span] for span in sorted(hops, key=lambda span: (span.source, span.start))]

    def tell(self, key: str, ways: Sequence[Sequence[Hop]], runtime: Runtime) -> None:
        """The hops and where they end, for the ledger."""
        for way in ways:
            for n, hop in enumerate(way, 1):
                runtime.note(f'hop {n}: "{hop.key}" -> "{hop.value}" ({_where(hop.pair)})')
            last = way[-1]
            why = "is no key" if len(way) < self.hops else f"is as far as hops = {self.hops} goes"
            runtime.note(f'from "{key}" in {len(way)} hops to "{last.value}", which {why}')
        left = "copies it from the last pair" if self.give == "end" else "reads all pairs"
        runtime.note(f"found by searching, not by the model, which {left}")

    # ------------------------------------------------------------------------------------------- sentences with names
    def by_names(self, question: Question, scope: Scope | None, runtime: Runtime) -> list[Passage]:
        """The sentences on the way from the question's names, or from its best sentence, in the order of the hops."""
        names = names_of(question.query)
        way = _Way(question, scope, runtime, names)
        start = [step for name in names for step in self.steps(name, way)] or self.best(way)
        for step in start[: self.branches]:
            way.add(step)
        while way.names and way.n_hops < self.hops and len(way.steps) < self.k:
            name = self.choose(way)
            if name is None:
                runtime.note(f"the model looks up {_NONE} more")
                break
            way.n_hops += 1
            for step in self.steps(name, way)[: self.branches]:
                way.add(step)
        if len(way.steps) == 1 and not way.steps[0].name:
            return []  # the best sentence leads nowhere
        kept = way.steps[-1:] if self.give == "end" else way.steps
        return _distinct([step.passage if self.whole else step.sentence for step in kept])

    def steps(self, name: str, way: _Way) -> list[Step]:
        """The sentences that hold the name and were not seen yet: those nearest to the question's words first."""
        word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        hops = [
            Step(name, sentence, passage)
            for passage in way.runtime.index.search_bm25(name, self.pool, way.scope)
            if word.search(passage.text) or word.search(_flat(passage.text))
            for sentence in sentences_in(passage)
            if word.search(_flat(sentence.text)) and sentence.span not in way.seen
        ]
        return sorted(hops, key=lambda step: -coverage(way.words, step.sentence.text))

    def best(self, way: _Way) -> list[Step]:
        """The sentence of the first search that is nearest to the question, by its words or by its meaning."""
        index, text = way.runtime.index, way.question.query
        passages = index.search_bm25(text, self.pool, way.scope)
        if self.first == "hybrid":
            passages = _distinct([*index.search_dense(text, self.pool, way.scope), *passages])
        sentences = [(sentence, passage) for passage in passages for sentence in sentences_in(passage)]
        if not sentences:
            return []
        if self.first == "hybrid":
            texts = [sentence.text for sentence, _ in sentences]
            scores = _similarities(text, texts, way.runtime)
        else:
            scores = [coverage(way.words, sentence.text) for sentence, _ in sentences]
        place = max(range(len(scores)), key=lambda n: (scores[n], -n))
        return [Step("", *sentences[place])] if scores[place] > 0 else []

    def choose(self, way: _Way) -> str | None:
        """The name to look up next; None where the model says that it needs no other."""
        if self.namer == "rule" or not way.names:
            return way.names.pop(0)
        choices = [*way.names[:8], _NONE]
        grammar = "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
        facts = "\n".join(f"- {_flat(step.sentence.text)}" for step in way.steps[-6:])
        request = (
            f"Facts:\n{facts}\n\nQuestion: {way.question.query}\n\nWhich name has to be looked up next to answer the "
            f'question: {", ".join(choices[:-1])}? Say "{_NONE}" if the facts are enough. Answer with the name alone.'
        )
        prompt = way.runtime.reader.render([Message("user", (Text(request, "question"),))])
        (stream,) = way.runtime.reader.generate([prompt], Sampling(max_tokens=32, grammar=grammar))
        reply = stream.result().text.strip()
        if reply == _NONE:
            return None
        name = reply if reply in way.names else way.names[0]
        way.names.remove(name)
        way.runtime.note(f'the model says to look up "{reply}"' + ("" if reply == name else f'; taken: "{name}"'))
        return name


# ---------------------------------------------------------------------------------------------------------- the parts
@dataclass(frozen=True, slots=True)
class Hop:
    """A key with its value: `pair` is their stretch of the source, `passage` what the search found."""

    key: str
    value: str
    pair: Passage
    passage: Passage

    def given(self, whole: bool) -> Passage:
        return self.passage if whole else self.pair


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence that was reached by looking up a name; no name: by the question itself."""

    name: str
    sentence: Passage
    passage: Passage


class _Way:
    """The sentences so far, and the names that are still to be looked up."""

    def __init__(self, question: Question, scope: Scope | None, runtime: Runtime, names: Sequence[str]) -> None:
        self.question = question
        self.scope = scope
        self.runtime = runtime
        self.words = content_words(question.query)
        self.steps: list[Step] = []
        self.seen: set[Span] = set()
        self.names: list[str] = []
        self.known = set(names)
        self.n_hops = 0

    def add(self, step: Step) -> None:
        if step.sentence.span in self.seen:
            return
        self.seen.add(step.sentence.span)
        self.steps.append(step)
        new = [name for name in names_of(_flat(step.sentence.text)) if name not in self.known]
        self.known.update(new)
        self.names += new
        named = f", which names {', '.join(new)}" if new else ", which names nothing new"
        by = f'"{step.name}"' if step.name else "the question"
        text = _flat(step.sentence.text)
        self.runtime.note(f"hop {len(self.steps)}: {by} -> {_where(step.sentence)}: {text}{named}")


def keys_of(text: str) -> list[str]:
    """The identifiers in a text, each once: UUIDs, and words of at least six characters with letters and digits."""
    return list(dict.fromkeys(match[0] for match in _KEY.finditer(text)))


def names_of(text: str) -> list[str]:
    """Runs of capitalised words and identifiers, each once; one such word that begins a sentence is not a name."""
    names = []
    for match in _NAME.finditer(text):
        before = text[: match.start()].rstrip(" \n\"'“‘(")
        name = _flat(match[0]).removesuffix("'s").removesuffix("’s")
        begins = not before or before[-1] in ".!?:;"
        if begins and " " in name and not content_words(name.split(" ", 1)[0]):
            name = name.split(" ", 1)[1]
        elif begins and " " not in name:
            continue
        if len(name) > 1 and content_words(name):
            names.append(name)
    return list(dict.fromkeys([*names, *keys_of(text)]))


def hops_in(key: str, text: Passage, passage: Passage) -> Iterator[Hop]:
    """Where a key with its value stands in `text`, a stretch around the passage that was found."""
    for match in re.finditer(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text.text):
        before, after = text.text[: match.start()], text.text[match.end() :]
        quote = after[:1] if after[:1] in ("'", '"') and before.endswith(after[:1]) else ""
        if _IS_VALUE.search(before):
            continue
        line_begins = not before.removesuffix(quote).rpartition("\n")[2].strip()
        value = re.match(quote + _SEPARATOR + _VALUE, after)
        value = value or (re.match(quote + _CELLS, after) if line_begins and not _is_json(text.text) else None)
        if value is None:
            continue
        start = text.start + match.start() - len(quote)
        pair = text.part(start, text.start + match.end() + value.end())
        yield Hop(key, value["double"] or value["single"] or value["bare"], pair, passage)


def sentences_in(passage: Passage) -> list[Passage]:
    """The sentences of a passage, as parts of it."""
    from pipeline.text.sentences import sentences

    return [passage.part(passage.start + start, passage.start + end) for start, end in sentences(passage.text)]


def _is_json(text: str) -> bool:
    return '": "' in text


def _with_surroundings(passage: Passage, document: Document) -> Passage:
    """The passage and the characters around it, for a pair that the end of a chunk cuts in two."""
    start, end = max(0, passage.start - _NEAR), min(len(document.text), passage.end + _NEAR)
    text = document.text[start:end]
    return replace(passage, start=start, end=end, text=text, place=Places(document).at(start, end))


def _similarities(question: str, texts: Sequence[str], runtime: Runtime) -> list[float]:
    from pipeline.retrieval.questions import question_vector

    vector = question_vector(runtime.embedder, question)
    counts = runtime.embedder.count_tokens(texts)
    short = [text if n <= runtime.embedder.max_tokens else "" for text, n in zip(texts, counts, strict=True)]
    return [float(score) for score in runtime.embedder.embed(short) @ vector]


def _distinct(passages: Sequence[Passage]) -> list[Passage]:
    """The passages in their order, each once."""
    distinct: dict[Span, Passage] = {}
    for passage in passages:
        distinct.setdefault(passage.span, passage)
    return list(distinct.values())


def _flat(text: str) -> str:
    return " ".join(text.split())


def _where(passage: Passage) -> str:
    place = f"{passage.place}, " if str(passage.place) else ""
    return f"{passage.source.rpartition('/')[2]}, {place}characters {passage.start}-{passage.end}"
