"""`longthread needle`: how long a model's context really is: run a grid, find the limit, verbatim memory, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console

from cli.errors import EXIT_ERROR
from cli.output import SafeConsole, print_json
from cli.printing import shown_path, table
from cli.progress import Display, RunDisplay
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.evaluation.needles.running import CellResult, Results
    from pipeline.evaluation.statistics import Interval
    from pipeline.models.effective import EffectiveContext, Measured

ROPE = ("linear", "yarn", "ntk")


def run(
    tasks: Sequence[str],
    method_name: str,
    model: str | None,
    pairs: str | None,
    tokens: str | None,
    lengths: str,
    needles: str,
    threads: str,
    directions: Sequence[str],
    placement: str,
    n: int,
    seed: int,
    book: Sequence[str] | None,
    data: str | None,
    reader: dict[str, Any],
    executor: str | None,
    output: str,
    as_json: bool,
    quiet: bool,
) -> int:
    from pipeline.evaluation.needles.grid import NeedleGrid
    from pipeline.evaluation.needles.methods import method, with_reader
    from pipeline.evaluation.needles.running import run_grid, sizes_of
    from pipeline.pipeline import Pipeline

    if executor not in (None, "local", "ray"):
        raise ConfigError(f"--executor must be local or ray, was: {executor}")
    _check_choices("--direction", directions, ("forward", "backward", "random"))
    _check_choices("--placement", [placement], ("random", "clustered"))
    if (pairs is None) == (tokens is None):
        raise ConfigError("say how long the texts are: --pairs 12,25,50 or --tokens 1000,2000, one of them")
    chosen = method(method_name)
    config = with_reader(chosen.config, {"model": model, **reader})
    config.generator.check()
    with Display(quiet) as display, RunDisplay(quiet) as shown:
        grid = NeedleGrid(
            tasks=tuple(dict.fromkeys(tasks or ["single"])),
            pairs=_numbers("--pairs", pairs) if pairs else (1,),
            lengths=_numbers("--length", lengths),
            needles=_numbers("--needles", needles),
            threads=_numbers("--threads", threads),
            directions=tuple(dict.fromkeys(directions or ["forward"])),
            placement=placement,
            n=n,
            seed=seed,
            book=tuple(str(Path(path).resolve()) for path in book or ()),
            data=None if data is None else str(Path(data).resolve()),
        )
        if tokens:
            with Pipeline(config, Path("no index"), display) as pipeline:
                grid = sizes_of(grid, _numbers("--tokens", tokens), pipeline.reader)
        results = run_grid(
            grid,
            replace(chosen, config=config),
            Path(output),
            display,
            shown.over(display),
            shown.note,
            executor,
        )
    return _told(results, as_json)


def report(folder: str, as_json: bool) -> int:
    from pipeline.evaluation.needles.running import read_results

    return _told(read_results(Path(folder)), as_json)


def limit(
    model: str,
    tasks: Sequence[str] | None,
    minutes: float,
    threshold: float,
    n: int,
    seed: int,
    book: Sequence[str] | None,
    reader: dict[str, Any],
    as_json: bool,
    quiet: bool,
) -> int:
    from pipeline.evaluation.needles.limit import LimitSettings, find_limit
    from pipeline.evaluation.needles.methods import method, with_reader
    from pipeline.models.effective import store

    settings = LimitSettings(minutes=minutes, threshold=threshold, n=n, seed=seed, book=tuple(book or ()))
    settings = replace(settings, tasks=tuple(dict.fromkeys(tasks))) if tasks else settings
    config = with_reader(method("full").config, {"model": model, **reader})
    config.generator.check()
    console = SafeConsole(is_error=True)
    with Display(quiet) as display:

        def on_size(task: str, found: Measured) -> None:
            display.stop()
            if not quiet:
                console.print(_size_line(task, found, threshold), style="dim", highlight=False)

        found = find_limit(settings, config, display, on_size)
    path = store(found)
    if as_json:
        print_json({**asdict(found), "path": str(path)})
        return 0
    out = SafeConsole()
    rows = [_task_row(found, one.task) for one in found.tasks]
    columns = ("task", "holds up to", "characters", "right", "lower bound", "")
    out.print(table(f"{found.model}: effective context at {threshold:.0%}", columns, rows))
    out.print(f"\nMeasured in {found.minutes:.1f} minutes; kept in {shown_path(str(path))}", highlight=False)
    held = [one.task for one in found.tasks if one.holds is not None]
    if held:
        out.print(
            f"A pipeline keeps to it with  budget: {{window: effective, task: '{held[0]}'}}",
            highlight=False,
            markup=False,
        )
    else:
        out.print("It was not seen to hold any of them: window: effective will be refused.", style="yellow")
    return 0


def verbatim(
    model: str,
    lengths: str,
    between: str,
    lists: int,
    shifts: int,
    nouns: str | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    from pipeline.evaluation.needles.verbatim import Protocol, measure
    from pipeline.models.catalogue import resolve
    from pipeline.models.engine import open_engine
    from pipeline.models.settings import EngineSettings

    words = {} if nouns is None else {"nouns": _nouns(Path(nouns))}
    protocol = Protocol(
        lists=lists,
        shifts=shifts,
        lengths=_numbers("--length", lengths),
        between=_numbers("--between", between),
        seed=seed,
        **words,
    )
    with Display(quiet) as display:
        settings = EngineSettings(model=model, n_ctx=1024, n_seq_max=1, n_cached=2)
        with open_engine(settings, resolve(model), display) as engine:
            found, notes = measure(protocol, engine, display)
            name = engine.name
    if as_json:
        told = {"model": name, "results": [one.to_dict() for one in found], "notes": notes}
        print_json(told)
        return 0
    rows = [
        (one.length, one.between_tokens, one.condition, f"{one.median:.1f} %", f"{one.low:.1f}-{one.high:.1f}", one.n)
        for one in found
    ]
    columns = ("words", "tokens between", "second list", "repeat surprisal", "95 % interval", "lists")
    out = SafeConsole()
    out.print(table(f"{name}: surprisal of the second list, in percent of the first's", columns, rows))
    for note in notes:
        out.print(note, style="yellow", highlight=False, markup=False)
    return 0


def reader_settings(n_ctx: int | None, kv: str | None, rope: str | None) -> dict[str, Any]:
    """Settings of the model from `--n-ctx`, `--kv K:V` and `--rope KIND:FACTOR`."""
    settings: dict[str, Any] = {"n_ctx": n_ctx}
    if n_ctx is not None and n_ctx < 64:
        raise ConfigError(f"--n-ctx must be at least 64, was: {n_ctx}")
    if kv is not None:
        from pipeline.models.settings import KvType

        keys, _, values = kv.partition(":")
        _check_choices("--kv", [keys, values or keys], get_args(KvType))
        settings |= {"kv_k": keys, "kv_v": values or keys}
    if rope is not None:
        kind, _, factor = rope.partition(":")
        _check_choices("--rope", [kind], ROPE)
        try:
            settings |= {"rope_scaling": kind, "rope_factor": float(factor)}
        except ValueError:
            raise ConfigError(f"--rope must be {'|'.join(ROPE)}:FACTOR, such as yarn:4, was: {rope}") from None
        if settings["rope_factor"] <= 1:
            raise ConfigError(f"--rope: the factor must be greater than 1, was: {factor}")
    return settings


def note_old_name(old: str, new: str, quiet: bool) -> None:
    """Says on stderr that a command has another name now."""
    if not quiet:
        text = f"longthread {old} is called longthread {new} now; the old name goes with the next release"
        SafeConsole(is_error=True).print(text, style="yellow", highlight=False, markup=False)


# ---------------------------------------------------------------------------------------------------------- internals
def _told(results: Results, as_json: bool) -> int:
    """Prints the results and writes the pictures and the page; exit code 2 where samples failed or are missing."""
    from pipeline.evaluation.needles.page import PAGE, write_report
    from pipeline.evaluation.needles.pictures import heat_maps, in_terminal

    write_report(results)
    n_failed = sum(one.n_failed for one in results.cells)
    if as_json:
        cells = [one.to_dict() for one in results.cells]
        about = {"method": results.method, "model": results.model, "n_missing": results.n_missing, "n_failed": n_failed}
        print_json({**about, "cells": cells})
        return EXIT_ERROR if n_failed or results.n_missing else 0
    out = SafeConsole()
    for heat in heat_maps(results):
        out.print(in_terminal(heat))
        out.print()
    out.print(table("", _COLUMNS, [_row(one) for one in results.cells]))
    _say_effective(results, out)
    out.print(f"\nEvery reply: {shown_path(str(results.folder / PAGE))}", highlight=False)
    if n_failed:
        out.print(
            f"{n_failed} questions failed: {shown_path(str(results.folder / 'scores.jsonl'))} says why", style="red"
        )
    if results.n_missing:
        out.print(f"{results.n_missing} questions have no reply yet: run the same command again", style="yellow")
    return EXIT_ERROR if n_failed or results.n_missing else 0


_COLUMNS = ("cell", "pairs", "tokens", "n", "accuracy", "tolerant", "wrong because", "s each")


def _row(one: CellResult) -> tuple[Any, ...]:
    faults = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in one.faults.items() if n)
    return (
        one.cell.row,
        one.cell.pairs,
        one.tokens,
        one.n,
        _share(one.accuracy),
        _share(one.tolerant),
        faults,
        f"{one.s_per_question:.1f}",
    )


def _share(value: Interval) -> str:
    """`95% (76-99)`."""
    return f"{value.mean:.0%} ({100 * (value.low or 0):.0f}-{100 * (value.high or 0):.0f})"


def _say_effective(results: Results, out: Console) -> None:
    from pipeline.evaluation.needles.pictures import THRESHOLD, effective, rows_of

    for row, own in rows_of(results).items():
        held = effective(own)
        said = f"{held.cell.chars} characters, {held.tokens} tokens" if held else "none of these sizes"
        out.print(f"effective context of {row} (lower bound of tolerant {THRESHOLD:.0%}): {said}", highlight=False)


def _size_line(task: str, found: Measured, threshold: float) -> str:
    held = "holds" if found.low >= threshold else "does not hold"
    return (
        f"{task}: {found.tokens} tokens ({found.pairs} pairs): {found.hits} of {found.n} right, "
        f"lower bound {found.low:.0%}: {held}"
    )


def _task_row(found: EffectiveContext, name: str) -> tuple[str, ...]:
    one = found.task(name)
    assert one is not None  # noqa: S101 - it is one of its own
    note = "" if one.is_settled else "the time ran out: it may be more"
    if one.holds is None:
        return (name, "no size" if one.tried else "not tried", "", "", "", note if one.tried else "no time was left")
    holds = one.holds
    return (name, f"{holds.tokens} tokens", f"{holds.chars}", f"{holds.hits} of {holds.n}", f"{holds.low:.0%}", note)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ConfigError(f"{option} must be whole numbers with commas between, such as 12,25,50, was: {text!r}")
    numbers = tuple(dict.fromkeys(int(part) for part in parts))
    if min(numbers) < 1:
        raise ConfigError(f"{option}: numbers of at least 1 are needed, were: {text}")
    return numbers


def _check_choices(option: str, given: Sequence[str], choices: Sequence[str]) -> None:
    for one in given:
        if one not in choices:
            raise ConfigError(f"{option} must be one of {', '.join(choices)}, was: {one}")


def _nouns(path: Path) -> tuple[str, ...]:
    try:
        words = tuple(dict.fromkeys(word.strip() for word in path.read_text("utf-8").splitlines() if word.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--nouns {path}: cannot be read: {error}") from None
    plain = tuple(word for word in words if word.isascii() and word.isalpha())
    if len(plain) < 20:
        raise ConfigError(f"--nouns {path}: holds {len(plain)} plain words, one a line; at least 20 are needed")
    return plain
