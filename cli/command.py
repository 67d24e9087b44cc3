"""Makes a command of a function and its options dataclass: each field is an argument or an option.

    @dataclass(frozen=True, kw_only=True)
    class ShowOptions:
        file: PipelineFile
        svg: Annotated[str | None, typer.Option(help="Write the picture into this file.")] = None

    app = new_app()

    @command(app, "show", "longthread show configs/default.yaml")
    def show(options: ShowOptions) -> int: ...

Shared options are Annotated aliases in cli/options.py, and shared groups of fields are base classes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from types import GenericAlias
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.errors import LongthreadError

Options = TypeVar("Options")
_FIRST = ("config", "docs", "index", "model", "filter", "glob", "read")
_LAST = (
    *("limit", "sample", "seed", "turns", "executor", "retry", "retry_errors", "fail_on_error", "update"),
    *("account", "diff", "json", "quiet"),
)
_FIELD = re.compile(r"`(\w+)`")


def new_app(help: str | None = None, *examples: str) -> typer.Typer:  # noqa: A002 - typer's name
    """A Typer for the commands of one file. With `help` it is a group, which prints its help if it gets no command."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if help is not None:
        app.callback(cls=PlainGroup, help=help, epilog=_epilog(examples), no_args_is_help=True)(_do_nothing)
    return app


def _epilog(examples: Sequence[str]) -> str:
    title = "Examples:" if len(examples) > 1 else "Example:"
    return "\n".join(["\b", title, *(f"  {line}" for line in examples)])


def _do_nothing() -> None:
    """Makes a Typer a group even if it has one command."""


def command(
    app: typer.Typer, name: str, *examples: str, hidden: bool = False
) -> Callable[[Callable[[Options], int]], Callable[[Options], int]]:
    """Registers a function of one options dataclass, which returns the exit code. `examples` end the help text."""

    def register(function: Callable[[Options], int]) -> Callable[[Options], int]:
        (parameter,) = inspect.signature(function).parameters
        options_type = get_type_hints(function)[parameter]
        app.command(name, epilog=_epilog(examples), cls=PlainCommand, hidden=hidden)(
            _typer_function(function, options_type)
        )
        return function

    return register


class PlainCommand(TyperCommand):
    """A command whose help names its arguments by their metavars alone."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(_usage(argument) for argument in self._of_type("argument"))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [(argument.metavar, argument.help) for argument in self._of_type("argument")]
        options = [option.get_help_record(ctx) for option in [*self._of_type("option"), self.get_help_option(ctx)]]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(list(filter(None, rows)))

    def _of_type(self, name: str) -> list[Any]:
        return [parameter for parameter in self.params if parameter.param_type_name == name]


class PlainGroup(TyperGroup):
    """A group whose help has the first sentence of each command, in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [
            (name, (child.help or "").partition("\n\n")[0]) for name, child in self.commands.items() if not child.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _usage(argument: Any) -> str:
    """`MODEL`, `PATH...`, `[PATH]...`."""
    name = argument.metavar.strip("[].")
    return f"{name if argument.required else f'[{name}]'}{'...' if argument.nargs != 1 else ''}"


def _typer_function(function: Callable[[Any], int], options_type: type) -> Callable[..., None]:
    """The function with the fields as its parameters, which is what typer reads."""
    hints = get_type_hints(options_type, include_extras=True)

    def run(ctx: typer.Context, **values: Any) -> None:
        options = options_type(**{name: _frozen(value) for name, value in values.items()})
        try:
            code = function(options)
        except LongthreadError as error:
            error.args = tuple(with_flags(text, ctx) if isinstance(text, str) else text for text in error.args)
            raise
        raise typer.Exit(code)

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    ordered = sorted(fields(options_type), key=_position)
    parameters = [context, *(_parameter(field, hints[field.name]) for field in ordered)]
    run.__doc__ = function.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _parameter(field: Field[Any], hint: Any) -> inspect.Parameter:
    """The parameter of a field. Typer knows `list[str]` for an option that may be repeated; the field is a tuple."""
    default: Any = inspect.Parameter.empty if field.default is MISSING else field.default
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if get_origin(kind) is tuple:
        kind = GenericAlias(list, get_args(kind)[:1])
        default = list(default) if isinstance(default, tuple) else default
    annotation = Annotated[(kind, *extras)] if extras else kind
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _position(field: Field[Any]) -> tuple[bool, int]:
    """Sorts the options of every command's help in the same way: required, shared, the command's own, general."""
    order = _FIRST.index(field.name) - len(_FIRST) if field.name in _FIRST else 0
    return field.default is not MISSING, _LAST.index(field.name) + 1 if field.name in _LAST else order


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def with_flags(message: str, ctx: typer.Context) -> str:
    """A message of the library with the command's flags: `fail_on_error` in backticks becomes --fail-on-error.

    `metrics` is also --metric. A name that is no option of the command stays as it is.
    """
    flags = {
        parameter.name: parameter.opts[0] for parameter in ctx.command.params if parameter.param_type_name == "option"
    }
    return _FIELD.sub(lambda match: flags.get(match[1]) or flags.get(match[1].removesuffix("s"), match[0]), message)
