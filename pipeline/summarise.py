"""Summarises whole documents: key sentences with their places, and a model's words where the document supports them.

The document is cut into consecutive parts about one subject each: the split of its sentences into k runs that keeps
most of the length of their vectors' sums. It is found by dynamic programming, like the successors of TextTiling (Hearst
1997; Utiyama and Isahara 2001, "A Statistical Model for Domain-Independent Text Segmentation"). Ours compares sentence
vectors, and prefers to cut at headings. Each part is represented by the sentence nearest to its mean, as a quote. So
every passage counts, and the summary contains only text of the document.

Then the model reads the whole document, or an extract of every part if the document does not fit, and writes its own
summary. Only its sentences with support in the document are kept: see `usable_sentences`. A small model often has none.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipeline.answers.contract import check, without_lead
from pipeline.answers.prompt_parts import free_tag, parts, unwrapped
from pipeline.contracts import Runtime
from pipeline.text.words import content_words, coverage
from pipeline.types import (
    Answer,
    Citation,
    Generation,
    Ledger,
    Message,
    Passage,
    Question,
    Ranked,
    Sampling,
    StageEntry,
    State,
    Text,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = Callable[[Sequence[Passage]], NDArray[np.float32]]

INSTRUCTIONS = "You summarise documents in plain words. Use only what the document says."
REQUEST = "Write a summary of the document in two or three sentences."
IN_OTHER_WORDS = {
    "en": "In the words of {model}:",
    "de": "In den Worten von {model}:",
    "tr": "{model} kendi sözleriyle:",
}
MAX_PARTS = 8
MAX_UNITS = 400
"""A document of more sentences is cut by its passages, and only the sentences of each part's best ones are compared."""
MAX_BINS = 1000
BEST_PASSAGES = 4
READ_TOKENS = 1500
"""Limit of what the model reads for its summary: a small model on two cores reads that in some seconds."""
SUMMARY_TOKENS = 120
FIRST_BONUS = 0.1
"""The first sentence of a part often names its subject."""
REPEATED_PENALTY = 0.5
"""A sentence that occurs several times in the document is boilerplate, and not typical of its part."""
HEADING_BONUS = 0.35
"""How much of a unit vector's squared length a cut at a heading may cost."""
PART_LIMITS = (MAX_PARTS, MAX_UNITS)
OVERVIEW_LIMITS = (1, 24)
MIN_COVERAGE = 0.8
"""Of a sentence of the model. SmolLM2 wrote of the demo's ferry that "the ship has two black balls on her mast that are
used as a taxidermy for the ship's captain": the document has 0.62 of its words.
"""
MIN_WORDS = 4
MAX_WORDS = 60
_HEADING = re.compile(r"#{1,6}\s[^\n]*$")
_ENDS = re.compile(r"[.!?…。！？][\"'”’»)\]*_]*\Z")


@dataclass(frozen=True, slots=True)
class KeySentences:
    """One sentence of each part of a document, in its order, each with how near it is to its part's mean in [-1, 1].

    `extract` holds further sentences of every part, the nearest first, for a model to read. `n_units` counts the
    sentences that the document was cut into.
    """

    sentences: tuple[Passage, ...]
    extract: tuple[Passage, ...]
    n_units: int


def summarise(
    question: Question,
    documents: Mapping[str, Sequence[Passage]],
    runtime: Runtime,
    ledger: Ledger,
    language: str = "en",
    passage_vectors: Vectors | None = None,
) -> State:
    """A summary of one document, or an overview of several with one sentence each.

    `documents` holds all passages of each document in its order, by source. The state is like that of a question:
    `shown` are the quoted sentences, `answer` cites each, and the ledger says how many passages were read. The answer's
    `said` holds what the model wrote, used or not. The listener's `on_text` gets the quotes, and later the model's
    words. `passage_vectors` gives the vectors of passages where an index has them; without it they are embedded.
    Cancelled, it gives what there is.
    """
    started = time.perf_counter()
    passages = [passage for of_document in documents.values() for passage in of_document]
    runtime.take_notes()
    keys = [
        key_sentences(of_document, runtime, *(PART_LIMITS if len(documents) == 1 else OVERVIEW_LIMITS), passage_vectors)
        for of_document in documents.values()
        if of_document
    ]
    shown = tuple(sentence for key in keys for sentence in key.sentences)
    n_units = sum(key.n_units for key in keys)
    read = StageEntry(
        "summarise.read",
        time.perf_counter() - started,
        len(passages),
        len(shown),
        sum(runtime.reader.count_text(passage.text) for passage in passages),
        sum(runtime.reader.count_text(passage.text) for passage in shown),
        notes=(
            f"all {len(passages)} passages were read: {n_units} sentences, of which {len(shown)} are quoted, one of "
            + ("each part" if len(documents) == 1 else "each document"),
            *runtime.take_notes(),
        ),
        ranked=tuple(Ranked(sentence.span, sentence.score) for sentence in shown),
    )
    text = quoted(shown, with_names=len(documents) > 1)
    citations = tuple(Citation(n, "match", sentence, sentence, 1.0) for n, sentence in enumerate(shown, 1))
    state = State(
        question, shown, shown, ledger=ledger.with_stage(read), found=shown, answer=Answer(text, citations, by="quote")
    )
    runtime.listener.on_text(text)
    if not shown or runtime.is_cancelled:
        return state
    extract = [passage for key in keys for passage in key.extract]
    return _with_model(state, passages, extract, runtime, language)


