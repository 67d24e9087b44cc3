"""Reads and checks a pipeline file; reports every fault at once, with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.order import misordered
from pipeline.config.paths import with_absolute_paths
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.config.settings import SECTIONS
from pipeline.contracts import Component
from pipeline.errors import ConfigError
from pipeline.presets import preset_or_path
from pipeline.registry import ALIASES, COMPONENTS, build, renaming, unknown_component
from pipeline.settings import Fault, build_dataclass, nearest
from pipeline.yaml import KeyPath, YamlFile, dotted, read_yaml


@dataclass(frozen=True)
class FileFault:
    """A fault in a file; its `str` is the line that the user sees."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


def load_config(path: str | Path) -> PipelineConfig:
    """Loads a pipeline from a file or preset. Raises ConfigError with every fault, one per line."""
    config, faults = check_config(path)
    if config is None:
        raise ConfigError("\n".join(map(str, faults)))
    return config


def check_config(path: str | Path) -> tuple[PipelineConfig | None, list[FileFault]]:
    """Reads a pipeline file; returns the pipeline or its faults, ordered by line."""
    return check_file(read_yaml(preset_or_path(path)))


def check_file(file: YamlFile) -> tuple[PipelineConfig | None, list[FileFault]]:
    """Like `check_config`, for a file that is already parsed and possibly edited."""
    file.value = with_absolute_paths(file.value, Path(file.path).absolute().parent)
    check = _Check(file)
    config = check.config()
    faults = sorted([FileFault(file.path, fault.line, fault.message) for fault in file.faults] + check.faults, key=_by)
    return (None, faults) if faults else (config, [])


def old_names(path: str | Path) -> list[FileFault]:
    """Reads a pipeline file; returns a note for each name of an earlier release in it, ordered by line."""
    file = read_yaml(preset_or_path(path))
    notes: list[FileFault] = []

    def look(value: object, at: KeyPath) -> None:
        for key, item in _items(value):
            for name in (key, item):
                if isinstance(name, str) and name in ALIASES:
                    notes.append(FileFault(file.path, file.line((*at, key)), f"{dotted((*at, key))}: {renaming(name)}"))
            look(item, (*at, key))

    if isinstance(file.value, dict):
        look({name: file.value.get(name) for name in ("stages", "executor")}, ())
    return sorted(notes, key=_by)


def _items(value: object) -> list[tuple[str | int, object]]:
    """The keys and values of a mapping, or the positions and items of a list."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _by(fault: FileFault) -> tuple[int, str]:
    return fault.line, fault.message


class _Check:
    """Checks the value of one file, collecting faults."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.faults: list[FileFault] = []
        self.written: dict[str, str] = {}
        """The names in `executor.stages` as the file has them, by their current ones."""
        self.given: list[dict[str, object]] = []
        """The settings of each stage as the file has them."""

    def config(self) -> PipelineConfig | None:
        value = self.file.value
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault((), "a pipeline file must hold a mapping with 'stages'")
            return None
        known = [*SECTIONS, "stages"]
        for key in value:
            if key not in known:
                self.fault((key,), f"{key}: there is no such section{nearest(key, known)}")
        value = self._renamed(value)
        sections = {name: self.section(name, value.get(name, {})) for name in SECTIONS}
        stages = self.stages(value)
        if self.faults or self.file.faults or stages is None:
            return None
        config = PipelineConfig(
            self.file.path,
            tuple(stages),
            sections["index"],
            sections["budget"],
            sections["executor"],
            names_model="model" in self.given[-1],
        )
        self.order(config)
        return None if self.faults else config

    def _renamed(self, value: dict[str, Any]) -> dict[str, Any]:
        """The file's value, with the current names of stages in `executor.stages`."""
        executor = value.get("executor")
        pools = executor.get("stages") if isinstance(executor, dict) else None
        if not isinstance(executor, dict) or not isinstance(pools, dict):
            return value
        renamed: dict[str, object] = {}
        for key, pool in pools.items():
            name = ALIASES.get(str(key), str(key))
            if name in renamed:
                path = ("executor", "stages", key)
                self.fault(path, f"{dotted(path)}: {name} is there under two names: keep one of them")
            renamed[name], self.written[name] = pool, key
        return {**value, "executor": {**executor, "stages": renamed}}

    def section(self, name: str, settings: Any) -> Any:
        if settings is None:
            settings = {}
        if not isinstance(settings, dict):
            self.fault((name,), f"{name}: must be a mapping")
            return None
        section, faults = build_dataclass(SECTIONS[name], settings, name)
        self.all(faults, (name,), name)
        return section

    def stages(self, value: dict[str, Any]) -> list[Component] | None:
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            self.fault(("stages",), "stages: must be a list of stages, such as '- retrieve.hybrid'")
            return None
        components = [self.stage(item, ("stages", i)) for i, item in enumerate(stages)]
        return [component for component in components if component is not None]

    def stage(self, item: Any, path: KeyPath) -> Component | None:
        where = dotted(path)
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            self.fault(path, f"{where}: must be one name, with its settings below it: '- retrieve.hybrid: {{k: 8}}'")
            return None
        ((keyed, settings),) = item.items()
        name = str(ALIASES.get(keyed, keyed))
        if name not in COMPONENTS:
            self.fault((*path, keyed), f"{where}: {unknown_component(name)}")
            return None
        settings = {} if settings is None else settings
        if not isinstance(settings, dict):
            self.fault((*path, keyed), f"{where}: the settings of {name} must be a mapping")
            return None
        component, faults = build(name, settings)
        self.all(faults, (*path, keyed), where)
        self.given.append(settings)
        return component

    def order(self, config: PipelineConfig) -> None:
        for path, message in misordered(config, self.given):
            self.fault(path, f"{dotted(path)}: {message}")

    def all(self, faults: Sequence[Fault], path: KeyPath, where: str) -> None:
        for fault in faults:
            below = dotted(fault.path)
            self.fault((*path, *fault.path), f"{where}{'.' if below else ''}{below}: {fault.message}")

    def fault(self, path: KeyPath, message: str) -> None:
        if path[:2] == ("executor", "stages") and len(path) > 2:
            path = (*path[:2], self.written.get(str(path[2]), path[2]), *path[3:])
        self.faults.append(FileFault(self.file.path, self.file.line(path), message))
