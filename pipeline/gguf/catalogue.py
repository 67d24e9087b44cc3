"""Resolves model names to files; lists, verifies and downloads models."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.gguf.header import GgufInfo, inspect
from pipeline.gguf.hub import OnSize, download, note_of
from pipeline.gguf.laid import laid_models
from pipeline.gguf.named import DEFAULT_MODEL, MODELS, Assembled, Entry, Hub, Packaged
from pipeline.gguf.purpose import purpose
from pipeline.settings import nearest
from pipeline.storage.cache import cache_folder
from pipeline.storage.files import new_file
from pipeline.storage.hashes import sha256_of

if TYPE_CHECKING:
    from pipeline.contracts import Progress


_BY_NAME = {entry.name: entry for entry in MODELS}
_HUB_NAME = re.compile(r"hf:([\w][\w.-]*/[\w][\w.-]*)/((?:[\w][\w. -]*/)*[\w][\w. -]*\.gguf)", re.IGNORECASE)
_IS_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


# ----------------------------------------------------------------------------------------------------- names to files
def resolve(name: str) -> Path:
    """Resolves a name to its file, and checks the file's header. Uses no network.

    A name is a path (with a separator or the ending .gguf), a name of the table, or hf:OWNER/REPO/FILE.gguf. Raises
    ModelError, with a remedy, for an unknown, missing or damaged model.
    """
    path = _path_of(name)
    inspect(path)
    return path


def _path_of(name: str) -> Path:
    if name.startswith("hf:"):
        return _pulled(_hub(name), name)
    entry = _BY_NAME.get(name)
    if entry is not None:
        return _path_of_entry(entry)
    if not is_path(name) and (path := _laid().get(name)) is not None:
        return path
    if is_path(name):
        return Path(name).expanduser()
    raise _unknown(name)


def check_name(name: str) -> None:
    """Raises ModelError for a name that is neither a path nor one of the table, a hub's or the models folder's."""
    if not (name.startswith("hf:") or name in _BY_NAME or is_path(name) or name in _laid()):
        raise _unknown(name)


def _laid() -> dict[str, Path]:
    """Returns the models that the user put into the models folder, by name."""
    folder = models_folder()
    ours = {folder / entry.where.file for entry in MODELS if isinstance(entry.where, Assembled)}
    return laid_models(folder, ours)


def _unknown(name: str) -> ModelError:
    beside = f"; the file here of that name is './{name}'" if Path(name).is_file() else ""
    alike = nearest(name, [*_BY_NAME, *_laid()]) or "."
    return ModelError(
        f"there is no model '{name}'{beside}{alike} 'longthread models list' shows the names; any other GGUF file is "
        "named by its path"
    )


def is_path(name: str) -> bool:
    """Whether a name is a path: it has a separator, a leading `~`, or the ending .gguf."""
    return "/" in name or os.sep in name or name.startswith("~") or name.lower().endswith(".gguf")


def _path_of_entry(entry: Entry) -> Path:
    match entry.where:
        case Packaged(install, package, file):
            return _in_package(entry.name, install, package, file)
        case Assembled() as where:
            return _assembled(entry, where)
        case Hub() as where:
            return _pulled(where, entry.name)


def _in_package(name: str, install: str, package: str, file: str) -> Path:
    """Locates a package's file without importing the package."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / file).is_file():
            return path
    raise ModelError(f"{name} comes with the package {install}, which is not installed: pip install {install}")


def _assembled(entry: Entry, where: Assembled) -> Path:
    target = models_folder() / where.file
    pieces = [_in_package(entry.name, where.install, package, file) for package, file in where.pieces]
    n = sum(piece.stat().st_size for piece in pieces)
    if target.is_file() and target.stat().st_size == n:
        return target
    with new_file(target, n) as temporary:
        with temporary.open("wb") as out:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, out, 1 << 20)
        if (sha256 := sha256_of(temporary)) != entry.sha256:
            raise ModelError(
                f"{entry.name}: the pieces in the package {where.install} do not make the right file: its sha256 is "
                f"{sha256}, not {entry.sha256}; install the package again"
            )
    return target


def _hub(name: str) -> Hub:
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise ModelError(f"'{name}' is no name on the hub: it must be hf:OWNER/REPO/FILE.gguf")
    return Hub(match[1], match[2])


def _pulled(hub: Hub, name: str) -> Path:
    path = _hub_path(hub)
    if not path.is_file():
        raise ModelError(
            f"{name} is not on this machine. Download it once with 'longthread models pull {name}'; without a network, "
            "any GGUF file is named by its path"
        )
    return path


def models_folder() -> Path:
    """Returns the folder of pulled and assembled models."""
    return cache_folder() / "models"


def _hub_path(hub: Hub) -> Path:
    return models_folder() / "hf" / hub.repo / hub.file


