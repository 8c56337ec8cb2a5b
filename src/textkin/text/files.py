"""Which files an argument stands for: single files, folders, globs; always in the same order."""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from textkin.errors import InputError
from textkin.text.options import OnSkip, ReadOptions, Skipped

_NEVER = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".tox", ".nox"})
"""Folders that hold nobody's texts, left out also with ``hidden``."""
_BEGINNING = 4096
_DESCRIPTION_KEYS = (b'"format"', b'"model"', b'"fingerprint"', b'"dimension"', b'"count"')


@dataclass(frozen=True, slots=True)
class Argument:
    """One input as the user gave it.

    Attributes:
        path: to open; for a glob the fixed folder that it starts from.
        name: as ids show it.
        source: absolute; a glob keeps its wildcards.
        pattern: the segments of a glob below ``path``; empty for a file or folder.
        is_folder: whether there is a folder to walk.
    """

    path: Path
    name: str
    source: str
    pattern: tuple[str, ...] = ()
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One file to read; ``direct`` when the user named it himself; ``chosen`` by an include pattern."""

    path: Path
    name: str
    source: str
    direct: bool = False
    chosen: bool = False


def shown(path: str | Path) -> str:
    """A path as ids show it: with ``/``, without ``./``, always encodable."""
    name = Path(path).as_posix()
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def absolute(path: str | Path) -> str:
    """A path from the root, without ``..``, links kept as they are."""
    return shown(os.path.normpath(Path(path).absolute()))


def parse_argument(given: str | Path) -> Argument:
    """Tell a file from a folder from a glob.

    Raises:
        InputError: it is none of them, or a collection.
    """
    path = Path(given)
    source = absolute(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        text = os.fspath(given)
        if isinstance(error, FileNotFoundError | NotADirectoryError) and glob.has_magic(text):
            return _glob(text)
        reason = "no such file or folder" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(f"can't read {shown(path)}: {reason}") from error
    if stat.S_ISDIR(mode):
        if (path / "collection.db").exists():
            raise InputError(
                f"{shown(path)} is a collection, not texts to index; name the files that it was made from"
            )
        return Argument(path, shown(path), source, is_folder=True)
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path)} is not a regular file; pipe it to - instead")
    return Argument(path, shown(path), source)


def find_files(argument: Argument, options: ReadOptions, on_skip: OnSkip) -> Iterator[Found]:
    """The files of one argument, sorted by name in each folder.

    Links to folders are followed once, unless they lead to where the walk already goes. Folders named ``.git``,
    ``node_modules``, ``__pycache__`` and the like, virtual environments and collections are left out.
    """
    if not argument.is_folder:
        yield Found(argument.path, argument.name, argument.source, direct=True)
        return
    yield from _Walk(argument, options, on_skip).files()


class _Walk:
    """One pass over a folder and what lies below it."""

    def __init__(self, argument: Argument, options: ReadOptions, on_skip: OnSkip) -> None:
        self._argument = argument
        self._on_skip = on_skip
        self._any_id = options.id_column is not None
        self._include = tuple(_filter(pattern) for pattern in options.include)
        self._exclude = tuple(_filter(pattern) for pattern in options.exclude)
        self._hidden = options.hidden or any(part.startswith(".") for part in argument.pattern)
        self._root = os.path.realpath(argument.path)
        self._seen: set[tuple[int, int]] = set()

    def files(self) -> Iterator[Found]:
        waiting: list[tuple[Path, tuple[str, ...]]] = [(self._argument.path, ())]
        while waiting:
            path, inside = waiting.pop()
            if inside and not self._may_enter(path):
                continue
            try:
                if not inside:
                    self._first_visit(path)
                with os.scandir(path) as found:
                    entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                self._failed(path, error)
                continue
            folders: list[tuple[Path, tuple[str, ...]]] = []
            for entry in entries:
                parts = (*inside, entry.name)
                if not self._wanted(parts):
                    continue
                place = path / entry.name
                try:
                    is_folder = entry.is_dir()
                    is_file = entry.is_file()
                    broken = entry.is_symlink() and not place.exists()
                except OSError as error:
                    self._failed(place, error)
                    continue
                if is_folder:
                    if self._leads_on(parts):
                        folders.append((place, parts))
                    continue
                chosen = _any(self._include, parts)
                if not self._matches(parts) or (self._include and not chosen):
                    continue
                if is_file and _describes_vectors(place):
                    self._skip(place, f"describes the vectors in {place.stem}.npy")
                elif is_file:
                    yield Found(place, shown(place), self._argument.source, chosen=chosen)
                elif broken:
                    self._failed(place, FileNotFoundError(2, "a link that leads nowhere"))
                else:
                    self._skip(place, "not a regular file")
            waiting += reversed(folders)

    def _wanted(self, parts: tuple[str, ...]) -> bool:
        name = parts[-1]
        return (self._hidden or not name.startswith(".")) and not _any(self._exclude, parts)

    def _leads_on(self, parts: tuple[str, ...]) -> bool:
        name = parts[-1]
        if name in _NEVER or name.endswith(".kin"):
            return False
        return not self._argument.pattern or _leads(parts, self._argument.pattern)

    def _matches(self, parts: tuple[str, ...]) -> bool:
        return not self._argument.pattern or _fits(parts, self._argument.pattern)

    def _may_enter(self, path: Path) -> bool:
        try:
            if (path / "pyvenv.cfg").is_file() or (path / "collection.db").is_file():
                return False
            if path.is_symlink():
                target = os.path.realpath(path)
                if _within(target, self._root):
                    return False  # read under its own name
                if _within(self._root, target):
                    self._skip(path, "a link to a folder above it")
                    return False
            return self._first_visit(path)
        except OSError as error:
            self._failed(path, error)
            return False

    def _first_visit(self, path: Path) -> bool:
        status = path.stat()
        mark = (status.st_dev, status.st_ino)
        if mark in self._seen and status.st_ino:
            return False
        self._seen.add(mark)
        return True

    def _skip(self, path: Path, reason: str) -> None:
        self._on_skip(Skipped(shown(path), reason, source=self._argument.source))

    def _failed(self, path: Path, error: OSError) -> None:
        reason = f"can't be read: {error.strerror or error}"
        self._on_skip(Skipped(shown(path), reason, "failed", source=self._argument.source, any_id=self._any_id))


def _describes_vectors(path: Path) -> bool:
    """Whether this is the .json that textkin keeps beside an .npy: a collection isn't indexed into itself."""
    if path.suffix.lower() != ".json":
        return False
    try:
        if not path.with_suffix(".npy").is_file():
            return False
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False  # whoever reads it says why it can't be read
    return beginning.lstrip().startswith(b"{") and all(key in beginning for key in _DESCRIPTION_KEYS)


