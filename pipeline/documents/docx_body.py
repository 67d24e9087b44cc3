"""The body of a DOCX made plain before it is converted: changes accepted, notes where they are referred to.

mammoth reads text boxes twice or not at all, moved text in both places, and stops at fields without a beginning.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from pipeline.documents.xml_element import XmlElement, parent_of

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_REFERENCES = {
    "footnoteReference": ("footnotes", "footnote", "note"),
    "endnoteReference": ("endnotes", "endnote", "note"),
    "commentReference": ("comments", "comment", "comment"),
}


def make_plain(root: XmlElement, parts: Mapping[str, XmlElement]) -> list[str]:
    """Changes the tree of the body, and says what a reader should know. `parts` are the roots of the other parts."""
    notes = _accept_changes(root)
    _inline_notes(root, parts)
    if n := sum(1 for _ in parts["comments"].iter(f"{_W}comment")) if "comments" in parts else 0:
        notes.append(f"{n} comment{'s' if n > 1 else ''} read in the places where they stand")
    n_boxes = _move_boxes(root)
    if n_boxes:
        notes.append(f"{n_boxes} text box{'es' if n_boxes > 1 else ''} read behind the paragraphs that hold them")
    for table in [table for table in root.iter(f"{_W}tbl") if parent_of(table).tag == f"{_W}tc"]:
        _flatten(table)
    for element in list(root.iter(f"{_W}fldChar", f"{_W}instrText", f"{_W}softHyphen")):
        parent_of(element).remove(element)
    for hyphen in list(root.iter(f"{_W}noBreakHyphen")):
        hyphen.addnext(_run("-")[0])
        parent_of(hyphen).remove(hyphen)
    for wrapper in list(root.iter(f"{_W}sdtContent")):
        _unwrap(parent_of(wrapper), wrapper)
    for formula in list(root.iter(f"{_M}oMath")):
        parent_of(formula).replace(formula, _run("".join(part.text or "" for part in formula.iter(f"{_M}t"))))
    for text in root.iter(f"{_W}t"):
        text.text = (text.text or "").replace("\u00ad", "")
    if any(mark.get(f"{_W}val") not in ("0", "false") for mark in root.iter(f"{_W}vanish")):
        notes.append("holds hidden text, which was read")
    return notes


def page_texts(parts: Mapping[str, XmlElement]) -> list[tuple[str, str]]:
    """("Page header" or "Page footer", its text), each once."""
    texts: dict[tuple[str, str], None] = {}
    for name, root in parts.items():
        kind = "Page header" if name.startswith("header") else "Page footer" if name.startswith("footer") else ""
        words = _words(root) if kind else ""
        if any(character.isalpha() for character in words):
            texts[kind, words] = None
    return list(texts)


def with_body(data: bytes, name: str, body: bytes) -> bytes:
    """The file with another body."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(target, "w") as copied:
        for info in archive.infolist():
            copied.writestr(info.filename, body if info.filename == name else archive.read(info))
    return target.getvalue()


def _accept_changes(root: XmlElement) -> list[str]:
    gone = list(root.iter(f"{_W}del", f"{_W}moveFrom"))
    kept = list(root.iter(f"{_W}ins", f"{_W}moveTo"))
    for element in gone:
        parent = element.getparent()
        if parent is not None and parent.tag != f"{_W}rPr":
            parent.remove(element)
    for element in kept:
        parent = element.getparent()
        if parent is not None and parent.tag not in (f"{_W}rPr", f"{_W}trPr"):
            _unwrap(element, element)
    for row in [row for row in root.iter(f"{_W}tr") if row.find(f"{_W}trPr/{_W}del") is not None]:
        parent_of(row).remove(row)
    return ["tracked changes: read as if all were accepted"] if gone or kept else []


def _inline_notes(root: XmlElement, parts: Mapping[str, XmlElement]) -> None:
    for tag, (part, name, shown) in _REFERENCES.items():
        if part not in parts:
            continue
        texts = {note.get(f"{_W}id"): _words(note) for note in parts[part].iter(f"{_W}{name}")}
        for reference in list(root.iter(f"{_W}{tag}")):
            words = texts.get(reference.get(f"{_W}id"), "")
            run = reference.getparent()
            if words and run is not None and run.getparent() is not None:
                run.addnext(_run(f" [{shown}: {words}]"))
            if run is not None:
                run.remove(reference)


def _move_boxes(root: XmlElement) -> int:
    """Puts the paragraphs of each text box behind the paragraph that holds it; how many boxes there are."""
    n = 0
    for choice in list(root.iter(f"{_MC}AlternateContent")):
        fallback = choice.find(f"{_MC}Fallback")
        if fallback is not None and choice.find(f"{_MC}Choice") is not None:
            choice.remove(fallback)
    for box in list(root.iter(f"{_W}txbxContent")):
        holder = next((e for e in box.iterancestors(f"{_W}p")), None)
        if holder is None or not _words(box):
            continue
        for paragraph in reversed(list(box)):
            holder.addnext(paragraph)
        n += 1
    return n


def _flatten(table: XmlElement) -> None:
    """Makes a table inside a cell a line of text for each row."""
    for row in table.iter(f"{_W}tr"):
        words = ", ".join(filter(None, (_words(cell) for cell in row.iter(f"{_W}tc"))))
        paragraph = table.makeelement(f"{_W}p", {})
        paragraph.append(_run(words))
        table.addprevious(paragraph)
    parent_of(table).remove(table)


def _unwrap(outer: XmlElement, inner: XmlElement) -> None:
    """Puts what is inside an element in the place of another, which holds it or is it."""
    for child in list(inner):
        outer.addprevious(child)
    parent_of(outer).remove(outer)


def _run(text: str) -> XmlElement:
    from lxml import etree

    run: XmlElement = etree.Element(f"{_W}r")
    words = etree.SubElement(run, f"{_W}t")
    words.text = text
    words.set(_SPACE, "preserve")
    return run


def _words(element: XmlElement) -> str:
    """The text below an element, paragraphs parted by a space."""
    paragraphs = ("".join(text.text or "" for text in p.iter(f"{_W}t")) for p in element.iter(f"{_W}p"))
    return " ".join(" ".join(paragraphs).split())