def quoted(sentences: Sequence[Passage], with_names: bool = False) -> str:
    """The sentences as a list, each with its number, and with its file's name where there are several files."""
    rows = []
    for number, sentence in enumerate(sentences, 1):
        name = f"{PurePosixPath(sentence.source).name}: " if with_names else ""
        rows.append(f"- {name}{' '.join(sentence.text.split())} [{number}]")
    return "\n".join(rows)


def key_sentences(
    passages: Sequence[Passage],
    runtime: Runtime,
    max_parts: int = MAX_PARTS,
    max_units: int = MAX_UNITS,
    passage_vectors: Vectors | None = None,
) -> KeySentences:
    """The key sentences of one document, whose passages are given from its beginning to its end.

    A document of more than `max_units` sentences is cut by its passages.
    """
    import numpy as np

    units = [unit for passage in passages for unit in _units(passage)]
    if not units:
        return KeySentences((), (), 0)
    copies = Counter(_words_of(unit) for unit in units)
    is_long = len(units) > max_units
    items = list(passages) if is_long else units
    if is_long and passage_vectors is not None and runtime.embedder.dimension:
        points = passage_vectors(items)
    else:
        points = vectors([item.text for item in items], runtime)
    k = min(max_parts, max(min(3, max_parts), round((len(items) / 2) ** 0.5) + 1))
    starts = _starts(points, items, k)
    whole = points.mean(axis=0)
    sentences: list[Passage] = []
    extract: list[Passage] = []
    for start, end in zip(starts, [*starts[1:], len(items)], strict=True):
        mean = points[start:end].mean(axis=0)
        candidates, near = items[start:end], points[start:end]
        if is_long:
            best = np.argsort(-(near @ mean), kind="stable")[:BEST_PASSAGES]
            candidates = [unit for n in sorted(best.tolist()) for unit in _units(candidates[n])]
            near = vectors([unit.text for unit in candidates], runtime)
            if not runtime.embedder.dimension:  # vectors of words are only comparable within one call
                mean = whole = near.mean(axis=0)
        scores = near @ mean + 0.25 * (near @ whole)
        scores -= np.array([_penalty(unit.text) for unit in candidates])
        scores -= np.array([REPEATED_PENALTY * (copies[_words_of(unit)] > 1) for unit in candidates])
        scores[0] += FIRST_BONUS
        order = np.argsort(-scores, kind="stable").tolist()
        best_unit = candidates[order[0]]
        if copies[_words_of(best_unit)] == 1 or all(n > 1 for n in copies.values()):
            sentences.append(replace(best_unit, score=float(near[order[0]] @ mean)))
        extract += [replace(candidates[n], score=-float(rank)) for rank, n in enumerate(order)]
    extract.sort(key=lambda unit: -unit.score)
    return KeySentences(tuple(sentences), tuple(extract), len(units))


def _units(passage: Passage) -> list[Passage]:
    """The sentences of a passage; of a table or of code, which have none, its lines. Headings are left out."""
    from pipeline.text.sentences import sentences

    cut = [passage.part(passage.start + start, passage.start + end) for start, end in sentences(passage.text)]
    cut = [unit for unit in cut if not _HEADING.match(unit.text)]
    whole = [unit for unit in cut if _ENDS.search(unit.text)]
    return whole or cut


def _words_of(unit: Passage) -> str:
    return " ".join(unit.text.split()).casefold()


def _penalty(text: str) -> float:
    """A penalty for poor quotes: sentences that refer to an earlier one, or are very short or long."""
    from pipeline.conversation.followup import need_of

    n_words = len(text.split())
    pointer = need_of(text)
    points_back = pointer is not None and pointer.kind == "pointer" and pointer.start < len(text) / 3
    return 0.15 * points_back + 0.2 * (n_words < MIN_WORDS or not _ENDS.search(text)) + 0.15 * (n_words > MAX_WORDS)


