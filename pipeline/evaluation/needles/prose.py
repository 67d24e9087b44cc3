"""Hides threads of sentences in a book. Each says who gave a thing to whom, and the next one begins with the receiver.

After the natural-language needles of Needle Threading (https://arxiv.org/abs/2411.05000). Fidelity: approximate, since
its sentences and prompts are not published. With `association` the question and the needles share no word, only a fact
about the world, as in NoLiMa (https://arxiv.org/abs/2502.05167): the needle says Portugal where the question says the
country whose capital is Lisbon. Without a book, the text is generated from a few hundred phrases.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.checks import at_least
from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.haystack import Direction, directed
from pipeline.evaluation.needles.nouns import ADJECTIVES, NOUNS
from pipeline.evaluation.needles.trials import NeedleTrial

NAMES = tuple(
    """
    Adrian Agnes Aisha Alice Amara Anders Angela Anton Astrid Barbara Beatrice Benjamin Bertha Boris Brian Bridget Bruno
    Camilla Carlos Caroline Cecilia Chiara Claudia Conrad Cynthia Daniel Daphne Deborah Diego Dmitri Dominic Dorothy
    Edgar Edith Elena Elsa Emma Enrico Erik Esther Ethan Eva Felix Fiona Florence Francisco Frida Gabriel Gemma Gerald
    Gloria Greta Gustav Hannah Harold Hassan Heidi Helga Hugo Ibrahim Ingrid Irina Isabel Ivan Jasper Jerome Joanna
    Johan Judith Julian Karim Katrina Keith Kenji Klaus Larissa Laura Leila Leonard Linda Lorenzo Lucas Lydia Magnus
    Malik Marco Margaret Marina Martin Matilda Maurice Megan Miguel Mohamed Monica Nadia Natasha Nathan Nicole Nigel
    Nina Olga Olivia Omar Oscar Otto Pablo Patricia Paula Pedro Penelope Philippa Priya Rachel Rafael Ravi Rebecca
    Roberto Rosa Rupert Ruth Samuel Sandra Sergio Sharon Sonia Stefan Stella Susanna Sven Tanya Teresa Theodore Tobias
    Ursula Valerie Vera Victor Viktor Vincent Viola Walter Wanda Wilma Xavier Yasmin Yuki Yusuf Zara Zoe
    """.split()
)
_THINGS = tuple(f"{adjective} {noun}" for adjective, noun in zip(ADJECTIVES, NOUNS[100:], strict=False))

FIRST = "One day {giver} gave the {thing} to {taker}."
NEXT = (
    "Some days later {giver} entrusted it to {taker}.",
    "In the course of time {giver} left it in the care of {taker}.",
    "Under cover of night {giver} passed it on to {taker}.",
    "After much thought {giver} let {taker} keep it.",
)
QUESTION = (
    "Somewhere in the text it is told that {giver} gave the {thing} to another person, who let somebody else have it, "
    "and so on. Each time one sentence tells it, and these sentences are scattered through the text. Which person had "
    "it in the end? Answer with the name alone.\nName: "
)
QUESTION_ONE = (
    "One sentence of the text tells who got the {thing} from {giver}. To whom did {giver} give the {thing}? Answer "
    "with the name alone.\n"
)
FIRST_OF = "Long ago {giver}, raised in {place}, handed over a sealed parcel to {taker}."
QUESTION_OF = (
    "A certain thing went from person to person, one sentence for each step, scattered through the text. It began with "
    "somebody who came from {clue}. Which person was the last owner? Answer with the name alone.\nName: "
)
CLUES = (
    ("Portugal", "the country whose capital is Lisbon"),
    ("Egypt", "the country of the pyramids and the Nile"),
    ("Japan", "the country of Mount Fuji"),
    ("Rome", "the city of the Colosseum"),
    ("Paris", "the city of the Eiffel Tower"),
    ("Moscow", "the city of the Kremlin"),
    ("India", "the country of the Taj Mahal"),
    ("Norway", "the country whose capital is Oslo"),
    ("Greece", "the country whose capital is Athens"),
    ("Australia", "the land of the kangaroos"),
    ("Kenya", "the country whose capital is Nairobi"),
    ("Peru", "the country of Machu Picchu"),
)
_SCENES = (
    "The {a} {x} stood beside the {y}, and nobody moved it.",
    "When the rain came, the {x} was carried into the house with the {y}.",
    "There was a {a} {x} in the window of the shop, next to a {b} {y}.",
    "They spoke for a while of the {x} and the price of a {y}.",
    "A {a} {x} is worth more than a {b} {y}, as the old people say.",
    "In the morning the {x} had gone, but the {a} {y} was still there.",
    "It was quiet, and the {a} {x} threw a long shadow on the {y}.",
    "The children drew a {x}, then a {a} {y}, and laughed.",
    "Nothing more was heard of the {x} until the {b} {y} was found.",
    "He counted the money twice and bought a {a} {x} instead of the {y}.",
)


@dataclass(frozen=True, slots=True)
class ProseShape:
    """The shape of a thread: its `length` in sentences and their `direction`.

    With `association`, the question shares no words with the sentences.
    """

    length: int = 3
    direction: Direction = "forward"
    association: bool = False

    def __post_init__(self) -> None:
        at_least("length", self.length, 1)

    @property
    def task(self) -> str:
        return "association" if self.association else "sentences"


def trials(shape: ProseShape, n_chars: int, seed: int, n: int, book: str | None = None) -> list[NeedleTrial]:
    """Makes up to `n` questions over one text of about `n_chars` characters: a part of the book with hidden needles.

    Needles take up at most about a third of the sentences, but there is always one question. Raises DataError for a
    book that is too short, and for a thread that does not fit.
    """
    draws = Draws(seed, f"prose {shape.task} {shape.length} {shape.direction} {n_chars}")
    names = _Names(draws, book or "")
    max_threads = min(len(CLUES) if shape.association else 10, names.n // (shape.length + 1))
    n = max(1, min(n, max_threads, n_chars // (3 * 80 * shape.length)))  # a sentence has about 80 characters
    threads = [_thread(shape, number, names, draws) for number in range(n)]
    n_needles = sum(len(sentence) + 1 for thread in threads for sentence in thread.sentences)
    if n_needles >= n_chars:
        raise DataError(
            f"a thread of {shape.length} sentences takes {n_needles} characters, and the text has {n_chars}: "
            "take a longer text or a shorter thread"
        )
    hay = filler(n_chars - n_needles, draws) if book is None else excerpt(book, n_chars - n_needles, draws)
    text = hide(hay, [(thread.sentences, shape.direction) for thread in threads], draws)
    name = f"{shape.task}_{shape.length}_{shape.direction}-{n_chars}-{seed}"
    cell = (("task", shape.task), ("chars", n_chars), ("length", shape.length), ("direction", shape.direction))
    return [
        NeedleTrial(
            id=f"{name}-{number}",
            question=thread.question,
            haystack_name=f"{name}.txt",
            haystack=text,
            needles="\n".join(thread.sentences),
            expected=thread.names[-1:],
            cell=cell,
            kind="name",
            passed=thread.names[:-1],
            strays=frozenset(name for other in threads if other is not thread for name in other.names),
        )
        for number, thread in enumerate(threads)
    ]


@dataclass(frozen=True, slots=True)
class _Thread:
    question: str
    names: tuple[str, ...]
    sentences: tuple[str, ...]


def _thread(shape: ProseShape, number: int, names: _Names, draws: Draws) -> _Thread:
    people = [names.next() for _ in range(shape.length + 1)]
    if shape.association:
        place, clue = CLUES[number]
        first = FIRST_OF.format(giver=people[0], place=place, taker=people[1])
        question = QUESTION_OF.format(clue=clue)
    else:
        thing = _THINGS[number]
        first = FIRST.format(giver=people[0], thing=thing, taker=people[1])
        question = (QUESTION if shape.length > 1 else QUESTION_ONE).format(giver=people[0], thing=thing)
    later = [draws.choice(NEXT).format(giver=a, taker=b) for a, b in pairwise(people[1:])]
    return _Thread(question, tuple(people), (first, *later))


class _Names:
    """Deals out first names that do not occur in the book, each once."""

    def __init__(self, draws: Draws, book: str) -> None:
        words = set(re.findall(r"\w+", book))
        self._left = [name for name in draws.shuffled(NAMES) if name not in words]

    @property
    def n(self) -> int:
        return len(self._left)

    def next(self) -> str:
        if not self._left:
            raise DataError("there are no more names: ask fewer questions of one text, or shorter threads")
        return self._left.pop()


def filler(n_chars: int, draws: Draws) -> str:
    """Generates prose without a plot, in paragraphs of five sentences. Ends with the last sentence that fits."""
    sentences: list[str] = []
    length = 0
    while True:
        x, y = draws.sample(NOUNS, 2)
        a, b = draws.sample(ADJECTIVES, 2)
        sentence = draws.choice(_SCENES).format(x=x, y=y, a=a, b=b)
        length += len(sentence) + (2 if sentences and len(sentences) % 5 == 0 else 1)
        if length > n_chars and sentences:
            break
        sentences.append(sentence)
    paragraphs = [" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)]
    return "\n\n".join(paragraphs)


def excerpt(book: str, n_chars: int, draws: Draws) -> str:
    """An excerpt of a book that begins with a paragraph. Raises DataError for a book that is too short."""
    if len(book) < n_chars:
        raise DataError(f"the book has {len(book)} characters, and {n_chars} are wanted: name a longer one, or several")
    starts = [0, *(match.end() for match in re.finditer(r"\n[ \t]*\n\s*", book))]
    possible = [start for start in starts if start + n_chars <= len(book)]
    start = draws.choice(possible)
    return book[start : start + n_chars].rstrip()


def hide(hay: str, threads: Sequence[tuple[Sequence[str], Direction]], draws: Draws) -> str:
    """Inserts sentences between those of the text, each at a different place while places last.

    Raises DataError if the longest thread has more sentences than the text has places.
    """
    from pipeline.text.sentences import sentences as split

    places = [0, *(start for start, _ in split(hay) if start)]
    free = list(places)
    put: dict[int, list[str]] = {}
    for sentences, direction in threads:
        if len(places) < len(sentences):
            raise DataError(
                f"{len(sentences)} sentences cannot be hidden in a text of {len(places)}: take a longer text, or a "
                "shorter thread"
            )
        if len(free) < len(sentences):
            free = list(places)
        chosen = directed(draws.sample(free, len(sentences)), direction, draws)
        free = [place for place in free if place not in set(chosen)]
        for place, sentence in zip(chosen, sentences, strict=True):
            put.setdefault(place, []).append(sentence)
    parts, end = [], 0
    for place in sorted(put):
        parts += [hay[end:place], "".join(f"{sentence} " for sentence in put[place])]
        end = place
    return "".join([*parts, hay[end:]])


def read_book(paths: Sequence[str]) -> str:
    """The text of the user's documents, joined, without the header and footer of Project Gutenberg."""
    from pipeline.documents.discover import discover
    from pipeline.documents.load import load

    return "\n\n".join(unframed(load(path).text) for path in discover(paths).files)


def unframed(text: str) -> str:
    """Removes the header and the footer of Project Gutenberg, if present."""
    start = re.search(r"^\*\*\* ?START OF .*$", text, re.MULTILINE)
    end = re.search(r"^(?:\*\*\* ?END OF |End of (?:the )?Project Gutenberg).*$", text, re.MULTILINE)
    return text[start.end() if start else 0 : end.start() if end else len(text)].strip()
