"""Tokenises text without ever producing control tokens.

llama.cpp reads the strings of user-defined tokens as these tokens even with special-token parsing off, and a
SentencePiece vocabulary may merge ordinary pieces into a control token. So a prompt's content is split inside every
string that is a mark of this vocabulary before it is tokenised. No character changes.

Some SentencePiece vocabularies put a space before every text, but a prompt's spans have no spaces between them. So such
a text gets a prefix byte that is in no other token, and the tokens of space and byte are removed again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise, repeat
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 8, 16, 32
_SPM = 1
_FIRST = "\x01"
"""The prefix byte, which vocabularies have only as a single byte."""
_SPACE = "▁"
"""SentencePiece's character for a space; in a text it is an ordinary character."""
_SHAPE = re.compile(r"<[|｜].*|.*[|｜]>|\[/?(?:INST|THINK|SYSTEM_PROMPT|TOOL_CALLS)\]|</?(?:seed:)?think>")
"""Strings that mark turns and thoughts in some template, not necessarily in this one."""


class Tokenizer:
    """The vocabulary's tokenizer. `template` is the source of the file's chat templates."""

    def __init__(self, lib: ModuleType, vocab: object, template: str = "") -> None:
        self._lib = lib
        self._vocab = vocab
        self._n_first = 0
        n = lib.llama_vocab_n_tokens(vocab)
        self._kinds = np.fromiter(map(lib.llama_vocab_get_attr, repeat(vocab), range(n)), np.int32, n)
        self._bytes = self._byte_tokens()
        self._n_first = self._count_first() if lib.llama_vocab_type(vocab) == _SPM else 0
        self._escapes_spaces = np.array_equal(self._raw(_SPACE, special=False), self._raw(" ", special=False))
        self.protect(template)

    def protect(self, template: str) -> None:
        """Adds the user-defined tokens in this text to the marks, which include all control tokens."""
        self.is_mark: NDArray[np.bool_] = self._kinds & _CONTROL != 0
        marks: list[str] = []
        for token in np.flatnonzero(self._kinds & (_CONTROL | _USER_DEFINED | _UNKNOWN)).tolist():
            text = self._text(token)
            if len(text) < 2 or text.isspace():  # no marks: spaces of source code, and characters
                self.is_mark[token] = False
                continue
            if self._kinds[token] & _USER_DEFINED and (text in template or _SHAPE.fullmatch(text)):
                self.is_mark[token] = True
            if self.is_mark[token] or self._kinds[token] & _UNKNOWN:
                marks.append(text)
        if self._escapes_spaces:
            marks += [text.replace(_SPACE, " ") for text in marks if _SPACE in text]
        self._marks = _Marks(marks)

    def tokens(self, text: str, special: bool) -> NDArray[np.int32]:
        """Tokenises a text alone; the result is read-only. `special` parses the strings of marks as marks."""
        pieces = [text] if special else self._marks.cut(text)
        parts = [tokens for piece in pieces for tokens in self._spell(piece, special)]
        joined = np.concatenate(parts) if parts else np.empty(0, np.int32)
        joined.flags.writeable = False
        return joined

    def is_special(self, token: int) -> bool:
        return bool(self._kinds[token] & (_CONTROL | _USER_DEFINED))

    # ----------------------------------------------------------------------------------------------------- internals
    def _spell(self, text: str, special: bool) -> Iterator[NDArray[np.int32]]:
        if _SPACE in text and self._escapes_spaces and self._bytes and not special:
            for n, part in enumerate(text.split(_SPACE)):
                if n:
                    yield np.array([self._bytes[byte] for byte in _SPACE.encode()], np.int32)
                if part:
                    yield self._checked(part)
        elif special:
            yield self._raw(text, special=True)
        else:
            yield self._checked(text)

    def _checked(self, text: str) -> NDArray[np.int32]:
        """Tokenises without marks: if pieces still merge into a mark, the characters are spelt one by one."""
        tokens = self._raw(text, special=False)
        if not self.is_mark[tokens].any():
            return tokens
        return np.concatenate([self._raw(char, special=False) for char in text])

    def _raw(self, text: str, special: bool) -> NDArray[np.int32]:
        first = _FIRST if self._n_first else ""
        data = (first + text).encode("utf-8", "surrogatepass")
        room = len(data) + 8
        call, pointer = self._lib.llama_tokenize, self._lib.llama_token_p
        while True:
            buffer = np.empty(room, np.int32)
            n = call(self._vocab, data, len(data), buffer.ctypes.data_as(pointer), room, False, special)
            if n >= 0:
                return buffer[self._n_first : n].copy()
            room = -n

    def _count_first(self) -> int:
        """Counts the tokens of the automatic space and the prefix byte; 0 if the vocabulary adds no space."""
        self._n_first = 0
        if ord(_FIRST) not in self._bytes:
            return 0
        tokens = self._raw(_FIRST, special=False)
        has_prefix = len(tokens) > 1 and tokens[-1] == self._bytes[ord(_FIRST)]
        others = self._kinds & _BYTE == 0
        is_alone = not any(_FIRST in self._text(token) for token in np.flatnonzero(others).tolist())
        return len(tokens) if has_prefix and is_alone else 0

    def _byte_tokens(self) -> dict[int, int]:
        texts = ((self._text(token), token) for token in np.flatnonzero(self._kinds & _BYTE).tolist())
        return {int(text[3:5], 16): token for text, token in texts if re.fullmatch(r"<0x[0-9A-F]{2}>", text)}

    def _text(self, token: int) -> str:
        return str((self._lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace"))


class _Marks:
    """Strings of at least two characters that no token of a text may represent."""

    def __init__(self, texts: Iterable[str]) -> None:
        by_start: dict[str, list[str]] = defaultdict(list)
        for text in set(texts):
            by_start[text[:2]].append(text)
        self._by_start = {start: tuple(marks) for start, marks in by_start.items()}
        starts = "|".join(map(re.escape, sorted(by_start)))
        self._start = re.compile(f"(?={starts})" if starts else "(?!)")

    def cut(self, text: str) -> list[str]:
        """Splits the text behind the first character of each mark, so that no piece holds a whole mark."""
        places = [
            match.start() + 1
            for match in self._start.finditer(text)
            if text.startswith(self._by_start[text[match.start() : match.start() + 2]], match.start())
        ]
        return [text[low:high] for low, high in pairwise([0, *places, len(text)]) if low < high]
