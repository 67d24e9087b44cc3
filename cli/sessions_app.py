"""The options of `longthread sessions`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json

app = typer.Typer(help="Your conversations: list, show, delete, export.", no_args_is_help=True)


@app.command("list")
def sessions_list(json: Json = False) -> None:
    """All conversations, the last used first, with their turns and their size on disk."""
    from cli.sessions import list_all

    raise typer.Exit(list_all(json))


@app.command("show")
def sessions_show(
    name: Annotated[str, typer.Argument(help="A name from 'sessions list'.")], json: Json = False
) -> None:
    """Print what was asked and answered in a conversation."""
    from cli.sessions import show

    raise typer.Exit(show(name, json))


@app.command("delete")
def sessions_delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from 'sessions list'.")],
) -> None:
    """Delete conversations, with all that they remember."""
    from cli.sessions import delete

    raise typer.Exit(delete(names))


@app.command("export")
def sessions_export(
    name: Annotated[str, typer.Argument(help="A name from 'sessions list'.")],
    file: Annotated[str, typer.Argument(help="The file to write, which must not be there yet.")],
) -> None:
    """Write all that a conversation remembers as JSON lines."""
    from cli.sessions import export

    raise typer.Exit(export(name, file))
