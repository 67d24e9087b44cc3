"""Prompt layouts: how the prompt arranges a question and its passages.

The layout alone can decide whether a small model answers well: where the instruction stands, whether the question comes
before or after the passages, whether the prompt begins the answer. `longthread models try` asks a model the same
questions in each layout and stores the best one under its file's hash (pipeline/answers/tried.py). A model that was not
tried gets `DEFAULT`. No layout asks for citations: evidence finds them (pipeline/answers/citations.py), and a small
model that is asked for `[1]` answers `[1]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BRIEF = "Answer the question from the passages, with as few words as possible, and no sentence."
SENTENCE = "Answer the question from the passages, in one short sentence."
EXAMPLES = (
    (
        "<passage 1>\nThe bridge at Aldmoor was opened in 1904. It has nine arches.\n</passage>\n"
        "\nQuestion: How many arches does the bridge at Aldmoor have?",
        "nine arches",
    ),
    (
        "<passage 1>\nThe bakery of Ruth Pym opens at six.\n</passage>\n"
        "<passage 2>\nThe mill belongs to Tom Garrow.\n</passage>\n"
        "\nQuestion: Who owns the mill?",
        "Tom Garrow",
    ),
    (
        "<passage 1>\nThe lamp is switched off at night because moths fly into it.\n</passage>\n"
        "\nQuestion: Why is the lamp switched off?",
        "because moths fly into it",
    ),
)
"""Few-shot examples (passages with a question, answer) on subjects that no user asks about."""

FOCUS = "Answer from this:"
"""Introduces the sentences that a layout repeats after the question."""


@dataclass(frozen=True)
class Layout:
    """A prompt layout.

    :param name: its name in settings and ledgers.
    :param instruction: the instruction to the model.
    :param instruction_in: `system` or `user`: the message that the instruction opens.
    :param question: `after` the passages, `before` them, or `both`.
    :param begin: the start of the answer, part of the prompt and not of the answer.
    :param n_examples: the number of few-shot examples before the passages, as turns of their own.
    :param n_focus: the number of sentences, those nearest to the question, that are repeated after it.
    :param tags: whether passages stand between numbered tags; otherwise blank lines separate them.
    """

    name: str
    instruction: str
    instruction_in: Literal["system", "user"] = "system"
    question: Literal["after", "before", "both"] = "after"
    begin: str = ""
    n_examples: int = 0
    n_focus: int = 0
    tags: bool = True


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("brief", BRIEF),
        Layout("brief-cue", BRIEF, begin="Answer:"),
        Layout("focus", BRIEF, n_focus=1),
        Layout("focus-2", BRIEF, n_focus=2),
        Layout("sentence", SENTENCE),
        Layout("focus-sentence", SENTENCE, n_focus=2),
        Layout("examples", BRIEF, n_examples=3),
        Layout("focus-examples", BRIEF, n_examples=3, n_focus=2),
        Layout("sentence-user", SENTENCE, instruction_in="user"),
        Layout("focus-plain", SENTENCE, instruction_in="user", n_focus=2, tags=False),
    )
}
"""Every layout by its name, in the order of the trial."""

DEFAULT = "focus-sentence"
"""The layout of models that were not tried: it was best on the worst model (docs/experiments.md)."""

PLAIN = "brief"
"""The layout for the user's own instructions: the question follows the passages, without examples or repetition."""

FALLBACK = "focus-2"
"""The layout of the second attempt after an unusable answer; `brief` if this was the first one."""


def next_layout(name: str) -> Layout:
    """Returns the layout of the second attempt after a first one in the named layout."""
    return LAYOUTS[FALLBACK if name != FALLBACK else "brief"]
