"""`longthread needle`: measures how much context a model can use."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.batches import executor_of
from cli.command import command, new_app
from cli.needle_values import Book, ReaderOptions, check_choices, parse_numbers, read_nouns
from cli.options import Executor, Json, Model, ModelName, OutputFolder, Quiet, Seed
from cli.output import SafeConsole, print_json
from cli.printing import shown_path, table
from cli.progress import Display
from pipeline.errors import ConfigError
from pipeline.listener import Listener

if TYPE_CHECKING:
    from pipeline.evaluation.needles.grid import NeedleGrid
    from pipeline.models.effective import EffectiveContext, Measured

Tasks = Annotated[
    tuple[str, ...],
    typer.Option(
        "--task",
        "-t",
        metavar="TASK",
        help="single, multiple, conditional, thread, multithread, branched, sentences, association, lines, babi1, "
        "babi2, babi3 or altered. Default: single. May be repeated.",
    ),
]

app = new_app(
    "Measure how much context a model can use: run a grid of tasks, find the limit, report.",
    "longthread needle run -o grid --tokens 1000,2000,4000",
)


@dataclass(frozen=True, kw_only=True)
class GridOptions(ReaderOptions):
    """The options of `longthread needle run`."""

    output: OutputFolder
    tasks: Tasks = ()
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "--arm",
            metavar="METHOD",
            help="full, one-shot, hops, oracle, exit, probe and others, or a pipeline file.",
        ),
    ] = "full"
    model: Model = None
    pairs: Annotated[
        str | None, typer.Option("--pairs", metavar="N,N,...", help="Sizes in pairs of 80 characters: 12,25,50.")
    ] = None
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N,N,...", help="Sizes in the model's tokens instead: 1000,2000.")
    ] = None
    lengths: Annotated[str, typer.Option("--length", metavar="N,N,...", help="Lengths of threads, such as 2,5,10.")] = (
        "2"
    )
    needles: Annotated[
        str, typer.Option("--needles", metavar="N,N,...", help="Numbers of needles of multiple and conditional.")
    ] = "5"
    threads: Annotated[str, typer.Option("--threads", metavar="N,N,...", help="Numbers of threads of multithread.")] = (
        "2"
    )
    directions: Annotated[
        tuple[str, ...],
        typer.Option(
            "--direction",
            metavar="DIRECTION",
            help="Of threads: forward, backward or random. Default: forward. May be repeated.",
        ),
    ] = ()
    placement: Annotated[
        str,
        typer.Option("--placement", metavar="PLACEMENT", help="Of multiple and conditional: random or clustered."),
    ] = "random"
    n: Annotated[int, typer.Option("-n", metavar="N", help="Questions in each cell.")] = 20
    seed: Seed = 0
    book: Book = ()
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="bAbI's folder, a SQuAD file, or prompts of LongChat-Lines."),
    ] = None
    executor: Executor = None
    json: Json = False
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of `longthread needle report`."""

    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)]
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class LimitOptions(ReaderOptions):
    """The options of `longthread needle limit`."""

    model: ModelName
    tasks: Annotated[
        tuple[str, ...],
        typer.Option(
            "--task",
            "-t",
            metavar="TASK",
            help="sentences, single, thread:LENGTH, lines and others. May be repeated.",
        ),
    ] = ()
    minutes: Annotated[float, typer.Option("--minutes", metavar="X", help="Time limit for all tasks together.")] = 20.0
    threshold: Annotated[
        float,
        typer.Option("--threshold", metavar="X", help="A size holds if the lower bound of its accuracy is this high."),
    ] = 0.75
    n: Annotated[int, typer.Option("-n", metavar="N", help="Questions at each size.")] = 20
    seed: Seed = 0
    book: Book = ()
    json: Json = False
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class VerbatimOptions:
    """The options of `longthread needle verbatim`."""

    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="A GGUF file or a name from 'models list'.")] = (
        "smollm2-135m"
    )
    lengths: Annotated[str, typer.Option("--length", metavar="N,N,...", help="Words of a list, 2 to 10.")] = "3,5,7,10"
    between: Annotated[str, typer.Option("--between", metavar="N,N,...", help="Tokens between the lists.")] = (
        "26,47,99,194,435"
    )
    lists: Annotated[int, typer.Option("--lists", metavar="N", help="Base lists: at most 23 with our nouns.")] = 23
    shifts: Annotated[int, typer.Option("--shifts", metavar="N", help="Circular shifts of each list, 1 to 10.")] = 1
    nouns: Annotated[
        str | None, typer.Option("--nouns", metavar="FILE", help="Nouns, one a line, instead of ours.")
    ] = None
    seed: Seed = 0
    json: Json = False
    quiet: Quiet = False


