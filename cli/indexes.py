"""`longthread indexes`: list, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.text import Text

from cli.output import open_console, print_json
from cli.printing import shown_path
from cli.sessions import for_each, megabytes
from pipeline.cached_indexes import IndexInfo, delete_index, indexes_folder, list_indexes
from pipeline.text.visible import one_line


def list_all(json: bool) -> int:
    infos = list_indexes()
    if json:
        print_json([asdict(info) for info in infos])
        return 0
    console = open_console()
    for info in infos:
        when = info.used[:16].replace("T", " ")
        console.print(Text(f"{info.name}  {megabytes(info.size):>8}  {when}  {_held(info)}"))
    total = megabytes(sum(info.size for info in infos))
    console.print(Text(f"{len(infos)} indexes, {total}, in {indexes_folder()}", style="dim"))
    return 0


def _held(info: IndexInfo) -> str:
    if info.is_unfinished:
        return "unfinished: the same question or 'longthread index' goes on with it"
    if info.n_documents < 0:
        return "cannot be read"
    return f"{info.n_documents} documents, {info.n_passages} passages  {one_line(shown_path(info.documents))}"


def delete(names: Sequence[str]) -> int:
    return for_each(names, lambda name: f"deleted, {megabytes(delete_index(name))} are free again")
