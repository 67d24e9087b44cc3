"""XML: each element's text and attributes behind the path of its names, or as a paragraph where text runs on in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.documents.text import decode, load_text, readable_name
from pipeline.documents.writer import Writer
from pipeline.documents.xml_entities import note_of, parse_xml
from pipeline.errors import DocumentError
from pipeline.types import Document

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_LABEL = re.compile(rb"^\s*<\?xml[^>]*encoding\s*=\s*[\"']([\w.:-]+)")


def load_xml(path: Path, data: bytes) -> Document:
    """A line for each element with text or attributes; the lines are those of the file.

    Entities that the file defines are text, those of other files stay as they are written: nothing is fetched. Raises
    DocumentError for a file that is not well formed.
    """
    from lxml import etree

    label = _LABEL.match(data[:500])
    text, notes = decode(path, data, label[1].decode("ascii") if label else None)
    try:
        root, unknown = parse_xml(_DECLARATION.sub("", text).encode("utf-8", "replace"))
    except etree.XMLSyntaxError as error:
        if path.suffix.lower() != ".xml":  # told by its beginning
            document = load_text(path, data)
            return replace(document, notes=(*document.notes, f"read as plain text, for it is no XML: {error}"))
        raise DocumentError(f"{path}: XML that is not well formed: {error}") from None
    writer = Writer()
    shift = text[: len(text) - len(_DECLARATION.sub("", text))].count("\n")
    for keys, entry, line in _entries(root, ()):
        writer.block(entry, "/".join(keys), line + shift, is_tight=True)
    return writer.document(path, "xml", readable_name(path), (*notes, *note_of(unknown)))


def _entries(element: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """(path, text, line) of an element and of what is inside it, in the order of the file."""
    if not isinstance(element.tag, str):
        if element.text and element.text.strip() and callable(element.tag) and element.tag.__name__ == "Comment":
            yield above, f"({' '.join(element.text.split())})", element.sourceline
        return
    keys = (*above, _name(element.tag))
    pairs = [f"{_name(name)}: {' '.join(value.split())}" for name, value in element.attrib.items() if value.strip()]
    children = [child for child in element if isinstance(child.tag, str)]
    has_text = bool((element.text or "").strip()) and bool(children)
    is_prose = has_text or any((child.tail or "").strip() for child in element)
    if is_prose or not children:
        words = " ".join("".join(element.itertext("{*}*")).split())
        shown = [*pairs, words] if words else pairs
        if shown:
            yield keys, f"{'.'.join(keys[1:]) or keys[0]}: {'; '.join(shown)}", element.sourceline
        return
    simple = [child for child in children if not len(child) and not child.attrib]
    if len(simple) == len(children) and len({child.tag for child in children}) == len(children):
        # A record: one line for the element with all its fields.
        pairs += [f"{_name(c.tag)}: {words}" for c in children if (words := " ".join((c.text or "").split()))]
        if pairs:
            yield keys, f"{'.'.join(keys[1:]) or keys[0]} · {'; '.join(pairs)}", element.sourceline
        yield from (entry for child in element if not isinstance(child.tag, str) for entry in _entries(child, keys))
        return
    if pairs:
        yield keys, f"{'.'.join(keys[1:]) or keys[0]}: {'; '.join(pairs)}", element.sourceline
    for child in element:
        yield from _entries(child, keys)


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]
