"""Separates the thoughts and the answer of one generation, token by token.

Marks are recognised by their tokens: `<think>` spelt by ordinary tokens, as in an answer about models, is text. If a
vocabulary has no token for a mark, its text is searched for. The output is bytes, since several tokens may spell one
character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.models.thinking import CHANNEL, END, FINAL, MESSAGE, START, Profile

if TYPE_CHECKING:
    from pipeline.models.weights import Vocabulary

_LONGEST_HEADER = 24
"""Tokens after which an unfinished header of gpt-oss counts as the answer."""


class Thoughts(Protocol):
    """Processes the tokens of one generation in order.

    `n_thought` counts tokens of thoughts and of marks, `n_answer` those of the answer. `is_answering`: the next token
    belongs to the answer; `may_open`: it may open a thought as well. `is_over`: the answer has ended. `is_cut`: a
    thought used up its budget, or did not end.
    """

    n_thought: int
    n_answer: int
    is_cut: bool
    is_over: bool

    @property
    def is_answering(self) -> bool: ...
    @property
    def may_open(self) -> bool: ...

    def opens(self, token: int) -> bool:
        """Whether this token opens a thought."""

    def forced(self) -> list[int]:
        """Returns the tokens to force next: those that close a thought whose budget is used up."""

    def at_end(self) -> list[int]:
        """Returns the tokens to force instead of an end of text inside a thought; none if it may end."""

    def take(self, token: int, piece: bytes) -> tuple[bytes, bytes]:
        """Takes a token; returns the certain new bytes of thoughts and answer."""

    def rest(self) -> tuple[bytes, bytes]:
        """Returns the remaining bytes after the last token."""


@dataclass(frozen=True)
class Marks:
    """A profile's marks as tokens of one vocabulary."""

    profile: Profile
    open: tuple[int, ...] = ()
    close: tuple[int, ...] = ()
    then: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()
    special: frozenset[int] = frozenset()

    @classmethod
    def of(cls, profile: Profile, vocabulary: Vocabulary) -> Marks:
        def ids(text: str) -> tuple[int, ...]:
            return tuple(vocabulary.tokenize(text, special=True).tolist())

        opening, closing, then = ids(profile.open), ids(profile.close), ids(profile.then)
        special = frozenset(token for token in (*opening, *closing, *then) if vocabulary.is_special(token))
        return cls(profile, opening, closing, then, ids(profile.forced), special)


def thoughts_of(marks: Marks, vocabulary: Vocabulary, tail: str, budget: int, has_grammar: bool = False) -> Thoughts:
    """Chooses the separator for a prompt that ends with the template's text `tail`, with `budget` tokens per thought.

    With a grammar, text before the answer's start never counts as the answer.
    """
    if marks.profile.kind == "channels" and START in tail:
        return _Channels(vocabulary, tail, budget, has_grammar)
    if marks.profile.kind == "tags":
        return _Tags(marks, vocabulary, marks.profile.state(tail) == "open", budget)
    return _NoThoughts()


class _NoThoughts:
    """The separator for a model without signs of thinking: everything is the answer."""

    is_answering = True
    may_open = False

    def __init__(self) -> None:
        self.n_thought = 0
        self.n_answer = 0
        self.is_cut = False
        self.is_over = False

    def opens(self, token: int) -> bool:
        return False

    def forced(self) -> list[int]:
        return []

    def at_end(self) -> list[int]:
        return []

    def take(self, token: int, piece: bytes) -> tuple[bytes, bytes]:
        self.n_answer += 1
        return b"", piece

    def rest(self) -> tuple[bytes, bytes]:
        return b"", b""


