"""EPUB: its chapters in the order of reading, laid out like any page; the place is the chapter and its file."""

from __future__ import annotations

import io
import posixpath
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pipeline.documents.html import decode_html, parse, render
from pipeline.documents.limits import BROKEN_ZIP, check_unpacked
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.documents.xml_entities import parse_xml
from pipeline.errors import DocumentError
from pipeline.text.counting import counted
from pipeline.types import Document

_PAGES = (".xhtml", ".html", ".htm")


def load_epub(path: Path, data: bytes) -> Document:
    """The text of the book's spine; the table of contents is left out. The labels are `chapter 3`.

    Raises DocumentError for a book that is broken or protected.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_unpacked(str(path), archive.infolist())  # a page may have any name
            names, title, n_missing = _spine(archive)
            pages = [(name, archive.read(name)) for name in names]
            is_protected = "META-INF/rights.xml" in archive.namelist()
    except (*BROKEN_ZIP, KeyError) as error:
        raise DocumentError(f"{path}: a broken EPUB ({error}): convert it anew (ebook-convert)") from None
    if is_protected:
        raise DocumentError(f"{path}: a protected EPUB: only its shop's reader opens it")
    writer = Writer()
    n_images = 0
    for number, (_, page) in enumerate(pages, 1):
        source, _ = decode_html(path, page)
        blocks, images = render(parse(path, source))
        n_images += images
        for block in blocks:
            if block.level:
                writer.heading(block.text, block.level, f"chapter {number}")
            else:
                text = f"```\n{block.text}\n```" if block.mark == "```" else block.mark + block.text
                writer.block(text, f"chapter {number}", is_tight=block.is_tight)
    notes = [f"{counted(n_images, 'image')} without text"] if n_images else []
    if n_missing:
        notes.append(f"missing in the file, though the book names them: {counted(n_missing, 'page')}")
    return writer.document(path, "epub", title or readable_name(path), notes)


def _spine(archive: zipfile.ZipFile) -> tuple[list[str], str, int]:
    """The pages in the order of reading, the title, and how many pages the order names that the archive lacks.

    Without a spine these are all pages in the archive's order.
    """
    names = archive.namelist()
    container = _xml(archive.read("META-INF/container.xml")) if "META-INF/container.xml" in names else None
    roots = [] if container is None else container.xpath("//*[local-name()='rootfile']/@full-path")
    package = _xml(archive.read(roots[0])) if roots and roots[0] in names else None
    if package is None:
        return [name for name in names if name.lower().endswith(_PAGES)], "", 0
    folder = posixpath.dirname(roots[0])
    items = {item.get("id"): item for item in package.xpath("//*[local-name()='manifest']/*[local-name()='item']")}
    spine, n_missing = [], 0
    for reference in package.xpath("//*[local-name()='spine']/*[local-name()='itemref']/@idref"):
        item = items.get(reference)
        if item is None:
            n_missing += 1
            continue
        if "nav" in (item.get("properties") or "").split():
            continue
        name = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", "").split("#")[0])))
        if name in names:
            spine.append(name)
        else:
            n_missing += 1
    title = package.xpath("string(//*[local-name()='metadata']/*[local-name()='title'])")
    return spine, " ".join(title.split()), n_missing


def _xml(data: bytes) -> Any:
    from lxml import etree

    try:
        return parse_xml(data)[0]
    except etree.XMLSyntaxError:
        return None
