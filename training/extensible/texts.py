"""The texts that may be trained on, those held back from them, and the two that figures are reported on.

Only rows marked train in ../shared/data/INDEX.md are trained on, and of each kind the last part is held back, to watch
the training by. Figures are reported on Gutenberg 1661 and on the second part of WikiText's file, which nothing here
trains on, and which no setting may be chosen by.
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
"""The share of WikiText's file, from its beginning, that may be trained on."""

_PART = re.compile(r"(.*)-part(\d+)\.txt$")
_MARKS = ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."))
_BEFORE = re.compile(r" ([.,;:!?)\]%])|(?<=[(\[$]) | (?='s\b)")
_QUOTED = re.compile(r'" ([^"\n]*?) "')


@dataclass(frozen=True, eq=False)
class Asked:
    """A question with its passages; the supporting ones come first in `passages`, as tokens each."""

    passages: tuple[Tokens, ...]
    n_supporting: int
    question: str
    answer: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """Running texts as tokens by the kind of source, and questions with passages."""

    streams: dict[str, tuple[Tokens, ...]]
    asked: tuple[Asked, ...]


def read_corpora(folder: Path, tokenize: Tokenize) -> tuple[Corpus, Corpus]:
    """What is trained on, and what is held back from it. Raises DataError where a file is missing."""
    texts = {
        "books": [book(folder / "gutenberg" / name) for name in ("11-0.txt", "1342-0.txt")],
        "talks": _talks(folder / "graphrag_bench"),
        "wikitext": [wikitext(folder / "wikitext2" / "valid.txt")[0]],
    }
    parts = {kind: [_cut(tokens_of(text, tokenize)) for text in found] for kind, found in texts.items()}
    asked = [_asked(one, tokenize) for one in _labelled(folder) if one.answers]
    n = round(len(asked) * (1 - HELD_BACK))
    paragraphs = [np.concatenate(one.passages) for one in asked]
    train = {kind: tuple(a for a, _ in found) for kind, found in parts.items()} | {"paragraphs": tuple(paragraphs[:n])}
    held = {kind: tuple(b for _, b in found) for kind, found in parts.items()} | {"paragraphs": tuple(paragraphs[n:])}
    return Corpus(train, tuple(asked[:n])), Corpus(held, tuple(asked[n:]))


def information(corpus: Corpus, shares: Mapping[str, float], n_vocab: int) -> NDArray[np.float32]:
    """-log of how often each token stands in the texts, kinds in these shares, in nats; float32 (n_vocab,).

    What does not stand there counts as once in three million. Rounded as it is kept on the disk, to float16, so that of
    two tokens the same one is the rarer in training and after it.
    """
    found = np.full(n_vocab, 1 / 3_000_000)
    for kind, share in shares.items():
        counts = np.bincount(np.concatenate(corpus.streams[kind]), minlength=n_vocab)
        found += share / sum(shares.values()) * counts / counts.sum()
    return np.asarray(-np.log(found / found.sum()), np.float32).astype(np.float16).astype(np.float32)


def book(path: Path) -> str:
    """A Gutenberg text without its header and footer, its lines put together to paragraphs."""
    text = _read(path)
    start, end = text.find("*** START OF"), text.find("*** END OF")
    body = text[text.find("\n", start) + 1 : end] if 0 <= start < end else text
    return re.sub(r"(?<!\n)\n(?!\n)", " ", body).strip()


def wikitext(path: Path) -> tuple[str, str]:
    """WikiText's tokenised text as one would write it, in two parts, the second never to be trained on. <unk> stays."""
    text = _read(path)
    for mark, plain in _MARKS:
        text = text.replace(mark, plain)
    text = _QUOTED.sub(r'"\1"', _BEFORE.sub(lambda found: found[1] or "", text))
    cut = text.find("\n", round(len(text) * WIKITEXT_TRAIN))
    return text[:cut], text[cut:]


def tokens_of(text: str, tokenize: Tokenize) -> Tokens:
    return tokenize(text).astype(np.int64)


def _cut(tokens: Tokens) -> tuple[Tokens, Tokens]:
    n = round(len(tokens) * (1 - HELD_BACK))
    return tokens[:n], tokens[n:]


def _talks(folder: Path) -> list[str]:
    """Podcasts, their parts put together in order, and earnings calls."""
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
    """Questions of HotpotQA, 2Wiki (its first 400 rows, the others are for measuring) and MuSiQue, kinds mixed."""
    found = [
        *read_labelled(folder / "hotpotqa" / "hipporag_train100.json"),
        *read_labelled(folder / "hotpotqa" / "amor_train100.json"),
        *read_labelled(folder / "2wikimultihopqa" / "migres_train500.json")[:400],
        *read_labelled(folder / "musique" / "hipporag_train100.json"),
    ]
    order = np.random.default_rng(0).permutation(len(found))
    return [found[n] for n in order]


def _asked(one: Labelled, tokenize: Tokenize) -> Asked:
    units = one.units
    good = {owner for owner, supports in zip(units.owners, one.supports, strict=True) if supports}
    order = sorted(range(len(units.passages)), key=lambda n: (n not in good, n))
    texts = [f"{units.passages[n].title}\n{units.passages[n].text}\n\n" for n in order]
    return Asked(tuple(tokens_of(text, tokenize) for text in texts), len(good), one.question, one.answers[0])


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
