"""Walk through a folder: the files that can be read, sorted; what is passed over in silence and what is named."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from textkin._outputs import is_output
from textkin.text.found import Found, absolute, shown
from textkin.text.options import OnSkip, ReadOptions, Skipped
from textkin.text.patterns import any_fits, fits, leads_on, segments

_NEVER = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".tox", ".nox"})
"""Folders that hold nobody's texts, left out also with ``hidden``."""
_OF_TABLES = frozenset({"_SUCCESS", "_metadata", "_common_metadata", "_temporary", "_delta_log"})
"""What Spark and others write beside the files of a table: no rows."""
_BEGINNING = 4096
_DESCRIPTION_KEYS = (b'"format"', b'"model"', b'"fingerprint"', b'"dimension"', b'"count"')


def local_file(path: Path, source: str, *, direct: bool = False, chosen: bool = False) -> Found:
    """A file on this machine; it is opened where it is now, whatever the working directory becomes."""
    return _found(path, path.absolute(), source, direct=direct, chosen=chosen)


def find_files(
    folder: Path, at: Path, source: str, pattern: tuple[str, ...], options: ReadOptions, on_skip: OnSkip
) -> Iterator[Found]:
    """The files of a folder, or those that fit a pattern inside it, sorted by name in each folder.

    Links to folders are followed once, unless they lead to where the walk already goes. Folders named ``.git``,
    ``node_modules``, ``__pycache__`` and the like, virtual environments, collections and what an embedding job
    wrote are left out.

    Args:
        folder: as names show it.
        at: the same, absolute.
        source: of the argument.
        pattern: parts of a glob inside of the folder; empty for all files.
        options: which files.
        on_skip: told what is left out.
    """
    return _Walk(folder, at, source, pattern, options, on_skip).files()


class _Walk:
    """One pass over a folder and what lies below it."""

    def __init__(
        self, folder: Path, at: Path, source: str, pattern: tuple[str, ...], options: ReadOptions, on_skip: OnSkip
    ) -> None:
        self._shown = folder
        self._folder = at
        self._source = source
        self._pattern = pattern
        self._on_skip = on_skip
        self._any_id = options.id_column is not None
        self._include = tuple(segments(one) for one in options.include)
        self._exclude = tuple(segments(one) for one in options.exclude)
        self._hidden = options.hidden or any(part.startswith(".") for part in pattern)
        self._root = os.path.realpath(at)
        self._seen: set[tuple[int, int]] = set()

    def files(self) -> Iterator[Found]:
        waiting: list[tuple[Path, tuple[str, ...]]] = [(self._folder, ())]
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
                chosen = any_fits(self._include, parts)
                if not self._matches(parts) or (self._include and not chosen):
                    continue
                if is_file and _describes_the_npy_beside(place):
                    self._skip(place, f"describes the vectors in {place.stem}.npy")
                elif is_file:
                    yield _found(self._name(place), place, self._source, direct=False, chosen=chosen)
                elif broken:
                    self._failed(place, FileNotFoundError(2, "a link that leads nowhere"))
                else:
                    self._skip(place, "not a regular file")
            waiting += reversed(folders)

    def _wanted(self, parts: tuple[str, ...]) -> bool:
        if is_beside_table(parts[-1]) or any_fits(self._exclude, parts):
            return False
        return self._hidden or not parts[-1].startswith(".")

    def _leads_on(self, parts: tuple[str, ...]) -> bool:
        if never_entered(parts[-1]):
            return False
        return not self._pattern or leads_on(parts, self._pattern)

    def _matches(self, parts: tuple[str, ...]) -> bool:
        return not self._pattern or fits(parts, self._pattern)

    def _may_enter(self, path: Path) -> bool:
        try:
            if (path / "pyvenv.cfg").is_file() or (path / "collection.db").is_file() or is_output(path):
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
        self._on_skip(Skipped(shown(self._name(path)), reason, source=self._source))

    def _failed(self, path: Path, error: OSError) -> None:
        reason = f"can't be read: {error.strerror or error}"
        name = shown(self._name(path))
        self._on_skip(Skipped(name, reason, "failed", source=self._source, any_id=self._any_id))

    def _name(self, path: Path) -> Path:
        return self._shown / path.relative_to(self._folder)


def _found(name: Path, path: Path, source: str, *, direct: bool, chosen: bool) -> Found:
    place, opened = functools.partial(absolute, path), functools.partial(_open, path)
    return Found(shown(name), source, place, opened, functools.partial(_size, path), direct, chosen)


def _describes_the_npy_beside(path: Path) -> bool:
    """Whether this is the .json that textkin keeps beside an .npy: a collection isn't indexed into itself."""
    if path.suffix.lower() != ".json":
        return False
    try:
        if not path.with_suffix(".npy").is_file():
            return False
        with path.open("rb") as file:
            return describes_vectors(file)
    except OSError:
        return False  # whoever reads it says why it can't be read


def describes_vectors(file: BinaryIO) -> bool:
    """Whether an open file begins like the description of an .npy."""
    beginning = file.read(_BEGINNING)
    return beginning.lstrip().startswith(b"{") and all(key in beginning for key in _DESCRIPTION_KEYS)


def is_beside_table(name: str) -> bool:
    """Whether a file or folder of this name only describes the files of a table beside it."""
    return name in _OF_TABLES


def never_entered(folder: str) -> bool:
    """Whether a folder of this name holds nobody's texts."""
    return folder in _NEVER or is_beside_table(folder) or folder.endswith(".kin")


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None  # whoever reads it says why it can't be read


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