class _Tags:
    """Thoughts between an opening and a closing mark.

    The tokens become bytes, special ones of the marks as bytes that no text has; marks are searched for in them.
    """

    def __init__(self, marks: Marks, vocabulary: Vocabulary, is_open: bool, budget: int) -> None:
        self._marks = marks
        self._open, self._close, self._then = (
            b"".join(self._coded(token, vocabulary.piece(token)) for token in ids)
            for ids in (marks.open, marks.close, marks.then)
        )
        self._opens_again = bool(marks.open) and marks.open[0] in marks.special
        """Whether a thought can begin inside an answer: by a token only, never by text."""
        self._state: Literal["start", "thought", "then", "answer"] = "thought" if is_open else "start"
        self._budget = budget
        self._held = b""
        self._n_held = 0
        self._n_open = 0
        self._is_forced = False
        """Whether the open thought is being closed by forced tokens."""
        self._is_bare = False
        """Whether the answer begins next, after a thought: its leading white space is dropped."""
        self.n_thought = 0
        self.n_answer = 0
        self.is_cut = False
        self.is_over = False

    @property
    def is_answering(self) -> bool:
        return self._state in ("answer", "start")

    @property
    def may_open(self) -> bool:
        return self._state == "start" and self._budget > 0

    def opens(self, token: int) -> bool:
        return bool(self._marks.open) and token == self._marks.open[0]

    def forced(self) -> list[int]:
        if self._state != "thought" or self._is_forced or self._n_open < self._budget:
            return []
        self.is_cut = self.is_cut or self._budget > 0
        return self.at_end()

    def at_end(self) -> list[int]:
        if self._state != "thought" or self._is_forced:
            return []
        self._is_forced = True
        return list(self._marks.forced)

    def take(self, token: int, piece: bytes) -> tuple[bytes, bytes]:
        before = self._state
        self._held += self._coded(token, piece)
        self._n_held += 1
        thought, answer = b"", b""
        state = ""
        while state != self._state:
            state = self._state
            more_thought, more_answer = self._look()
            thought += more_thought
            answer += more_answer
        if self._state != "start":
            is_thought = self._state in ("thought", "then") or (before in ("thought", "then") and not answer)
            self.n_thought += self._n_held if is_thought else 0
            self.n_answer += 0 if is_thought else self._n_held
            self._n_open += self._n_held if self._state == "thought" else 0
            self._n_held = 0
        return self._plain(thought), self._plain(answer)

    def rest(self) -> tuple[bytes, bytes]:
        held, self._held = self._plain(self._held), b""
        self.n_answer += self._n_held
        self.is_cut = self.is_cut or self._state == "thought"
        return (held, b"") if self._state == "thought" else (b"", held)

    def _look(self) -> tuple[bytes, bytes]:
        """Returns the held bytes that are certain in this state; call it again after a change of state."""
        if self._state == "start":
            text = self._held.lstrip()
            if text.startswith(self._open):
                self._enter(text[len(self._open) :])
            elif text.startswith(self._close):
                self._state, self._held = "then", text[len(self._close) :]
            elif text and not self._open.startswith(text) and not self._close.startswith(text):
                self._state = "answer"
            return b"", b""
        if self._state == "thought":
            thought, tag, after = self._held.partition(self._close)
            if not tag:
                return self._release(self._close), b""
            self._state, self._held = "then", after
            return thought, b""
        if self._state == "then":
            if not self._then or not self._then.startswith(self._held) or self._held == self._then:
                self._state, self._held, self._is_bare = "answer", self._held.removeprefix(self._then), True
            return b"", b""
        answer, tag, after = self._held.partition(self._open) if self._opens_again else (self._held, b"", b"")
        if tag:
            self._enter(after)
        elif self._opens_again:
            answer = self._release(self._open)
        else:
            self._held = b""
        if self._is_bare:
            answer = answer.lstrip()
            self._is_bare = not answer
        return b"", answer

    def _enter(self, held: bytes) -> None:
        self._state, self._held, self._n_open, self._is_forced = "thought", held, 0, False

    def _release(self, mark: bytes) -> bytes:
        """Releases the held bytes, except an end that may begin the mark."""
        n = next((n for n in range(min(len(mark) - 1, len(self._held)), 0, -1) if mark.startswith(self._held[-n:])), 0)
        ready, self._held = self._held[: len(self._held) - n], self._held[len(self._held) - n :]
        return ready

    def _coded(self, token: int, piece: bytes) -> bytes:
        return b"\xff%d\xfe" % token if token in self._marks.special else piece

    def _plain(self, data: bytes) -> bytes:
        """Removes marks in unexpected places."""
        for token in self._marks.special if b"\xff" in data else ():
            data = data.replace(b"\xff%d\xfe" % token, b"")
        return data


