"""The guide shows the prompts as they are."""

from pathlib import Path

import pytest

from pipeline.evaluation.needles import altered, arms, babi, lines, prose, tasks
from pipeline.evaluation.needles.arms import ARMS
from pipeline.evaluation.needles.grid import TASKS
from pipeline.evaluation.needles.scoring import FAULTS

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "needles.md").read_text("utf-8")
PROMPTS = [
    *(tasks.SINGLE, tasks.MULTIPLE, tasks.CONDITIONAL, tasks.THREAD, tasks.MULTITHREAD, tasks.BRANCHED),
    *(prose.QUESTION_ONE, prose.QUESTION, prose.QUESTION_OF, lines.HEAD, lines.QUESTION, babi.QUESTION),
    *(altered.QUESTION, arms.FOUND_END, arms.FOUND_PAIRS, arms.FOUND_SENTENCE),
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_prompt_is_in_the_guide(prompt: str) -> None:
    assert prompt.rstrip("\n") in GUIDE


def test_every_task_arm_and_fault_is_in_the_guide() -> None:
    assert [name for name in (*TASKS, *ARMS, *FAULTS) if f"`{name}`" not in GUIDE] == []
