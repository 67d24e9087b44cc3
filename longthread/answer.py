"""What a pipeline answers: the text, where it stands, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import Citation, Ledger, Passage, State


@dataclass(frozen=True)
class Answer:
    """An answer with its citations and its account.

        answer = longthread.ask("How many beehives are there?", docs="garden/")
        print(answer.text)
        for citation in answer.citations:
            print(citation.quote.source, citation.quote.place, citation.quote.text)
        print(answer.ledger.prompt_tokens)

    `state` is what the last stage left: everything that the pipeline knows about this question.
    """

    state: State
    unread: tuple[tuple[str, str], ...] = ()
    """(path, reason) of the files among the documents that could not be read: the answer knows nothing of them."""

    @property
    def question(self) -> str:
        """The question as it was asked."""
        return self.state.question.text

    @property
    def text(self) -> str:
        """What is shown as the answer; of a refusal, the sentence that says so."""
        return "" if self.state.answer is None else self.state.answer.text

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The quotes, best evidence first. `quote.text` is `document[quote.start:quote.end]`, in characters."""
        return () if self.state.answer is None else self.state.answer.citations

    @property
    def is_refusal(self) -> bool:
        """Whether the documents were found not to hold the answer; `why` says how that was decided."""
        return self.state.answer is not None and self.state.answer.is_abstention

    @property
    def why(self) -> str:
        """Why the question was refused, or a quote stands in the place of the model's words; else empty."""
        return "" if self.state.answer is None else self.state.answer.why

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The names and numbers of the text that stand in none of the quotes."""
        return () if self.state.answer is None else self.state.answer.unsupported

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passages that the model saw, in the order of their numbers, which count from 1."""
        return self.state.shown

    @property
    def ledger(self) -> Ledger:
        """What each stage took in, gave on and cost."""
        return self.state.ledger

    def __str__(self) -> str:
        return self.text
