"""association: like sentences, with a question that shares no word with them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.needles.tasks.sentences import SentenceThread


@dataclass(frozen=True)
class AssociationThread(SentenceThread):
    """A thread of sentences whose question needs a fact about the world."""

    name = "association"
    has_association = True
