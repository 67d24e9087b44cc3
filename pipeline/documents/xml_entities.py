"""Parses XML, and writes the text of entities in their places. Nothing is fetched.

lxml keeps an entity as a node of its own, and the text behind it is that node's tail. Readers that ask elements for
their text would lose both.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from pipeline.text.counting import listed

MAX_ENTITY_CHARS = 1_000_000
"""Characters that the entities of one file may stand for, all occurrences together."""
_MAX_DEPTH = 20  # an entity inside an entity, and so on
_REFERENCE = re.compile(r"&([^\s&;#]+);")
_TAG = re.compile(r"<[^<>]*>")


def parse_xml(data: bytes) -> tuple[Any, tuple[str, ...]]:
    """The root of the tree, and the entities that stay as they are written, such as `&chapter;`.

    Entities that the file defines itself and those of HTML become text. Those of other files are not looked up. Raises
    etree.XMLSyntaxError for XML that is not well formed, and for entities that expand to more than MAX_ENTITY_CHARS.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    root = etree.fromstring(data, parser)
    nodes = list(root.iter(etree.Entity))
    if not nodes:
        return root, ()
    dtd = root.getroottree().docinfo.internalDTD
    defined = {
        entity.name: entity.content for entity in (dtd.iterentities() if dtd is not None else ()) if entity.content
    }
    unknown: dict[str, None] = {}
    texts: dict[Any, str] = {}
    n_left = MAX_ENTITY_CHARS
    for node in nodes:
        text = _expand(node.text, defined, n_left)
        if text is None:
            raise etree.XMLSyntaxError(f"entities stand for more than {MAX_ENTITY_CHARS} characters", None, 0, 0)
        n_left -= len(text)
        unknown.update(dict.fromkeys(match[0] for match in _REFERENCE.finditer(text)))
        texts[node] = text
    for parent in dict.fromkeys(node.getparent() for node in nodes):
        _put_texts(parent, texts)
    return root, tuple(unknown)


def note_of(unknown: tuple[str, ...]) -> tuple[str, ...]:
    """What a reader should know of entities that stay as they are written."""
    return (f"defined in another file, which is not read: {listed(unknown)}",) if unknown else ()


def _expand(text: str, defined: Mapping[str, str], max_chars: int) -> str | None:
    """The text with its entities replaced, or None for one that is longer than `max_chars`."""
    for _ in range(_MAX_DEPTH):
        names = [match[1] for match in _REFERENCE.finditer(text) if match[1] in defined]
        if not names:
            break
        if len(text) + sum(len(defined[name]) for name in names) > max_chars:
            return None
        text = _REFERENCE.sub(lambda match: defined.get(match[1], match[0]), text)
    return html.unescape(_TAG.sub("", text))


def _put_texts(parent: Any, texts: Mapping[Any, str]) -> None:
    """Puts texts in the places of an element's entities, each stretch at once: a page may hold 100 000 of them."""
    stretch, before = [parent.text or ""], None
    for child in list(parent):
        if child in texts:
            stretch += [texts[child], child.tail or ""]
            child.tail = None
            parent.remove(child)
        else:
            _set_text(parent, before, "".join(stretch))
            stretch, before = [child.tail or ""], child
    _set_text(parent, before, "".join(stretch))


def _set_text(parent: Any, before: Any | None, text: str) -> None:
    """Sets the text behind a child, or at the beginning of the parent."""
    if before is None:
        parent.text = text
    else:
        before.tail = text
