"""The commands of `longthread needle`, as they stand on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json, Quiet

app = typer.Typer(help="How long a model's context really is: run, limit, verbatim, report.", no_args_is_help=True)

Book = Annotated[list[str] | None, typer.Option(help="Documents to hide sentences in (default: prose made here).")]
NCtx = Annotated[int | None, typer.Option("--n-ctx", help="Tokens of the model's context.")]
Kv = Annotated[
    str | None,
    typer.Option(help="Types of the cache, KEYS:VALUES: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl."),
]
Rope = Annotated[str | None, typer.Option(help="A scaling beyond the trained context: linear|yarn|ntk:FACTOR.")]


@app.command("run")
def needle_run(
    output: Annotated[str, typer.Option("--output", "-o", help="A folder; run again to go on.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            help="single, multiple, conditional, thread, multithread, branched, sentences, association, lines, babi1, "
            "babi2, babi3, altered; may be given several times (default: single).",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method", "--arm", help="full, one-shot, hops, oracle, exit, probe and others, or a pipeline file."
        ),
    ] = "full",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list'.")
    ] = None,
    pairs: Annotated[str | None, typer.Option(help="Sizes in pairs of 80 characters: 12,25,50.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Sizes in the model's tokens instead: 1000,2000.")] = None,
    length: Annotated[str, typer.Option(help="Lengths of threads: 2,5,10.")] = "2",
    needles: Annotated[str, typer.Option(help="Numbers of needles of multiple and conditional.")] = "5",
    threads: Annotated[str, typer.Option(help="Numbers of threads of multithread.")] = "2",
    direction: Annotated[
        list[str] | None, typer.Option(help="forward, backward, random; may be given several times.")
    ] = None,
    placement: Annotated[str, typer.Option(help="Of multiple and conditional: random or clustered.")] = "random",
    n: Annotated[int, typer.Option("-n", help="Questions in each cell.")] = 20,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    book: Book = None,
    data: Annotated[str | None, typer.Option(help="bAbI's folder, a SQuAD file, or prompts of LongChat-Lines.")] = None,
    n_ctx: NCtx = None,
    kv: Kv = None,
    rope: Rope = None,
    executor: Annotated[str | None, typer.Option(help="local or ray.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask for needles and threads in texts of several sizes, score every reply, draw the pictures."""
    from cli.needle import reader_settings, run

    raise typer.Exit(
        run(
            task or ["single"],
            method,
            model,
            pairs,
            tokens,
            length,
            needles,
            threads,
            direction or ["forward"],
            placement,
            n,
            seed,
            book,
            data,
            reader_settings(n_ctx, kv, rope),
            executor,
            output,
            json,
            quiet,
        )
    )


@app.command("report")
def needle_report(folder: Annotated[str, typer.Argument(help="A run's folder.")], json: Json = False) -> None:
    """Print a run's results so far, and draw its pictures and its page again."""
    from cli.needle import report

    raise typer.Exit(report(folder, json))


@app.command("limit")
@app.command("calibrate", hidden=True)  # its name before; of one release
def needle_limit(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="A GGUF file or a name from 'models list'.")],
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", help="sentences, single, thread:LENGTH, lines, ...; may be given several times."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="For all tasks together.")] = 20.0,
    threshold: Annotated[float, typer.Option(help="Of the lower bound of the accuracy.")] = 0.75,
    n: Annotated[int, typer.Option("-n", help="Questions at each size.")] = 20,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    book: Book = None,
    n_ctx: NCtx = None,
    kv: Kv = None,
    rope: Rope = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find how much context a model can use, and keep it: `budget: {window: effective}` then never fills more."""
    from cli.needle import limit, note_old_name, reader_settings

    if ctx.info_name == "calibrate":
        note_old_name("needle calibrate", "needle limit", quiet)
    settings = reader_settings(n_ctx, kv, rope)
    raise typer.Exit(limit(model, task, minutes, threshold, n, seed, book, settings, json, quiet))


@app.command("verbatim")
def needle_verbatim(
    model: Annotated[str, typer.Argument(help="A GGUF file or a name from 'models list'.")] = "smollm2-135m",
    length: Annotated[str, typer.Option(help="Words of a list, 2 to 10.")] = "3,5,7,10",
    between: Annotated[str, typer.Option(help="Tokens between the lists.")] = "26,47,99,194,435",
    lists: Annotated[int, typer.Option(help="Base lists, at most 23 with the nouns that come along.")] = 23,
    shifts: Annotated[int, typer.Option(help="Circular shifts of each, 1 to 10.")] = 1,
    nouns: Annotated[str | None, typer.Option(help="A file of nouns, one a line, instead of ours.")] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure whether a list of words is less surprising the second time: verbatim short-term memory."""
    from cli.needle import verbatim

    raise typer.Exit(verbatim(model, length, between, lists, shifts, nouns, seed, json, quiet))
