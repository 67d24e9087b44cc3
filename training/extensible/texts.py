"""The training texts, the held-out texts, and the two texts for reported figures.

Only rows marked train in ../shared/data/INDEX.md are used for training. The last part of each kind is held out, to
monitor the training. Figures are reported on Gutenberg 1661 and on the second part of WikiText's file. Nothing here
trains on these, and no setting may be chosen with them.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressors.calibration.labelled import Labelled, read_labelled
from pipeline.errors import DataError
from training.extensible.instances import Tokens

Tokenize = Callable[[str], NDArray[np.int32]]
HELD_BACK = 0.08
WIKITEXT_TRAIN = 0.6
"""The first share of WikiText's file, which training may use."""

_PART = re.compile(r"(.*)-part(\d+)\.txt$")
_MARKS = ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."))
_BEFORE = re.compile(r" ([.,;:!?)\]%])|(?<=[(\[$]) | (?='s\b)")
_QUOTED = re.compile(r'" ([^"\n]*?) "')


@dataclass(frozen=True, eq=False)
class PassageQuestion:
    """A question with the tokens of its passages. The supporting passages come first."""

    passages: tuple[Tokens, ...]
    n_supporting: int
    question: str
    answer: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """Running texts as tokens, by kind of source, and questions with passages."""

    streams: dict[str, tuple[Tokens, ...]]
    questions: tuple[PassageQuestion, ...]


def read_corpora(folder: Path, tokenize: Tokenize) -> tuple[Corpus, Corpus]:
    """The training corpus and the held-out corpus. Raises DataError if a file is missing."""
    texts = {
        "books": [book(folder / "gutenberg" / name) for name in ("11-0.txt", "1342-0.txt")],
        "talks": _talks(folder / "graphrag_bench"),
        "wikitext": [wikitext(folder / "wikitext2" / "valid.txt")[0]],
    }
    parts = {kind: [_cut(tokens_of(text, tokenize)) for text in kind_texts] for kind, kind_texts in texts.items()}
    questions = [_with_passages(question, tokenize) for question in _labelled(folder) if question.answers]
    n = round(len(questions) * (1 - HELD_BACK))
    paragraphs = [np.concatenate(question.passages) for question in questions]
    train = {kind: tuple(a for a, _ in cuts) for kind, cuts in parts.items()} | {"paragraphs": tuple(paragraphs[:n])}
    held = {kind: tuple(b for _, b in cuts) for kind, cuts in parts.items()} | {"paragraphs": tuple(paragraphs[n:])}
    return Corpus(train, tuple(questions[:n])), Corpus(held, tuple(questions[n:]))


def information(corpus: Corpus, shares: Mapping[str, float], n_vocab: int) -> NDArray[np.float32]:
    """-log of each token's frequency in the texts, in nats, float32 (n_vocab,). `shares` weighs the kinds of text.

    A missing token counts as once in three million. Values are rounded to float16, as on disk, so that tokens have the
    same order of rarity during training and after it.
    """
    frequencies = np.full(n_vocab, 1 / 3_000_000)
    for kind, share in shares.items():
        counts = np.bincount(np.concatenate(corpus.streams[kind]), minlength=n_vocab)
        frequencies += share / sum(shares.values()) * counts / counts.sum()
    return np.asarray(-np.log(frequencies / frequencies.sum()), np.float32).astype(np.float16).astype(np.float32)


def book(path: Path) -> str:
    """A Gutenberg text without header and footer, with its lines joined into paragraphs."""
    text = _read(path)
    start, end = text.find("*** START OF"), text.find("*** END OF")
    body = text[text.find("\n", start) + 1 : end] if 0 <= start < end else text
    return re.sub(r"(?<!\n)\n(?!\n)", " ", body).strip()


def wikitext(path: Path) -> tuple[str, str]:
    """WikiText as ordinary text, in two parts. Training must not use the second. <unk> stays."""
    text = _read(path)
    for mark, plain in _MARKS:
        text = text.replace(mark, plain)
    text = _QUOTED.sub(r'"\1"', _BEFORE.sub(lambda match: match[1] or "", text))
    cut = text.find("\n", round(len(text) * WIKITEXT_TRAIN))
    return text[:cut], text[cut:]


def tokens_of(text: str, tokenize: Tokenize) -> Tokens:
    return tokenize(text).astype(np.int64)


def _cut(tokens: Tokens) -> tuple[Tokens, Tokens]:
    n = round(len(tokens) * (1 - HELD_BACK))
    return tokens[:n], tokens[n:]


def _talks(folder: Path) -> list[str]:
    """Podcasts, with their parts joined in order, and earnings calls."""
    episodes: dict[str, list[tuple[int, str]]] = {}
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".txt"):
                    episode = _PART.match(name)
                    text = archive.read(name).decode("utf-8", "replace").replace("\r\n", "\n")
                    key, number = (episode[1], int(episode[2])) if episode else (name, 0)
                    episodes.setdefault(key, []).append((number, text.partition(".txt ")[2] or text))
    if not episodes:
        raise DataError(f"{folder}: holds no zip with texts")
    return ["\n".join(text for _, text in sorted(parts)) for parts in episodes.values()]


def _labelled(folder: Path) -> Sequence[Labelled]:
    """Questions of HotpotQA, 2Wiki (the first 400 rows; the others are for evaluation) and MuSiQue, shuffled."""
    questions = [
        *read_labelled(folder / "hotpotqa" / "hipporag_train100.json"),
        *read_labelled(folder / "hotpotqa" / "amor_train100.json"),
        *read_labelled(folder / "2wikimultihopqa" / "migres_train500.json")[:400],
        *read_labelled(folder / "musique" / "hipporag_train100.json"),
    ]
    order = np.random.default_rng(0).permutation(len(questions))
    return [questions[n] for n in order]


def _with_passages(question: Labelled, tokenize: Tokenize) -> PassageQuestion:
    units = question.units
    good = {owner for owner, supports in zip(units.owners, question.supports, strict=True) if supports}
    order = sorted(range(len(units.passages)), key=lambda n: (n not in good, n))
    texts = [f"{units.passages[n].title}\n{units.passages[n].text}\n\n" for n in order]
    return PassageQuestion(
        tuple(tokens_of(text, tokenize) for text in texts), len(good), question.question, question.answers[0]
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
