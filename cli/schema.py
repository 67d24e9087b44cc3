"""`longthread schema`: the JSON schema of pipeline files."""

from __future__ import annotations

from cli.output import print_json
from pipeline.schema import pipeline_schema


def run() -> int:
    print_json(pipeline_schema(), indent=2)
    return 0
