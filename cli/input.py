"""What comes in as text: arguments, the keyboard, standard input. Bytes that are not UTF-8 end nothing.

Python stands for such a byte with a lone surrogate, from which the byte can be made again; no model and no database
takes one. A path keeps them, since they name the file. A text is read anew by `as_text`.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

from pipeline.text.visible import MARK

_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(text: str) -> str:
    """The text with its stray bytes decoded: all of it in the console's encoding where that is not UTF-8 and fits.

    Otherwise each stray byte is taken for cp1252, and a mark stands for one that means nothing there.
    """
    if not _SURROGATE.search(text):
        return text
    with contextlib.suppress(UnicodeError, LookupError):
        encoding = sys.stdin.encoding
        if not encoding.lower().startswith("utf"):
            return text.encode("utf-8", "surrogateescape").decode(encoding)
    return _SURROGATE.sub(lambda match: _decode_byte(ord(match[0]) - 0xDC00), text)


def read_lines() -> Iterator[str]:
    """Standard input line by line, as it comes: stray bytes as surrogates, no byte order mark."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:  # a stream that was put in its place holds text already
        yield from sys.stdin
        return
    for n, line in enumerate(buffer):
        text = line.decode("utf-8", "surrogateescape")
        yield text if n else text.removeprefix("\ufeff")


def _decode_byte(byte: int) -> str:
    return bytes([byte]).decode("cp1252", "replace") if 0x80 <= byte <= 0xFF else MARK  # else half of a pair
