"""`longthread schema`: the JSON schema of pipeline files."""

from __future__ import annotations

import json
import sys

from pipeline.schema import pipeline_schema


def run() -> int:
    sys.stdout.write(json.dumps(pipeline_schema(), indent=2) + "\n")
    return 0
