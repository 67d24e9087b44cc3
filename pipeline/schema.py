"""The JSON schema of a pipeline file, generated from the components' fields."""

from __future__ import annotations

from typing import Any

from pipeline.config import SECTIONS
from pipeline.registry import COMPONENTS, component_class, first_line, settings_model


def pipeline_schema() -> dict[str, object]:
    """Builds the schema (draft 2020-12). A stage is a name, or a mapping of one name to its settings."""
    definitions: dict[str, object] = {}
    stages: list[dict[str, Any]] = [{"enum": sorted(COMPONENTS)}]
    for name in sorted(COMPONENTS):
        cls = component_class(name)
        definitions[name] = _object(cls, definitions)
        nullable = {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}
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
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A longthread pipeline",
        "type": "object",
        "properties": {**sections, "stages": {"type": "array", "minItems": 1, "items": {"anyOf": stages}}},
        "required": ["stages"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _object(cls: type, definitions: dict[str, object]) -> dict[str, object]:
    """Builds the schema of one dataclass; adds the schemas that it refers to to `definitions`."""
    schema = settings_model(cls).model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema
