"""The reference of pipeline files: every component and section with its settings, read from the classes themselves.

A class docstring has the summary, an `Example:` line and one `:param` line for each field. A `:param` line of a number
states its range in one of the forms that `Range.read` knows, so that the JSON schema can carry the same bounds. The
module docstring has the paper, the differences from it and the fidelity.

docs/steps.md, `longthread steps` and the descriptions of `longthread schema` are made from this.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import StringIO
from typing import Any, get_args, get_type_hints

from ruamel.yaml import YAML

from pipeline.config import SECTIONS
from pipeline.errors import ConfigError
from pipeline.registry import ALIASES, COMPONENTS, KINDS, component_class, renaming, settings_of
from pipeline.settings import nearest, settings_model

KIND_TITLES = {
    "retrieve": "find passages",
    "rerank": "rank the passages again",
    "compress": "make the passages smaller",
    "gate": "refuse questions that the passages do not answer",
    "memory": "recall the conversation",
    "assemble": "write the prompt",
    "generate": "write the answer",
}
"""What a stage of each kind does, in the order in which a pipeline has them."""

_PARAM = re.compile(r"^:param (\w+): (.*?)(?=^:param |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^Example: `(.+)`$", re.MULTILINE)
_NUMBER = r"-?\d+(?:\.\d+)?"
_INTERVAL = re.compile(rf"\bin ([\[(])({_NUMBER}), ([^\])]+)([\])])")
_LEAST = re.compile(rf"\b(at least|greater than) ({_NUMBER})\b")
_CHOICES = re.compile(rf"\bone of ({_NUMBER}(?:, {_NUMBER})+)")
_ANY = re.compile(r"\bany (?:whole )?number\b")


@dataclass(frozen=True)
class Range:
    """The numbers that a setting allows.

    :param text: the range in words, such as `in (0, 1]`.
    :param bounds: its numeric part, as keywords of JSON schema.
    """

    text: str
    bounds: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> Range | None:
        """The range that a `:param` line states, or None.

        Forms: `in [0, 1]` (parentheses exclude an end, which may be another setting), `at least 1`, `greater than 0`,
        `one of 2, 4, 8`, `any number` and `any whole number`.
        """
        if interval := _INTERVAL.search(text):
            opening, low, high, closing = interval.groups()
            bounds = {"minimum" if opening == "[" else "exclusiveMinimum": _number(low)}
            if re.fullmatch(_NUMBER, high):
                bounds["maximum" if closing == "]" else "exclusiveMaximum"] = _number(high)
            return cls(interval[0], bounds)
        if least := _LEAST.search(text):
            return cls(least[0], {"minimum" if least[1] == "at least" else "exclusiveMinimum": _number(least[2])})
        if choices := _CHOICES.search(text):
            return cls(choices[0], {"enum": [_number(choice) for choice in choices[1].split(", ")]})
        return cls(match[0], {}) if (match := _ANY.search(text)) else None


@dataclass(frozen=True)
class Setting:
    """One setting of a component or section. A setting of a nested mapping has a name such as `lora[].path`.

    :param name: its name.
    :param type: its type in words, or its choices.
    :param range: the numbers that it allows; None for a setting that holds no number.
    :param default: its default as YAML; None for a setting that must be given.
    :param text: what it does, without the range.
    """

    name: str
    type: str
    range: Range | None
    default: str | None
    text: str


@dataclass(frozen=True)
class Entry:
    """A component or a section, as the reference shows it.

    :param name: `compress.exit_mini`, or `index`.
    :param summary: the first line of its docstring.
    :param details: the rest of it, as paragraphs.
    :param background: the paper, the differences from it and the fidelity, as paragraphs.
    :param example: the stage in a pipeline file; empty for a section.
    :param python: the same stage in Python; empty for a section.
    :param settings: its settings in the order of the class.
    :param renamed: a note that the name asked for will go; empty for the current name.
    """

    name: str
    summary: str
    details: tuple[str, ...]
    background: tuple[str, ...]
    example: str
    python: str
    settings: tuple[Setting, ...]
    renamed: str = ""


@cache
def entry(name: str) -> Entry:
    """The entry of a component or a section. Raises ConfigError for another name, with the nearest one.

    A component's name of an earlier release gives the component, with a note under `renamed`.
    """
    if name in ALIASES:
        return dataclasses.replace(entry(ALIASES[name]), renamed=renaming(name))
    if name not in COMPONENTS and name not in SECTIONS:
        names = [*COMPONENTS, *SECTIONS]
        parts = [other for other in names if other.partition(".")[2] == name]
        hint = f", did you mean '{parts[0]}'?" if parts else nearest(name, names)
        raise ConfigError(f"there is no step '{name}'" + (hint or ": longthread steps lists them"))
    cls = component_class(name) if name in COMPONENTS else SECTIONS[name]
    paragraphs = _paragraphs(_EXAMPLE.sub("", _before_params(cls)))
    example = example_of(cls)
    return Entry(
        name,
        paragraphs[0],
        tuple(paragraphs[1:]),
        _background(cls) if name in COMPONENTS else (),
        example,
        _in_python(name, cls, example) if name in COMPONENTS else "",
        tuple(_settings(cls)),
    )


def names_of_kind(kind: str) -> list[str]:
    """The components of a kind in the order of the registry; none for a word that is no kind."""
    return [name for name in COMPONENTS if name.partition(".")[0] == kind]


def descriptions(cls: type) -> dict[str, str]:
    """The text of each field of a dataclass, those of its bases included, from the `:param` lines."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, text in _PARAM.findall(inspect.cleandoc(base.__dict__.get("__doc__") or "")):
            texts[name] = " ".join(text.split())
    return {field.name: texts[field.name] for field in dataclasses.fields(cls) if field.name in texts}