def vectors(texts: Sequence[str], runtime: Runtime) -> NDArray[np.float32]:
    """The unit vector of each text, (n, dimension): of the embedder, or of the words if the embedder has none."""
    import numpy as np

    embedder = runtime.embedder
    if not embedder.dimension:
        return _word_vectors(texts)
    counts = embedder.count_tokens(texts)
    pieces = [
        (n, piece)
        for n, (text, count) in enumerate(zip(texts, counts, strict=True))
        for piece in ([text] if count <= embedder.max_tokens else _halves(text, runtime))
    ]
    each = embedder.embed([piece for _, piece in pieces], runtime.listener.progress)
    total = np.zeros((len(texts), each.shape[1]), np.float32)
    np.add.at(total, [n for n, _ in pieces], each)
    return _unit(total)


def _halves(text: str, runtime: Runtime) -> list[str]:
    if runtime.embedder.count_tokens([text])[0] <= runtime.embedder.max_tokens or len(text) < 2:
        return [text]
    half = len(text) // 2
    return [*_halves(text[:half], runtime), *_halves(text[half:], runtime)]


def _word_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Content words, each weighted by its rarity among the texts."""
    import numpy as np

    words = [content_words(text) for text in texts]
    columns = {word: n for n, word in enumerate(dict.fromkeys(word for of_text in words for word in of_text))}
    weights = np.zeros((len(texts), max(1, len(columns))), np.float32)
    for n, of_text in enumerate(words):
        weights[n, [columns[word] for word in of_text]] = 1.0
    weights *= np.log1p(len(texts) / weights.sum(axis=0).clip(min=1.0))
    return _unit(weights)


def _unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    result: NDArray[np.float32] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True).clip(min=1e-9)
    return result


def _starts(points: NDArray[np.float32], items: Sequence[Passage], k: int) -> list[int]:
    """Where each of at most k parts begins: the split with the least squared distance of the points to their means.

    A cut at another heading than the item before has costs less by HEADING_BONUS. More items than MAX_BINS are taken
    several at a time.
    """
    import numpy as np

    size = -(-len(items) // MAX_BINS)
    firsts = list(range(0, len(items), size))
    n, k = len(firsts), min(k, len(firsts))
    sums = np.add.reduceat(points, firsts, axis=0)
    weights = np.diff([*firsts, len(items)])
    total = np.vstack([np.zeros((1, points.shape[1])), np.cumsum(sums, axis=0)])
    count = np.concatenate([[0], np.cumsum(weights)])
    bonus = np.array(
        [0.0] + [HEADING_BONUS * (items[b].place.heading != items[b - 1].place.heading) for b in firsts[1:]]
    )
    cost = np.full((n + 1, n + 1), np.inf)  # of the items [i, j): their number less the squared length of their sum / n
    for i in range(n):
        difference = total[i + 1 :] - total[i]
        n_items = count[i + 1 :] - count[i]
        cost[i, i + 1 :] = n_items - (difference**2).sum(axis=1) / n_items - bonus[i]
    best = cost[0].copy()
    back = [np.zeros(n + 1, int)]
    for _ in range(1, k):
        through = best[:, None] + cost
        back.append(through.argmin(axis=0))
        best = through.min(axis=0)
    end, cuts = n, []
    for step in reversed(back):
        end = int(step[end])
        cuts.append(firsts[end])
    return sorted(set(cuts))


def _with_model(
    state: State, passages: Sequence[Passage], extract: Sequence[Passage], runtime: Runtime, language: str
) -> State:
    """The state with the usable part of the model's summary after the quotes."""
    started = time.perf_counter()
    answer = state.answer or Answer("")
    room = min(state.ledger.window - SUMMARY_TOKENS, READ_TOKENS)
    chosen = _that_fit(passages, extract, runtime, room)
    prompt = _prompt(chosen, runtime)
    if not chosen or runtime.reader.count(prompt) + SUMMARY_TOKENS > state.ledger.window:
        runtime.note("the window holds no summary by the model: key sentences alone")
        return replace(state, ledger=state.ledger.with_stage(_entry(started, 0, 0, runtime)))
    is_whole = len(chosen) == len(passages) and list(chosen) == list(passages)
    runtime.note(
        "the model read the whole document" if is_whole else f"the model read {len(chosen)} sentences from all parts"
    )
    generation = _generated(prompt, runtime)
    if generation is None:
        return replace(state, ledger=state.ledger.with_stage(_entry(started, len(chosen), 0, runtime)))
    usable = usable_sentences(generation, passages)
    faults: tuple[str, ...] = ()
    text = answer.text
    if usable:
        more = f"\n\n{IN_OTHER_WORDS.get(language, IN_OTHER_WORDS['en']).format(model=runtime.reader.name)} {usable}"
        runtime.listener.on_text(more)
        text += more
    else:
        faults = (f"{runtime.reader.name} wrote no summary that stands on the document: key sentences alone",)
        runtime.note(faults[0])
    ledger = replace(state.ledger, parts=parts(prompt, runtime.reader), generation=generation)
    ledger = ledger.with_stage(_entry(started, len(chosen), bool(usable), runtime))
    answer = replace(answer, text=text, said=generation.text.strip(), faults=faults)
    return replace(state, answer=answer, prompt=prompt, ledger=ledger)


