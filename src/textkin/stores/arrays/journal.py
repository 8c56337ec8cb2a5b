"""What was written since the two files were: change after change, each on the disk before it counts.

The file begins with a line that names the state of the files it belongs to, and says up to where the changes are
known to be on the disk: what is missing before that is damage. A change is a frame: a head with lengths and
checksums, a JSON object, raw vectors. A frame behind it that was cut off by a kill is the end of the journal.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from textkin.errors import CorruptStoreError, ForeignFileError, NewerVersionError
from textkin.types import Matrix
from textkin.vectors.own_files import own_file
from textkin.vectors.writing import flush

_FORMAT: Final = 2
_OLD_LINE: Final = re.compile(rb"textkin journal (1) ([0-9a-f]{64})\n")
_FIRST_LINE: Final = re.compile(rb"(textkin journal (\d+) ([0-9a-f]{64})) ([0-9a-f]{8}) (\d{20}) ([0-9a-f]{8})\n")
_LINE_BYTES: Final = len(b"textkin journal 2  12345678 12345678901234567890 12345678\n") + 64
_KEPT_AT: Final = _LINE_BYTES - len(b"12345678901234567890 12345678\n")
"""Where the line says up to where the changes are on the disk."""
_HEAD: Final = struct.Struct(
    "<4sIQQI"
)  # magic, CRC-32 of the body, bytes of JSON, bytes of vectors, CRC-32 of these
_MAGIC: Final = b"tkj1"
NO_FILES: Final = "0" * 64
"""The state of files that are not there yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change.

    Attributes:
        facts: a JSON object.
        vectors: flat float32.
    """

    facts: dict[str, Any]
    vectors: Matrix


def read_journal(path: Path, state: str, position: int = 0) -> tuple[list[Change], int]:
    """The changes from a position on.

    Args:
        path: of the journal.
        state: what the files are (see `pair.Pair`); a journal of another state is left over, and has nothing.
        position: 0, or what the last call returned.

    Returns:
        The changes, and where the next one will be; 0 while there is no journal of this state.

    Raises:
        ForeignFileError: something else lies there.
        NewerVersionError: a newer textkin wrote it.
        CorruptStoreError: it is damaged before its end.
    """
    try:
        with path.open("rb") as file:
            begun = _begins(file, path, state)
            if begun is None:
                return [], 0
            first, kept = begun
            file.seek(max(position, first))
            changes = []
            while (change := _next_change(file, path)) is not None:
                changes.append(change)
            if file.tell() < kept:
                raise _damaged(path, file.tell())
            return changes, file.tell()
    except FileNotFoundError:
        return [], 0


def append(path: Path, state: str, position: int, change: Change, mode: int) -> int:
    """Add a change at a position that `read_journal` or this returned; what lies behind it goes.

    Returns when it is on the disk. Where that fails, the journal stays as it was.

    Args:
        path: of the journal.
        state: what the files are.
        position: 0 begins a new journal.
        change: to add.
        mode: of a new journal's file.

    Returns:
        Where the next one will be.

    Raises:
        OSError: it can't be written.
    """
    text = json.dumps(change.facts, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    data = np.ascontiguousarray(change.vectors, dtype="<f4").tobytes()
    start = _HEAD.pack(_MAGIC, zlib.crc32(data, zlib.crc32(text)), len(text), len(data), 0)[:-4]
    head = start + zlib.crc32(start).to_bytes(4, "little")
    if not position:
        # Under its name only with a whole first line, so that a part of one is damage.
        with own_file(path, mode=mode) as file:
            line = b"textkin journal %d %s" % (_FORMAT, state.encode("ascii"))
            file.write(b"%s %08x %s" % (line, zlib.crc32(line), _kept_line(0)))
            position = file.tell()
    with path.open("r+b") as file:
        file.seek(position)
        file.truncate()
        try:
            file.write(head + text + data)
            flush(file)
        except OSError:
            _cut(path, position)
            raise
        end = position + len(head) + len(text) + len(data)
        with suppress(OSError):  # the change is on the disk
            _say_kept(path, end)
    return end


def _say_kept(path: Path, end: int) -> None:
    with path.open("r+b", buffering=0) as file:
        if file.read(len(b"textkin journal 1 ")) != b"textkin journal 1 ":
            file.seek(_KEPT_AT)
            file.write(_kept_line(end))


def _kept_line(end: int) -> bytes:
    digits = b"%020d" % end
    return b"%s %08x\n" % (digits, zlib.crc32(digits))


def _cut(path: Path, position: int) -> None:
    with suppress(OSError):
        os.truncate(path, position)


def _begins(file: BinaryIO, path: Path, state: str) -> tuple[int, int] | None:
    """Where the first change is, and up to where they are known to be on the disk; None for another state's."""
    line = file.read(_LINE_BYTES)
    old = _OLD_LINE.match(line)
    if old is not None:
        return (old.end(), 0) if old.group(2).decode("ascii") == state else None
    if 18 <= len(line) < 83 and line.startswith(b"textkin journal 1 "):
        return None  # an older one, cut off while it was begun
    found = _FIRST_LINE.match(line)
    if found is None:
        if not b"textkin journal ".startswith(line[:16]) and any(line):
            raise ForeignFileError(
                f"{path} is not a journal of textkin's; move it away, it is where one has to be"
            )
        newer = re.match(rb"textkin journal (\d{1,9}) ", line)
        if newer is not None and int(newer.group(1)) > _FORMAT:
            raise _newer(path, int(newer.group(1)))
        raise _damaged(path, 0)
    told, version, name, told_sum, digits, digits_sum = found.groups()
    if int(version) > _FORMAT:
        raise _newer(path, int(version))
    if zlib.crc32(told) != int(told_sum, 16):
        raise _damaged(path, 0)
    kept = int(digits) if zlib.crc32(digits) == int(digits_sum, 16) else 0  # cut off while it was told
    return (_LINE_BYTES, kept) if name.decode("ascii") == state else None


def _next_change(file: BinaryIO, path: Path) -> Change | None:
    """The change at the file's position, which moves behind it; None, and it stays, where no whole one is."""
    start = file.tell()
    head = file.read(_HEAD.size)
    if len(head) == _HEAD.size:
        magic, body_sum, text_length, data_length, head_sum = _HEAD.unpack(head)
        if magic != _MAGIC or zlib.crc32(head[:-4]) != head_sum:
            if any(head) or any(file.read()):
                raise _damaged(path, start)
        elif text_length + data_length <= os.fstat(file.fileno()).st_size - file.tell():
            text, data = file.read(text_length), file.read(data_length)
            if zlib.crc32(data, zlib.crc32(text)) == body_sum:
                return _change(text, data, path, start)
            if file.read(1):
                raise _damaged(path, start)
    file.seek(start)
    return None


def _change(text: bytes, data: bytes, path: Path, start: int) -> Change:
    try:
        facts = json.loads(text)
        vectors = np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, start) from error
    if not isinstance(facts, dict):
        raise _damaged(path, start)
    return Change(facts, vectors)


def _damaged(path: Path, start: int) -> CorruptStoreError:
    return CorruptStoreError(
        f"{path} is damaged at byte {start:,}; restore it with the files beside it from a backup. Without it, the "
        "collection is as it was before the run that was cut off"
    )


def _newer(path: Path, version: int) -> NewerVersionError:
    return NewerVersionError(f"{path} was written by a newer textkin (format {version}); update it")
