"""An input as the user gave it, and one file found in it: their names, and how to open it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from textkin.text.kinds import Kind, Packing, kind_of
from textkin.text.options import OnSkip, ReadOptions


def _nothing() -> None:
    """There is nothing to let go of."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file to read.

    Attributes:
        name: as ids show it.
        source: of the argument that led here.
        place: gives what tells it from every other file, whatever name it is found under.
        open: gives it from its start, each time anew.
        size: bytes; None when that isn't known before it is read.
        direct: the user named it himself.
        chosen: an include pattern did.
        close: called when it has been read, to let go of what `open` keeps.
        read_as: how to read it, where its name doesn't tell (standard input).
    """

    name: str
    source: str
    place: Callable[[], str]
    open: Callable[[], BinaryIO]
    size: Callable[[], int | None]
    direct: bool = False
    chosen: bool = False
    close: Callable[[], None] = _nothing
    read_as: tuple[Kind, Packing | None] | None = None

    @property
    def kind(self) -> tuple[Kind, Packing | None]:
        """How to read it, and what to decompress first."""
        return self.read_as or kind_of(self.name)


Find: TypeAlias = Callable[[ReadOptions, OnSkip], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Argument:
    """One input as the user gave it.

    Attributes:
        name: as ids show it.
        source: absolute; a glob keeps its wildcards.
        find: gives its files, always in the same order.
        is_folder: whether there may be several; a glob is one.
        is_pattern: a glob.
    """

    name: str
    source: str
    find: Find
    is_folder: bool = False
    is_pattern: bool = False


def shown(path: str | Path) -> str:
    """A path as ids show it: with ``/``, without ``./`` unless it would begin like an option, always encodable."""
    name = Path(path).as_posix()
    if name.startswith("-") and name != "-":
        name = f"./{name}"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def absolute(path: str | Path) -> str:
    """A path from the root, without ``..``, links kept as they are."""
    return shown(os.path.normpath(Path(path).absolute()))
