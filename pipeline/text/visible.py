"""Makes untrusted text safe to show: it cannot control a terminal, the direction of a line or a picture's markup."""

from __future__ import annotations

import re

MARK = "\N{REPLACEMENT CHARACTER}"
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
"""C0 except tab and line feed, DEL, C1, characters with Unicode's property Bidi_Control, and surrogates (non-UTF-8)."""


def visible(text: str) -> str:
    """Replaces each control character, except tab and line break, and each bidirectional control with a mark.

    Windows line breaks become line feeds. All other characters keep their place.
    """
    return UNSAFE.sub(MARK, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The visible text on one line, with runs of white space collapsed."""
    return " ".join(visible(text).split())


def picture_label(text: str) -> str:
    """The visible text, escaped for matplotlib, which reads mathematics between two dollar signs."""
    return visible(text).replace("$", r"\$")
