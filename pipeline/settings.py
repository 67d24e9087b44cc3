"""Builds frozen dataclasses from plain settings, such as those of a pipeline file, and names every fault of them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from pipeline.errors import SettingError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Fault:
    """One fault in settings: the key path within them, and the fault with its remedy."""

    path: tuple[str | int, ...]
    message: str


def nearest(word: str, choices: list[str]) -> str:
    """Returns `, did you mean 'x'?` for the most similar choice, or nothing."""
    matches = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f", did you mean '{matches[0]}'?" if matches else ""


@cache
def settings_model(cls: type, without: frozenset[str] = frozenset()) -> type[BaseModel]:
    """Builds the pydantic model of a component's fields, except some: strict types, no unknown keys."""
    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if not field.init or field.name in without:
            continue
        if field.default is not dataclasses.MISSING:
            fields[field.name] = (hints[field.name], field.default)
        elif field.default_factory is not dataclasses.MISSING:
            fields[field.name] = (hints[field.name], field.default_factory())
        else:
            fields[field.name] = (hints[field.name], ...)
    config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=False)
    return create_model(cls.__name__, __config__=config, __doc__=cls.__doc__, **fields)


def build_dataclass(
    cls: type[T], settings: Mapping[str, object], name: str, members: Mapping[str, object] | None = None
) -> tuple[T | None, tuple[Fault, ...]]:
    """Builds a frozen dataclass from plain settings, or returns every fault of the settings.

    It retries without the faulty settings, so that a wrong type does not hide a value out of range. `members` are
    fields whose values are built and checked already.
    """
    faults: list[Fault] = []
    rest = dict(settings)
    while True:
        component, new_faults = _try_dataclass(cls, rest, name, members or {})
        left_out = set(settings) - set(rest)  # these are faulty, not missing
        faults += [fault for fault in new_faults if not fault.path or fault.path[0] not in left_out]
        wrong = {fault.path[0] for fault in new_faults if fault.path} & set(rest)
        if not wrong:
            return (None if faults else component), tuple(faults)
        rest = {key: value for key, value in rest.items() if key not in wrong}


def _try_dataclass(
    cls: type, settings: Mapping[str, object], name: str, members: Mapping[str, object]
) -> tuple[Any | None, tuple[Fault, ...]]:
    typed, faults = typed_settings(cls, settings, name, members)
    if typed is None:
        return None, faults
    try:
        return cls(**{key: getattr(typed, key) for key in typed.model_fields_set}, **members), ()
    except SettingError as error:
        return None, (Fault((error.field,) if error.field in settings else (), str(error)),)


def typed_settings(
    cls: type, settings: Mapping[str, object], name: str, without: Iterable[str]
) -> tuple[BaseModel | None, tuple[Fault, ...]]:
    """Returns plain settings as values of their types, or their faults. The fields `without` are not among them."""
    stray = [key for key, value in settings.items() if isinstance(value, str) and _SURROGATE.search(value)]
    if stray:
        return None, tuple(Fault((key,), "holds bytes that are not UTF-8: rename the file") for key in stray)
    try:
        model = settings_model(cls, frozenset(without))
        return model.model_validate_json(json.dumps(dict(settings)), strict=True), ()
    except ValidationError as error:
        known = [field.name for field in dataclasses.fields(cls)]
        return None, _merged([_fault(problem, known, name, settings) for problem in error.errors()])


def _fault(problem: ErrorDetails, known: list[str], name: str, settings: Mapping[str, object]) -> Fault:
    path = _in_settings(problem["loc"], settings)
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        choices = (nearest(str(path[-1]), known) or "; it has: " + ", ".join(known)) if len(path) == 1 else ""
        return Fault(path, f"{name} has no such field{choices}")
    if problem["type"] == "missing":
        return Fault((*path, problem["loc"][-1]), f"{name} needs this field")
    what = str(problem["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    return Fault(path, f"{what}, was: {json.dumps(problem['input'])[:80]}")


def _in_settings(loc: tuple[str | int, ...], settings: object) -> tuple[str | int, ...]:
    """Reduces pydantic's location to a path in the settings, without its names for the members of a union."""
    path: list[str | int] = []
    value = settings
    for step in loc:
        items = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(items, Mapping) and step in items:
            value = items[step]
            path.append(step)
    return tuple(path)


def _merged(faults: list[Fault]) -> tuple[Fault, ...]:
    """Merges faults with the same path, from members of a union: `should be a valid integer or 'auto'`."""
    messages_by_path: dict[tuple[str | int, ...], list[str]] = {}
    for fault in faults:
        messages_by_path.setdefault(fault.path, []).append(fault.message)
    return tuple(Fault(path, _either(messages)) for path, messages in messages_by_path.items())


def _either(messages: list[str]) -> str:
    if len(messages) == 1 or not all(message.startswith("should be ") for message in messages):
        return "; ".join(messages)
    *first, last = messages
    return " or ".join([*(m.partition(", was: ")[0] for m in first), last.removeprefix("should be ")])
