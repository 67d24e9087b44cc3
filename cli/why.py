"""`longthread why`: an answer, and for each of its sentences the passages and sentences that support it.

pipeline/answers/attribution.py describes the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.answering import AnswerOptions, answer_and_show
from cli.command import command, new_app
from cli.options import Quiet
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

app = new_app()


@dataclass(frozen=True, kw_only=True)
class WhyOptions(AnswerOptions):
    """The options of `longthread why`."""

    exact: Annotated[
        bool, typer.Option("--exact", help="Read a new prompt without each passage: slower, and exact.")
    ] = False
    quiet: Quiet = False


@command(app, "why", 'longthread why "How many beehives are there?" --docs garden/')
def why(options: WhyOptions) -> int:
    """Answer one question, and show which passages and sentences support each sentence of the answer.

    The numbers are nats: how much less likely the model finds its sentence when the passage is left out.
    """

    def show(state: State, pipeline: Pipeline, display: Display) -> None:
        attribution = explain(state, pipeline, options.exact, display) if is_explicable(state) else None
        display.stop()
        if attribution is not None:
            state = with_account(state, attribution)
        if options.json:
            print_json(QuestionResult.of(state, pipeline.config).to_dict() | {"why": to_dict(attribution)})
        else:
            _print(state, attribution, options.account)

    return answer_and_show(options, show)


def _print(state: State, attribution: Attribution | None, account: bool) -> None:
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


def is_explicable(state: State) -> bool:
    """Whether a model answered from a prompt with passages."""
    return bool(state.prompt and state.shown and state.answer is not None and state.answer.model_text.strip())


def explain(state: State, pipeline: Pipeline, exact: bool, display: Display) -> Attribution:
    """The attribution of the answer, with the assembler that made its prompt."""
    display("leave passages out", 0, 0)
    return attribute(state, pipeline.config.assembler, pipeline, method="prompts" if exact else None)


def explanation(state: State, attribution: Attribution | None) -> list[RenderableType]:
    """What supports each sentence of the answer, and the cost of the measurement."""
    if attribution is None:
        return [Text("No model answered from passages here: there is nothing to explain.", style="yellow")]
    blocks: list[RenderableType] = []
    if state.answer is not None and state.answer.by != "model":
        blocks.append(Text("What the model wrote, and what supports it:", style="dim"))
    longest = max(passage.drop for grounds in attribution.sentences for passage in grounds.passages)
    for grounds in attribution.sentences:
        blocks += [Text(one_line(grounds.text), style="bold"), _table(grounds, longest), *_remarks(grounds)]
    blocks.append(Text(f"{attribution.account} in {attribution.seconds:.1f} s{_prefill_time(state)}", style="dim"))
    return blocks


def _table(grounds: Grounds, longest: float) -> Table:
    """A row for each passage that makes a difference, followed by its sentences that make one."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=BAR)
    table.add_column(no_wrap=True, justify="right", min_width=6)
    table.add_column(overflow="fold")
    for row in _large_drops(grounds):
        style = _style(row.drop, longest)
        where = Text.assemble((f"[{row.number}] ", style), linked_location(row.passage))
        table.add_row(Text(bar(row.drop, longest), style=style), Text(f"{row.drop:.2f}", style=style), where)
        for quote in row.sentences:
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


def _large_drops(grounds: Grounds) -> list[PassageDrop]:
    return [passage for passage in grounds.passages if abs(passage.drop) >= MIN_DROP]


def _remarks(grounds: Grounds) -> list[Text]:
    """Explains the numbers in words where they need it."""
    large = _large_drops(grounds)
    n_others = len(grounds.passages) - len(large)
    if grounds.best is not None:
        others = f"{n_others} other passages" if n_others > 1 else "the other passage"
        return [Text(f"without {others}: less than {MIN_DROP} nats each", style="dim")] if n_others else []
    if (grounds.drop_without_all or 0.0) >= MIN_DROP:
        why = f"without all of them it is {grounds.drop_without_all:.2f} nats less likely: several say it"
    else:
        why = "nor do all of them together: the model says it without the documents"
    if large:
        they = "the one above makes" if len(large) == 1 else "those above make"
        return [Text(f"No passage supports it by itself ({they} it less likely), {why}.", style="yellow")]
    return [Text(f"No passage makes a difference by itself, {why}.", style="yellow")]


def _prefill_time(state: State) -> str:
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
                "passages": [_passage_dict(passage) for passage in grounds.passages],
            }
            for grounds in attribution.sentences
        ],
    }


def _passage_dict(row: PassageDrop) -> dict[str, Any]:
    return {
        "number": row.number,
        "source": row.passage.source,
        "start": row.passage.start,
        "end": row.passage.end,
        "place": str(row.passage.place),
        "drop": row.drop,
        "sentences": [
            {"start": q.quote.start, "end": q.quote.end, "text": q.quote.text, "drop": q.drop} for q in row.sentences
        ],
    }
