"""`longthread schema`: the JSON schema of pipeline files."""

from __future__ import annotations

from dataclasses import dataclass

from cli.command import command, new_app
from cli.output import print_json
from pipeline.schema import pipeline_schema

app = new_app()


@dataclass(frozen=True, kw_only=True)
class SchemaOptions:
    """`longthread schema` has no options."""


@command(app, "schema", "longthread schema > longthread.schema.json")
def schema(options: SchemaOptions) -> int:
    """Print the JSON schema of pipeline files, for editors."""
    print_json(pipeline_schema(), indent=2)
    return 0
