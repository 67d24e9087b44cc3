"""`longthread indexes`: list and delete the indexes that --docs made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.text import Text

from cli.command import command, new_app
from cli.names import for_each
from cli.options import Json
from cli.output import open_console, print_json
from cli.printing import shown_path
from pipeline.cached_indexes import IndexInfo, delete_index, indexes_folder, list_indexes
from pipeline.text.counting import counted, size_text
from pipeline.text.visible import one_line

app = new_app("List and delete the indexes that --docs made in the cache.", "longthread indexes list")


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The options of `longthread indexes list`."""

    json: Json = False


@dataclass(frozen=True, kw_only=True)
class DeleteOptions:
    """The options of `longthread indexes delete`."""

    names: Annotated[
        tuple[str, ...], typer.Argument(metavar="NAME...", help="Names from 'indexes list'.", show_default=False)
    ]


@command(app, "list", "longthread indexes list")
def list_all(options: ListOptions) -> int:
    """List the indexes that --docs made, the last used first, with their documents and their size."""
    infos = list_indexes()
    if options.json:
        print_json([asdict(info) for info in infos])
        return 0
    console = open_console()
    for info in infos:
        when = info.used[:16].replace("T", " ")
        console.print(Text(f"{info.name}  {size_text(info.size):>8}  {when}  {_content(info)}"))
    total = size_text(sum(info.size for info in infos))
    console.print(Text(f"{counted(len(infos), 'index', 'indexes')}, {total}, in {indexes_folder()}", style="dim"))
    return 0


@command(app, "delete", "longthread indexes delete 3f2a91c0d4e5b677")
def delete(options: DeleteOptions) -> int:
    """Delete indexes. Each is made again when its documents are searched."""
    return for_each(options.names, lambda name: f"deleted, {size_text(delete_index(name))} are free again")


def _content(info: IndexInfo) -> str:
    if info.is_unfinished:
        return "unfinished: the same question or 'longthread index' finishes it"
    if info.n_documents < 0:
        return "cannot be read"
    size = f"{counted(info.n_documents, 'document')}, {counted(info.n_passages, 'passage')}"
    return f"{size}  {one_line(shown_path(info.documents))}"
