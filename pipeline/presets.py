"""The pipeline files and the demo that ship with longthread: `configs/` in a checkout, package data in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "presets"
_CHECKOUT = Path(__file__).parent.parent / "configs"


def is_checkout() -> bool:
    return not _PACKAGED.is_dir()


def presets_folder() -> Path:
    return _CHECKOUT if is_checkout() else _PACKAGED


def preset_or_path(name: str | Path) -> Path:
    """The file that a preset's name stands for (`offline`, `needles/exit`); any other name is a path as it is.

    A file of that name in the working folder goes before the preset.
    """
    path = Path(name)
    if path.suffix or path.is_absolute() or path.exists() or ".." in path.parts:
        return path
    preset = presets_folder() / f"{path.as_posix()}.yaml"
    return preset if preset.is_file() else path
