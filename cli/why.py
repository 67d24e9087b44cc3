"""`longthread why`: an answer, and for each of its sentences the passages and sentences that it stands on.

How that is measured: pipeline/answers/attribution.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.ask import answer_and_show
from cli.output import open_console, print_json
from cli.printing import answer_lines, dropped, ledger, linked_location, shortened
from cli.progress import Display
from pipeline.answers.attribution import MIN_DROP, Attribution, Grounds, PassageDrop, attribute, with_account
from pipeline.pipeline import Pipeline
from pipeline.records import QuestionResult
from pipeline.text.visible import one_line
from pipeline.types import State

BAR = 16
"""Characters of the longest bar."""
MAX_QUOTE = 160
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def run(
    question: str,
    docs: Sequence[str],
    config_path: str | None,
    index: str | None,
    model: str | None,
    glob: str | None,
    filter_text: str | None,
    exact: bool,
    account: bool,
    as_json: bool,
    quiet: bool,
    read: Sequence[str] = (),
) -> int:
    def show(state: State, pipeline: Pipeline, display: Display) -> None:
        attribution = explain(state, pipeline, exact, display) if is_explicable(state) else None
        display.stop()
        if attribution is not None:
            state = with_account(state, attribution)
        if as_json:
            found = QuestionResult.of(state, pipeline.config).to_dict() | {"why": to_dict(attribution)}
            print_json(found)
            return
        console = open_console()
        for line in answer_lines(state):
            console.print(line)
        console.print()
        for block in explanation(state, attribution):
            console.print(block)
        if account:
            console.print()
            console.print(ledger(state.ledger))
            console.print(dropped(state.ledger))

    return answer_and_show(question, docs, config_path, index, model, glob, filter_text, quiet, read, show)


def is_explicable(state: State) -> bool:
    """Whether a model answered from a prompt with passages."""
    return bool(state.prompt and state.shown and state.answer is not None and state.answer.model_text.strip())


def explain(state: State, pipeline: Pipeline, exact: bool, display: Display) -> Attribution:
    """The attribution of the answer, with the assembler that made its prompt."""
    assembler = pipeline.config.assembler
    display("leave passages out", 0, 0)
    return attribute(state, assembler, pipeline, method="prompts" if exact else None)


# ------------------------------------------------------------------------------------------------------- how it looks
def explanation(state: State, attribution: Attribution | None) -> list[RenderableType]:
    """For each sentence of the answer what it stands on, and what that took."""
    if attribution is None:
        return [Text("No model answered from passages here: there is nothing to explain.", style="yellow")]
    blocks: list[RenderableType] = []
    if state.answer is not None and state.answer.by != "model":
        blocks.append(Text("What the model wrote, and what that stands on:", style="dim"))
    longest = max(one.drop for grounds in attribution.sentences for one in grounds.passages)
    for grounds in attribution.sentences:
        blocks += [Text(one_line(grounds.text), style="bold"), _table(grounds, longest), *_remarks(grounds)]
    blocks.append(Text(f"{attribution.account} in {attribution.seconds:.1f} s{_beside(state)}", style="dim"))
    return blocks


def _table(grounds: Grounds, longest: float) -> Table:
    """A row for each passage that makes a difference, and below it one for each of its sentences that does."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=BAR)
    table.add_column(no_wrap=True, justify="right", min_width=6)
    table.add_column(overflow="fold")
    for one in _telling(grounds):
        style = _style(one.drop, longest)
        where = Text.assemble((f"[{one.number}] ", style), linked_location(one.passage))
        table.add_row(Text(bar(one.drop, longest), style=style), Text(f"{one.drop:.2f}", style=style), where)
        for quote in one.sentences:
            if quote.drop >= MIN_DROP:
                style = _style(quote.drop, longest)
                text = Text(f'"{shortened(quote.quote.text, MAX_QUOTE)}"', style="" if style != "dim" else "dim")
                text.pad_left(4)
                table.add_row(
                    Text(f"  {bar(quote.drop, longest, BAR - 2)}", style=style),
                    Text(f"{quote.drop:.2f}", style=style),
                    text,
                )
    return table


def _telling(grounds: Grounds) -> list[PassageDrop]:
    return [one for one in grounds.passages if abs(one.drop) >= MIN_DROP]


def _remarks(grounds: Grounds) -> list[Text]:
    """What the numbers do not say by themselves."""
    n_others = len(grounds.passages) - len(_telling(grounds))
    if grounds.best is not None:
        others = f"{n_others} other passages" if n_others > 1 else "the other passage"
        return [Text(f"without {others}: less than {MIN_DROP} nats each", style="dim")] if n_others else []
    if (grounds.drop_without_all or 0.0) >= MIN_DROP:
        why = f"without all of them it is {grounds.drop_without_all:.2f} nats less likely: several say it"
    else:
        why = "nor do all of them together: the model says it without the documents"
    return [Text(f"No passage makes a difference by itself, {why}.", style="yellow")]


def _beside(state: State) -> str:
    generation = state.ledger.generation
    return "" if generation is None else f"; reading the prompt took {generation.prefill_s:.1f} s"


def bar(drop: float, longest: float, width: int = BAR) -> str:
    """A bar of eighths of a character, `width` of them for the longest; at least one eighth."""
    if drop <= 0 or longest <= 0:
        return ""
    eighths = max(1, round(8 * width * min(1.0, drop / longest)))
    return _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _style(drop: float, longest: float) -> str:
    if drop < 0:
        return "red"
    return "green" if drop >= longest / 2 else "yellow" if drop >= longest / 8 else "dim"


# ------------------------------------------------------------------------------------------------------------ as JSON
def to_dict(attribution: Attribution | None) -> dict[str, Any] | None:
    """The attribution as plain values. Drops are in nats; passages and sentences largest drop first."""
    if attribution is None:
        return None
    return {
        "method": attribution.method,
        "variants": attribution.n_variants,
        "tokens": attribution.n_tokens,
        "seconds": round(attribution.seconds, 4),
        "sentences": [
            {
                "text": grounds.text,
                "logprob": grounds.logprob,
                "drop_without_all": grounds.drop_without_all,
                "passages": [_passage(one) for one in grounds.passages],
            }
            for grounds in attribution.sentences
        ],
    }


def _passage(one: PassageDrop) -> dict[str, Any]:
    return {
        "number": one.number,
        "source": one.passage.source,
        "start": one.passage.start,
        "end": one.passage.end,
        "place": str(one.passage.place),
        "drop": one.drop,
        "sentences": [
            {"start": q.quote.start, "end": q.quote.end, "text": q.quote.text, "drop": q.drop} for q in one.sentences
        ],
    }