class _Channels:
    """gpt-oss: messages with headers, as in `<|channel|>analysis<|message|>...<|end|><|start|>assistant...`."""

    may_open = False

    def __init__(self, vocabulary: Vocabulary, tail: str, budget: int, has_grammar: bool) -> None:
        self._vocabulary = vocabulary
        self._keeps_headers = not has_grammar
        """Whether an unfinished header counts as the answer of a model that ignores the format."""
        self._start, self._channel, self._message, self._end = (
            int(vocabulary.tokenize(mark, special=True)[0]) for mark in (START, CHANNEL, MESSAGE, END)
        )
        self._budget = budget
        _, has_channel, header = tail.rpartition(START)[2].rpartition(CHANNEL)
        self._has_channel = bool(has_channel)
        self._header = header.removesuffix(MESSAGE).encode() if has_channel else b""
        self._n_header = 0
        self._needs = FINAL
        """The text that begins the answer from here, if the header is empty."""
        self._state: Literal["header", "thought", "answer"] = "header"
        if header.endswith(MESSAGE):
            self._open_message()
        self._is_forced = False
        self.n_thought = 0
        self.n_answer = 0
        self.is_cut = False
        self.is_over = False

    @property
    def is_answering(self) -> bool:
        return self._state == "answer"

    def opens(self, token: int) -> bool:
        return False

    def forced(self) -> list[int]:
        if self.n_thought < self._budget or (self._state == "header" and self._header):
            return []
        self.is_cut = self.is_cut or (self._budget > 0 and self._state == "thought" and not self._is_forced)
        return self.at_end()

    def at_end(self) -> list[int]:
        if self._is_forced or self._state == "answer" or (self._header and self._keeps_headers):
            return []
        self._is_forced = True
        text = f"{END}{START}assistant{FINAL}" if self._state == "thought" else self._needs
        tokens: list[int] = self._vocabulary.tokenize(text, special=True).tolist()
        return tokens

    def take(self, token: int, piece: bytes) -> tuple[bytes, bytes]:
        if self._state == "answer" and token not in (self._start, self._channel, self._message, self._end):
            self.n_answer += 1
            return b"", piece
        self.n_thought += 1
        if token == self._end and self._state == "answer":
            self.is_over = self.n_answer > 0
        if token == self._message:
            self._open_message()
        elif token in (self._start, self._channel, self._end):
            needs = {self._start: f"assistant{FINAL}", self._channel: f"final{MESSAGE}"}
            self._needs = needs.get(token, f"{START}assistant{FINAL}")
            self._state, self._header, self._n_header = "header", b"", 0
            self._has_channel = token == self._channel
        elif self._state == "thought":
            return piece, b""
        else:
            self._header += piece
            self._n_header += 1
            if self._n_header > _LONGEST_HEADER and self._keeps_headers:
                self._state = "answer"
                return self.rest()
        return b"", b""

    def rest(self) -> tuple[bytes, bytes]:
        held, self._header = self._header, b""
        self.is_cut = self.is_cut or self._state == "thought"
        if self.n_answer or not self._keeps_headers:
            return b"", b""
        held = held.removeprefix(b"assistant").removeprefix(b"final").removeprefix(b":")
        self.n_thought -= self._n_header
        self.n_answer += self._n_header
        return b"", held

    def _open_message(self) -> None:
        is_answer = not self._has_channel or self._header.strip().startswith(b"final")
        self._state, self._header, self._n_header = ("answer" if is_answer else "thought"), b"", 0
