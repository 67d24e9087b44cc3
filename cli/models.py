"""`longthread models`: list, pull, verify, tune and try models, and choose the default one."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import Json, ModelName, Quiet
from cli.output import SafeConsole, print_json, print_line
from cli.printing import shown_path, table
from cli.progress import Display
from pipeline.errors import ConfigError
from pipeline.gguf.catalogue import Listed, Verification, list_models, models_folder
from pipeline.gguf.catalogue import pull as pull_model
from pipeline.gguf.catalogue import verify as verify_model
from pipeline.gguf.named import COMMON_CONTEXT
from pipeline.text.counting import size_text

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.answers.tried import Result, ReuseTried, Tried
    from pipeline.gguf.tune import TuneReport
    from pipeline.models.account import Account

_HINT = (
    "\nA name goes after 'model:' in a pipeline file, or after --model. 'longthread models default NAME' makes it the "
    "default. 'longthread models pull NAME' downloads it. Name any other GGUF file by its path, or by its file name "
    "once it lies in {folder}. 'Not tried': known to us from public pages alone."
)

app = new_app("List, pull, verify, tune and try models, and choose the default one.", "longthread models list")


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The options of `longthread models list`."""

    json: Json = False


@dataclass(frozen=True, kw_only=True)
class DefaultOptions:
    """The options of `longthread models default`."""

    name: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A GGUF file or a name. Without it, the default is printed."),
    ] = None
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the built-in model.")] = False


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """The options of `longthread models pull`."""

    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name from 'models list', or hf:OWNER/REPO/FILE.gguf.", show_default=False
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The options of `longthread models verify`."""

    name: ModelName
    languages: Annotated[
        bool, typer.Option("--languages", help="Count the tokens of the same text in each of eleven languages.")
    ] = False
    words: Annotated[
        str | None,
        typer.Option(
            "--words", metavar="FILE", help="A list of Turkish words, one a line, to compare the tokens with."
        ),
    ] = None
    text: Annotated[
        str | None, typer.Option("--text", metavar="FILE", help="A Turkish text to use instead of the built-in one.")
    ] = None
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The options of `longthread models tune`."""

    name: ModelName
    json: Json = False
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class TryOptions:
    """The options of `longthread models try`."""

    name: ModelName
    n: Annotated[
        int | None,
        typer.Option("-n", min=1, metavar="N", help="Ask only N of the 40 questions: faster, and less certain."),
    ] = None
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Only measure what reading passages once costs, in the layout chosen before."),
    ] = False
    json: Json = False
    quiet: Quiet = False


@command(app, "list", "longthread models list")
def list_all(options: ListOptions) -> int:
    """List the models that have names, and which of them are here."""
    models = list_models()
    if options.json:
        print_json([asdict(model) for model in models])
        return 0
    console = SafeConsole()
    for model in models:
        console.print(_row(model))
    console.print(Text(_HINT.format(folder=models_folder()), style="dim"))
    return 0


def _row(model: Listed) -> Text:
    """Name, size, context and licence, then the use and the cost. The name is never wrapped, so it can be copied."""
    size = size_text(model.size) if model.size is not None and model.is_here else "not here"
    context = f"{model.n_ctx} tokens" if model.n_ctx is not None else ""
    row = Text(f"{model.name:<22} ", style="bold" if model.is_here else "")
    row.append(f"{size:>8}  {context:>13}  {model.licence}", style="green" if model.is_here else "dim")
    if model.is_default:
        row.append("  (default)", style="bold")
    if model.what_for:
        row.append(f"\n    {model.what_for}", style="dim")
    facts = [f"{size_text(model.size)} to download"] if model.size is not None and not model.is_here else []
    if model.memory is not None:
        facts.append(f"{size_text(model.memory)} of memory with {COMMON_CONTEXT} tokens of context")
    if not model.is_here and not model.is_seen:
        facts.append("not tried")
    return row.append(f"\n    {', '.join(facts)}", style="dim") if facts else row