def _entry(started: float, n_read: int, n_written: int, runtime: Runtime) -> StageEntry:
    return StageEntry(
        "summarise.model", time.perf_counter() - started, n_read, n_written, 0, 0, notes=runtime.take_notes()
    )


def _that_fit(
    passages: Sequence[Passage], extract: Sequence[Passage], runtime: Runtime, room: int
) -> Sequence[Passage]:
    """All passages if they fit, or as many sentences of the extract as fit, in the order of the document."""
    if runtime.reader.count(_prompt(passages, runtime)) <= room:
        return passages
    left = room - runtime.reader.count(_prompt((), runtime))
    chosen: list[Passage] = []
    for unit in extract:
        left -= runtime.reader.count_text(unit.text) + 2
        if left < 0:
            break
        chosen.append(unit)
    order = {source: n for n, source in enumerate(dict.fromkeys(passage.source for passage in passages))}
    return sorted(chosen, key=lambda unit: (order[unit.source], unit.start))


def _prompt(passages: Sequence[Passage], runtime: Runtime) -> tuple[Text, ...]:
    texts = [unwrapped(passage.text.strip()) for passage in passages]
    tag = free_tag(texts, "document")
    body = "\n".join(texts)
    content = (Text(f"<{tag}>\n{body}\n</{tag}>\n", "passages"), Text(f"\n{REQUEST}", "question"))
    return runtime.reader.render([Message("system", (Text(INSTRUCTIONS, "system"),)), Message("user", content)])  # type: ignore[return-value]


class _Stopped(Exception):
    """Ends the reading of a prompt."""


def _generated(prompt: tuple[Text, ...], runtime: Runtime) -> Generation | None:
    """The model's output; None if the person stopped it before it began."""

    def progress(what: str, done: int, total: int) -> None:
        runtime.listener.progress(what, done, total)
        if runtime.is_cancelled and done < total:
            raise _Stopped

    sampling = Sampling(max_tokens=SUMMARY_TOKENS, repeat_penalty=1.1)
    (stream,) = runtime.reader.generate([prompt], sampling, progress)
    try:
        for n, _ in enumerate(stream, 1):
            runtime.listener.progress("summarise", n, SUMMARY_TOKENS)
            if runtime.is_cancelled:
                stream.cancel()
                break
    except _Stopped:
        return None
    except BaseException:
        stream.cancel()
        raise
    return stream.result()


def usable_sentences(generation: Generation, passages: Sequence[Passage]) -> str:
    """The supported sentences of a model's summary; empty if too little of it is supported.

    Loops and echoes are cut first, as in any answer. A sentence is kept if it is complete, new, and has nearly all of
    its content words, and all of its numbers and names, in one passage. The result has at least eight content words.
    """
    from pipeline.text.sentences import sentences

    texts = [f"{passage.title} {' '.join(passage.place.heading)}\n{passage.text}" for passage in passages]
    kept: list[str] = []
    seen: set[tuple[str, ...]] = set()
    text = without_lead(check(generation.text, generation.finish, "").text)
    for start, end in sentences(text):
        sentence = " ".join(text[start:end].split()).lstrip("-*• ")
        words = content_words(sentence)
        if not _ENDS.search(sentence) or len(words) < 2 or words in seen:
            continue
        seen.add(words)
        source = max(texts, key=lambda text: coverage(words, text))
        if coverage(words, source) >= MIN_COVERAGE and not _claims_beyond(sentence, source):
            kept.append(sentence)
    together = " ".join(kept)
    return together if len(content_words(together)) >= 8 else ""


def _claims_beyond(sentence: str, source: str) -> list[str]:
    """Numbers and names (capitalised words after the first) of the sentence that the source does not contain."""
    claims = re.findall(r"(?<!^)\b[^\W\d_a-z]\w+|\d[\d.,:]*\d|\d", sentence)
    seen = set(content_words(source))
    return [claim for claim in claims if (words := content_words(claim)) and not set(words) <= seen]
