"""Writes a pipeline as a file: `load_config` of the text gives an equal pipeline."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import Any

from pipeline.answers.llama import Llama
from pipeline.config import SECTIONS, PipelineConfig
from pipeline.contracts import Component
from pipeline.errors import ConfigError
from pipeline.registry import changed_settings, stage_name, unregistered


def to_yaml(config: PipelineConfig) -> str:
    """Returns the file's text, without sections and settings that are default, and with absolute paths.

    Raises ConfigError for a component of a class outside the registry, which no file can name.
    """
    from ruamel.yaml import YAML

    outsiders = [stage_name(component) for stage in config.stages for component in unregistered(stage)]
    if outsiders:
        raise ConfigError(
            f"{', '.join(outsiders)}: a pipeline file can name longthread's own components alone ('longthread steps' "
            "lists them): keep this pipeline in Python"
        )

    value: dict[str, Any] = {}
    for name in SECTIONS:
        section = getattr(config, name)
        default = type(section)()
        changed = {
            field.name: _plain(getattr(section, field.name))
            for field in fields(section)
            if field.init and getattr(section, field.name) != getattr(default, field.name)
        }
        if changed:
            value[name] = changed
    value["stages"] = [_stage(stage, config.names_model) for stage in config.stages]
    text = io.StringIO()
    writer: Any = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    writer.allow_unicode = True
    writer.dump(value, text)
    return text.getvalue()


def _stage(stage: Component, names_model: bool) -> Any:
    """Returns a stage with its non-default settings, and with its model if the user chose it."""
    settings = changed_settings(stage)
    if names_model and isinstance(stage, Llama):
        settings = {"model": stage.model, **settings}
    return {stage_name(stage): settings} if settings else stage_name(stage)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
