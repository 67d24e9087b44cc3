"""Resolves which document a user means: by file name, by title, or by "this document"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Literal

from pipeline.conversation.utterances import plain

_MANY = re.compile(
    r"\b(?:(?:documents|docs|files|papers|everything|all|them|these|those)|(?:dokumente|dokumenten|dateien|"
    r"unterlagen|alle|"
    r"alles|allem)|(?:belgeleri?n?i?|dosyalari?n?i?|dokümanlari?n?i?|belgeler|dosyalar|hepsini?|tümünü|her ?şeyi?))\b"
)
_FILLERS = re.compile(
    r"(?:the|a|an|this|that|these|those|it|its|of|your|my|our|all|in|document|documents|doc|docs|file|files|"
    r"text|paper|papers|"
    r"everything|them|called|named|contents?|whole|entire|here|"
    r"der|die|das|den|dem|des|dieses?|dieser|diesem|diesen|es|hier|von|vom|dokuments?|dokumente|dokumenten|"
    r"datei|dateien|"
    r"unterlagen|texte?s?|inhalts?|alle|alles|allem|ganze|ganzen|mein|dein|"
    r"bu|bunu|bunun|şu|o|onu|onun|tüm|bütün|belge\w*|dosya\w*|doküman\w*|metin|metni\w*|hepsini?|tümünü|her|"
    r"şeyi?|adli|isimli)"
)
_MIN_STEM = 4
_MAX_ENDING = 5


@dataclass(frozen=True, slots=True)
class Meant:
    """The documents that a name refers to.

    `one`: the document `sources[0]`. `all`: every document. `ask`: one of `sources`. `none`: no document has the name.
    """

    kind: Literal["one", "all", "ask", "none"]
    sources: tuple[str, ...] = ()


def find_document(about: str, titles: Mapping[str, str], last: str | None = None) -> Meant:
    """Finds the document that `about` names. `titles` maps every document's source to its title.

    An empty name, or "this document" and the like, refers to the only document, else to the one that was cited last,
    else to any of all. Other names match the file's name, its stem or its title, or some of their words; endings may
    differ, as in "ferry.md'yi". A near miss gives `ask`.
    """
    sources = tuple(sorted(titles))
    name = re.sub(r"'\w+$", "", plain(about).strip(" \"'`“”„»«."))
    if name:
        exact = tuple(source for source in sources if name in _exact_names(source, titles[source]))
        if exact:
            return _one_of(exact)
    words = [word for word in re.findall(r"[^\W_]+", name) if not _FILLERS.fullmatch(word)]
    if not words:
        if _MANY.search(name) and len(sources) > 1:
            return Meant("all", sources)
        if len(sources) == 1:
            return Meant("one", sources)
        return Meant("one", (last,)) if last is not None and last in titles else Meant("ask", sources)
    for same in (lambda word, other: word == other, _is_same_stem):
        fitting = tuple(
            source
            for source in sources
            if all(any(same(word, other) for other in _words(source, titles[source])) for word in words)
        )
        if fitting:
            return _one_of(fitting)
    names = {exact: source for source in sources for exact in _exact_names(source, titles[source])}
    near = get_close_matches(name, list(names), n=3, cutoff=0.8)
    return Meant("ask", tuple(dict.fromkeys(names[match] for match in near))) if near else Meant("none")


def _one_of(sources: tuple[str, ...]) -> Meant:
    return Meant("one" if len(sources) == 1 else "ask", sources)


def _exact_names(source: str, title: str) -> set[str]:
    path = PurePosixPath(source)
    names = {plain(source), plain(path.name), plain(path.stem), plain(title)}
    return {name for name in names if name}


def _words(source: str, title: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", plain(f"{PurePosixPath(source).name} {title}")))


def _is_same_stem(word: str, other: str) -> bool:
    """Whether two words share a stem and differ in a short ending."""
    short, long = sorted((word, other), key=len)
    return len(short) >= _MIN_STEM and long.startswith(short) and len(long) - len(short) <= _MAX_ENDING
