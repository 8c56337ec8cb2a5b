"""Every SQL statement of the embedded store: rows of collection.db to records and back."""

from __future__ import annotations

import dataclasses
import itertools
import json
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apsw
import numpy as np
import numpy.typing as npt

from textkin.errors import CorruptStoreError
from textkin.stores.checks import MAX_PASSAGES
from textkin.stores.headers import checked_canaries, refuse_other_model
from textkin.stores.local.schema import COLLECTION, ORDINAL_BITS, first_passage, last_passage
from textkin.types import Hit, Matrix, ModelInfo, Record, Scalar, Span, StoreHeader

Parameters: TypeAlias = list[Scalar]


def read_stamp(connection: apsw.Connection) -> bytes:
    """Sixteen random bytes, new after every change: which state of the database this is."""
    return bytes(connection.execute("SELECT value FROM meta WHERE key = 'stamp'").get)


def renew_stamp(connection: apsw.Connection) -> None:
    """Say that the database has changed."""
    connection.execute("UPDATE meta SET value = randomblob(16) WHERE key = 'stamp'")


def read_header(connection: apsw.Connection) -> StoreHeader | None:
    found = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('model', 'canaries', 'accepted')"))
    if "model" not in found:
        return None
    model = ModelInfo(**json.loads(found["model"]))
    canaries = np.frombuffer(found["canaries"], dtype="<f4").reshape(-1, model.dimensions)
    return StoreHeader(model, canaries, tuple(json.loads(found["accepted"])))


def write_header(connection: apsw.Connection, header: StoreHeader, place: str) -> None:
    """Set the header, extend ``accepted`` of the one that is there, or replace it while nothing is held.

    Raises:
        ModelMismatchError: the collection holds vectors of another model.
        InputError: canaries that don't fit the model.
    """
    canaries = checked_canaries(header)
    if connection.execute("SELECT EXISTS (SELECT 1 FROM records) OR EXISTS (SELECT 1 FROM passages)").get:
        refuse_other_model(read_header(connection), header, place)
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [
            ("model", json.dumps(dataclasses.asdict(header.model), default=dict)),
            ("canaries", canaries.tobytes()),
            ("accepted", json.dumps(header.accepted)),
        ],
    )


def upsert(
    connection: apsw.Connection,
    records: Sequence[Record],
    metadata: Sequence[str],
    digests: Sequence[str],
    vectors: Matrix,
) -> int:
    """Insert or replace checked records. Returns how many were replaced."""
    data = vectors.tobytes()
    width = vectors.itemsize * vectors.shape[1]
    row = replaced = 0
    for record, facts, digest in zip(records, metadata, digests, strict=True):
        values = (record.source, digest, facts, record.text, record.id)
        connection.execute(
            "INSERT INTO records (source, digest, metadata, text, id) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO NOTHING",
            values,
        )
        if connection.changes():
            number = connection.last_insert_rowid()
        else:
            number = _number(connection, record.id) or 0
            connection.execute(
                "UPDATE records SET source = ?, digest = ?, metadata = ?, text = ? WHERE id = ?", values
            )
            _delete_passages(connection, number)
            replaced += 1
        first = first_passage(number)
        connection.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?)",
            [
                (first + place, span.start, span.end, data[(row + place) * width : (row + place + 1) * width])
                for place, span in enumerate(record.spans)
            ],
        )
        row += len(record.spans)
    return replaced


def delete(connection: apsw.Connection, ids: Sequence[str]) -> int:
    """Delete records with their passages. Returns how many there were."""
    gone = 0
    for name in ids:
        number = _number(connection, name)
        if number is not None:
            _delete_passages(connection, number)
            connection.execute("DELETE FROM records WHERE number = ?", (number,))
            gone += 1
    return gone


def read_record(connection: apsw.Connection, id: str) -> Record | None:
    found = connection.execute(
        "SELECT number, id, text, metadata, source FROM records WHERE id = ?", (id,)
    ).fetchone()
    return None if found is None else _record(connection, found)


