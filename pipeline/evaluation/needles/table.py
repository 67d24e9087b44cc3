"""The needle tasks by name. A new task is one class in one file, and one line here."""

from __future__ import annotations

from pipeline.evaluation.needles.task import NeedleTask
from pipeline.evaluation.needles.tasks.altered import Altered
from pipeline.evaluation.needles.tasks.association import AssociationThread
from pipeline.evaluation.needles.tasks.babi import Babi1, Babi2, Babi3
from pipeline.evaluation.needles.tasks.branched import Branched
from pipeline.evaluation.needles.tasks.conditional import Conditional
from pipeline.evaluation.needles.tasks.lines import Lines
from pipeline.evaluation.needles.tasks.multiple import Multiple
from pipeline.evaluation.needles.tasks.multithread import Multithread
from pipeline.evaluation.needles.tasks.sentences import SentenceThread
from pipeline.evaluation.needles.tasks.single import Single
from pipeline.evaluation.needles.tasks.thread import Thread

TASKS: dict[str, type[NeedleTask]] = {
    "single": Single,
    "multiple": Multiple,
    "conditional": Conditional,
    "thread": Thread,
    "multithread": Multithread,
    "branched": Branched,
    "sentences": SentenceThread,
    "association": AssociationThread,
    "lines": Lines,
    "babi1": Babi1,
    "babi2": Babi2,
    "babi3": Babi3,
    "altered": Altered,
}
