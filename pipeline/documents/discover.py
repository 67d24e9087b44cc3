"""Paths, folders and globs to the list of files to read, with what was passed over and why."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline.contracts import Progress
from pipeline.documents.archives import is_archive, is_container, is_member, members
from pipeline.documents.charsets import is_binary
from pipeline.documents.formats import READABLE, by_suffix, is_ours
from pipeline.documents.left_out import IGNORE_FILE, NOT_RECOGNISED, LeftOut
from pipeline.documents.unread_formats import OLE, unread_kind
from pipeline.errors import DocumentError
from pipeline.listener import silent

FOLLOW_LINKS = "LONGTHREAD_FOLLOW_LINKS"
OUTSIDE = f"a link that leaves the folder: name what it leads to, or set {FOLLOW_LINKS}=1"
OUTPUT = "written by longthread: an index, a session, or the records of a run"
_MARKS_OF_OUTPUTS = (
    {"run.json", "records.jsonl"},
    {"eval.json", "summary.json"},
    {"needles.json", "results.json"},
    {".longthread.writing"},
    {".longthread.lock"},
)
_HEAD_BYTES = 8192
_FILES_A_STEP = 1000  # of progress


@dataclass(frozen=True, slots=True)
class Discovery:
    """The files to read, absolute, links resolved, sorted, each once; and (path, why) for what was passed over.

    `ocr` says whether text in pictures and scanned pages is recognised.
    """

    files: tuple[Path, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    ocr: bool = True


def discover(paths: Sequence[str], ocr: bool = True, progress: Progress = silent) -> Discovery:
    """The files that the paths name: each is a file, a folder with all below it, or a glob (`**` goes into folders).

    A file that is named is always among them, so that a fault in it is told when it is read; inside folders and globs
    binary and empty files are passed over and listed, and so is what left_out.py names; without `ocr` pictures are
    too. Raises DocumentError for a path that does not exist, a glob that matches nothing, and a folder or glob without
    anything to read.
    """
    if not paths:
        raise DocumentError(f"no documents were named: give a file, a folder or a glob ({READABLE})")
    files: set[Path] = set()
    skipped: dict[str, str] = {}
    for path in paths:
        discovery = _find(path, ocr, progress)
        files.update(discovery.files)
        skipped.update(discovery.skipped)
    files, inside = _unpacked(files, ocr)
    skipped.update(inside)
    named = {path.as_posix() for path in files}
    passed_over = sorted(item for item in skipped.items() if item[0] not in named)
    return Discovery(tuple(sorted(files)), tuple(passed_over), ocr)


def _unpacked(files: set[Path], ocr: bool) -> tuple[set[Path], dict[str, str]]:
    """The files with the members of archives in the place of these, and the attachments beside their mails."""
    readable: set[Path] = set()
    skipped: dict[str, str] = {}
    for file in files:
        if not is_container(file):
            readable.add(file)
            continue
        try:
            inside = members(file)
        except DocumentError as error:
            readable.add(file)  # loading it says the same
            if is_archive(file):
                skipped[file.as_posix()] = str(error).removeprefix(f"{file}: ")
                readable.discard(file)
            continue
        if not is_archive(file):
            readable.add(file)
        elif not inside:
            skipped[file.as_posix()] = "an empty archive"
        for name, fault in inside.items():
            if why := fault or _why_not_recognised(file / name, ocr):
                skipped[f"{file.as_posix()}/{name}"] = why
            else:
                readable.add(file / name)
    return readable, skipped


def _find(path: str, ocr: bool, progress: Progress) -> Discovery:
    place = Path(path).expanduser() if path else None
    if place is not None and _exists(place):
        if not os.path.isdir(place):
            return _named_file(place)
        return _sift(path, _walk(place, place), ocr, progress)
    if place is not None and is_member(place.absolute()):
        return Discovery((place.absolute(),))
    if place is not None and glob.has_magic(path):
        matches = _match(place)
        if not matches:
            raise DocumentError(f"{path}: the pattern matches nothing: use ** for all folders below, and quote it")
        return _sift(path, _walk_matches(place, matches), ocr, progress)
    raise DocumentError(f"{path or repr(path)}: no such file or folder{_suggestion(place)}")


def fixed_part(pattern: Path) -> Path:
    """The folder of a pattern: its path before the first part with a magic character."""
    parts = pattern.parts
    return Path(*parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))])


def _match(pattern: Path) -> list[Path]:
    """What a pattern matches, also what is hidden; `**` does not follow links."""
    base = fixed_part(pattern)
    wanted = pattern.parts[len(base.parts) :]
    if wanted[-1] == "**":
        wanted = (*wanted, "*")
    try:
        return sorted(base.glob("/".join(wanted)))
    except (OSError, ValueError):
        return []


def _walk_matches(pattern: Path, matches: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The files at or below what a pattern matched, each with the reason to pass it over."""
    base = fixed_part(pattern)
    rules, spelt_out = LeftOut(base), frozenset(pattern.parts)
    for match in matches:
        left_out = rules.above(match, spelt_out) if match != base else None
        if left_out is None:
            yield from _walk(match, base, rules)
        elif left_out[0].name != IGNORE_FILE:
            yield left_out


