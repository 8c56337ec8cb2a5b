"""The matrix for exact search: derived from the database, kept in a memory-mapped file that may be deleted."""

from __future__ import annotations

import io
import mmap
import os
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import apsw
import numpy as np
import numpy.typing as npt

from textkin.errors import CorruptStoreError
from textkin.stores.checks import UNIT_TOLERANCE
from textkin.stores.local.schema import COLLECTION, DATABASE, ORDINAL_BITS
from textkin.types import Matrix
from textkin.vectors.similarity import normalize

FILE: Final = "matrix.bin"
_MAGIC: Final = b"textkinM"
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sII Q 16s Q 16x")  # magic, format, dimensions, rows, stamp, checksum; 64 bytes
_CHUNK: Final = 4096
_WORDS: Final = 512
_SQUARE_TOLERANCE: Final = 4 * UNIT_TOLERANCE
"""Twice what an upsert lets through, so that only damage is refused."""
_ABANDONED_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, eq=False)
class PassageMatrix:
    """All passages of one state of the database, in the order of insertion.

    Attributes:
        stamp: which state.
        rows: ``(n, dimensions)`` float32.
        passages: ``(n,)`` int64, ascending: their numbers.
        records: ``(m,)`` int64, ascending: the numbers of the records that they belong to.
        firsts: ``(m + 1,)`` int64: each record's first row, then ``n``.
    """

    stamp: bytes
    rows: Matrix
    passages: npt.NDArray[np.int64]
    records: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]


def load_matrix(
    folder: Path, connection: apsw.Connection, stamp: bytes, dimensions: int, *, keep: bool
) -> PassageMatrix:
    """The matrix of the state that ``connection`` reads.

    Args:
        folder: where the file is, or will be.
        connection: inside of a read transaction.
        stamp: of the state it reads.
        dimensions: of the vectors.
        keep: write the file where it has to be built; where that fails it is kept in memory.

    Raises:
        CorruptStoreError: a vector in the database is not one.
    """
    found = _open(folder / FILE, stamp, dimensions)
    if found is not None:
        return found
    if keep and _write(folder, connection, stamp, dimensions):
        found = _open(folder / FILE, stamp, dimensions)
        if found is not None:
            return found
    memory = io.BytesIO()
    _fill(memory, folder, connection, stamp, dimensions)
    return _parse(np.frombuffer(memory.getbuffer(), dtype=np.uint8), stamp, dimensions)


def whole_records(matrix: PassageMatrix) -> PassageMatrix:
    """One row a record: the unit mean of its passages, under the number of the first; 0 where they cancel out."""
    if len(matrix.rows) == len(matrix.records):
        return matrix
    means = np.array(matrix.rows[matrix.firsts[:-1]])
    for place in np.flatnonzero(np.diff(matrix.firsts) > 1).tolist():
        first, end = matrix.firsts[place], matrix.firsts[place + 1]
        means[place] = normalize(matrix.rows[first:end].sum(axis=0, dtype=np.float64))
    return PassageMatrix(
        matrix.stamp,
        means,
        matrix.passages[matrix.firsts[:-1]],
        matrix.records,
        np.arange(len(matrix.records) + 1, dtype=np.int64),
    )


def forget_matrix(folder: Path) -> None:
    """Remove the file, so that what was deleted from the database is not left in it."""
    with suppress(OSError):
        (folder / FILE).unlink()