# ----------------------------------------------------------------------------------------------------------- the list
@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of `models list`.

    `size` is in bytes, an estimate until the file is downloaded, None if unknown; `path` is None until then. `memory`
    is the approximate memory with 8192 tokens of context. `is_seen`: longthread's developers had the file, and its hash
    is known.
    """

    name: str
    where: str
    is_here: bool
    path: str | None
    size: int | None
    n_ctx: int | None
    licence: str
    what_for: str
    memory: int | None = None
    is_seen: bool = False
    is_default: bool = False


def list_models() -> list[Listed]:
    """Lists the table's models in order, then the other models in the models folder, by name.

    The default of `longthread models default` is marked; if it is the user's own file, it comes last.
    """
    from pipeline.user import user_settings

    known = [_listed(entry) for entry in MODELS]
    named = {entry.where.name for entry in MODELS if isinstance(entry.where, Hub)}
    folder = models_folder() / "hf"
    pulled = sorted(folder.rglob("*.gguf")) if folder.is_dir() else []
    others = [
        _found(name, "pulled from the hub", path)
        for path in pulled
        if (name := f"hf:{path.relative_to(folder).as_posix()}") not in named
    ]
    others += [_found(name, "in the models folder", path) for name, path in _laid().items()]
    models = known + others
    default = user_settings().model or DEFAULT_MODEL
    if default not in {model.name for model in models} and is_path(default):
        models.append(_found(default, "a file of your own", Path(default)))
    return [replace(model, is_default=model.name == default) for model in models]


def _found(name: str, where: str, path: Path) -> Listed:
    """Describes a file outside the table by its header."""
    try:
        info = inspect(path)
    except ModelError as error:
        size = path.stat().st_size if path.is_file() else None
        return Listed(name, where, path.is_file(), str(path), size, None, "", f"cannot be used: {error}")
    what = f"{info.architecture}, {info.quantisation}"
    file_purpose = purpose(info)
    if file_purpose.kind != "generator":
        what += f"; {file_purpose.why}"
    return Listed(name, where, True, str(path), info.all_bytes, info.n_ctx_train, info.license, what)


def _listed(entry: Entry) -> Listed:
    path: Path | None = None
    size: int | None = entry.size or None
    try:
        if isinstance(entry.where, Assembled):
            where = entry.where
            pieces = [_in_package(entry.name, where.install, *piece) for piece in where.pieces]
            size = sum(piece.stat().st_size for piece in pieces)
            path = target if (target := models_folder() / where.file).is_file() else None
        else:
            path = _path_of_entry(entry)
            size = path.stat().st_size
        is_here = True
    except ModelError:
        is_here = False
    return Listed(
        entry.name,
        _where(entry.where),
        is_here,
        str(path) if path else None,
        size,
        entry.n_ctx,
        entry.licence,
        entry.what_for,
        entry.memory or None,
        entry.sha256 is not None,
    )


def _where(where: Packaged | Assembled | Hub) -> str:
    return where.name if isinstance(where, Hub) else f"package {where.install}"


# --------------------------------------------------------------------------------------------------------- verifying
@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying a model's file.

    `expected` is the published hash, or None; without a hash only the header can be compared with the file's size. `by`
    names the source of `expected`.
    """

    name: str
    path: Path
    info: GgufInfo
    sha256: str
    expected: str | None
    by: str

    @property
    def is_right(self) -> bool | None:
        return None if self.expected is None else self.sha256 == self.expected


def verify(name: str) -> Verification:
    """Hashes the whole file. Raises ModelError if the header alone shows damage."""
    path = resolve(name)
    expected, by = _expected(name, path)
    return Verification(name, path, inspect(path), sha256_of(path), expected, by)


def _expected(name: str, path: Path) -> tuple[str | None, str]:
    entry = _BY_NAME.get(name)
    if entry is not None and entry.sha256 is not None:
        return entry.sha256, "the table of models"
    try:
        noted = json.loads(note_of(path).read_text("utf-8"))
        expected = noted["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
    return (expected, "the hub, when it was pulled") if isinstance(expected, str) else (None, "")


# ----------------------------------------------------------------------------------------------------------- pulling
def pull(name: str, progress: Progress, on_size: OnSize | None = None) -> Path:
    """Downloads a missing model and checks it. Resumes an interrupted pull.

    `on_size` is called before the first byte, with the number of bytes and the target folder. Raises ModelError for a
    name that is not on the hub, without a network, without disk space, and for a wrong hash.
    """
    entry = _BY_NAME.get(name)
    if entry is not None and not isinstance(entry.where, Hub):
        return resolve(name)
    hub = entry.where if entry is not None and isinstance(entry.where, Hub) else _to_pull(name)
    path = _hub_path(hub)
    if path.is_file():
        return resolve(name)
    if _IS_PART.search(hub.file):
        raise ModelError(f"{name} is one part of a split model: download all parts by hand, and name the first's path")
    download(hub.repo, hub.file, path, entry.sha256 if entry else None, progress, on_size)
    return path


def _to_pull(name: str) -> Hub:
    if name.startswith("hf:"):
        return _hub(name)
    if is_path(name):
        raise ModelError(
            f"'{name}' is a path; pulled is a name of 'longthread models list', or hf:OWNER/REPO/FILE.gguf"
        )
    raise _unknown(name)
