"""Records and their passages as points, and back."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from textkin.errors import CorruptStoreError, NewerVersionError
from textkin.stores.points.backend import KIND, PREFIX, SOURCE, Point
from textkin.types import Matrix, MetadataValue, Record, Scalar, Span, Vector
from textkin.vectors.similarity import normalize

UNFINISHED: Final = ""
"""Digest of a record whose points are being changed: it equals no record's, so indexing writes it again, and
passages of another digest are not counted."""
FORMAT: Final = 1
"""Version of what is written here; a newer one is refused."""
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_clock = threading.Lock()
_last = 0


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A point as it was understood.

    Attributes:
        id: of its record.
        metadata: of its record.
        order: where its record stands among all: the clock when it was first inserted.
        digest: of its record, as it was when the point was written.
        spans: of its record; of a passage only its own.
        source: of its record; None in a passage.
        text: of its record, or of the passage.
        point: as the database gave it.
    """

    id: str
    metadata: dict[str, MetadataValue]
    order: int
    digest: str
    spans: tuple[Span, ...]
    source: str | None
    text: str
    point: Point

    @property
    def is_passage(self) -> bool:
        """Whether this is one passage of a record of several."""
        return self.point.fields[KIND] == "passage"

    @property
    def record(self) -> Record:
        """The record that this point holds."""
        return Record(self.id, self.text, self.metadata, self.source, self.spans)

    @property
    def passage_text(self) -> str:
        """The text of the passage, or of the record's first."""
        first = self.spans[0]
        return self.text if self.is_passage else self.text[first.start : first.end]


def key_of(id: str, passage: int = 0) -> str:
    """The key of a record's point (0), or of its passages' (from 1)."""
    digest = hashlib.sha256(json.dumps([id, passage]).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def point_keys(read: Read) -> list[str]:
    """The keys of all points of a record, given the one that holds its text; that one is the last."""
    return [*passage_keys(read), read.point.key]


def passage_keys(read: Read) -> list[str]:
    """The keys of the points that hold the record's passage vectors, in order."""
    count = len(read.spans)
    return [read.point.key] if count == 1 else [key_of(read.id, number) for number in range(1, count + 1)]


def to_points(record: Record, digest: str, order: int, vectors: Matrix) -> list[Point]:
    """The points of one record; the one that holds it as a whole comes last."""
    fields = _fields(record)
    common: dict[str, Any] = {
        "v": FORMAT, "id": record.id, "metadata": dict(record.metadata), "order": order, "digest": digest
    }  # fmt: skip
    points = []
    if len(vectors) > 1:
        for number, (span, row) in enumerate(zip(record.spans, vectors, strict=True), start=1):
            text = record.text[span.start : span.end]
            payload, shown = _payload({**common, "spans": [[span.start, span.end]]}, text)
            points.append(Point(key_of(record.id, number), shown, payload, {**fields, KIND: "passage"}, row))
    points.append(head_point(record, digest, order, whole_vector(vectors)))
    return points


def head_point(record: Record, digest: str, order: int, vector: Vector) -> Point:
    """The point that holds a record as a whole."""
    payload, shown = _payload(
        {
            "v": FORMAT,
            "id": record.id,
            "metadata": dict(record.metadata),
            "order": order,
            "digest": digest,
            "spans": [[span.start, span.end] for span in record.spans],
            "source": record.source,
        },
        record.text,
    )
    own = {**_fields(record), KIND: "whole" if len(record.spans) > 1 else "record"}
    if record.source is not None:
        own[SOURCE] = record.source
    return Point(key_of(record.id), shown, payload, own, vector)


def read_point(point: Point, place: str) -> Read:
    """Understand a point.

    Raises:
        CorruptStoreError: it is not one of ours.
        NewerVersionError: a newer textkin wrote it.
    """
    try:
        told = json.loads(point.payload)
        version = int(told["v"])
        if version > FORMAT:
            raise NewerVersionError(f"{place} was written by a newer textkin (format {version}); update textkin")
        spans = tuple(Span(int(start), int(end)) for start, end in told["spans"])
        return Read(
            str(told["id"]), told["metadata"], int(told["order"]), str(told["digest"]), spans,
            told.get("source"), str(told.get("text", point.text)), point,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStoreError(
            f"{place}: the point {point.key} does not hold what textkin wrote there ({type(error).__name__}); "
            "another program changed it? Delete it there, then index again"
        ) from error


def whole_vector(vectors: Matrix) -> Vector:
    """The unit mean of a record's passages; the vector itself where it is one, 0 where they cancel out."""
    if len(vectors) == 1:
        row: Vector = vectors[0]
        return row
    return normalize(vectors.sum(axis=0, dtype=np.float64)).astype(np.float32)


def is_plain(field: str) -> bool:
    """Whether a database may hold and filter by a field of this name."""
    return _PLAIN.fullmatch(field) is not None and not field.startswith(PREFIX)


def next_orders(count: int) -> list[int]:
    """Numbers that grow with every call, in this process and (as far as clocks agree) among others."""
    global _last
    with _clock:
        first = max(time.time_ns(), _last + 1)
        _last = first + count - 1
        return list(range(first, first + count))


def _fields(record: Record) -> dict[str, Scalar]:
    """What a database may filter by."""
    return {
        key: value
        for key, value in record.metadata.items()
        if isinstance(value, str | int | float) and is_plain(key)
    }


def _payload(value: dict[str, Any], text: str) -> tuple[str, str]:
    """The payload, and the text as any database can hold it; where that differs, the payload has the true one."""
    if "\0" in text:
        return _json({**value, "text": text}), text.replace("\0", " ")
    return _json(value), text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