@command(
    app,
    "run",
    "longthread needle run -o grid --tokens 1000,2000,4000",
    "longthread needle run -o hops --method hops -t thread --length 2,5 --pairs 250",
)
def run(options: GridOptions) -> int:
    """Hide needles and threads in texts of several sizes, ask for them, and score the replies.

    The folder gets the replies, heat maps and a page. An interrupted run resumes when the command is repeated.
    """
    from cli.needle_report import print_results
    from pipeline.evaluation.needles.methods import method, with_reader
    from pipeline.evaluation.needles.running import run_grid, sizes_of
    from pipeline.pipeline import Pipeline

    executor = executor_of(options.executor)
    check_choices("--direction", options.directions, ("forward", "backward", "random"))
    check_choices("--placement", [options.placement], ("random", "clustered"))
    if (options.pairs is None) == (options.tokens is None):
        raise ConfigError("say how long the texts are: --pairs 12,25,50 or --tokens 1000,2000, one of them")
    chosen = method(options.method)
    config = with_reader(chosen.config, {"model": options.model, **options.reader_settings()})
    config.generator.check()
    grid = _grid(options)
    with Display(options.quiet) as display:
        if options.tokens:
            with Pipeline(config, Path("no index"), Listener(display)) as pipeline:
                grid = sizes_of(grid, parse_numbers("--tokens", options.tokens), pipeline.reader)
        tried = replace(chosen, config=config)
        output = Path(options.output)
        results = run_grid(grid, tried, output, display, display.show_batch, display.note, executor)
    return print_results(results, options.json)


def _grid(options: GridOptions) -> NeedleGrid:
    from pipeline.evaluation.needles.grid import NeedleGrid

    return NeedleGrid(
        tasks=tuple(dict.fromkeys(options.tasks or ("single",))),
        pairs=parse_numbers("--pairs", options.pairs) if options.pairs else (1,),
        lengths=parse_numbers("--length", options.lengths),
        needles=parse_numbers("--needles", options.needles),
        threads=parse_numbers("--threads", options.threads),
        directions=tuple(dict.fromkeys(options.directions or ("forward",))),
        placement=options.placement,
        n=options.n,
        seed=options.seed,
        book=tuple(str(Path(path).resolve()) for path in options.book),
        data=None if options.data is None else str(Path(options.data).resolve()),
    )


@command(app, "report", "longthread needle report grid")
def report(options: ReportOptions) -> int:
    """Print the results of a run so far, and write its pictures and its page again."""
    from cli.needle_report import print_results
    from pipeline.evaluation.needles.running import read_results

    return print_results(read_results(Path(options.folder)), options.json)


@command(app, "calibrate", "longthread needle calibrate smollm2-135m", hidden=True)
def calibrate(options: LimitOptions) -> int:
    """The name of `longthread needle limit` in earlier releases."""
    if not options.quiet:
        text = "longthread needle calibrate is now longthread needle limit; the old name goes with the next release"
        SafeConsole(is_error=True).print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
    return limit(options)


