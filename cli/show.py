"""`longthread show`: a pipeline as a picture, in the terminal or as an SVG that needs no network."""

from __future__ import annotations

import io
import re
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from cli.command import command, new_app
from cli.options import PipelineFile
from cli.output import SafeConsole
from pipeline.config import PipelineConfig
from pipeline.default import default_config
from pipeline.registry import changed_settings, first_line, settings_of, stage_name
from pipeline.storage.whole import write_whole
from pipeline.text.visible import one_line

app = new_app()


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """The options of `longthread show`."""

    file: PipelineFile
    svg: Annotated[
        str | None, typer.Option("--svg", metavar="FILE", help="Write the picture into this file instead.")
    ] = None


@command(app, "show", "longthread show default", "longthread show mine.yaml --svg mine.svg")
def show(options: ShowOptions) -> int:
    """Draw a pipeline with all its settings."""
    config = default_config(options.file)
    if options.svg is None:
        SafeConsole().print(drawing(config))
        return 0
    console = SafeConsole(record=True, width=88, file=io.StringIO())
    console.print(drawing(config))
    write_svg(console, options.svg, f"longthread show {one_line(options.file)}")
    return 0


def drawing(config: PipelineConfig) -> RenderableType:
    """The stages from the question to the answer with their settings. Those that are not defaults are highlighted."""
    rows: list[RenderableType] = [_end("question")]
    for stage in config.stages:
        given = changed_settings(stage)
        text = Text(first_line(type(stage)), style="dim")
        for name, value in settings_of(stage).items():
            if name in given or _is_short(value):
                text.append(f"\n{name}: ", style="bold" if name in given else "dim")
                text.append(_short(value), style="bold cyan" if name in given else "dim")
        rows += [_arrow(), Panel(text, title=Text(stage_name(stage)), title_align="left", width=84)]
    rows += [_arrow(), _end("answer, citations, ledger")]
    rows.append(Text(f"\nindex: {_line(config.index.to_dict())}\nbudget: {_line(asdict(config.budget))}", style="dim"))
    return Group(*rows)


def write_svg(console: Console, path: str, title: str) -> None:
    """Writes what a recording console printed as an SVG file without web fonts."""
    picture = re.sub(r"@font-face\s*{[^}]*}", "", console.export_svg(title=title))
    write_whole(path, picture)


def _end(text: str) -> RenderableType:
    return Align.center(Text(text, style="bold"), width=84)


def _arrow() -> RenderableType:
    return Align.center(Text("│\n▼", style="dim"), width=84)


def _is_short(value: object) -> bool:
    return value not in (None, (), "") and len(str(value)) <= 40


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:99]}…"


def _line(settings: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
