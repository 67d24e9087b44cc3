"""The options of `longthread indexes`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json

app = typer.Typer(help="The indexes that --docs made in the cache: list, delete.", no_args_is_help=True)


@app.command("list")
def indexes_list(json: Json = False) -> None:
    """The indexes that --docs made, the last used first, with their documents and their size on disk."""
    from cli.indexes import list_all

    raise typer.Exit(list_all(json))


@app.command("delete")
def indexes_delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from 'indexes list'.")],
) -> None:
    """Delete indexes; each is made again when its documents are asked about."""
    from cli.indexes import delete

    raise typer.Exit(delete(names))
