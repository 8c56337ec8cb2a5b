"""What a collection remembers of its last join: a derived file that may be deleted at any time.

Pairs are kept under digests of the vectors that were compared, not under ids or states of the database. So
nothing in the file can become wrong by a change: a changed record has another vector and counts as new, what was
deleted is not asked for. Its checksum tells damage, its fingerprint another model.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.unit_rows import Doubles, Numbers
from textkin.vectors.own_files import mode_beside, own_file, remove_abandoned

FILE: Final = "join.bin"
Keys = npt.NDArray[np.bytes_]
_MAGIC: Final = b"textkinJ"
_FORMAT: Final = 1
_HEAD: Final = struct.Struct(
    "<8sI 32s d QQ 16s 12x"
)  # magic, format, fingerprint, threshold, rows, pairs, checksum
_KEY: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """All pairs that reach a threshold among some vectors.

    Attributes:
        threshold: what they reach.
        keys: ``(n,)`` digests of the vectors, all different.
        i: places in ``keys``.
        j: places in ``keys``.
        score: of each pair.
    """

    threshold: float
    keys: Keys
    i: Numbers
    j: Numbers
    score: Doubles


@dataclass(frozen=True, slots=True)
class JoinMemory:
    """Where the last join of one collection is kept.

    Attributes:
        path: of the file.
        fingerprint: of the model, 64 hex digits.
        write: False only reads it: the records are not the whole collection, or its place can't be written.
    """

    path: Path
    fingerprint: str
    write: bool = True

    def recall(self) -> Remembered | None:
        """None where nothing is kept, or it is damaged or another model's."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return None
        if len(data) < _HEAD.size:
            return None
        magic, form, fingerprint, threshold, rows, pairs, checksum = _HEAD.unpack_from(data)
        if (magic, form, fingerprint) != (_MAGIC, _FORMAT, bytes.fromhex(self.fingerprint)):
            return None
        body = data[_HEAD.size :]
        if len(body) != rows * _KEY + pairs * 24 or _checksum(data, body) != checksum:
            return None
        edges = np.cumsum([0, rows * _KEY, 8 * pairs, 8 * pairs, 8 * pairs]).tolist()
        keys, i, j, score = (body[start:end] for start, end in itertools.pairwise(edges))
        return Remembered(
            threshold,
            np.frombuffer(keys, dtype=f"S{_KEY}"),
            np.frombuffer(i, dtype="<i8").astype(np.int64, copy=False),
            np.frombuffer(j, dtype="<i8").astype(np.int64, copy=False),
            np.frombuffer(score, dtype="<f8").astype(np.float64, copy=False),
        )

    def keep(self, what: Remembered) -> bool:
        """Replace what is kept; False where the place doesn't allow it, which costs only time later."""
        if not self.write:
            return False
        body = b"".join(
            (
                what.keys.tobytes(),
                what.i.astype("<i8").tobytes(),
                what.j.astype("<i8").tobytes(),
                what.score.astype("<f8").tobytes(),
            )
        )
        facts = (bytes.fromhex(self.fingerprint), what.threshold, len(what.keys), len(what.i))
        blank = _HEAD.pack(_MAGIC, _FORMAT, *facts, bytes(16))
        head = _HEAD.pack(_MAGIC, _FORMAT, *facts, _checksum(blank, body))
        remove_abandoned(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with own_file(self.path, mode=mode_beside(self.path), durable=False) as file:
                file.write(head)
                file.write(body)
        except OSError:
            return False
        return True


def vector_keys(rows: npt.NDArray[Any]) -> Keys:
    """A digest of each row's float32 bytes."""
    data = b"".join(
        hashlib.blake2b(np.ascontiguousarray(row, dtype="<f4").tobytes(), digest_size=_KEY).digest()
        for row in rows
    )
    return np.frombuffer(data, dtype=f"S{_KEY}")


def _checksum(head: bytes, body: bytes) -> bytes:
    """Of everything but itself."""
    digest = hashlib.blake2b(head[: _HEAD.size - 28], digest_size=16)
    digest.update(body)
    return digest.digest()
