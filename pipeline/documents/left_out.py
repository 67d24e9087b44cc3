"""What a walk through a folder leaves out: hidden files, caches, build folders, and what an ignore file names.

`.longthreadignore` has gitignore's rules. It may stand in the folder that was named and in any folder below it; the
deepest one with a matching pattern decides. A pattern with `!` also keeps a hidden file or a build folder. A path that
the user names is read in any case.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from pipeline.errors import DocumentError

IGNORE_FILE = ".longthreadignore"
LEFT_OUT = "left out: "
"""How the reasons begin that are nobody's fault."""
NOT_RECOGNISED = f"{LEFT_OUT}a picture, and index.ocr is off"
BY_IGNORE_FILE = f"{LEFT_OUT}named by "
_CACHES = {"__pycache__", "node_modules", "site-packages"}
_BUILDS = {"build", "dist", "target", "_build"}
_PROJECTS = (
    "pyproject.toml", "setup.py", "package.json", "Cargo.toml", "CMakeLists.txt", "Makefile", "pom.xml",
    "build.gradle", "build.gradle.kts", "conf.py",
)  # fmt: skip
"""A folder of one of the names above is a build folder where one of these files stands beside it."""


class LeftOut:
    """The rules of one walk. `root` is the folder that was named: ignore files above it do not count."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rules = cache(_read_rules)

    def why(self, path: Path, is_folder: bool) -> str:
        """Why the walk leaves out a file or a folder below `root`, as `left out: ...`; "" for one that it keeps.

        The folders above `path` must have been kept. Raises DocumentError for an ignore file that cannot be read.
        """
        for folder in path.parents:
            rules = self._rules(folder)
            if rules is not None:
                name = path.relative_to(folder).as_posix() + ("/" if is_folder else "")
                is_named = rules.check_file(name).include
                if is_named is not None:
                    return f"{BY_IGNORE_FILE}{_short(folder / IGNORE_FILE)}" if is_named else ""
            if folder == self.root:
                break
        return _by_itself(path, is_folder)

    def above(self, path: Path, spelt_out: frozenset[str] = frozenset()) -> tuple[Path, str] | None:
        """The outermost of `path` and the folders above it that is left out, with the reason; None where none is.

        Hidden names that are `spelt_out` in a pattern are kept.
        """
        inner = path.relative_to(self.root).parts
        for n in range(1, len(inner) + 1):
            part = self.root.joinpath(*inner[:n])
            why = self.why(part, os.path.isdir(part))
            if why and not (inner[n - 1] in spelt_out and not why.startswith(BY_IGNORE_FILE)):
                return part, why
        return None


def _by_itself(path: Path, is_folder: bool) -> str:
    """Why a path is left out though no ignore file names it. A folder that may not be entered is kept for the walk."""
    kind = "folder" if is_folder else "file"
    if path.name.startswith("."):
        return f"{LEFT_OUT}hidden {kind}"
    if not is_folder:
        return ""
    if path.name in _CACHES or os.path.isfile(path / "CACHEDIR.TAG"):
        return f"{LEFT_OUT}cache folder"
    if os.path.isfile(path / "pyvenv.cfg"):
        return f"{LEFT_OUT}Python environment"
    if path.name in _BUILDS and any(os.path.isfile(path.parent / name) for name in _PROJECTS):
        return f"{LEFT_OUT}build folder"
    return ""


def _read_rules(folder: Path) -> GitIgnoreSpec | None:
    """The rules of a folder's ignore file; None where it has none."""
    file = folder / IGNORE_FILE
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        if not os.access(folder, os.X_OK):  # nothing in this folder can be opened, and each file is reported
            return None
        why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise DocumentError(f"{file}: the ignore file {why}: mend it, or delete it") from None
    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            raise DocumentError(f"{file}:{number}: not a pattern of gitignore: {line!r}") from None
    return GitIgnoreSpec.from_lines(lines)


def _short(file: Path) -> str:
    return f"{file.absolute().parent.name}/{file.name}"
