"""Text that drives a terminal, for every place where longthread takes text from outside, and what must not come out."""

import re

ESCAPES = "\x1b]52;c;ZXZpbA==\x07\x1b[31;47;5m\x1b]0;title\x1b\\"
"""Writes the clipboard, colours the text so that it blinks, names the window."""
TEXT = f"{ESCAPES}\x9b2J\x85\x7f\u202eturned\u2066\u200f\u061c[bold]:bomb:[link=http://evil]"
"""The same with C1 codes, DEL, bidirectional controls, and rich's markup."""
SEEN = "]52;c;ZXZpbA"
"""What is left of it when it was shown harmlessly."""
NAME = TEXT.replace("/", "")
"""As a file's name."""
MARKUP_PATH = "a[/b]c"
"""A folder and a file in it, whose path closes a tag that nobody opened."""
HTML = "&#27;]52;c;ZXZpbA==&#7;&#x1b;[31;47;5m&#x9b;2J&#133;&#x202e;turned&#8294;"
YAML_STRING = '"\\e]52;c;ZXZpbA==\\a\\x9b2J\\u202eturned"'

_OF_RICH = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;[^\x1b\x07]*\x1b\\")
_NEVER = re.compile("[\x07\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HOSTILE = ("\x1b]52", "\x1b[31;47;5m", "\x1b]0;")


def dangers(text: str, is_terminal: bool = False) -> list[str]:
    """What of a text could drive a terminal. In a terminal the sequences that rich writes are allowed."""
    found = [piece for piece in _HOSTILE if piece in text] + _NEVER.findall(text)
    rest = _OF_RICH.sub("", text) if is_terminal else text
    return found + [rest[match.start() : match.start() + 20] for match in re.finditer("\x1b", rest)]
