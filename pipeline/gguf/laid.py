"""Model files that the user put into the models folder, named by their file name without its ending."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

_FIRST_PART = re.compile(r"-00001-of-\d{5}$")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}$")


def laid_models(folder: Path, skip: Container[Path] = ()) -> dict[str, Path]:
    """Finds the models in a folder and below, sorted by name, without those of `skip` and the pulled ones (`hf`).

    A split model is represented by its first part. If two files share a name, the second is named by its path.
    """
    models: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.suffix.lower() != ".gguf" or path in skip or not path.is_file():
            continue
        inside = path.relative_to(folder)
        if (
            inside.parts[0] == "hf"
            or any(part.startswith(".") for part in inside.parts)
            or _LATER_PART.search(path.stem)
        ):
            continue
        name = _FIRST_PART.sub("", path.stem)
        models[str(path) if name in models else name] = path
    return dict(sorted(models.items()))
