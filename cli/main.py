"""The command `longthread`. Commands parse, call and print; nothing heavy is imported until a command needs it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import indexes_app, models_app, needle_app, sessions_app
from cli.errors import run_command
from cli.options import Account, AnswerAlone, Config, Docs, Filter, IndexFolder, Json, Quiet, Watch
from cli.output import print_line
from pipeline.errors import ConfigError
from pipeline.offline import switch_off_telemetry

app = typer.Typer(
    name="longthread",
    help="Answers questions from your documents with a model on your machine: cited, accounted for, measured.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(models_app.app, name="models")
app.add_typer(sessions_app.app, name="sessions")
app.add_typer(indexes_app.app, name="indexes")
app.add_typer(needle_app.app, name="needle")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print_line(f"longthread {version('longthread')}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs before every command."""
    switch_off_telemetry()


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="More paths for --docs.")] = None,
    config: Config = None,
    docs: Docs = None,
    index: IndexFolder = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list'.")
    ] = None,
    glob: Annotated[
        str | None, typer.Option(help="Only documents whose path or its end matches: 'manual/*', 'a.md'.")
    ] = None,
    filter: Filter = None,  # noqa: A002 - the option's name
    account: Account = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what was kept and what was dropped, in colour.")] = False,
    json: Json = False,
    quiet: AnswerAlone = False,
    read: Annotated[
        list[str] | None,
        typer.Option("--read", help="A file to read from beginning to end, however long, in place of --docs."),
    ] = None,
    thoughts: Annotated[
        bool, typer.Option("--thoughts", help="Have a model that can think do so first, and show its thoughts.")
    ] = False,
) -> None:
    """Answer one question from documents, with citations. `-` as a path reads a document from standard input.

    Exit code 0 for a question that was answered, or that the documents do not answer; 2 if a file that you named, the
    model or the index cannot be read.
    """
    from cli.ask import run

    raise typer.Exit(
        run(
            question,
            [*(docs or []), *(more or [])],
            config,
            index,
            model,
            glob,
            filter,
            account,
            diff,
            json,
            quiet,
            read or [],
            thoughts,
        )
    )


@app.command()
def why(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="More paths for --docs.")] = None,
    config: Config = None,
    docs: Docs = None,
    index: IndexFolder = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list'.")
    ] = None,
    glob: Annotated[
        str | None, typer.Option(help="Only documents whose path or its end matches: 'manual/*', 'a.md'.")
    ] = None,
    filter: Filter = None,  # noqa: A002 - the option's name
    exact: Annotated[
        bool, typer.Option("--exact", help="Read a new prompt without each passage: slower, and exact.")
    ] = False,
    account: Account = False,
    json: Json = False,
    quiet: Quiet = False,
    read: Annotated[
        list[str] | None,
        typer.Option("--read", help="A file to read from beginning to end, however long, in place of --docs."),
    ] = None,
) -> None:
    """Answer one question, and show which passages and sentences each sentence of the answer stands on.

    The numbers are nats: how much less likely the model finds its sentence when the passage is left out.
    """
    from cli.why import run

    paths = [*(docs or []), *(more or [])]
    raise typer.Exit(run(question, paths, config, index, model, glob, filter, exact, account, json, quiet, read or []))


@app.command()
def chat(
    config: Config = None,
    docs: Docs = None,
    index: IndexFolder = None,
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", help="The conversation to go on with, or to begin (default: default)."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list'.")
    ] = None,
    filter: Filter = None,  # noqa: A002 - the option's name
    watch: Watch = False,
) -> None:
    """Talk with your documents; it remembers. From a pipe: a question a line, an answer a line."""
    from cli.chat.loop import run

    raise typer.Exit(run(docs or [], config, index, session, model, filter, watch))


