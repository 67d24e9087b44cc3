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
    """Returns the file of a preset (`offline`, `needles/exit`); returns any other name unchanged, as a path.

    A file of that name in the working folder takes precedence over the preset.
    """
    path = Path(name)
    if path.suffix or path.is_absolute() or path.exists() or ".." in path.parts:
        return path
    preset = presets_folder() / f"{path.as_posix()}.yaml"
    return preset if preset.is_file() else path
