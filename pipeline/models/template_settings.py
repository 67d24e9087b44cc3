"""The settings of a chat template: its name, its arguments, and its date."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from pipeline.errors import SettingError

Scalar = str | int | float | bool | None

DAY = "2026-11-27"
"""The date for templates outside a chat: fixed, so that prompts are reproducible."""
RESERVED = ("messages", "add_generation_prompt", "tools", "documents")
"""Template arguments that the engine sets."""


def _arguments(value: object) -> tuple[tuple[str, Scalar], ...]:
    """Converts a mapping to pairs sorted by name, so that settings can be compared and hashed."""
    if isinstance(value, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        value = {str(name): argument for name, argument in value}  # the form in a record
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of names to values")
    for name, argument in value.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"'{name}' is no name that a template could use")
        if name in RESERVED:
            raise ValueError(f"'{name}' is set by longthread")
        if argument is not None and not isinstance(argument, str | int | float | bool):
            raise ValueError(f"{name} must be a text, a number, true or false")
    return tuple(sorted(value.items()))


TemplateArguments = Annotated[
    tuple[tuple[str, Scalar], ...],
    PlainValidator(_arguments),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
]
"""A mapping in a pipeline file; a tuple of pairs internally."""


def check_template(chat_template: str | None, day: str) -> None:
    """Raises ValueError for a missing template file, and for an invalid date.

    A word without a slash or `.jinja` is a name, which is checked when the model is loaded.
    """
    if chat_template is not None and is_file(chat_template) and not Path(chat_template).is_file():
        raise SettingError("chat_template", f"must be a file or a name, and there is no file {chat_template}")
    if chat_template == "":
        raise SettingError("chat_template", "must be a file or a name, was: ''")
    try:
        date.fromisoformat(day)
    except ValueError:
        raise SettingError("date", f"must be a day such as {DAY}, was: {day}") from None


def is_file(chat_template: str) -> bool:
    """Whether a setting has the form of a file."""
    return "/" in chat_template or "\\" in chat_template or chat_template.endswith((".jinja", ".jinja2", ".txt"))
