"""Files written so that nobody sees half of one, and so that only a regular file is ever replaced.

One rule for every output. A file that is not there is made, with the mode that the umask leaves. A regular file is
replaced in one step, and its mode, owner and attributes stay. A link is followed: what it leads to is replaced or
made, the link stays. A device, a pipe, ``/dev/stdout``, ``/dev/fd/N`` are written into. A folder, a disk, a
socket, a file of several names (hard links) and one that may not be written are refused by name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from textkin.errors import InputError, ReadOnlyError, StorageFullError, StoreError

_WINDOWS: Final = os.name == "nt"
_PATIENCE: Final = 1.0
"""Seconds that a reader may keep a file from being replaced."""
_READER_SECONDS: Final = 2.0
"""Seconds that the reader of a named pipe may take to come."""
_PAUSE: Final = 0.02
_LINKS: Final = 40
_DESCRIPTORS: Final = re.compile(r"/dev/fd|/proc/(\d+)(?:/task/\d+)?/fd")
_PART: Final = ".textkin-{}.part"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_UNABLE: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM})
"""What a system says that can't flush a folder, or not this one for us."""


class HashingWriter:
    """A file to write to that also takes the SHA-256 of what passes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


@dataclass(frozen=True, slots=True)
class Target:
    """Where an output goes, made by `target_of`.

    Attributes:
        name: as the user gave it.
        place: the file itself, links followed.
        standing: of the regular file that is there now; None where there is none.
        streamed: it is a device or a pipe: written into, and never replaced.
        descriptor: of this process, where the name is that of one.
    """

    name: str
    place: Path
    standing: os.stat_result | None
    streamed: bool
    descriptor: int | None = None


def target_of(path: str | os.PathLike[str]) -> Target:
    """What is at the place of an output; nothing is opened or changed.

    Raises:
        InputError: a folder, a disk, a socket, a file with several names, or there is no such folder.
        ReadOnlyError: the file, or its folder, may not be written.
    """
    name = os.fspath(path)
    try:
        place, owner = _followed(Path(path))
        if owner is not None:
            own = owner == os.getpid() and place.name.isdigit()
            if not own:
                place.stat()
            return Target(name, place, None, True, int(place.name) if own else None)
        try:
            found = place.stat()
        except FileNotFoundError:
            found = None
        if found is None and not place.parent.is_dir():
            raise InputError(f"{name} can't be written: there is no folder {place.parent}; make it first")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{name} can't be written: {reason}") from error
    if found is not None:
        kind = found.st_mode
        if stat.S_ISCHR(kind) or stat.S_ISFIFO(kind):
            return Target(name, place, None, True)
        if not stat.S_ISREG(kind):
            what = "folder" if stat.S_ISDIR(kind) else "socket" if stat.S_ISSOCK(kind) else "disk"
            raise InputError(f"{name} can't be written: it is a {what}; give the name of a file")
        if found.st_nlink > 1:
            raise InputError(
                f"{name} can't be replaced: the same file has {found.st_nlink - 1} more "
                f"name{'s' if found.st_nlink > 2 else ''} (hard links), which would keep the old content; remove "
                "it first, or name another file"
            )
        if not os.access(place, os.W_OK):
            raise ReadOnlyError(f"{name} can't be written: it is read-only; choose another file")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise ReadOnlyError(f"{place.parent} can't be written, so {name} can't; choose another folder")
    return Target(name, place, found, False)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write an output to, by the rule of this module.

    When the block ends, a regular file is complete under its name and on the disk; after an error or a kill what
    was there is there as it was. Into a device or a pipe goes what is written, as it comes.

    Raises:
        InputError, ReadOnlyError: as `target_of`.
        StorageFullError: no room left.
        StoreError: the disk or the reader failed.
    """
    target = target_of(path)
    try:
        if target.streamed:
            with _stream(target) as file:
                yield file
        else:
            with Replacement(target) as new:
                yield new.file
                new.put_in_place()
    except OSError as error:
        raise write_error(error, target) from error


def write_error(error: OSError, target: Target) -> InputError | StoreError:
    """The textkin error for one of the system's, raised while an output was written and not yet in place."""
    left = "what was written is incomplete" if target.streamed else "nothing was replaced"
    if error.errno in _FULL:
        return StorageFullError(f"no room left to write {target.name} (disk, quota or file size limit); {left}")
    if error.errno in _DENIED:
        return ReadOnlyError(
            f"{target.name} can't be written ({error.strerror}), {left}; choose another file or folder"
        )
    if error.errno == errno.EPIPE:
        return StoreError(f"{target.name}: its reader has gone; {left}")
    if error.errno == errno.ENXIO:
        return InputError(f"{target.name} can't be written: nobody reads it; start its reader first")
    return StoreError(f"{target.name} can't be written: {error.strerror or error}; {left}")


