"""`longthread calibrate`: fits compressors to a model's file on labelled sentences, and stores the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.command import command, new_app
from cli.options import Json, ModelName, Quiet, Seed
from cli.output import SafeConsole, print_json, print_line
from cli.printing import table
from cli.progress import Display
from compressors.calibration.calibrate import DEFAULT_METHODS, OURS, CalibrationSettings, calibrate
from compressors.calibration.store import ExitCalibration, ProbeCalibration
from pipeline.text.counting import counted
from pipeline.text.visible import one_line

_MAX_LISTED = 10

app = new_app()


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """The options of `longthread calibrate`."""

    model: ModelName
    data: Annotated[
        tuple[str, ...],
        typer.Option(
            "--data",
            metavar="FILE",
            help="Labelled questions: HotpotQA, MuSiQue, WikiQA, SelQA or SQuAD. Default: those of longthread.",
        ),
    ] = ()
    methods: Annotated[
        tuple[str, ...],
        typer.Option("--method", metavar="probe|exit|attention", help="Default: probe and exit. May be repeated."),
    ] = ()
    n: Annotated[int, typer.Option("-n", metavar="N", help="Questions to take from each file.")] = 200
    recall: Annotated[
        float, typer.Option("--recall", metavar="X", help="For exit: the share of supporting sentences to keep.")
    ] = 0.95
    window: Annotated[int, typer.Option("--window", metavar="N", help="Tokens that the model reads at a time.")] = 2048
    lora: Annotated[
        str | None, typer.Option("--lora", metavar="FILE", help="For exit: a LoRA adapter in GGUF form.")
    ] = None
    seed: Seed = 0
    json: Json = False
    quiet: Quiet = False


@command(
    app,
    "calibrate",
    "longthread calibrate my-model.gguf",
    "longthread calibrate smollm2-135m --data hotpot_dev.json --method probe",
)
def run_calibration(options: CalibrateOptions) -> int:
    """Calibrate the compressors for a model's file: the attention heads of probe, the threshold of exit."""
    settings = CalibrationSettings(
        methods=options.methods or DEFAULT_METHODS,  # type: ignore[arg-type]  # the settings check the names
        data=tuple(map(Path, options.data)) or (OURS,),
        n=options.n,
        recall=options.recall,
        window=options.window,
        lora=options.lora,
        seed=options.seed,
    )
    with Display(options.quiet) as display:
        results = calibrate(settings, options.model, _print_faults, display)
    if options.json:
        print_json([{"method": result.method, "path": str(path), **asdict(result)} for result, path in results])
        return 0
    rows = [_row(result, path) for result, path in results]
    SafeConsole().print(table("", ("method", "result", "on", "AUC", "recall", "kept", "file"), rows))
    return 0


def _print_faults(path: Path, faults: list[str]) -> None:
    for fault in faults[:_MAX_LISTED]:
        print_line(f"left out: {one_line(fault)}", is_error=True)
    if len(faults) > _MAX_LISTED:
        print_line(f"left out: {len(faults) - _MAX_LISTED} more of {path}", is_error=True)


def _row(result: ExitCalibration | ProbeCalibration, path: Path) -> tuple[str, ...]:
    evidence = result.evidence
    fitted = (
        f"P(Yes) >= {result.threshold:.4g}"
        if isinstance(result, ExitCalibration)
        else counted(len(result.heads), "head")
    )
    data = f"{counted(evidence.n_questions, 'question')}, {counted(evidence.n_sentences, 'sentence')}"
    figures = (f"{evidence.auc:.3f}", f"{evidence.recall:.3f}", f"{evidence.kept_ratio:.2f}")
    return (result.method, fitted, data, *figures, str(path))
