"""`longthread steps`: every step of a pipeline with its settings, as docs/steps.md has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from cli.command import command, new_app
from cli.output import open_console, print_line
from pipeline.config import SECTIONS
from pipeline.reference import KIND_TITLES, Entry, Setting, entry, markdown, names_of_kind
from pipeline.registry import KINDS

_WIDTH = 100

app = new_app()


@dataclass(frozen=True, kw_only=True)
class StepsOptions:
    """The options of `longthread steps`."""

    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A step, a kind or a section: compress.exit_mini, index.")
    ] = None
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/steps.md.")] = False


@command(app, "steps", "longthread steps", "longthread steps compress.exit_mini")
def steps(options: StepsOptions) -> int:
    """Describe every step of a pipeline: what it does, its settings with their ranges, an example, the paper."""
    name = options.name
    if options.markdown:
        print_line(markdown().removesuffix("\n"))
        return 0
    console = open_console()
    if console.is_terminal:
        console.width = min(console.width, _WIDTH)
    names = names_of_kind(name) if name in KINDS else []
    if name is None or names:
        console.print(_listing([name] if name else list(KINDS)))
        console.print(Text("\nlongthread steps NAME shows the settings of one.", style="dim"))
    else:
        console.print(_page(entry(name), console.is_terminal))
    return 0


def _listing(kinds: list[str]) -> RenderableType:
    """The steps of these kinds with their first lines; of all kinds, the sections of a pipeline file as well."""
    lines: list[Text] = []
    for kind in kinds:
        lines.append(Text.assemble((f"{kind}: ", "bold"), (KIND_TITLES[kind], "dim")))
        lines += [_row(entry(name)) for name in names_of_kind(kind)]
    if len(kinds) == len(KINDS):
        lines.append(Text.assemble(("sections: ", "bold"), ("of a pipeline file, beside its stages", "dim")))
        lines += [_row(entry(name)) for name in SECTIONS]
    return Group(*lines)


def _row(item: Entry) -> Text:
    return Text.assemble((f"  {item.name:<22}", "cyan"), item.summary)


def _page(item: Entry, is_wrapped: bool) -> RenderableType:
    parts: list[RenderableType] = [Text(item.name, style="bold cyan"), Text(item.summary)]
    if item.renamed:
        parts.insert(0, Text(item.renamed, style="yellow"))
    for paragraph in (*item.details, *item.background):
        parts += [Text(), Text(paragraph)]
    if item.example:
        parts += [Text(), Text(f"- {item.example}", style="bold"), Text(item.python, style="dim")]
    for setting in item.settings:
        parts += [Text(), *_setting(setting, is_wrapped)]
    return Group(*parts)


def _setting(setting: Setting, is_wrapped: bool) -> Iterator[RenderableType]:
    """A line with the type, the range and the default, and the text below it; through a pipe the text is one line."""
    type_and_range = setting.type.replace("`", "") + (f", {setting.range.text}" if setting.range else "")
    default = "required" if setting.default is None else f"default {setting.default}"
    yield Text.assemble((setting.name, "bold"), f": {type_and_range}; {default}")
    yield Padding(Text(setting.text), (0, 0, 0, 4)) if is_wrapped else Text(f"    {setting.text}")