def _exists(place: Path) -> bool:
    return os.path.lexists(place)


def _named_file(place: Path) -> Discovery:
    if not os.path.isfile(place):
        what = _broken_link(place) if place.is_symlink() else "neither a file nor a folder"
        raise DocumentError(f"{place}: {what}")
    return Discovery((real_path(place),))


def _suggestion(place: Path | None) -> str:
    """The nearest name in the same folder, for a slip of the pen."""
    try:
        names = [entry.name for entry in place.absolute().parent.iterdir()] if place else []
    except OSError:
        return ""
    near = get_close_matches(place.name, names, 1) if place else []
    return f", did you mean {str(place.with_name(near[0]))!r}?" if place and near else ""


def _sift(path: str, entries: Iterator[tuple[Path, str]], ocr: bool, progress: Progress) -> Discovery:
    """The entries of a walk, the readable apart from the rest; nothing readable is an error."""
    files: list[Path] = []
    skipped: dict[str, str] = {}
    for n, (file, reason) in enumerate(entries, 1):
        why = reason or _why_not_recognised(file, ocr)
        if n % _FILES_A_STEP == 0:
            progress("find files", n, 0)
        if why:
            skipped[file.absolute().as_posix()] = why
        else:
            files.append(real_path(file))
    if not files:
        some = f" ({len(skipped)} passed over: {', '.join(sorted(set(skipped.values())))})" if skipped else ""
        raise DocumentError(f"{path}: holds nothing to read{some}: what can be read is {READABLE}")
    return Discovery(tuple(files), tuple(skipped.items()))


def _why_not_recognised(file: Path, ocr: bool) -> str:
    return NOT_RECOGNISED if not ocr and by_suffix(file).name == "picture" else ""


def real_path(path: Path) -> Path:
    """The absolute path with its links resolved, as far as they lead anywhere. Path.resolve raises for a circle."""
    return Path(os.path.realpath(path))


def _broken_link(place: Path) -> str:
    """What is wrong with a link that leads to no file."""
    try:
        place.stat()
    except FileNotFoundError:
        return "a link to nothing"
    except OSError:
        return "a link in a circle"
    return "a link to neither a file nor a folder"


def _walk(place: Path, root: Path, rules: LeftOut | None = None) -> Iterator[tuple[Path, str]]:
    """Each file at or below a place, with the reason to pass it over ("" for none). A folder is entered once.

    Links that lead out of `root` are passed over: a folder from elsewhere should not decide what else is read.
    """
    inside = real_path(root)
    rules = rules or LeftOut(root)
    if _leaves(place, inside):
        yield place, OUTSIDE
        return
    if not os.path.isdir(place):
        yield place, _fault(place)
        return
    entered: set[tuple[int, int]] = set()
    waiting = [place]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield folder, f"cannot be entered: {error.strerror or error}"
            continue
        if (status.st_dev, status.st_ino) in entered:  # a link that leads back
            continue
        entered.add((status.st_dev, status.st_ino))
        if folder != root and is_output(folder):
            yield folder, OUTPUT
            continue
        for entry in entries:
            path = Path(entry.path)
            is_folder = os.path.isdir(path)
            if entry.name == IGNORE_FILE:
                continue
            if why := rules.why(path, is_folder):
                yield path, why
            elif entry.is_symlink() and _leaves(path, inside):
                yield path, OUTSIDE
            elif is_folder:
                waiting.append(path)
            else:
                yield path, _fault(path)


def _leaves(path: Path, inside: Path) -> bool:
    if os.environ.get(FOLLOW_LINKS, "") not in ("", "0"):
        return False
    return os.path.exists(path) and not real_path(path).is_relative_to(inside)


def is_output(folder: Path) -> bool:
    """Whether longthread wrote this folder: an index, a session, or what a run, an eval or a needle test gives."""
    names = {entry.name for entry in os.scandir(folder)}
    return any(marks <= names for marks in _MARKS_OF_OUTPUTS)


def _fault(file: Path) -> str:
    """Why a file inside a folder cannot be a document, or "". One that cannot be opened is kept: loading tells why."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if status.st_size == 0:
            return "empty file"
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except FileNotFoundError:
        return "a link to nothing"
    except OSError:
        return "a link in a circle" if os.path.islink(file) else ""
    if is_ours(file, head) or is_container(file):
        return ""
    why = unread_kind(file, head)
    if is_binary(head):
        return why or "binary file"
    return why if head.startswith(OLE) else ""