def check_patterns(patterns: Sequence[str]) -> None:
    """Refuse patterns that can match nothing.

    Raises:
        InputError: an empty or absolute one.
    """
    for pattern in patterns:
        if not pattern.strip("/ "):
            raise InputError("an include or exclude pattern is empty; expected something like *.md or drafts/**")
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise InputError(
                f"the pattern {pattern!r} must be relative to the folder that is read, like drafts/**"
            )


def _glob(text: str) -> Argument:
    parts = Path(text).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    folder = Path(*parts[:fixed])
    if not folder.is_dir():
        raise InputError(f"the pattern {text!r} matches nothing: there is no folder {shown(folder)}")
    return Argument(folder, shown(text), absolute(text), parts[fixed:], is_folder=True)


def _filter(pattern: str) -> tuple[str, ...]:
    """Segments of an include or exclude pattern; a bare name fits at any depth."""
    parts = tuple(part for part in pattern.replace("\\", "/").split("/") if part not in ("", "."))
    return ("**", *parts) if len(parts) == 1 else parts


def _any(patterns: tuple[tuple[str, ...], ...], parts: tuple[str, ...]) -> bool:
    return any(_fits(parts, pattern) for pattern in patterns)


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern whole; ``**`` stands for any folders, at the end for anything inside."""
    reached = {0}
    for number, part in enumerate(parts):
        reached = _step(part, pattern, reached, last=number == len(parts) - 1)
    return len(pattern) in reached


def _leads(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether something inside this folder can fit the pattern."""
    reached = {0}
    for part in parts:
        reached = _step(part, pattern, reached, last=False)
    return any(at < len(pattern) for at in reached)


def _step(part: str, pattern: tuple[str, ...], reached: set[int], last: bool) -> set[int]:
    following: set[int] = set()
    for at in reached:
        here = at
        while here < len(pattern) and pattern[here] == "**":
            following.add(here)
            here += 1
            if here == len(pattern) and last:
                following.add(here)
        if here < len(pattern) and _segment(pattern[here])(part):
            following.add(here + 1)
    return following


@functools.lru_cache(maxsize=256)
def _segment(pattern: str) -> functools.partial[re.Match[str] | None]:
    return functools.partial(re.fullmatch, fnmatch.translate(os.path.normcase(pattern)))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
