"""Resolves the paths in a pipeline file, which are relative to the file's folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.pipeline_config import PipelineConfig
from pipeline.registry import (
    settings_of,
)


def with_absolute_paths(value: Any, folder: Path) -> Any:
    """Makes the relative paths in a pipeline file's value absolute; they are relative to the file's folder."""
    if isinstance(value, list):
        return [with_absolute_paths(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(folder / item) if _is_relative_path(key, item) else with_absolute_paths(item, folder)
        for key, item in value.items()
    }


def _is_relative_path(key: str, value: object) -> bool:
    if not isinstance(value, str) or not value or value.startswith(("~", "hf:")) or Path(value).is_absolute():
        return False
    looks_like_one = "/" in value or value.lower().endswith((".gguf", ".jinja"))
    return key in _PATHS or (key in _NAMES_OR_PATHS and looks_like_one)


def _is_missing(path: str) -> bool:
    file = Path(path).expanduser()
    return file.is_absolute() and not file.exists()


_PATHS = ("path", "lora", "json_schema", "grammar")
"""Settings whose value is a path."""


_NAMES_OR_PATHS = ("model", "embedder", "weights", "chat_template")
"""Settings whose value is a path if it has the form of one, else a name."""


def missing_paths(config: PipelineConfig) -> list[str]:
    """Lists the paths in a pipeline that do not exist, each with its setting's key; for `longthread check`."""
    missing: list[str] = []

    def look(value: dict[str, object] | Sequence[object], where: str) -> None:
        items: Iterable[tuple[str | int, object]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            place = f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}"
            if isinstance(item, dict | list | tuple):
                look(item, place)
            elif key in (*_PATHS, *_NAMES_OR_PATHS) and isinstance(item, str) and _is_missing(item):
                missing.append(f"{place}: there is no such file: {item} (paths are relative to the pipeline file)")

    for i, stage in enumerate(config.stages):
        look(settings_of(stage), f"stages[{i}]")
    look({"embedder": config.index.embedder}, "index")
    return missing
