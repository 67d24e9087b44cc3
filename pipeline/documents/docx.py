"""DOCX: mammoth makes HTML of it, and that is laid out as any other page."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.documents.docx_body import make_plain, page_texts, with_body
from pipeline.documents.html import Block, lay_out, parse, render
from pipeline.documents.limits import BROKEN_ZIP, check_unpacked
from pipeline.documents.text import readable_name
from pipeline.documents.xml_element import XmlElement
from pipeline.documents.xml_entities import parse_xml
from pipeline.errors import DocumentError
from pipeline.types import Document

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_BODY = "word/document.xml"


def load_docx(path: Path, data: bytes) -> Document:
    """The document's text with its headings. The title: that of its properties, else its first heading.

    Raises DocumentError for a file that is broken or wants a password, MissingExtraError without mammoth and lxml.
    """
    import mammoth
    from lxml import etree

    parts = _parts(path, data)
    body = _xml(parts[_BODY])
    roots = {name: root for name, part in parts.items() if part and (root := _xml(part)) is not None}
    others = {name[5:-4]: root for name, root in roots.items() if name.startswith("word/") and name != _BODY}
    notes: list[str] = []
    try:
        if body is not None:
            notes = make_plain(body, others)
            data = with_body(data, _BODY, etree.tostring(body))
        result = mammoth.convert_to_html(
            io.BytesIO(data),
            style_map=_STYLES,
            include_embedded_style_map=False,
            convert_image=mammoth.images.img_element(lambda image: {"src": ""}),
        )
    except Exception as error:
        # mammoth raises whatever its XML reader, zipfile or a dictionary raises: any of them means a broken file.
        raise DocumentError(f"{path}: a broken DOCX ({error}): open it in a word processor and save it again") from None
    blocks, images = render(parse(path, f"<html><body>{result.value}</body></html>"))
    blocks += [Block(f"{kind}: {words}") for kind, words in page_texts(others)]
    layout = lay_out(blocks)
    named = layout.headings[0].title if layout.headings else readable_name(path)
    notes += [f"{images} image{'s' if images > 1 else ''} without text"] if images else []
    notes += _lost(body, layout.text) + _warnings(result.messages)
    return Document(
        source=path.as_posix(),
        text=layout.text,
        kind="docx",
        title=_title(parts.get("docProps/core.xml", b"")) or named,
        headings=layout.headings,
        notes=tuple(notes),
        paragraphs=layout.paragraphs,
    )


def _parts(path: Path, data: bytes) -> dict[str, bytes]:
    """The XML parts that matter; the others by name alone. Raises DocumentError where there is no text to read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_unpacked(str(path), archive.infolist())
            names = archive.namelist()
            wanted = re.compile(
                r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml|docProps/core\.xml"
            )
            parts = {name: archive.read(name) if wanted.fullmatch(name) else b"" for name in names}
    except BROKEN_ZIP as error:
        if data.startswith(b"\xd0\xcf\x11\xe0"):
            raise DocumentError(f"{path}: a DOCX with a password, or an old DOC: save it as DOCX without one") from None
        raise DocumentError(f"{path}: a broken DOCX ({error}): open it in a word processor and save it again") from None
    if _BODY not in parts:
        raise DocumentError(f"{path}: not a DOCX, for it holds no {_BODY}: save it as DOCX")
    return parts


def _xml(data: bytes) -> XmlElement | None:
    """The root of an XML part, or None where it is broken."""
    from lxml import etree

    try:
        root: XmlElement = parse_xml(data)[0]
    except etree.XMLSyntaxError:
        return None
    return root


def _title(core: bytes) -> str:
    root = _xml(core) if core else None
    return " ".join((root.findtext(f".//{_TITLE}") or "").split()) if root is not None else ""


def _lost(root: XmlElement | None, text: str) -> list[str]:
    """How many of the body's words stand nowhere in the text, which would be a fault of the conversion."""
    if root is None:
        return []
    kept = set(text.split())
    pieces = (piece.text or "" for piece in root.iter(f"{_WORD}t"))
    missing = [word for word in dict.fromkeys(" ".join(pieces).split()) if word not in kept]
    solid = "".join(text.replace("^", "").split())
    lost = [word for word in missing if word.replace("^", "") not in solid]
    return [f"{len(lost)} word{'s' if len(lost) > 1 else ''} not converted: {' '.join(lost[:8])}"] if lost else []


class _Message(Protocol):
    """A warning of mammoth."""

    @property
    def message(self) -> str: ...


def _warnings(messages: Iterable[_Message]) -> list[str]:
    """Mammoth's warnings, each once; those on styles change nothing about the text."""
    texts = dict.fromkeys(str(message.message) for message in messages)
    return [text for text in texts if "style" not in text and "unrecognised element" not in text]
