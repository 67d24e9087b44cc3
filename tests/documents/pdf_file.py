"""A writer of small PDFs, so that the tests hold no binary files: pages of lines, a title, bookmarks, a password."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_PAD = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
_ID = bytes(range(16))
_PERMISSIONS = -4


def pdf(
    pages: Sequence[Sequence[str]], title: str = "", bookmarks: Sequence[tuple[int, str]] = (), password: str = "",
    about: str = "", large: Sequence[str] = (),
) -> bytes:  # fmt: skip
    """A PDF with these lines on its pages, those in `large` in larger letters; an empty one is a gap.

    `bookmarks` are (page counted from 0, title), all of one level.
    `about` holds further entries of its information: `/Author (Ada)`.
    With a password it is encrypted with 40-bit RC4 (PDF 1.7, 7.6: standard security handler, revision 2).
    """
    n = len(pages)
    owner, user, key = _security(password.encode("latin-1"))
    first_mark = 4 + 2 * n
    objects: dict[int, bytes] = {
        1: b"<< /Type /Catalog /Pages 2 0 R" + (b" /Outlines %d 0 R" % first_mark if bookmarks else b"") + b" >>",
        2: b"<< /Type /Pages /Count %d /Kids [%s] >>" % (n, b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(n))),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    }
    for i, lines in enumerate(pages):
        sizes = [18 if line in large else 12 for line in lines]
        shown = [b"/F1 %d Tf (%s) Tj T*" % (size, _escaped(line)) for size, line in zip(sizes, lines, strict=True)]
        stream = b"BT 14 TL 72 720 Td %s ET" % b" ".join(shown)
        stream = _rc4(_object_key(key, 5 + 2 * i), stream) if password else stream
        objects[4 + 2 * i] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * i)
        )
        objects[5 + 2 * i] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream)
    objects |= _outline(bookmarks, first_mark)
    info = max(objects) + 1
    objects[info] = b"<< /Title (%s) %s >>" % (_escaped(title), about.encode())
    trailer = b"/Root 1 0 R /Info %d 0 R" % info
    if password:
        trailer += b" /ID [<%s> <%s>]" % (_ID.hex().encode(), _ID.hex().encode())
        trailer += b" /Encrypt << /Filter /Standard /V 1 /R 2 /P %d /O <%s> /U <%s> >>" % (
            _PERMISSIONS,
            owner.hex().encode(),
            user.hex().encode(),
        )
    return _file(objects, trailer)


def _outline(bookmarks: Sequence[tuple[int, str]], first: int) -> dict[int, bytes]:
    if not bookmarks:
        return {}
    last = first + len(bookmarks)
    objects = {first: b"<< /First %d 0 R /Last %d 0 R /Count %d >>" % (first + 1, last, len(bookmarks))}
    for i, (page, title) in enumerate(bookmarks, first + 1):
        following = b"" if i == last else b" /Next %d 0 R" % (i + 1)
        objects[i] = b"<< /Title (%s) /Parent %d 0 R /Dest [%d 0 R /Fit]%s >>" % (
            _escaped(title),
            first,
            4 + 2 * page,
            following,
        )
    return objects


def _file(objects: dict[int, bytes], trailer: bytes) -> bytes:
    written = b"%PDF-1.4\n"
    offsets = []
    for number in sorted(objects):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, objects[number])
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    start = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    return written + b"trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start)


def _escaped(text: str) -> bytes:
    return text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _security(password: bytes) -> tuple[bytes, bytes, bytes]:
    """The entries O and U, and the key, for one password as the owner's and the user's."""
    padded = (password + _PAD)[:32]
    owner = _rc4(_md5(padded)[:5], padded)
    key = _md5(padded + owner + _PERMISSIONS.to_bytes(4, "little", signed=True) + _ID)[:5]
    return owner, _rc4(key, _PAD), key


def _object_key(key: bytes, number: int) -> bytes:
    return _md5(key + number.to_bytes(3, "little") + b"\0\0")[:10]


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)