@command(app, "limit", "longthread needle limit smollm2-135m --task sentences --minutes 10")
def limit(options: LimitOptions) -> int:
    """Find how much context a model can use, and store it.

    A pipeline with `budget: {window: effective}` then never fills more.
    """
    from pipeline.evaluation.needles.limit import LimitSettings, find_limit
    from pipeline.evaluation.needles.methods import method, with_reader
    from pipeline.models.effective import store

    threshold = options.threshold
    settings = LimitSettings(
        minutes=options.minutes, threshold=threshold, n=options.n, seed=options.seed, book=options.book
    )
    settings = replace(settings, tasks=tuple(dict.fromkeys(options.tasks))) if options.tasks else settings
    config = with_reader(method("full").config, {"model": options.model, **options.reader_settings()})
    config.generator.check()
    console = SafeConsole(is_error=True)
    with Display(options.quiet) as display:

        def on_size(task: str, measured: Measured) -> None:
            display.stop()
            if not options.quiet:
                console.print(_size_line(task, measured, threshold), style="dim", highlight=False)

        context = find_limit(settings, config, display, on_size)
    path = store(context)
    if options.json:
        print_json({**asdict(context), "path": str(path)})
    else:
        _print_context(context, path, threshold)
    return 0


@command(app, "verbatim", "longthread needle verbatim smollm2-135m --lists 5")
def verbatim(options: VerbatimOptions) -> int:
    """Measure verbatim short-term memory: whether a list of words is less surprising the second time."""
    from pipeline.evaluation.needles.verbatim import Protocol, measure
    from pipeline.gguf.catalogue import resolve
    from pipeline.models.engine import open_engine
    from pipeline.models.settings import EngineSettings

    words = {} if options.nouns is None else {"nouns": read_nouns(Path(options.nouns))}
    protocol = Protocol(
        lists=options.lists,
        shifts=options.shifts,
        lengths=parse_numbers("--length", options.lengths),
        between=parse_numbers("--between", options.between),
        seed=options.seed,
        **words,
    )
    with Display(options.quiet) as display:
        settings = EngineSettings(model=options.model, n_ctx=1024, n_seq_max=1, n_cached=2)
        with open_engine(settings, resolve(options.model), display) as engine:
            results, notes = measure(protocol, engine, display)
            name = engine.name
    if options.json:
        print_json({"model": name, "results": [result.to_dict() for result in results], "notes": notes})
        return 0
    rows = [
        (row.length, row.between_tokens, row.condition, f"{row.median:.1f} %", f"{row.low:.1f}-{row.high:.1f}", row.n)
        for row in results
    ]
    columns = ("words", "tokens between", "second list", "repeat surprisal", "95 % interval", "lists")
    out = SafeConsole()
    out.print(table(f"{name}: surprisal of the second list, in percent of the first's", columns, rows))
    for note in notes:
        out.print(note, style="yellow", highlight=False, markup=False)
    return 0


def _print_context(context: EffectiveContext, path: Path, threshold: float) -> None:
    out = SafeConsole()
    rows = [_task_row(context, task.task) for task in context.tasks]
    columns = ("task", "holds up to", "characters", "right", "lower bound", "")
    out.print(table(f"{context.model}: effective context at {threshold:.0%}", columns, rows))
    out.print(f"\nMeasured in {context.minutes:.1f} minutes; kept in {shown_path(str(path))}", highlight=False)
    holding = [task.task for task in context.tasks if task.holds is not None]
    if holding:
        setting = f"budget: {{window: effective, task: '{holding[0]}'}}"
        out.print(f"A pipeline keeps to it with  {setting}", highlight=False, markup=False)
    else:
        out.print("No size of any task holds: window: effective will be refused.", style="yellow")


def _size_line(task: str, measured: Measured, threshold: float) -> str:
    verdict = "holds" if measured.low >= threshold else "does not hold"
    return (
        f"{task}: {measured.tokens} tokens ({measured.pairs} pairs): {measured.hits} of {measured.n} right, "
        f"lower bound {measured.low:.0%}: {verdict}"
    )


def _task_row(context: EffectiveContext, name: str) -> tuple[str, ...]:
    task = context.task(name)
    if task is None:
        return (name, "not tried", "", "", "", "")
    note = "" if task.is_settled else "the time ran out: it may be more"
    if task.holds is None:
        return (name, "no size" if task.tried else "not tried", "", "", "", note if task.tried else "no time was left")
    holds = task.holds
    return (name, f"{holds.tokens} tokens", f"{holds.chars}", f"{holds.hits} of {holds.n}", f"{holds.low:.0%}", note)