def read_batches(
    connection: apsw.Connection, condition: str, parameters: Parameters, size: int
) -> Iterator[list[Record]]:
    """Records that satisfy a condition, in the order of insertion."""
    batch: list[Record] = []
    for row in connection.execute(
        f"SELECT number, id, text, metadata, source FROM records WHERE {condition} ORDER BY number", parameters
    ):
        batch.append(_record(connection, row))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def read_vector_batches(
    connection: apsw.Connection, condition: str, parameters: Parameters, size: int, path: Path
) -> Iterator[tuple[list[Record], Matrix]]:
    """As `read_batches`, each with its passages' vectors.

    Raises:
        CorruptStoreError: records and passages don't belong together; naming ``path``.
    """
    header = read_header(connection)
    width = 0 if header is None else header.model.dimensions
    records = connection.execute(
        f"SELECT number, id, text, metadata, source FROM records WHERE {condition} ORDER BY number", parameters
    )
    # Passages by a second cursor: joined to the text, a long one would be read again for each of them.
    passages: Iterator[Any] = connection.execute(
        "SELECT records.number, start, stop, vector FROM records CROSS JOIN passages "
        f"ON passages.number BETWEEN records.number << {ORDINAL_BITS} "
        f"AND (records.number << {ORDINAL_BITS}) | {MAX_PASSAGES - 1} "
        f"WHERE {condition} ORDER BY records.number, passages.number",
        parameters,
    )
    owned = itertools.groupby(passages, key=operator.itemgetter(0))
    while chosen := list(itertools.islice(records, size)):
        batch: list[Record] = []
        data: list[bytes] = []
        for number, name, text, metadata, source in chosen:
            owner, found = next(owned, (None, ()))
            spans = []
            for _, start, stop, vector in found:
                spans.append(Span(start, stop))
                data.append(vector)
            if owner != number or any(len(vector) != 4 * width for vector in data[-len(spans) :]):
                raise CorruptStoreError(
                    f"{path} is damaged: record {name!r} and its passages don't belong together. {COLLECTION.cure}"
                )
            batch.append(Record(name, text, json.loads(metadata), source, tuple(spans)))
        yield batch, np.frombuffer(b"".join(data), dtype="<f4").reshape(-1, width).astype(np.float32, copy=False)


def read_digest(connection: apsw.Connection, id: str) -> str | None:
    found = connection.execute("SELECT digest FROM records WHERE id = ?", (id,)).fetchone()
    return None if found is None else str(found[0])


def read_ids(connection: apsw.Connection, source: str | None) -> Iterator[str]:
    """Ids in the order of insertion, of one source when it is given."""
    chosen, parameters = ("", ()) if source is None else ("WHERE source = ?", (source,))
    for (name,) in connection.execute(f"SELECT id FROM records {chosen} ORDER BY number", parameters):
        yield str(name)


def read_numbers(connection: apsw.Connection, condition: str, parameters: Parameters) -> npt.NDArray[np.int64]:
    """Numbers of the records that satisfy a condition, ascending."""
    found = connection.execute(f"SELECT number FROM records WHERE {condition} ORDER BY number", parameters)
    return np.fromiter((row[0] for row in found), dtype=np.int64)


def read_vectors(connection: apsw.Connection, id: str) -> Matrix | None:
    """A record's vectors ``(passages, dimensions)``; None where there is no such record."""
    number = _number(connection, id)
    if number is None:
        return None
    found: list[tuple[Any, ...]] = connection.execute(
        "SELECT vector FROM passages WHERE number BETWEEN ? AND ? ORDER BY number",
        (first_passage(number), last_passage(number)),
    ).fetchall()
    joined = np.frombuffer(b"".join([vector for (vector,) in found]), dtype="<f4")
    return joined.reshape(len(found), -1).astype(np.float32, copy=False)


def read_hit(
    connection: apsw.Connection,
    passage: int,
    score: float,
    fetched: dict[int, tuple[str, str, str]],
) -> Hit:
    """The hit of a passage; ``fetched`` remembers records between calls of one search."""
    start, stop = connection.execute("SELECT start, stop FROM passages WHERE number = ?", (passage,)).get
    number = passage >> ORDINAL_BITS
    if number not in fetched:
        fetched[number] = connection.execute(
            "SELECT id, text, metadata FROM records WHERE number = ?", (number,)
        ).get
    name, text, metadata = fetched[number]
    return Hit(name, score, text[start:stop], json.loads(metadata), Span(start, stop))


def first_inconsistency(connection: apsw.Connection) -> str | None:
    """What no SQL constraint says: every record has its passages 0, 1, …, each a vector of the model's length."""
    header = read_header(connection)
    width = header.model.dimensions * 4 if header else 0
    wrong = connection.execute("SELECT count(*) FROM passages WHERE length(vector) != ?", (width,)).get
    if wrong:
        return f"{wrong} vectors have the wrong length"
    held = connection.execute(
        "SELECT number >> 20, count(*), max(number & 1048575) + 1 FROM passages GROUP BY 1 ORDER BY 1"
    )
    records = connection.execute("SELECT number FROM records ORDER BY number")
    for record, passages in itertools.zip_longest(records, held):
        if record is None or passages is None or record[0] != passages[0] or passages[1] != passages[2]:
            return f"record number {(record or passages)[0]} and its passages do not belong together"
    return None


def _number(connection: apsw.Connection, id: str) -> int | None:
    found = connection.execute("SELECT number FROM records WHERE id = ?", (id,)).fetchone()
    return None if found is None else int(found[0])


def _delete_passages(connection: apsw.Connection, number: int) -> None:
    connection.execute(
        "DELETE FROM passages WHERE number BETWEEN ? AND ?", (first_passage(number), last_passage(number))
    )


def _record(connection: apsw.Connection, row: tuple[Any, ...]) -> Record:
    number, name, text, metadata, source = row
    spans = connection.execute(
        "SELECT start, stop FROM passages WHERE number BETWEEN ? AND ? ORDER BY number",
        (first_passage(number), last_passage(number)),
    )
    return Record(name, text, json.loads(metadata), source, tuple(Span(start, stop) for start, stop in spans))