@command(app, "default", "longthread models default", "longthread models default qwen2.5-1.5b-instruct")
def default(options: DefaultOptions) -> int:
    """Choose the model that answers if neither a pipeline file nor --model names one."""
    from pipeline.gguf.catalogue import is_path, resolve
    from pipeline.gguf.purpose import require_generator
    from pipeline.models.settings import EngineSettings
    from pipeline.user import UserSettings, save_user_settings, user_file, user_settings

    name = options.name
    if name is not None and options.reset:
        raise ConfigError("give a model, or --reset, not both")
    if options.reset:
        save_user_settings(UserSettings())
    elif name is not None:
        path = resolve(name)
        require_generator(path)
        save_user_settings(UserSettings(model=str(path.absolute()) if is_path(name) else name))
    chosen = user_settings().model
    model = f"{chosen} (from {user_file()})" if chosen else f"{EngineSettings().model}, the built-in model"
    print_line(f"The default model is {model}.")
    return 0


@command(app, "pull", "longthread models pull qwen2.5-1.5b-instruct", "longthread models pull hf:OWNER/REPO/FILE.gguf")
def pull(options: PullOptions) -> int:
    """Download a model. This is the only command that uses the network."""
    name, console = options.name, SafeConsole()

    def on_size(n_bytes: int, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        line = f"{name}: {size_text(n_bytes)} to download into {folder} ({size_text(free)} free)"
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    with Display() as display:
        path = pull_model(name, display, on_size)
    console.print(f"{name} is here: {shown_path(str(path))}", soft_wrap=True, highlight=False, markup=False)
    return 0


@command(app, "verify", "longthread models verify my-model.gguf", "longthread models verify smollm2-135m --languages")
def verify(options: VerifyOptions) -> int:
    """Check that a model's file is complete and has the published hash, and describe what it can do.

    The exit code is 2 if the file cannot be used.
    """
    if options.languages or options.words or options.text:
        from cli.languages import print_costs

        return print_costs(options.name, options.words, options.text, options.json)
    from pipeline.models.account import account

    verification = verify_model(options.name)
    about = account(verification.path)
    is_usable = verification.is_right is not False and about.is_usable
    if options.json:
        file = {"path": str(verification.path), "sha256": verification.sha256, "is_right": verification.is_right}
        print_json({**asdict(about), **file, "is_usable": is_usable})
    else:
        print_line("\n".join([*_hash_lines(verification), *_account_lines(about)]))
    return 0 if is_usable else EXIT_ERROR


def _hash_lines(verification: Verification) -> list[str]:
    info = verification.info
    parts = [size_text(info.all_bytes), info.architecture, info.quantisation]
    parts += [
        f"{info.n_ctx_train} tokens of context",
        "chat template" if info.has_chat_template else "no chat template",
    ]
    if info.n_parts > 1:
        parts.append(f"{info.n_parts} parts, all here and whole; the hash is of the first")
    if verification.is_right is None:
        verdict = "its header is consistent with its size; no published hash is known to compare it with"
    elif verification.is_right:
        verdict = f"right: this is the hash that {verification.by} gives"
    else:
        verdict = f"WRONG: {verification.by} gives {verification.expected}; delete the file and get it again"
    return [f"{verification.path}: {', '.join(parts)}", f"sha256 {verification.sha256}", verdict]


def _account_lines(about: Account) -> list[str]:
    lines = [f"good for: {about.good_for}"]
    if about.problem:
        lines.append(f"does NOT open: {about.problem}")
    if about.template:
        lines.append(f"chat template: {about.template}")
    if about.thinking:
        lines.append(f"thinking: {about.thinking}")
    if about.kept_cells:
        lines.append(f"kept cells: {about.kept_cells}")
    if about.weight_bytes:
        lines.append(
            f"memory: {size_text(about.weight_bytes)} for the weights, {size_text(1000 * about.cache_bytes)} for each "
            "1000 tokens of the cache (kv_k and kv_v f16)"
        )
    return lines + [f"note: {limit}" for limit in about.limits]


@command(app, "tune", "longthread models tune my-model.gguf")
def tune(options: TuneOptions) -> int:
    """Requantise a model for this machine, measure each file, and store the fastest for reading and for scoring."""
    from pipeline.gguf.catalogue import resolve
    from pipeline.gguf.tune import tune as tune_model

    with Display(options.quiet) as display:
        report = tune_model(resolve(options.name), display)
    if options.json:
        print_json(asdict(report))
        return 0
    print_report(report, SafeConsole())
    return 0


def print_report(report: TuneReport, console: Console) -> None:
    """Prints each measured file, and which of them is used for what from now on."""
    rows = [
        (
            candidate.quantisation,
            size_text(candidate.size),
            f"{candidate.prefill:.0f}",
            f"{candidate.decode:.0f}",
            "" if candidate.divergence is None else f"{candidate.divergence:.4f}",
            ", ".join(role for role in ("read", "score") if report.best[role] == candidate.quantisation),
        )
        for candidate in report.candidates
    ]
    columns = ("file", "size", "reads/s", "writes/s", "KL", "used to")
    console.print(table("", columns, rows))
    console.print(
        Text(
            f"Tokens a second, {report.n_prefill} read and {report.n_decode} written, medians of {report.n_rounds}, on "
            f"{report.machine}. KL: how "
            f"far the next-token distributions are from the given file's, in nats, over {report.n_compared} tokens.",
            style="dim",
        )
    )
    for line in report.notes:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


@command(app, "try", "longthread models try my-model.gguf", "longthread models try my-model.gguf -n 10")
def try_model(options: TryOptions) -> int:
    """Ask a model 40 questions in every prompt layout, and store the layout that it answers best in.

    The trial also measures what the model loses if passages are read once and their cells are combined.
    """
    from pipeline.answers.tried import store
    from pipeline.evaluation.layout_trial import try_layouts, try_reuse_again

    run_trial = try_reuse_again if options.reuse else try_layouts
    with Display(options.quiet) as display:
        tried = run_trial(options.name, display, options.n)
        path = store(tried)
    if options.json:
        print_json({**asdict(tried), "path": str(path)})
        return 0
    print_tried(tried, path, SafeConsole())
    return 0


def faults(result: Result) -> dict[str, int]:
    """The number of answers with each fault."""
    return {"wordless": result.wordless, "looped": result.looped, "echoed": result.echoed}


def print_tried(tried: Tried, path: Path, console: Console) -> None:
    """Prints the figures of each layout, the chosen layout, and whether a quote leads."""
    columns = ("layout", "right", "F1", "faults", "declined", "wrongly", "tokens", "")
    rows = [
        (
            result.layout,
            str(result.right),
            f"{result.f1:.2f}",
            ", ".join(f"{n} {fault}" for fault, n in faults(result).items() if n),
            str(result.abstained_right or ""),
            str(result.abstained_wrong or ""),
            str(result.tokens),
            "chosen" if result.layout == tried.layout else "",
        )
        for result in tried.results
    ]
    console.print(table("", columns, rows))
    n_unanswerable = tried.n - tried.n_answerable
    leads = (
        "so quotes lead its answers (answer: quote)"
        if tried.answer == "quote"
        else "so its own words lead its answers (answer: generate)"
    )
    lines = (
        f"right: answers that hold the right one, of {tried.n_answerable}. declined: questions that it said are not in "
        f"the documents, of {n_unanswerable} that are not; wrongly: of {tried.n_answerable} that are.",
        f"chosen: the most right answers less faulty ones, and their F1. As it is shown, {tried.generated_right} of "
        f"{tried.n_answerable} are right with the model's words in the lead and {tried.quoted_right} with quotes (the "
        f"best sentence alone: {tried.sentence_right}), {leads}.",
        f"{tried.model} is asked in layout '{tried.layout}' from now on wherever a pipeline says 'layout: auto'. Kept "
        f"in {shown_path(str(path))} ({tried.seconds:.0f} s).",
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False, style="dim")
    if tried.reuse is not None:
        print_reuse(tried.reuse, tried, console)


def print_reuse(reuse: ReuseTried, tried: Tried, console: Console) -> None:
    """Prints what combining the kept cells of passages costs the model, and the recommendation."""
    if reuse.why_not:
        console.print(f"Passages are read with every question: {reuse.why_not}.", soft_wrap=True, highlight=False)
        return
    rows = [
        (
            result.way.replace("_", " "),
            result.layout or tried.layout,
            str(result.right),
            f"{result.f1:.2f}",
            f"{result.gold_logprob:.2f}",
            str(result.read),
            f"{result.first_token_s:.2f}",
        )
        for result in reuse.results
    ]
    console.print(table("", ("", "layout", "right", "F1", "log P", "read", "first token, s"), rows))
    line = (
        f"The cost of reading passages once (assemble.cited: reuse), of {tried.n_answerable}. log P: of a token of the "
        "right answer; read and first token: when the passages were read before. Recommended: reuse: "
        f"{reuse.recommended} ({reuse.seconds:.0f} s)."
    )
    console.print(line, soft_wrap=True, highlight=False, markup=False, style="dim")
