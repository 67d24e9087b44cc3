"""The commands of `longthread models`, as they stand on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json, Quiet

app = typer.Typer(help="The models that can be named: list, default, pull, verify, tune, try.", no_args_is_help=True)


@app.command("list")
def models_list(json: Json = False) -> None:
    """The models that can be named, and which of them are here."""
    from cli.models import list_all

    raise typer.Exit(list_all(json))


@app.command("default")
def models_default(
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A GGUF file or a name; without it, which it is now.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the built-in model.")] = False,
) -> None:
    """Choose the model that answers wherever neither a pipeline file nor --model names one."""
    from cli.models import default

    raise typer.Exit(default(name, reset))


@app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="A name from 'models list', or hf:OWNER/REPO/FILE.gguf.")],
) -> None:
    """Download a model. The only command that uses the network."""
    from cli.models import pull

    raise typer.Exit(pull(name))


@app.command("verify")
def models_verify(
    name: Annotated[str, typer.Argument(help="A GGUF file or a name from 'models list'.")],
    languages: Annotated[
        bool, typer.Option("--languages", help="How many tokens the same text takes in each of eleven languages.")
    ] = False,
    words: Annotated[
        str | None, typer.Option(help="A list of Turkish words, one a line: adds the shares of words and morphemes.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="A Turkish text to judge by, in the place of the built-in one.")
    ] = None,
    json: Json = False,
) -> None:
    """Check that a model's file is whole and, where its hash is known, the right one; say what it is good for."""
    if languages or words or text:
        from cli.languages import print_costs

        raise typer.Exit(print_costs(name, words, text, json))
    from cli.models import verify

    raise typer.Exit(verify(name, json))


@app.command("tune")
def models_tune(
    name: Annotated[str, typer.Argument(help="A GGUF file or a name from 'models list'.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Requantise a model for this machine, measure each, and remember the best for reading and for scoring."""
    from cli.models import tune

    raise typer.Exit(tune(name, json, quiet))


@app.command("try")
def models_try(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A GGUF file or a name from 'models list'.")],
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="Only this many of the 40 questions: quicker, and less certain.")
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Only measure what reading passages once costs, in the layout chosen before."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask a model 40 questions in every prompt layout, and remember the layout that it answers best in.

    Measures as well what it loses when passages are read once and their cells are put together.
    """
    from cli.models import try_model

    raise typer.Exit(try_model(name, n, reuse, json, quiet))
