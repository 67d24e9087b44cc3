"""The table of all components that a pipeline file can name.

The table holds import paths, so that listing loads nothing, and a pipeline file can reach only these classes. A
component is a frozen dataclass; its fields are its YAML settings, checked here against their types.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import PlainValidator, WithJsonSchema

from pipeline.contracts import Compressor, Named
from pipeline.errors import ConfigError, SettingError
from pipeline.settings import Fault, build_dataclass, nearest, typed_settings
from pipeline.yaml import dotted

T = TypeVar("T")

KINDS = ("retrieve", "rerank", "compress", "gate", "memory", "assemble", "generate")
"""The kinds of stages, in pipeline order."""
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
    "compress.if_faster": "compressors.if_faster:IfFaster",
    "compress.route": "compressors.route:Route",
    "gate.support": "pipeline.answers.support:Support",
    "memory.hierarchical": "memory.hierarchical.settings:Hierarchical",
    "memory.none": "memory.none:Nothing",
    "memory.window": "memory.window:Window",
    "memory.full": "memory.full:Full",
    "assemble.cited": "pipeline.answers.cited:Cited",
    "assemble.plain": "pipeline.answers.plain:Plain",
    "generate.llama": "pipeline.answers.llama:Llama",
    "generate.scripted": "pipeline.answers.scripted:Scripted",
}

ALIASES = {"compress.gate": "compress.if_faster"}
"""Component names of earlier releases that pipeline files may still use."""


def renaming(name: str) -> str:
    """Returns a note that this name of an earlier release will go."""
    return f"{name} is the old name of {ALIASES[name]}: the next release will not know it"


def name_of(component: object) -> str | None:
    """Returns the registered name of a component's class; None for another class."""
    location = f"{type(component).__module__}:{type(component).__qualname__}"
    return next((name for name, known in COMPONENTS.items() if known == location), None)


def stage_name(component: object) -> str:
    """Returns a stage's name for ledgers and records: the registered name, or its kind and class."""
    name = name_of(component)
    if name is not None:
        return name
    if isinstance(component, Named):
        return component.stage_name
    return f"{kind_of(component)}.{type(component).__name__}"


def kind_of(component: object) -> str:
    """Returns a component's kind, a word of `KINDS`. Raises ConfigError for an object that is no component."""
    name = name_of(component)
    if name is not None:
        return name.partition(".")[0]
    kind = _kind_of_methods(component)
    if kind is None:
        raise ConfigError(
            f"{component!r} is no component: a pipeline's stages are instances of classes such as longthread.Hybrid, "
            "longthread.ExitMini, longthread.Cited and longthread.Llama, or have one of the methods "
            f"{', '.join(_METHODS.values())}"
        )
    return kind


def _kind_of_methods(component: object) -> str | None:
    """The kind of an object outside the registry, by its method; None for a class and for other objects."""
    if isinstance(component, type):
        return None
    return next((kind for kind, method in _METHODS.items() if callable(getattr(component, method, None))), None)


_METHODS = {
    "retrieve": "search",
    "rerank": "rerank",
    "compress": "compress",
    "gate": "judge",
    "memory": "open",
    "assemble": "assemble",
    "generate": "generate",
}
"""The method that makes an object a component of a kind."""


def make(name: str, settings: Mapping[str, object] | None = None) -> Any:
    """Builds the named component with these settings. Raises ConfigError with every fault of the settings."""
    name = ALIASES.get(name, name)
    if name not in COMPONENTS:
        raise ConfigError(unknown_component(name))
    return _faultless(name, *build(name, settings or {}))


def checked(component: T) -> T:
    """Builds a component that was made in Python once more, as a pipeline file's would be, and returns it.

    The compressors inside it are checked as well. An instance of a class outside the registry is returned as it is.
    Raises ConfigError for wrong settings, and for an object that is no component.
    """
    kind_of(component)
    return component if name_of(component) is None else _rebuilt(component, {})


def with_settings(component: T, settings: Mapping[str, object]) -> T:
    """Changes some settings of a component, given in a pipeline file's form. Raises ConfigError as `make` does."""
    if name_of(component) is None:
        raise ConfigError(f"{stage_name(component)} has no settings that can be changed by name")
    return _rebuilt(component, settings)


def checked_section(section: T, name: str) -> T:
    """Builds a section of a pipeline that was made in Python once more, as `checked` does."""
    return _faultless(name, *build_dataclass(type(section), changed_settings(section), name))


def _rebuilt(component: T, changes: Mapping[str, object]) -> T:
    """Builds a registered component from its settings and these changes, around its checked inner compressors."""
    name = str(name_of(component))
    members = {
        field: _check_inner(getattr(component, field), f"{name}.{field}")
        for field in _member_fields(type(component))
        if field not in changes
    }
    settings = {field: value for field, value in changed_settings(component).items() if field not in members}
    return _faultless(name, *build_dataclass(type(component), {**settings, **changes}, name, members))


def check_types(component: object, cls: type) -> None:
    """Checks the types of the settings that `cls` declares, and gives each value the form that a file would give it.

    A list becomes a tuple, a path its text, a number of numpy a plain one. `__post_init__` begins with it. Fields that
    a subclass adds are not checked. Raises SettingError for the first setting of a wrong type.
    """
    members = _member_fields(cls)
    values = {field.name: getattr(component, field.name) for field in dataclasses.fields(cls) if field.init}
    for name in members:
        object.__setattr__(component, name, _checked_member(values.pop(name), cls, name))
    for name, value in values.items():
        if not _is_plain(value):
            raise SettingError(name, f"should be a value that a pipeline file can hold, was: {repr(value)[:80]}")
    typed, faults = typed_settings(cls, {name: _plain(value) for name, value in values.items()}, cls.__name__, members)
    if typed is None:
        raise SettingError(dotted(faults[0].path), faults[0].message)
    for name in values:
        object.__setattr__(component, name, getattr(typed, name))


