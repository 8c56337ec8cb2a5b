"""Files that textkin keeps for itself: for their owner only, complete under their name or not there at all.

A file that is not finished is named ``NAME.PID.RANDOM.new``: the next writer knows whose it was, and removes it
when that process has died.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from textkin.vectors.writing import flush, flush_folder, put_in_place

PRIVATE: Final = 0o600
"""The mode of files that hold texts, vectors or ids."""
DATABASE: Final = "collection.db"
"""What a collection's folder has its records in."""
_WINDOWS: Final = os.name == "nt"
_BINARY: Final = getattr(os, "O_BINARY", 0)
_UNFINISHED: Final = re.compile(r"\.(\d+)\.[0-9a-f]{8}\.new")
_ABANDONED_SECONDS: Final = 3600


def unfinished(target: Path) -> Path:
    """A name, beside a file, that no other process or thread has for what will take its place."""
    return target.with_name(f"{target.name}.{os.getpid()}.{secrets.token_hex(4)}.new")


@contextmanager
def own_file(target: Path, *, mode: int | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """A file that takes the name of ``target`` when the block ends; on any error that one stays as it is.

    Args:
        target: need not exist; its folder has to.
        mode: of the new file, whatever the umask is; None leaves it to that.
        durable: return when it is on the disk; False for what can be made again and says whether it is whole.

    Raises:
        OSError: it can't be written.
    """
    temporary = unfinished(target)
    try:
        with os.fdopen(create_file(temporary, mode), "wb") as file:
            yield file
            if durable:
                flush(file)
        put_in_place(temporary, target)
        if durable:
            flush_folder(target.parent)
    except BaseException:
        with suppress(OSError):  # of a disk that fails, the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise


def create_file(path: Path, mode: int | None) -> int:
    """Make a file that isn't there, with exactly this mode where one is given. Returns its descriptor."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666 if mode is None else mode)
    if mode is not None and hasattr(os, "fchmod"):
        with suppress(OSError):  # a file system without modes
            os.fchmod(handle, mode)
    return handle


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that is there stays as it is.

    Raises:
        OSError: it can't be made.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    for one in made:  # a power cut must not take with the name what is stored and told as stored
        flush_folder(one.parent)


def remove_abandoned(target: Path) -> None:
    """Remove what processes that have died left unfinished beside a file."""
    with suppress(OSError):
        for entry in list(os.scandir(target.parent)):
            if not entry.name.startswith(target.name):
                continue
            found = _UNFINISHED.fullmatch(entry.name[len(target.name) :])
            if found is not None and _abandoned(int(found.group(1)), entry):
                Path(entry.path).unlink(missing_ok=True)


def mode_of(path: Path) -> int:
    """The permissions of a file, for one that goes beside it or takes its place; private where there is none."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return PRIVATE


def mode_beside(derived: Path) -> int:
    """The mode of a file that is derived from the collection in its folder: that of its database."""
    return mode_of(derived.with_name(DATABASE))


def _abandoned(process: int, entry: os.DirEntry[str]) -> bool:
    """Whether nobody will finish it: its process has died, or it is old (the number may be another one's now)."""
    if process == os.getpid():
        return False
    if time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
        return True
    if _WINDOWS:  # there a signal 0 ends the process
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