def example_of(cls: type) -> str:
    """The stage that the docstring gives as an example; empty without one."""
    match = _EXAMPLE.search(inspect.cleandoc(cls.__doc__ or ""))
    return match[1] if match else ""


def stage_of(example: str) -> tuple[str, dict[str, object]]:
    """The name and the settings of a stage that is written as YAML."""
    value = YAML(typ="safe").load(example)
    if isinstance(value, str):
        return value, {}
    ((name, settings),) = value.items()
    return name, settings or {}


def nested_dataclasses(cls: type) -> Iterator[tuple[str, type]]:
    """The fields of a dataclass whose values hold dataclasses, with these, such as (`lora`, Lora)."""
    for name, hint in get_type_hints(cls).items():
        for arg in get_args(hint):
            if isinstance(arg, type) and dataclasses.is_dataclass(arg) and descriptions(arg):
                yield name, arg


def summary_of(cls: type) -> str:
    """A class docstring's text before the settings, as one paragraph, without the example."""
    return " ".join(_paragraphs(_EXAMPLE.sub("", _before_params(cls))))


# ------------------------------------------------------------------------------------------------------ as documents
def markdown() -> str:
    """docs/steps.md."""
    lines = [
        "# Steps",
        "",
        "Every step of a pipeline and every setting, as `longthread steps` prints them. The page is generated from",
        "the components: `longthread steps --markdown > docs/steps.md`. [How it works](how-it-works.md) shows how the",
        "steps work together; [configs/](../configs) has whole pipelines.",
        "",
        "In a pipeline file `stages:` lists the steps in the order of the table. A step is a name, or a name with its",
        "settings: `- retrieve.hybrid: {k: 6}`. Settings that are left out have their defaults.",
        "",
        "| kind | what it does | steps |",
        "|---|---|---|",
    ]
    for kind in KINDS:
        steps = ", ".join(f"[{name.partition('.')[2]}](#{_anchor(name)})" for name in names_of_kind(kind))
        lines.append(f"| `{kind}` | {KIND_TITLES[kind]} | {steps} |")
    sections = ", ".join(f"[{name}](#{name})" for name in SECTIONS)
    lines += ["", f"The other sections of a pipeline file: {sections}.", ""]
    for kind in KINDS:
        lines += [f"## {kind}: {KIND_TITLES[kind]}", ""]
        for name in names_of_kind(kind):
            lines += [*_entry_markdown(entry(name)), ""]
    lines += ["## Sections", ""]
    for name in SECTIONS:
        lines += [*_entry_markdown(entry(name)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry_markdown(item: Entry) -> list[str]:
    lines = [f"### {item.name}", ""]
    for paragraph in (item.summary, *item.details, *item.background):
        lines += [_linked(paragraph), ""]
    if item.example:
        lines += ["```yaml", f"- {item.example}", "```", "", f"In Python: `{item.python}`", ""]
    if item.settings:
        lines += ["| setting | type | range | default | what it does |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(_cell, _columns(setting)))} |" for setting in item.settings]
    else:
        lines.append("No settings.")
    return lines


def _columns(setting: Setting) -> tuple[str, ...]:
    default = "required" if setting.default is None else f"`{setting.default}`"
    return (
        f"`{setting.name}`",
        setting.type,
        setting.range.text if setting.range else "",
        default,
        _linked(setting.text),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "\\n")


def _linked(text: str) -> str:
    """The text with links to the papers that it names by their arXiv number."""
    return re.sub(r"(?<![/\w])arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def _anchor(name: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return name.replace(".", "").lower()


# ----------------------------------------------------------------------------------------------------- from the classes
def _settings(cls: type, prefix: str = "") -> Iterator[Setting]:
    texts, schema = descriptions(cls), settings_model(cls).model_json_schema()
    nested = dict(nested_dataclasses(cls))
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        name, text = field.name, texts.get(field.name, "")
        kinds = _types(schema["properties"][name])
        limits = Range.read(text) if {"whole number", "number"} & set(kinds) else None
        rest = text.replace(f", {limits.text}", "", 1) if limits else text
        yield Setting(prefix + name, _join(kinds), limits, _default(field), rest)
        if name in nested:
            infix = ".NAME." if "object" in json.dumps(schema["properties"][name]) else "[]."
            yield from _settings(nested[name], f"{prefix}{name}{infix}")


def _types(schema: dict[str, Any]) -> list[str]:
    """The types that a property's JSON schema allows, in words; choices as they are."""
    if "anyOf" in schema:
        kinds = [kind for arm in schema["anyOf"] for kind in _types(arm)]
        return ["compressor"] if kinds == ["text", "mapping"] else kinds
    if "const" in schema:
        return [f"`{schema['const']}`"]
    if "enum" in schema:
        return [f"`{value}`" for value in schema["enum"]]
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items") or {}
        return ["list of mappings" if "$ref" in items else f"list of {_join(_types(items))}s"]
    names = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "mapping"}
    return [names.get(str(kind), str(kind or "mapping"))]


def _join(kinds: list[str]) -> str:
    return kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def _default(field: dataclasses.Field[object]) -> str | None:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return None
    plain = {} if value == {} else settings_of(_Holder(value))["value"]
    return _yaml(next(iter(plain)) if isinstance(plain, dict) and plain else plain)


@dataclass(frozen=True)
class _Holder:
    """One value, so that `settings_of` can make it plain."""

    value: object


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _yaml(value: object) -> str:
    """A value on one line, as a pipeline file has it."""
    if isinstance(value, str) and value and re.fullmatch(r"[\w./-]+", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _in_python(name: str, cls: type, example: str) -> str:
    _, settings = stage_of(example) if example else (name, {})
    return f"lt.{cls.__name__}({', '.join(f'{key}={_python(value)}' for key, value in settings.items())})"


def _python(value: object) -> str:
    """A setting's value in Python; compressors as components."""
    if isinstance(value, str) and value in COMPONENTS:
        return _in_python(value, component_class(value), value)
    if isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))) in COMPONENTS:
        return _in_python(name, component_class(name), _yaml_text(value))
    if isinstance(value, list):
        return f"({', '.join(map(_python, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _yaml_text(value: object) -> str:
    stream = StringIO()
    YAML(typ="safe").dump(value, stream)
    return stream.getvalue()


def _before_params(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n:param")[0].partition(":param")[0]


def _background(cls: type) -> tuple[str, ...]:
    """The module docstring's paragraphs without its first sentence, which the class docstring has as well."""
    first, *rest = _paragraphs(inspect.cleandoc(import_module(cls.__module__).__doc__ or ""))
    more = re.split(r"(?<=[.?!]) (?=[A-Z])", first, maxsplit=1)[1:]
    return (*more, *rest)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]