def _checked_member(value: object, cls: type, field: str) -> object:
    """Like `_check_inner`, for a component that is being made: its own field is at fault."""
    is_sequence = get_origin(get_type_hints(cls)[field]) is tuple
    if isinstance(value, list | tuple) != is_sequence:
        what = "a sequence of compressors" if is_sequence else "one compressor"
        raise SettingError(field, f"should be {what}, was: {repr(value)[:80]}")
    try:
        return _check_inner(value, field)
    except ConfigError as error:
        where, _, message = str(error).partition(" ")
        raise SettingError(where.rstrip(":"), message) from None


def _faultless(name: str, built: T | None, faults: Sequence[Fault]) -> T:
    """Returns what was built, or raises ConfigError with all faults."""
    if built is None:
        raise ConfigError("\n".join(f"{'.'.join(map(str, (name, *f.path)))}: {f.message}" for f in faults))
    return built


def _member_fields(cls: type) -> tuple[str, ...]:
    """The fields of a component's class that hold other components."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        field.name for field in dataclasses.fields(cls) if Inner in (hints[field.name], *get_args(hints[field.name]))
    )


def unregistered(component: object) -> list[object]:
    """Returns what has no name for a file or another machine: the component itself, or compressors inside it."""
    if name_of(component) is None:
        return [component]
    values = [getattr(component, field) for field in _member_fields(type(component))]
    inner = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    return [outsider for item in inner for outsider in unregistered(item)]


def _check_inner(value: object, where: str) -> object:
    """Checks the compressors in a component's field: one, or a sequence of them."""
    if isinstance(value, list | tuple):
        return tuple(_check_inner(item, f"{where}[{n}]") for n, item in enumerate(value))
    try:
        if isinstance(value, str | Mapping):
            return _inner_compressor(value)
        kind, inner = kind_of(value), checked(value)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None
    if kind != "compress":
        raise ConfigError(f"{where} must be a compressor, such as longthread.ExitMini(), was: {stage_name(value)}")
    return inner


def settings_of(component: object) -> dict[str, Any]:
    """Returns all settings of a component as plain values; an inner component becomes `{name: settings}`.

    Those of an ordinary class are its public attributes.
    """
    if not dataclasses.is_dataclass(component):
        values = getattr(component, "__dict__", {})
        return {name: _plain(value) for name, value in values.items() if not name.startswith("_")}
    return {field.name: _plain(getattr(component, field.name)) for field in dataclasses.fields(component) if field.init}


def changed_settings(component: object) -> dict[str, Any]:
    """Returns the non-default settings of a component, as plain values; all of those of an ordinary class."""
    if not dataclasses.is_dataclass(component):
        return settings_of(component)
    defaults = {
        field.name: _plain(field.default if field.default_factory is dataclasses.MISSING else field.default_factory())
        for field in dataclasses.fields(component)
    }
    return {name: value for name, value in settings_of(component).items() if value != defaults[name]}


def _plain(value: object) -> object:
    """Returns a setting as JSON could hold it; of an object that is no component, its class's name."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str | int | float | None):
        return value
    if _is_numpy_bool(value):
        return bool(value)
    if isinstance(value, numbers.Real):  # of numpy
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if name_of(value) is not None or _kind_of_methods(value) == "compress":
        return {stage_name(value): settings_of(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return settings_of(value)
    return f"{type(value).__module__}.{type(value).__name__}"


def _is_plain(value: object) -> bool:
    """Whether `_plain` keeps the value: it does not keep bytes, sets and objects of a caller."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, str | os.PathLike | numbers.Real | None) or _is_numpy_bool(value):
        return True
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_numpy_bool(value: object) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")


def _inner_compressor(value: object) -> Compressor:
    """Builds a wrapper's inner compressor from a name, or from a mapping of one name to its settings."""
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("must be one compressor's name, with its settings below it")
    ((keyed, settings),) = value.items()
    name = str(ALIASES.get(keyed, keyed))
    if name not in COMPONENTS or not name.startswith("compress."):
        known = [other for other in COMPONENTS if other.startswith("compress.")]
        raise ValueError(
            f"there is no compressor '{name}'" + (nearest(name, known) or f"; there are: {', '.join(known)}")
        )
    if not isinstance(settings or {}, dict):
        raise ValueError(f"the settings of {name} must be a mapping")
    try:
        compressor: Compressor = make(name, settings)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return compressor


Inner = Annotated[
    Compressor,
    PlainValidator(_inner_compressor),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}),
]
"""The type of a setting that is a compressor: for components that wrap others."""


def component_class(name: str) -> type:
    """Imports the dataclass of a registered name."""
    module, _, attribute = COMPONENTS[name].partition(":")
    cls = getattr(import_module(module), attribute)
    if not isinstance(cls, type):
        raise TypeError(f"{name} must be a class, was: {cls!r}")
    return cls


def unknown_component(name: str) -> str:
    known = sorted(COMPONENTS)
    return f"there is no component '{name}'" + (nearest(name, known) or "; there are: " + ", ".join(known))


def build(name: str, settings: Mapping[str, object]) -> tuple[Any | None, tuple[Fault, ...]]:
    """Builds the named component, or returns all faults of its settings.

    Raises KeyError for an unknown name: `unknown_component` gives the message.
    """
    cls = component_class(name)
    return build_dataclass(cls, settings, name)


def first_line(cls: type) -> str:
    """Returns the first line of a component's docstring, for listings."""
    return (cls.__doc__ or "").strip().partition("\n")[0]
