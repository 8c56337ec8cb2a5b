"""Rows to shards: cut by position, named by content, so that the same input always gives the same shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

SHARD_BYTES: Final = 128_000_000
"""Characters of texts and values after which a shard is full, however few rows it has."""
_VECTOR_BYTES: Final = 50_000_000
_LEAST, _MOST = 1024, 16_384


@dataclass(frozen=True, slots=True)
class Row:
    """One text to embed.

    Attributes:
        id: the input's own, or ``FILE:ROW``.
        text: well-formed, not blank.
        values: of the columns to keep, in their order.
        path: the input that it came from.
        number: its row there, from 1; None: the whole of it.
    """

    id: str
    text: str
    values: tuple[Any, ...] = ()
    path: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """One row, or one whole file, that gets no vector.

    Attributes:
        path: the input.
        row: its number in it; None: the whole of it.
        id: None where it isn't known.
        reason: for people.
    """

    path: str
    row: int | None
    id: str | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(slots=True)
class Shard:
    """Consecutive rows.

    Attributes:
        number: from 0.
        rows: that can be embedded.
        rejects: that can't, in their order.
        digest: SHA-256 (64 hex digits) of all of it, and of what else decides its file.
        position: bytes of the inputs that were read up to its end, and of all inputs; None: not known.
    """

    number: int
    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    digest: str = ""
    position: tuple[int, int] | None = None


def usual_rows(dimensions: int) -> int:
    """Rows of a shard: 16,384, or fewer where their vectors would take more than 50 MB as float32; a power of two.

    About six shards are in memory at a time, so this is what a job holds.
    """
    fitting = _VECTOR_BYTES // (4 * dimensions)
    return max(_LEAST, min(_MOST, 1 << (max(fitting, 1).bit_length() - 1)))


def cut(stream: Iterable[Row | Reject], size: int, seed: bytes = b"") -> Iterator[Shard]:
    """Shards of ``size`` rows, rejects counted; of fewer where the rows are very long.

    Holds one shard at a time.

    Args:
        stream: in the order of the input.
        size: of a shard.
        seed: what decides the files beside the rows; part of each digest.
    """
    shard, digest, held = Shard(0), hashlib.sha256(seed), 0
    for item in stream:
        if isinstance(item, Row):
            shard.rows.append(item)
            data = f"{item.id!r}{item.text!r}{item.values!r}\n".encode("utf-8", "surrogatepass")
        else:
            shard.rejects.append(item)
            data = f"-{item!r}\n".encode("utf-8", "surrogatepass")
        digest.update(data)
        held += len(data)
        if len(shard.rows) + len(shard.rejects) >= size or held >= SHARD_BYTES:
            shard.digest = digest.hexdigest()
            yield shard
            shard, digest, held = Shard(shard.number + 1), hashlib.sha256(seed), 0
    if shard.rows or shard.rejects:
        shard.digest = digest.hexdigest()
        yield shard
