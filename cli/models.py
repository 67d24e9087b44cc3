"""`longthread models`: list, pull, verify, tune, try."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cli.main import EXIT_ERROR
from cli.printing import shown_path, table
from cli.progress import Display
from pipeline.models.catalogue import Listed, Verification, list_models
from pipeline.models.catalogue import pull as pull_model
from pipeline.models.catalogue import verify as verify_model

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.answers.tried import Result, Tried
    from pipeline.models.account import Account
    from pipeline.models.tune import TuneReport

_HINT = (
    "\nA name goes after 'model:' in a pipeline file, or after --model. 'longthread models pull NAME' downloads one; "
    "any other GGUF file is named by its path."
)


def list_all(json: bool) -> int:
    models = list_models()
    if json:
        sys.stdout.write(json_module.dumps([asdict(model) for model in models]) + "\n")
        return 0
    console = Console()
    for model in models:
        console.print(_row(model))
    console.print(Text(_HINT, style="dim"))
    return 0


def _row(model: Listed) -> Text:
    """Two lines: the facts, and what the model is for. The name is never broken, so that it can be copied."""
    size = megabytes(model.size) if model.size is not None else "not here"
    context = f"{model.n_ctx} tokens" if model.n_ctx is not None else ""
    row = Text(f"{model.name:<22} ", style="bold" if model.is_here else "")
    row.append(f"{size:>8}  {context:>13}  {model.licence}", style="green" if model.is_here else "dim")
    return row.append(f"\n    {model.what_for}", style="dim") if model.what_for else row


def megabytes(n_bytes: int) -> str:
    """Bytes as people say them: `98 MB`, `2.0 GB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def pull(name: str) -> int:
    with Display() as display:
        path = pull_model(name, display)
    Console().print(f"{name} is here: {shown_path(str(path))}", soft_wrap=True, highlight=False, markup=False)
    return 0


def verify(name: str, json: bool = False) -> int:
    """Whether a model's file is right, and what it is good for; exit code 2 where it cannot be used as what it is."""
    from pipeline.models.account import account

    found = verify_model(name)
    about = account(found.path)
    is_usable = found.is_right is not False and about.is_usable
    if json:
        record = {**asdict(about), "path": str(found.path), "sha256": found.sha256, "is_right": found.is_right}
        sys.stdout.write(json_module.dumps({**record, "is_usable": is_usable}) + "\n")
    else:
        sys.stdout.write("\n".join([*_hash_lines(found), *_account_lines(about)]) + "\n")
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
        verdict = "whole by its header; nobody told longthread what its hash should be"
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
        sys.stdout.write(json_module.dumps(asdict(report)) + "\n")
        return 0
    print_report(report, Console())
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


def try_layouts(name: str, n: int | None, json: bool, quiet: bool) -> int:
    from pipeline.answers.layout_trial import try_layouts as run_trial
    from pipeline.answers.tried import store

    with Display(quiet) as display:
        tried = run_trial(name, display, n)
        path = store(tried)
    if json:
        sys.stdout.write(json_module.dumps({**asdict(tried), "path": str(path)}) + "\n")
        return 0
    print_tried(tried, path, Console())
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
