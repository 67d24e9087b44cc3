"""Every component that a pipeline file can name, as one table.

The table holds import paths, not classes: listing loads nothing, and a pipeline file can reach only what stands here.
A component is a frozen dataclass; its fields are its YAML settings, checked here against their types.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, WithJsonSchema, create_model

from pipeline.errors import ConfigError

KINDS = ("retrieve", "rerank", "compress", "gate", "memory", "assemble", "generate")
"""The kinds of stages, in the order in which a pipeline has them."""
_SURROGATE = re.compile("[\ud800-\udfff]")

COMPONENTS: dict[str, str] = {
    "retrieve.dense": "pipeline.retrieval.dense:Dense",
    "retrieve.bm25": "pipeline.retrieval.bm25:Bm25",
    "retrieve.hybrid": "pipeline.retrieval.hybrid:Hybrid",
    "retrieve.given": "pipeline.retrieval.given:Given",
    "retrieve.hops": "pipeline.retrieval.hops:Hops",
    "rerank.gguf": "pipeline.retrieval.rerank_gguf:GgufReranker",
    "rerank.yes_no": "pipeline.retrieval.rerank_yes_no:YesNo",
    "compress.sentences": "compressors.sentences:Sentences",
    "compress.exit": "compressors.exit:Exit",
    "compress.exit_mini": "compressors.exit_mini:ExitMini",
    "compress.probe": "compressors.probe:Probe",
    "compress.attention": "compressors.attention:Attention",
    "compress.surprisal": "compressors.surprisal:Surprisal",
    "compress.extensible": "compressors.extensible:Extensible",
    "compress.crag": "compressors.crag:Crag",
    "compress.highlight": "compressors.highlight:Highlight",
    "compress.reorder": "compressors.reorder:Reorder",
    "compress.chain": "compressors.chain:Chain",
    "compress.neighbours": "compressors.neighbours:Neighbours",
    "compress.protect": "compressors.protect:Protect",
    "compress.fallback": "compressors.fallback:Fallback",
    "compress.gate": "compressors.gate:Gate",
    "compress.route": "compressors.route:Route",
    "gate.support": "pipeline.answers.support:Support",
    "memory.hierarchical": "memory.hierarchical:Hierarchical",
    "memory.none": "memory.none:Nothing",
    "memory.window": "memory.window:Window",
    "memory.full": "memory.full:Full",
    "assemble.cited": "pipeline.answers.cited:Cited",
    "assemble.plain": "pipeline.answers.plain:Plain",
    "generate.llama": "pipeline.answers.llama:Llama",
    "generate.scripted": "pipeline.answers.scripted:Scripted",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with settings: the path of keys below them, and what is wrong, with the way out."""

    path: tuple[str | int, ...]
    message: str


@dataclass(frozen=True)
class Spec:
    """A component as it was named: enough to build it again, here or in another process."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> str:
        return self.name.split(".", 1)[0]

    def build(self) -> Any:
        """The component. Raises ConfigError with every fault of the settings."""
        component, faults = build(self.name, dict(self.settings))
        if faults:
            raise ConfigError("\n".join(f"{'.'.join(map(str, (self.name, *f.path)))}: {f.message}" for f in faults))
        return component


def name_of(component: Any) -> str | None:
    """The name of a component's class in the table; None for a class that is not in it."""
    home = f"{type(component).__module__}:{type(component).__qualname__}"
    return next((name for name, known in COMPONENTS.items() if known == home), None)


def spec_of(component: Any) -> Spec:
    """A component that was made in Python, as a pipeline file would name it: with the settings that are no defaults.

    Raises ConfigError for what is no component of longthread's.
    """
    name = name_of(component)
    if name is None:
        raise ConfigError(
            f"{component!r} is no component of longthread's: a pipeline's stages are instances of classes such as "
            "longthread.Hybrid, longthread.ExitMini, longthread.Cited and longthread.Llama"
        )
    settings = settings_of(component)
    defaults = {
        field.name: _plain(field.default if field.default_factory is dataclasses.MISSING else field.default_factory())
        for field in dataclasses.fields(component)
        if field.init
    }
    return Spec(name, tuple((key, value) for key, value in settings.items() if value != defaults[key]))


def settings_of(component: Any) -> dict[str, Any]:
    """Every setting of a component as plain values, defaults included; an inner component as `{name: settings}`."""
    return {field.name: _plain(getattr(component, field.name)) for field in dataclasses.fields(component) if field.init}


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return {value.name: settings_of(value.build())}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = name_of(value)
        return settings_of(value) if name is None else {name: settings_of(value)}
    return value if isinstance(value, str | int | float | None) else f"{type(value).__module__}.{type(value).__name__}"


def _inner(value: object) -> Spec:
    """A compressor named inside another's settings, checked: a name, or a mapping of one name to its settings."""
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("must be one compressor's name, with its settings below it")
    ((name, settings),) = value.items()
    if name not in COMPONENTS or not name.startswith("compress."):
        known = [other for other in COMPONENTS if other.startswith("compress.")]
        raise ValueError(
            f"there is no compressor '{name}'" + (nearest(name, known) or f"; there are: {', '.join(known)}")
        )
    if not isinstance(settings or {}, dict):
        raise ValueError(f"the settings of {name} must be a mapping")
    spec = Spec(name, tuple((settings or {}).items()))
    try:
        spec.build()
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return spec


