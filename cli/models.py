"""`longthread models`: list, default, pull, verify, tune, try."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.output import SafeConsole, print_json, print_line
from cli.printing import shown_path, table
from cli.progress import Display
from pipeline.errors import ConfigError
from pipeline.models.catalogue import Listed, Verification, list_models, models_folder
from pipeline.models.catalogue import pull as pull_model
from pipeline.models.catalogue import verify as verify_model
from pipeline.models.named import COMMON_CONTEXT

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.answers.tried import Result, ReuseTried, Tried
    from pipeline.models.account import Account
    from pipeline.models.tune import TuneReport

_HINT = (
    "\nA name goes after 'model:' in a pipeline file, or after --model; 'longthread models default NAME' takes it "
    "wherever neither names one. 'longthread models pull NAME' downloads one. Any other GGUF file is named by its "
    "path, or by its name once it lies in {folder}. 'Not tried': known to us from public pages alone."
)


def list_all(json: bool) -> int:
    models = list_models()
    if json:
        print_json([asdict(model) for model in models])
        return 0
    console = SafeConsole()
    for model in models:
        console.print(_row(model))
    console.print(Text(_HINT.format(folder=models_folder()), style="dim"))
    return 0


def _row(model: Listed) -> Text:
    """The facts, what the model is for, what it takes. The name is never broken, so that it can be copied."""
    size = megabytes(model.size) if model.size is not None and model.is_here else "not here"
    context = f"{model.n_ctx} tokens" if model.n_ctx is not None else ""
    row = Text(f"{model.name:<22} ", style="bold" if model.is_here else "")
    row.append(f"{size:>8}  {context:>13}  {model.licence}", style="green" if model.is_here else "dim")
    if model.is_default:
        row.append("  (default)", style="bold")
    if model.what_for:
        row.append(f"\n    {model.what_for}", style="dim")
    facts = [f"{megabytes(model.size)} to download"] if model.size is not None and not model.is_here else []
    if model.memory is not None:
        facts.append(f"{megabytes(model.memory)} of memory with {COMMON_CONTEXT} tokens of context")
    if not model.is_here and not model.is_seen:
        facts.append("not tried")
    return row.append(f"\n    {', '.join(facts)}", style="dim") if facts else row


def default(name: str | None, reset: bool) -> int:
    """Sets the model that answers where none is named, or says which it is."""
    from pipeline.models.catalogue import is_path, resolve
    from pipeline.models.purpose import require_generator
    from pipeline.models.settings import EngineSettings
    from pipeline.user import UserSettings, save_user_settings, user_file, user_settings

    if name is not None and reset:
        raise ConfigError("give a model, or --reset, not both")
    if reset:
        save_user_settings(UserSettings())
    elif name is not None:
        path = resolve(name)
        require_generator(path)
        save_user_settings(UserSettings(model=str(path.absolute()) if is_path(name) else name))
    chosen = user_settings().model
    said = f"{chosen} (from {user_file()})" if chosen else f"{EngineSettings().model}, the built-in model"
    print_line(f"The default model is {said}.")
    return 0


def megabytes(n_bytes: int) -> str:
    """Bytes as people say them: `98 MB`, `2.0 GB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def pull(name: str) -> int:
    console = SafeConsole()

    def on_size(n_bytes: int, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        line = f"{name}: {megabytes(n_bytes)} to download into {folder} ({megabytes(free)} free)"
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    with Display() as display:
        path = pull_model(name, display, on_size)
    console.print(f"{name} is here: {shown_path(str(path))}", soft_wrap=True, highlight=False, markup=False)
    return 0


def verify(name: str, json: bool = False) -> int:
    """Whether a model's file is right, and what it is good for; exit code 2 where it cannot be used as what it is."""
    from pipeline.models.account import account

    found = verify_model(name)
    about = account(found.path)
    is_usable = found.is_right is not False and about.is_usable
    if json:
        record = {**asdict(about), "path": str(found.path), "sha256": found.sha256, "is_right": found.is_right}
        print_json({**record, "is_usable": is_usable})
    else:
        print_line("\n".join([*_hash_lines(found), *_account_lines(about)]))
    return 0 if is_usable else EXIT_ERROR


def _hash_lines(found: Verification) -> list[str]:
    info = found.info
    parts = [megabytes(info.all_bytes), info.architecture, info.quantisation]
    parts += [
        f"{info.n_ctx_train} tokens of context",
        "chat template" if info.has_chat_template else "no chat template",
    ]
    if info.n_parts > 1:
        parts.append(f"{info.n_parts} parts, all here and whole; the hash is of the first")
    if found.is_right is None:
        verdict = "its header is consistent with its size; no published hash is known to compare it with"
    elif found.is_right:
        verdict = f"right: this is the hash that {found.by} gives"
    else:
        verdict = f"WRONG: {found.by} gives {found.expected}; delete the file and get it again"
    return [f"{found.path}: {', '.join(parts)}", f"sha256 {found.sha256}", verdict]


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
            f"memory: {megabytes(about.weight_bytes)} for the weights, {megabytes(1000 * about.cache_bytes)} for each "
            "1000 tokens of the cache (kv_k and kv_v f16)"
        )
    return lines + [f"note: {limit}" for limit in about.limits]


def tune(name: str, json: bool, quiet: bool) -> int:
    from pipeline.models.catalogue import resolve
    from pipeline.models.tune import tune as tune_model

    with Display(quiet) as display:
        report = tune_model(resolve(name), display)
    if json:
        print_json(asdict(report))
        return 0
    print_report(report, SafeConsole())
    return 0


def print_report(report: TuneReport, console: Console) -> None:
    """Each file that was measured, and which of them is used for what from now on."""
    rows = [
        (
            one.quantisation,
            megabytes(one.size),
            f"{one.prefill:.0f}",
            f"{one.decode:.0f}",
            "" if one.divergence is None else f"{one.divergence:.4f}",
            ", ".join(role for role in ("read", "score") if report.best[role] == one.quantisation),
        )
        for one in report.candidates
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


def try_model(name: str, n: int | None, is_reuse_alone: bool, json: bool, quiet: bool) -> int:
    from pipeline.answers.layout_trial import try_layouts, try_reuse_again
    from pipeline.answers.tried import store

    with Display(quiet) as display:
        tried = (try_reuse_again if is_reuse_alone else try_layouts)(name, display, n)
        path = store(tried)
    if json:
        print_json({**asdict(tried), "path": str(path)})
        return 0
    print_tried(tried, path, SafeConsole())
    return 0


def faults(result: Result) -> dict[str, int]:
    """How many answers have which fault."""
    return {"wordless": result.wordless, "looped": result.looped, "echoed": result.echoed}


def print_tried(tried: Tried, path: Path, console: Console) -> None:
    """How the model answered in each layout, which one it gets from now on, and whether a quote leads."""
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
    """What putting the kept cells of passages together costs the model, and what is recommended."""
    if reuse.why_not:
        console.print(f"Passages are read with every question: {reuse.why_not}.", soft_wrap=True, highlight=False)
        return
    rows = [
        (
            row.way.replace("_", " "),
            str(row.right),
            f"{row.f1:.2f}",
            f"{row.gold_logprob:.2f}",
            str(row.read),
            f"{row.first_token_s:.2f}",
        )
        for row in reuse.results
    ]
    console.print(table("", ("", "right", "F1", "log P", "read", "first token, s"), rows))
    line = (
        f"What reading passages once costs (assemble.cited: reuse), of {tried.n_answerable}. log P: of a token of the "
        "right answer; read and first token: when the passages were read before. Recommended: reuse: "
        f"{reuse.recommended} ({reuse.seconds:.0f} s)."
    )
    console.print(line, soft_wrap=True, highlight=False, markup=False, style="dim")
