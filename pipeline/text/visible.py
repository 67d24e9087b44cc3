"""Text from outside in a form that drives nothing: no terminal, no line's direction, no picture's markup."""

from __future__ import annotations

import re

MARK = "\N{REPLACEMENT CHARACTER}"
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
"""C0 but tab and line feed, DEL, C1, what has Unicode's property Bidi_Control, and surrogates (bytes of no UTF-8)."""


def visible(text: str) -> str:
    """The text with a mark for each control character but tab and line break, and for each bidirectional control.

    Windows line breaks become line feeds; all other characters keep their place.
    """
    return UNSAFE.sub(MARK, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The visible text on one line, its runs of blanks made one."""
    return " ".join(visible(text).split())


def picture_label(text: str) -> str:
    """The visible text as matplotlib draws it, which reads mathematics between two dollar signs."""
    return visible(text).replace("$", r"\$")
