"""Switches off the telemetry and hub look-ups of every library, before it is imported."""

from __future__ import annotations

import os

SWITCHES = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TRANSFORMERS_OFFLINE": "1",
}


def switch_off_telemetry() -> None:
    """Sets the libraries' own switches in this process's environment; children inherit them."""
    os.environ.update(SWITCHES)
