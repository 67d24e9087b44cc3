"""Text from arguments, the keyboard and standard input, which may contain bytes that are not UTF-8.

Python represents such a byte by a lone surrogate, which no model and no database accepts. Paths keep it, since it is
part of the file's name. `as_text` decodes it in any other text.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

from pipeline.text.visible import MARK

_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(text: str) -> str:
    """Decodes stray bytes in the console's encoding if that is not UTF-8 and fits the whole text, else as cp1252.

    A byte that cp1252 does not define becomes a mark.
    """
    if not _SURROGATE.search(text):
        return text
    with contextlib.suppress(UnicodeError, LookupError):
        encoding = sys.stdin.encoding
        if not encoding.lower().startswith("utf"):
            return text.encode("utf-8", "surrogateescape").decode(encoding)
    return _SURROGATE.sub(lambda match: _decode_byte(ord(match[0]) - 0xDC00), text)


def read_lines() -> Iterator[str]:
    """Yields the lines of standard input, with stray bytes as surrogates and without a byte order mark."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:  # a stream that was put in its place holds text already
        yield from sys.stdin
        return
    for n, line in enumerate(buffer):
        text = line.decode("utf-8", "surrogateescape")
        yield text if n else text.removeprefix("\ufeff")


def _decode_byte(byte: int) -> str:
    return bytes([byte]).decode("cp1252", "replace") if 0x80 <= byte <= 0xFF else MARK  # else half of a pair
