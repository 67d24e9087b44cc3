"""The guide shows the prompts as they are."""

from pathlib import Path
from typing import cast

import pytest

from pipeline.answers.plain import Plain
from pipeline.evaluation.needles import prose
from pipeline.evaluation.needles.methods import METHODS, method
from pipeline.evaluation.needles.scoring import FAULTS
from pipeline.evaluation.needles.table import TASKS
from pipeline.evaluation.needles.tasks import (
    altered,
    babi,
    branched,
    conditional,
    lines,
    multiple,
    multithread,
    single,
    thread,
)

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "needles.md").read_text("utf-8")
PROMPTS = [
    *(task.PROMPT for task in (single, multiple, conditional, thread, multithread, branched)),
    *(prose.QUESTION_ONE, prose.QUESTION, prose.QUESTION_OF, lines.HEAD, lines.QUESTION, babi.QUESTION),
    altered.QUESTION,
    *(cast("Plain", method(name).config.assembler).template for name in ("hops", "hops-chain", "hops-prose-end")),
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_prompt_is_in_the_guide(prompt: str) -> None:
    assert prompt.rstrip("\n") in GUIDE


def test_every_task_method_and_fault_is_in_the_guide() -> None:
    assert [name for name in (*TASKS, *METHODS, *FAULTS) if f"`{name}`" not in GUIDE] == []
