"""Prompt layouts: how a question and its passages are put before a model.

Small models answer well or badly by the layout alone: where the instruction stands, whether the question comes before
or after the passages, whether the answer is begun for them. `longthread models try` asks a model the same questions in
each layout and stores the best one under its file's hash (pipeline/answers/tried.py). A model that was not tried gets
`DEFAULT`. No layout asks for citations: these are found by evidence
(pipeline/answers/citations.py), and asking a small model for `[1]` makes it answer `[1]`.
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
"""Questions with their passages, and their answers: about nothing that a user would ask."""

FOCUS = "Answer from this:"
"""What stands before the sentences that a layout repeats after the question."""


@dataclass(frozen=True)
class Layout:
    """One way to ask.

    :param name: what settings and ledgers call it.
    :param instruction: what the model is told.
    :param instruction_in: `system` or `user`: the message that the instruction opens.
    :param question: `after` the passages, `before` them, or `both`.
    :param begin: what the answer begins with: written for the model, and not part of the answer.
    :param n_examples: how many worked examples stand before the passages, as turns of their own.
    :param n_focus: how many sentences, those nearest to the question, are repeated after it.
    :param tags: whether passages stand between numbered tags; otherwise they are parted by blank lines.
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
"""Every layout by its name, in the order in which they are tried."""

DEFAULT = "focus-sentence"
"""For a model that was not tried: the layout that was best on the worst model (docs/experiments.md)."""

PLAIN = "brief"
"""For instructions of one's own: the question stands after the passages, and nothing is repeated or shown before."""

FALLBACK = "focus-2"
"""The layout of the second attempt, where the first answer was unusable; `brief` where this was the first one."""


def next_layout(name: str) -> Layout:
    """The layout of the second attempt after a first one in the layout of that name."""
    return LAYOUTS[FALLBACK if name != FALLBACK else "brief"]