class Replacement:
    """New content beside the file that it will replace; removed again unless it is put in place.

    Args:
        target: no device or pipe.
        after: whose mode, owner and attributes it takes; by default those of the file that is replaced.

    Attributes:
        file: to write to.
    """

    def __init__(self, target: Target, after: Target | None = None) -> None:
        self._target = target
        example = after or target
        _tidy(target.place.parent)
        self._path, descriptor = _new_part(target.place, 0o666 if example.standing is None else 0o600)
        try:
            if example.standing is not None:
                take_after(descriptor, self._path, example.place)
            self.file: BinaryIO = os.fdopen(descriptor, "wb")
        except BaseException:
            os.close(descriptor)
            self._discard()
            raise

    def __enter__(self) -> Replacement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Of a disk that fails, the first error is the one to tell.
        with suppress(OSError):
            self.file.close()
        self._discard()

    @property
    def in_place(self) -> bool:
        """Whether it has its name."""
        return not self._path.exists()

    def seal(self) -> None:
        """Return when the content is on the disk."""
        flush(self.file)

    def put_in_place(self) -> None:
        """Seal it, and give it its name, in one step."""
        self.seal()
        if _WINDOWS:
            self.file.close()
        put_in_place(self._path, self._target.place)
        try:
            flush_folder(self._target.place.parent)
        except OSError as error:
            raise StoreError(
                f"{self._target.name} was written, but the disk may forget that at a power cut: {error.strerror}"
            ) from error

    def _discard(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def flush(file: BinaryIO) -> None:
    """Return when what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a finished file its name, in place of what had it.

    On Windows a file that somebody reads can't be replaced; readers of small files are done in a moment.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            temporary.replace(target)
        except PermissionError:
            if not _WINDOWS or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            return


def flush_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk, where the system can tell."""
    if _WINDOWS:
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise


def _followed(path: Path) -> tuple[Path, int | None]:
    """Where a name leads, link after link, and the process whose descriptor it is (of /dev/stdout: this one).

    A descriptor isn't followed to the file behind it: who opened it goes on writing there.
    """
    place = path.absolute()
    for _ in range(_LINKS):
        folder = Path(os.path.realpath(place.parent))
        place = folder / place.name
        found = _DESCRIPTORS.fullmatch(folder.as_posix())
        if found is not None:
            return place, int(found[1] or os.getpid())
        if not place.is_symlink():
            return place, None
        place = folder / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _stream(target: Target) -> BinaryIO:
    """Open a device, a pipe or a descriptor; waits a moment for the reader of a pipe."""
    if target.descriptor is not None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # what was said before comes before
        return os.fdopen(os.dup(target.descriptor), "wb")
    flags = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    end = time.monotonic() + _READER_SECONDS
    while True:
        try:
            descriptor = os.open(target.place, flags)
        except OSError as error:
            if error.errno != errno.ENXIO or not target.place.is_fifo() or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            if not _WINDOWS:
                os.set_blocking(descriptor, True)
            return os.fdopen(descriptor, "wb")


def _new_part(target: Path, mode: int) -> tuple[Path, int]:
    """An empty file beside the target, of a name of its own, and locked as long as its descriptor is open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        path = target.with_name(_PART.format(os.urandom(6).hex()))
        descriptor = os.open(path, flags, mode)
        # Between these two steps another writer may have taken it for a dead one's.
        if _locked(descriptor) is not False and path.exists():
            return path, descriptor
        os.close(descriptor)


def _locked(descriptor: int) -> bool | None:
    """Lock an open file for as long as it is open; False where another process has, None where nothing can be."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _tidy(folder: Path) -> None:
    """Remove what killed writers left in a folder: parts that nobody has locked."""
    if _WINDOWS:
        return
    for path in folder.glob(_PART.format("*")):
        # Somebody else's, or gone meanwhile: then it is not ours to remove.
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _locked(descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)


def take_after(descriptor: int, path: Path, place: Path) -> None:
    """Give a new file, open as ``descriptor``, the owner (where we may), mode and attributes of another."""
    standing = place.stat()
    mode = stat.S_IMODE(standing.st_mode)
    if sys.platform != "win32":
        for owner, group in ((standing.st_uid, -1), (-1, standing.st_gid)):
            with suppress(PermissionError):
                os.fchown(descriptor, owner, group)
        if os.fstat(descriptor).st_gid != standing.st_gid:
            mode &= ~stat.S_IRWXG  # of another group, which the file was not for
    # What a file system can't keep of them beside the mode is no reason to refuse.
    with suppress(OSError):
        shutil.copystat(place, path)
    os.utime(path)
    path.chmod(mode)
