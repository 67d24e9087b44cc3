"""The JSON schema of a pipeline file, with the words and ranges of docs/steps.md on every property.

Types come from the components' fields, words and ranges from their `:param` lines (pipeline/reference.py), so that the
schema follows the code.
"""

from __future__ import annotations

from typing import Any

from pipeline.config import SECTIONS
from pipeline.reference import Range, descriptions, nested_dataclasses, summary_of
from pipeline.registry import COMPONENTS, component_class, first_line
from pipeline.settings import settings_model

_STAGES = "The steps that a question passes, in order. A step is a name, or a mapping of a name to its settings."


def pipeline_schema() -> dict[str, object]:
    """The schema in draft 2020-12. A stage is a name, or a mapping of one name to its settings."""
    definitions: dict[str, object] = {}
    stages: list[dict[str, Any]] = [{"enum": sorted(COMPONENTS), "description": "A step with its default settings."}]
    for name in sorted(COMPONENTS):
        cls = component_class(name)
        definitions[name] = _object(cls, definitions)
        nullable = {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}], "description": first_line(cls)}
        stages.append(
            {
                "type": "object",
                "description": first_line(cls),
                "properties": {name: nullable},
                "required": [name],
                "additionalProperties": False,
            }
        )
    sections = {name: _object(cls, definitions) for name, cls in SECTIONS.items()}
    items = {"type": "array", "minItems": 1, "description": _STAGES, "items": {"anyOf": stages}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A longthread pipeline",
        "type": "object",
        "properties": {**sections, "stages": items},
        "required": ["stages"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _object(cls: type, definitions: dict[str, object]) -> dict[str, object]:
    """The schema of one dataclass. The dataclasses inside it go into `definitions`."""
    schema = settings_model(cls).model_json_schema(ref_template="#/$defs/{model}")
    nested = {inner.__name__: inner for _, inner in nested_dataclasses(cls)}
    for name, definition in schema.pop("$defs", {}).items():
        definitions[name] = _described(definition, nested[name]) if name in nested else definition
    return _described(schema, cls)


def _described(schema: dict[str, Any], cls: type) -> dict[str, Any]:
    texts = descriptions(cls)
    properties = {name: _property(value, texts.get(name, "")) for name, value in schema["properties"].items()}
    return {**schema, "description": summary_of(cls), "properties": properties}


def _property(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """A property with its words, and with the range that they state on the arms that are numbers."""
    limits = Range.read(text)
    bounds = limits.bounds if limits else {}
    if "anyOf" in schema:
        schema = {**schema, "anyOf": [_bounded(arm, bounds) for arm in schema["anyOf"]]}
    return {**_bounded(schema, bounds), "description": text}


def _bounded(schema: dict[str, object], bounds: dict[str, object]) -> dict[str, object]:
    is_number = schema.get("type") in ("integer", "number") and "enum" not in schema
    return {**schema, **bounds} if is_number else schema
