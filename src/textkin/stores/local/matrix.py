"""The matrix for exact search: derived from the database, kept in a memory-mapped file that may be deleted."""

from __future__ import annotations

import io
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import apsw
import numpy as np
import numpy.typing as npt

from textkin.stores.checks import UNIT_TOLERANCE
from textkin.stores.local.rows import damaged, passages_in_order
from textkin.stores.local.schema import ORDINAL_BITS
from textkin.types import Matrix
from textkin.vectors.own_files import mode_beside, own_file, remove_abandoned
from textkin.vectors.similarity import normalize

FILE: Final = "matrix.bin"
_MAGIC: Final = b"textkinM"
_FORMAT: Final = 2
_HEADER: Final = struct.Struct("<8sII Q 16s Q 16x")  # magic, format, dimensions, rows, stamp, checksum; 64 bytes
_CHUNK: Final = 4096
_PIECE: Final = 1 << 20
_SIDE_BY_SIDE: Final = 16
"""Pieces from which on several cores pay."""
_SQUARE_TOLERANCE: Final = 4 * UNIT_TOLERANCE
"""Twice what an upsert lets through, so that only damage is refused."""


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
        CorruptStoreError: a vector in the database is not one, or differs from its checksum.
    """
    found = _open(folder / FILE, stamp, dimensions)
    if found is not None:
        return found
    if keep and _write(folder, connection, stamp, dimensions):
        found = _open(folder / FILE, stamp, dimensions)
        if found is not None:
            return found
    memory = io.BytesIO()
    _fill(memory, connection, stamp, dimensions)
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
            if os.fstat(file.fileno()).st_size != expected or any(head[_HEADER.size - 16 :]):
                return None
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except (OSError, ValueError):
        return None
    if _checksum(_head(width, rows, stamped, 0), data[_HEADER.size :]) != checksum:
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
    remove_abandoned(folder / FILE)
    try:
        with own_file(folder / FILE, mode=mode_beside(folder / FILE), durable=False) as file:
            _fill(file, connection, stamp, dimensions)
    except OSError:
        return False
    return True


def _head(dimensions: int, rows: int, stamp: bytes, checksum: int) -> bytes:
    return _HEADER.pack(_MAGIC, _FORMAT, dimensions, rows, stamp, checksum)


def _fill(file: BinaryIO, connection: apsw.Connection, stamp: bytes, dimensions: int) -> None:
    count = int(connection.execute("SELECT count(*) FROM passages").get)
    file.write(bytes(_HEADER.size))
    checksum = _Checksum(_head(dimensions, count, stamp, 0))
    numbers: list[npt.NDArray[np.int64]] = []
    for chunk, data in chunks(connection, dimensions):
        numbers.append(chunk)
        checksum.add(data)
        file.write(data)
    passages = np.concatenate(numbers) if numbers else np.zeros(0, dtype=np.int64)
    data = passages.astype("<i8").tobytes()
    checksum.add(data)
    file.write(data)
    if len(passages) != count:
        raise damaged(connection, f"{len(passages):,} of {count:,} passages can be found")
    file.seek(0)
    file.write(_head(dimensions, count, stamp, checksum.value()))


def chunks(connection: apsw.Connection, dimensions: int) -> Iterator[tuple[npt.NDArray[np.int64], bytes]]:
    """Numbers and vectors of all passages, in parts.

    Raises:
        CorruptStoreError: a vector is not one, or differs from its checksum.
    """
    cursor = passages_in_order(connection)
    while found := list(islice(cursor, _CHUNK)):
        data = b"".join([vector for _, vector in found])
        if any(len(vector) != 4 * dimensions for _, vector in found):
            raise damaged(connection, "a vector has the wrong length")
        vectors = np.frombuffer(data, dtype="<f4").reshape(len(found), -1)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if not (np.abs(squares - 1) <= _SQUARE_TOLERANCE).all():
            raise damaged(connection, "a vector is not of unit length")
        yield np.array([number for number, _ in found], dtype=np.int64), data


class _Checksum:
    """CRC-32 of the CRC-32s of the header and of pieces: sees every order, and each piece can have a core."""

    def __init__(self, header: bytes) -> None:
        self._sums = [zlib.crc32(header)]
        self._rest = b""

    def add(self, data: bytes) -> None:
        whole = self._rest + data if self._rest else data
        edge = len(whole) - len(whole) % _PIECE
        self._sums += [zlib.crc32(whole[start : start + _PIECE]) for start in range(0, edge, _PIECE)]
        self._rest = whole[edge:]

    def value(self) -> int:
        sums = [*self._sums, zlib.crc32(self._rest)] if self._rest else self._sums
        return zlib.crc32(struct.pack(f"<{len(sums)}I", *sums))


def _checksum(header: bytes, data: npt.NDArray[np.uint8]) -> int:
    pieces = [data[start : start + _PIECE].data for start in range(0, len(data), _PIECE)]
    if len(pieces) < _SIDE_BY_SIDE:
        sums = [zlib.crc32(piece) for piece in pieces]
    else:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # zlib lets other threads run meanwhile
            sums = list(pool.map(zlib.crc32, pieces))
    sums = [zlib.crc32(header), *sums]
    return zlib.crc32(struct.pack(f"<{len(sums)}I", *sums))