@app.command()
def index(
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH...", help="Files, folders or globs.")] = None,
    index: Annotated[str | None, typer.Option("--index", "-i", help="The folder of the index.")] = None,
    config: Config = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make it anew if it is of another embedder.")] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="List the files of an index that were not read, with the reasons.")
    ] = False,
    watch: Watch = False,
    read_with: Annotated[
        str | None,
        typer.Option(
            "--read-with",
            metavar="MODEL",
            help="Then have this model read all passages ahead of questions. Needs a --config with reuse.",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="The longest that --read-with reads; run again to go on.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Index documents: adds new files, reads changed ones again, removes deleted ones. Can be interrupted and rerun.

    Example: longthread index manuals --config reuse --read-with smollm2-135m --minutes 30
    """
    from cli.index import run

    if read_with is not None:
        if skipped or watch:
            raise ConfigError("--read-with reads once: leave --skipped and --watch out")
        from cli.read_ahead import ReadAheadOptions, read_ahead

        options = ReadAheadOptions(read_with, paths or [], index, config, minutes, rebuild, json, quiet)
        raise typer.Exit(read_ahead(options))
    if minutes is not None:
        raise ConfigError("--minutes limits --read-with: name the model that is to read")
    raise typer.Exit(run(paths or [], index, config, rebuild, skipped, json, quiet, watch))


@app.command("extract")
def extract_command(
    questions: Annotated[str, typer.Argument(help="A file of questions with 'id' and 'type', or one question.")],
    documents: Annotated[list[str] | None, typer.Argument(help="Files, folders or globs: each gets a row.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="The table: .csv, .tsv or .jsonl.")] = "table.csv",
    config: Config = None,
    index: IndexFolder = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list'.")
    ] = None,
    executor: Annotated[str | None, typer.Option(help="local or ray (default: what the file says).")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try recorded failures again.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Go on with changed questions or documents: keep what still holds.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Ask each document the same questions: a table with a row a document, each cell with its place and quote."""
    from cli.extract import ExtractOptions, extract

    docs = documents or []
    options = ExtractOptions(questions, docs, output, config, index, model, executor, retry_errors, update, quiet)
    raise typer.Exit(extract(options))


@app.command("run")
def run_batch(
    pipeline: Annotated[str, typer.Argument(help="A pipeline file.")],
    input_file: Annotated[str, typer.Option("--input", help="Questions: JSON lines or CSV with 'question' and 'id'.")],
    output: Annotated[str, typer.Option("--output", "-o", help="The folder of the records; run again to go on.")],
    docs: Docs = None,
    index: IndexFolder = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list'.")
    ] = None,
    executor: Annotated[str | None, typer.Option(help="local or ray (default: what the file says).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Of these only so many, chosen by chance.")] = None,
    seed: Annotated[int, typer.Option(help="Of --sample.")] = 0,
    retry: Annotated[int, typer.Option(min=0, help="How often a question that failed is begun anew.")] = 3,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try recorded failures again.")] = False,
    fail_on_error: Annotated[
        str | None, typer.Option(help="Stop when more failed than so many, or than this share (0.05, 5%).")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Go on in a folder of another run: keep what still holds, drop the rest.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Answer a file of questions: one record each, at once on the disk. Run the same command again to go on."""
    from cli.run import run

    raise typer.Exit(
        run(
            pipeline,
            input_file,
            output,
            docs or [],
            index,
            model,
            executor,
            limit,
            sample,
            seed,
            retry,
            retry_errors,
            fail_on_error,
            update,
            quiet,
        )
    )


@app.command("eval")
def evaluate(
    pipelines: Annotated[list[str], typer.Argument(metavar="PIPELINE...", help="Pipeline files.")],
    data: Annotated[str, typer.Option("--data", "-d", help="A file or folder of questions with known answers.")],
    kind: Annotated[str, typer.Option("--kind", "-k", help="squad, hotpotqa, musique, beir, smart or jsonl.")],
    output: Annotated[str, typer.Option("--output", "-o", help="A folder: runs, report.html, report.png.")],
    docs: Annotated[
        list[str] | None, typer.Option("--docs", help="Search these files, not the documents of the questions.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file or a name from 'models list', for all pipelines.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many questions.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="So many of the questions, drawn with the seed.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and of the intervals.")] = 0,
    turns: Annotated[int, typer.Option(min=1, help="How often the pipelines take turns on the questions.")] = 4,
    executor: Annotated[str | None, typer.Option(help="local (seconds can be compared) or ray.")] = None,
    retry: Annotated[int, typer.Option(min=0, help="How often a question is begun anew that failed.")] = 3,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try those again that failed before.")] = False,
    fail_on_error: Annotated[
        str | None, typer.Option(metavar="N|SHARE", help="Stop when more fail than 12, or than 5%.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Go on in folders of other runs: keep what still holds, drop the rest.")
    ] = False,
    metric: Annotated[str | None, typer.Option(help="What the pictures show (default: f1, where it applies).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure pipelines on questions whose answers are known; goes on where it was stopped. See docs/evaluation.md."""
    from cli.evaluate import run

    raise typer.Exit(
        run(
            pipelines,
            data,
            kind,
            output,
            docs or [],
            model,
            limit,
            sample,
            seed,
            turns,
            executor,
            retry,
            retry_errors,
            fail_on_error,
            update,
            metric,
            json,
            quiet,
        )
    )


@app.command()
def compare(
    folders: Annotated[list[str], typer.Argument(metavar="DIR...", help="Runs, or an eval's folder; the first leads.")],
    allow: Annotated[
        list[str] | None, typer.Option(help="What may differ: questions, models or indexes; may be given twice.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only these metrics; may be given twice.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="A folder for a report of these runs.")] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals and tests.")] = 0,
    json: Json = False,
) -> None:
    """Compare runs question by question: differences with intervals, and what may be said of them in words."""
    from cli.evaluate import run_compare

    raise typer.Exit(run_compare(folders, allow or [], metric or [], output, seed, json))


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(help="A sweep's file: a pipeline, questions, and lists of values.")],
    output: Annotated[str, typer.Option("--output", "-o", help="A folder for the runs; run again to go on.")],
    turns: Annotated[int, typer.Option(min=1, help="How often the variants take turns on the questions.")] = 4,
    executor: Annotated[str | None, typer.Option(help="local (seconds can be compared) or ray.")] = None,
    retry: Annotated[int, typer.Option(min=0, help="How often a question is begun anew that failed.")] = 3,
    fail_on_error: Annotated[
        str | None, typer.Option(metavar="N|SHARE", help="Stop when more fail than 12, or than 5%.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Go on in folders of other runs: keep what still holds, drop the rest.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every combination of some settings, and show those that nothing beats in quality, seconds and tokens."""
    from cli.sweep import run

    raise typer.Exit(run(file, output, turns, executor, retry, fail_on_error, update, json, quiet))


@app.command()
def check(files: Annotated[list[str], typer.Argument(help="Pipeline files.")]) -> None:
    """Check pipeline files: all faults of all files at once, before anything is loaded."""
    from cli.check import run

    raise typer.Exit(run(files))


@app.command()
def show(
    file: Annotated[str, typer.Argument(help="A pipeline file.")],
    svg: Annotated[str | None, typer.Option(help="Write the picture into this file.")] = None,
) -> None:
    """Draw a pipeline, with every setting that it has."""
    from cli.show import run

    raise typer.Exit(run(file, svg))


@app.command()
def schema() -> None:
    """Print the JSON schema of pipeline files, for editors."""
    from cli.schema import run

    raise typer.Exit(run())


@app.command()
def steps(
    name: Annotated[str | None, typer.Argument(help="A step, a kind or a section: compress.exit_mini, index.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/steps.md.")] = False,
) -> None:
    """Show every step of a pipeline: what it does, its settings with their ranges, an example, the paper."""
    from cli.steps import run

    raise typer.Exit(run(name, markdown))


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="A GGUF file or a name from 'models list'.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", "-d", help="Labelled questions: HotpotQA, MuSiQue, WikiQA, SelQA or SQuAD (default: our own)."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="probe, exit, attention; may be given again (default: probe and exit)."),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Questions to take from each file (default: 200).")] = None,
    recall: Annotated[float, typer.Option(help="Of exit: the share of supporting sentences to keep.")] = 0.95,
    window: Annotated[int, typer.Option(help="Tokens that are read at a time.")] = 2048,
    lora: Annotated[str | None, typer.Option(help="Of exit: a LoRA adapter in GGUF form.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and of the folds.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit the compressors to a model's file: the heads that probe asks, the threshold of exit."""
    from cli.calibrate import run

    raise typer.Exit(run(model, data, method, n, recall, window, lora, seed, json, quiet))


@app.command()
def doctor(json: Json = False) -> None:
    """What this machine offers: versions, CPU features, GPU offload, models, memory; and what is missing."""
    from cli.doctor import run

    raise typer.Exit(run(json))


@app.command()
def demo(account: Account = False, quiet: AnswerAlone = False) -> None:
    """Ask the demo's questions of the demo's documents."""
    from cli.demo import run

    raise typer.Exit(run(account, quiet))


def main() -> None:
    """Runs a command and ends the process with its exit code: see cli/errors.py."""
    sys.exit(run_command(lambda: app(standalone_mode=False, prog_name="longthread")))


if __name__ == "__main__":
    main()