def _open(path: Path, stamp: bytes, dimensions: int) -> PassageMatrix | None:
    """Map the file; None where it is missing, of another state, or damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                return None
            magic, form, width, rows, stamped, checksum = _HEADER.unpack(head)
            expected = _HEADER.size + rows * (8 + 4 * width)
            if (magic, form, width, stamped) != (_MAGIC, _FORMAT, dimensions, stamp):
                return None
            if os.fstat(file.fileno()).st_size != expected:
                return None
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except (OSError, ValueError):
        return None
    if _checksum(data[_HEADER.size :]) != checksum:
        return None
    return _parse(data, stamp, dimensions)


def _parse(data: npt.NDArray[np.uint8], stamp: bytes, dimensions: int) -> PassageMatrix:
    body = data[_HEADER.size :]
    count = len(body) // (8 + 4 * dimensions)
    edge = count * dimensions * 4
    rows = body[:edge].view("<f4").reshape(count, dimensions)
    passages = body[edge:].view("<i8")
    owners = passages >> ORDINAL_BITS
    firsts = np.flatnonzero(np.diff(owners, prepend=-1, append=-1)) if count else np.zeros(1, dtype=np.int64)
    return PassageMatrix(stamp, rows, passages, owners[firsts[:-1]], firsts)


def _write(folder: Path, connection: apsw.Connection, stamp: bytes, dimensions: int) -> bool:
    """Write the file under another name, then rename it; False where the place doesn't allow it.

    It is not flushed to the disk: after a power cut the checksum tells what is missing.
    """
    unfinished = folder / f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}.new"
    try:
        with unfinished.open("xb") as file:
            _fill(file, folder, connection, stamp, dimensions)
        unfinished.replace(folder / FILE)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError):
            return False
        raise
    _remove_abandoned(folder)
    return True


def _fill(file: BinaryIO, folder: Path, connection: apsw.Connection, stamp: bytes, dimensions: int) -> None:
    file.write(bytes(_HEADER.size))
    checksum = _Checksum()
    numbers: list[npt.NDArray[np.int64]] = []
    for chunk, data in _chunks(connection, dimensions, folder / DATABASE):
        numbers.append(chunk)
        checksum.add(data)
        file.write(data)
    passages = np.concatenate(numbers) if numbers else np.zeros(0, dtype=np.int64)
    data = passages.astype("<i8").tobytes()
    checksum.add(data)
    file.write(data)
    file.seek(0)
    file.write(_HEADER.pack(_MAGIC, _FORMAT, dimensions, len(passages), stamp, checksum.value()))


def _chunks(
    connection: apsw.Connection, dimensions: int, path: Path
) -> Iterator[tuple[npt.NDArray[np.int64], bytes]]:
    cursor = connection.execute("SELECT number, vector FROM passages ORDER BY number")
    while True:
        found = [row for _, row in zip(range(_CHUNK), cursor, strict=False)]
        if not found:
            return
        data = b"".join([row[1] for row in found])
        if any(len(row[1]) != 4 * dimensions for row in found):
            raise CorruptStoreError(f"{path} is damaged: a vector has the wrong length. {COLLECTION.cure}")
        vectors = np.frombuffer(data, dtype="<f4").reshape(len(found), -1)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if not (np.abs(squares - 1) <= _SQUARE_TOLERANCE).all():
            raise CorruptStoreError(f"{path} is damaged: a vector is not of unit length. {COLLECTION.cure}")
        yield np.array([row[0] for row in found], dtype=np.int64), data


class _Checksum:
    """Sums of 4 KB blocks, each weighted by an odd number of its own: memory speed, and sees what disks do
    (zeroed, stale, swapped or cut blocks; single bits)."""

    def __init__(self) -> None:
        self._total = 0
        self._block = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        whole = self._rest + data if self._rest else data
        edge = len(whole) - len(whole) % (8 * _WORDS)
        self._sum(np.frombuffer(whole, dtype=np.uint8, count=edge))
        self._rest = whole[edge:]

    def value(self) -> int:
        padded = self._rest.ljust(8 * _WORDS, b"\0")
        self._sum(np.frombuffer(padded, dtype=np.uint8))
        self._rest = b""
        return self._total

    def _sum(self, data: npt.NDArray[np.uint8]) -> None:
        if len(data):
            count = len(data) // (8 * _WORDS)
            self._total = (self._total + _weighted(data, self._block)) % 2**64
            self._block += count


def _checksum(data: npt.NDArray[np.uint8]) -> int:
    edge = len(data) - len(data) % (8 * _WORDS)
    total = _weighted(data[:edge], 0) if edge else 0
    padded = data[edge:].tobytes().ljust(8 * _WORDS, b"\0")
    total += _weighted(np.frombuffer(padded, dtype=np.uint8), edge // (8 * _WORDS))
    return total % 2**64


def _weighted(data: npt.NDArray[np.uint8], block: int) -> int:
    sums = data.view("<u8").reshape(-1, _WORDS).sum(axis=1, dtype=np.uint64)
    weights = (np.arange(block, block + len(sums), dtype=np.uint64) << np.uint64(1)) | np.uint64(1)
    return int((sums * (weights * np.uint64(0x9E3779B97F4A7C15))).sum(dtype=np.uint64))


def _remove_abandoned(folder: Path) -> None:
    """Files of builders that were killed."""
    for path in folder.glob(f"{FILE}.*.new"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