Inner = Annotated[
    Spec,
    PlainValidator(_inner),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}),
]
"""The type of a setting that names a compressor: for components that wrap others."""


def component_class(name: str) -> type:
    """The dataclass behind a registered name."""
    module, _, attribute = COMPONENTS[name].partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, type):
        raise TypeError(f"{name} must be a class, was: {found!r}")
    return found


def nearest(word: str, choices: list[str]) -> str:
    """`, did you mean 'x'?` for the choice that looks most like the word, or nothing."""
    found = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f", did you mean '{found[0]}'?" if found else ""


def unknown_component(name: str) -> str:
    known = sorted(COMPONENTS)
    return f"there is no component '{name}'" + (nearest(name, known) or "; there are: " + ", ".join(known))


@cache
def settings_model(cls: type) -> type[BaseModel]:
    """The pydantic model of a component's fields: unknown keys forbidden, types strict."""
    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        if field.default is not dataclasses.MISSING:
            fields[field.name] = (hints[field.name], field.default)
        elif field.default_factory is not dataclasses.MISSING:
            fields[field.name] = (hints[field.name], field.default_factory())
        else:
            fields[field.name] = (hints[field.name], ...)
    config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=False)
    return create_model(cls.__name__, __config__=config, __doc__=cls.__doc__, **fields)


def build(name: str, settings: Mapping[str, Any]) -> tuple[Any | None, tuple[Fault, ...]]:
    """The component of that name with these settings, or the faults of the settings, all of them.

    Raises KeyError for a name that is not in the table: ask `unknown_component` what to say.
    """
    cls = component_class(name)
    return build_dataclass(cls, settings, name)


def build_dataclass(cls: type, settings: Mapping[str, Any], name: str) -> tuple[Any | None, tuple[Fault, ...]]:
    """An instance of a frozen dataclass from plain settings, or every fault of the settings.

    What is wrong is left out and the rest is tried again, so that a fault of type does not hide one of range.
    """
    faults: list[Fault] = []
    rest = dict(settings)
    while True:
        built, found = _try_dataclass(cls, rest, name)
        faults += found
        wrong = {fault.path[0] for fault in found if fault.path} & set(rest)
        if not wrong:
            return (None if faults else built), tuple(faults)
        rest = {key: value for key, value in rest.items() if key not in wrong}


def _try_dataclass(cls: type, settings: Mapping[str, Any], name: str) -> tuple[Any | None, tuple[Fault, ...]]:
    stray = [key for key, value in settings.items() if isinstance(value, str) and _SURROGATE.search(value)]
    if stray:
        return None, tuple(Fault((key,), "holds bytes that are not UTF-8: rename the file") for key in stray)
    try:
        checked = settings_model(cls).model_validate_json(json.dumps(dict(settings)), strict=True)
    except ValidationError as error:
        known = [field.name for field in dataclasses.fields(cls)]
        return None, _merged([_fault(problem, known, name, settings) for problem in error.errors()])
    try:
        return cls(**{key: getattr(checked, key) for key in checked.model_fields_set}), ()
    except ValueError as error:
        field = str(error).split(" ", 1)[0]
        path = (field,) if field in settings else ()
        return None, (Fault(path, str(error)),)


def _fault(problem: Any, known: list[str], name: str, settings: Mapping[str, Any]) -> Fault:
    path = _in_settings(problem["loc"], settings)
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        choices = (nearest(str(path[-1]), known) or "; it has: " + ", ".join(known)) if len(path) == 1 else ""
        return Fault(path, f"{name} has no such field{choices}")
    if problem["type"] == "missing":
        return Fault((*path, problem["loc"][-1]), f"{name} needs this field")
    what = str(problem["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    return Fault(path, f"{what}, was: {json.dumps(problem['input'])[:80]}")


def _in_settings(loc: tuple[str | int, ...], settings: Any) -> tuple[str | int, ...]:
    """The part of pydantic's location that is a path in the settings, without its names for the arms of a union."""
    path: list[str | int] = []
    at = settings
    for step in loc:
        is_key = isinstance(at, Mapping) and step in at
        is_position = isinstance(at, list) and isinstance(step, int) and step < len(at)
        if is_key or is_position:
            at = at[step]
            path.append(step)
    return tuple(path)


def _merged(faults: list[Fault]) -> tuple[Fault, ...]:
    """The faults with those of one path, the arms of a union, as one: `should be a valid integer or 'auto'`."""
    found: dict[tuple[str | int, ...], list[str]] = {}
    for fault in faults:
        found.setdefault(fault.path, []).append(fault.message)
    return tuple(Fault(path, _either(messages)) for path, messages in found.items())


def _either(messages: list[str]) -> str:
    if len(messages) == 1 or not all(message.startswith("should be ") for message in messages):
        return "; ".join(messages)
    *first, last = messages
    return " or ".join([*(m.partition(", was: ")[0] for m in first), last.removeprefix("should be ")])


def first_line(cls: type) -> str:
    """The first line of a component's docstring, for listings."""
    return (cls.__doc__ or "").strip().partition("\n")[0]
