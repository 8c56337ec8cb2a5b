"""Every SQL statement of the embedded store: rows of collection.db to records and back."""

from __future__ import annotations

import dataclasses
import itertools
import json
import operator
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import apsw
import numpy as np
import numpy.typing as npt

from textkin.errors import CorruptStoreError
from textkin.stores.checks import MAX_PASSAGES
from textkin.stores.headers import checked_canaries, refuse_other_model
from textkin.stores.local.checksums import (
    NOT_KNOWN,
    agree,
    header_checksum,
    passage_checksum,
    record_checksum,
)
from textkin.stores.local.schema import COLLECTION, ORDINAL_BITS, first_passage, last_passage
from textkin.types import Hit, Matrix, ModelInfo, Record, Scalar, Span, StoreHeader

Parameters: TypeAlias = list[Scalar]
_RECORDS: Final = (
    "SELECT number, id, source, digest, metadata, text, checksum FROM records "
    "LEFT JOIN record_checksums USING (number)"
)
_PASSAGES: Final = (
    "SELECT number, start, stop, vector, checksum FROM passages LEFT JOIN passage_checksums USING (number)"
)
_PASSAGES_OF: Final = (
    "SELECT number, start, stop, vector, checksum, "
    "(SELECT count(*) FROM passage_checksums WHERE number BETWEEN ?1 AND ?2) "
    "FROM passages LEFT JOIN passage_checksums USING (number) WHERE number BETWEEN ?1 AND ?2 ORDER BY number"
)
_HEADER: Final = ("model", "canaries", "accepted")


def read_stamp(connection: apsw.Connection) -> bytes:
    """Sixteen random bytes, new after every change: which state of the database this is."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'stamp'").get
    if not isinstance(found, bytes) or len(found) != 16:
        raise damaged(connection, "the stamp of its state is missing")
    return found


def renew_stamp(connection: apsw.Connection) -> None:
    """Say that the database has changed."""
    connection.execute(
        "UPDATE meta SET value = iif(key = 'stamp', randomblob(16), value + 1) WHERE key IN ('stamp', 'changes')"
    )


def read_change(connection: apsw.Connection) -> tuple[bytes, int]:
    """Which collection this is, whatever its folder is called, and how often it was changed; 0 is not known."""
    found = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('collection', 'changes')"))
    if not found:
        return b"", 0  # an older one
    owner, change = found.get("collection"), found.get("changes")
    if not isinstance(owner, bytes) or len(owner) != 16 or not isinstance(change, int) or change < 0:
        raise damaged(connection, "the number of its last change is missing")
    return owner, change


def read_header(connection: apsw.Connection) -> StoreHeader | None:
    found = dict(
        connection.execute(
            "SELECT key, value FROM meta WHERE key IN ('model', 'canaries', 'accepted', 'checksum')"
        )
    )
    if not found:
        return None
    values = [found.get(name) for name in _HEADER]
    if not agree([found.get("checksum")], [header_checksum(*values)]):
        raise damaged(connection, "what says which model made its vectors differs from its checksum")
    try:
        model = ModelInfo(**json.loads(found["model"]))
        canaries = np.frombuffer(found["canaries"], dtype="<f4").reshape(-1, model.dimensions)
        return StoreHeader(model, canaries, tuple(json.loads(found["accepted"])))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(connection, "what says which model made its vectors can't be read") from error


def write_header(connection: apsw.Connection, header: StoreHeader, place: str) -> None:
    """Set the header, extend ``accepted`` of the one that is there, or replace it while nothing is held.

    Raises:
        ModelMismatchError: the collection holds vectors of another model.
        InputError: canaries that don't fit the model.
    """
    canaries = checked_canaries(header)
    if connection.execute("SELECT EXISTS (SELECT 1 FROM records) OR EXISTS (SELECT 1 FROM passages)").get:
        refuse_other_model(read_header(connection), header, place)
    values = (
        json.dumps(dataclasses.asdict(header.model), default=dict),
        canaries.tobytes(),
        json.dumps(header.accepted),
    )
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [*zip(_HEADER, values, strict=True), ("checksum", header_checksum(*values))],
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
        connection.execute(
            "INSERT OR REPLACE INTO record_checksums VALUES (?, ?)",
            (number, record_checksum(number, record.id, record.source, digest, facts, record.text)),
        )
        first = first_passage(number)
        passages = [
            (first + place, span.start, span.end, data[(row + place) * width : (row + place + 1) * width])
            for place, span in enumerate(record.spans)
        ]
        connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?)", passages)
        connection.executemany(
            "INSERT INTO passage_checksums VALUES (?, ?)",
            [(passage[0], passage_checksum(*passage)) for passage in passages],
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
            connection.execute("DELETE FROM record_checksums WHERE number = ?", (number,))
            gone += 1
    return gone


def read_record(connection: apsw.Connection, id: str) -> Record | None:
    found = connection.execute(f"{_RECORDS} WHERE id = ?", (id,)).fetchone()
    return None if found is None else _record(connection, found)


def read_batches(
    connection: apsw.Connection, condition: str, parameters: Parameters, size: int
) -> Iterator[list[Record]]:
    """Records that satisfy a condition, in the order of insertion."""
    batch: list[Record] = []
    for row in connection.execute(f"{_RECORDS} WHERE {condition} ORDER BY number", parameters):
        batch.append(_record(connection, row))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def read_vector_batches(
    connection: apsw.Connection, condition: str, parameters: Parameters, size: int
) -> Iterator[tuple[list[Record], Matrix]]:
    """As `read_batches`, each with its passages' vectors.

    Raises:
        CorruptStoreError: a row differs from its checksum, or records and passages don't belong together.
    """
    header = read_header(connection)
    width = 0 if header is None else header.model.dimensions
    records = connection.execute(f"{_RECORDS} WHERE {condition} ORDER BY number", parameters)
    # Passages by a second cursor: joined to the text, a long one would be read again for each of them.
    passages: Iterator[Any] = connection.execute(
        "SELECT records.number, passages.number, start, stop, vector, checksum FROM records CROSS JOIN passages "
        f"ON passages.number BETWEEN records.number << {ORDINAL_BITS} "
        f"AND (records.number << {ORDINAL_BITS}) | {MAX_PASSAGES - 1} "
        "LEFT JOIN passage_checksums ON passage_checksums.number = passages.number "
        f"WHERE {condition} ORDER BY records.number, passages.number",
        parameters,
    )
    owned = itertools.groupby(passages, key=operator.itemgetter(0))
    while chosen := list(itertools.islice(records, size)):
        batch: list[Record] = []
        data: list[bytes] = []
        for row in chosen:
            number, name, source, text, facts = _checked(connection, row)
            owner, found = next(owned, (None, ()))
            spans = []
            for _, *passage in found:
                _, start, stop, vector, _ = _checked_passage(connection, passage)
                spans.append(Span(start, stop))
                data.append(vector)
            if owner != number or any(len(vector) != 4 * width for vector in data[-len(spans) :]):
                raise damaged(connection, f"record {name!r} and its passages don't belong together")
            batch.append(Record(name, text, facts, source, tuple(spans)))
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
    found = _passages(connection, number)
    data = b"".join([vector for _, _, _, vector, _ in found])
    if not found or len(data) % (4 * len(found)):
        raise damaged(connection, f"record {id!r} and its passages don't belong together")
    return np.frombuffer(data, dtype="<f4").reshape(len(found), -1).astype(np.float32, copy=False)


def read_hit(
    connection: apsw.Connection,
    passage: int,
    score: float,
    fetched: dict[int, tuple[str, str, dict[str, Any]]],
) -> Hit:
    """The hit of a passage; ``fetched`` remembers records between calls of one search."""
    held = connection.execute(f"{_PASSAGES} WHERE number = ?", (passage,)).fetchone()
    number = passage >> ORDINAL_BITS
    apart = f"record number {number} and its passages don't belong together"
    if held is None:
        raise damaged(connection, apart)
    if number not in fetched:
        row = connection.execute(f"{_RECORDS} WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise damaged(connection, apart)
        _, name, _, text, facts = _checked(connection, row)
        fetched[number] = name, text, facts
    _, start, stop, _, _ = _checked_passage(connection, held)
    name, text, facts = fetched[number]
    return Hit(name, score, text[start:stop], dict(facts), Span(start, stop))


def passages_in_order(connection: apsw.Connection) -> Iterator[tuple[int, bytes]]:
    """The number and the vector of every passage, each compared with its checksum."""
    for row in connection.execute(f"{_PASSAGES} ORDER BY number"):
        number, _, _, vector, _ = _checked_passage(connection, row)
        yield number, vector


def first_inconsistency(connection: apsw.Connection) -> str | None:
    """What no SQL constraint says: every record has its passages 0, 1, …, each a vector of the model's length; and
    every row is what was written.
    """
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
    for kind, columns in (("record", "id, source, digest, metadata, text"), ("passage", "start, stop, vector")):
        listed = 0
        for table in (f"{kind}s", f"removed_{kind}s"):
            listed += connection.execute(f"SELECT count(*) FROM {table}").get
            found = connection.execute(
                f"SELECT number FROM {table} LEFT JOIN {kind}_checksums USING (number) WHERE checksum IS NULL OR "
                f"checksum NOT IN ({NOT_KNOWN}, {kind}_checksum(number, {columns})) LIMIT 1"
            ).fetchone()
            if found is not None:
                return f"{kind} number {found[0]} differs from its checksum"
        if connection.execute(f"SELECT count(*) FROM {kind}_checksums").get != listed:
            return f"there are {listed:,} {kind}s, and another number of checksums of them"
    return None


def damaged(connection: apsw.Connection, what: str) -> CorruptStoreError:
    """Says which file is damaged, and the cure."""
    return CorruptStoreError(f"{connection.filename} is damaged: {what}. {COLLECTION.cure}")


def _number(connection: apsw.Connection, id: str) -> int | None:
    found = connection.execute("SELECT number FROM records WHERE id = ?", (id,)).fetchone()
    return None if found is None else int(found[0])


def _delete_passages(connection: apsw.Connection, number: int) -> None:
    for table in ("passages", "passage_checksums"):
        connection.execute(
            f"DELETE FROM {table} WHERE number BETWEEN ? AND ?", (first_passage(number), last_passage(number))
        )


def _passages(connection: apsw.Connection, record: int) -> list[Any]:
    bounds = (first_passage(record), last_passage(record))
    found: list[Any] = connection.execute(_PASSAGES_OF, bounds).fetchall()
    if not found or found[0][5] != len(found):
        raise damaged(connection, f"record number {record} and its passages don't belong together")
    return [_checked_passage(connection, row[:5]) for row in found]


def _record(connection: apsw.Connection, row: Any) -> Record:
    number, name, source, text, facts = _checked(connection, row)
    spans = tuple(Span(start, stop) for _, start, stop, _, _ in _passages(connection, number))
    return Record(name, text, facts, source, spans)


def _checked(connection: apsw.Connection, row: Any) -> tuple[int, str, str | None, str, dict[str, Any]]:
    """Number, id, source, text and metadata of a row of ``_RECORDS`` that is what was written."""
    number, name, source, digest, metadata, text, checksum = row
    if not agree([checksum], [record_checksum(number, name, source, digest, metadata, text)]):
        raise damaged(connection, f"record {name!r} (number {number}) differs from its checksum")
    try:
        facts = json.loads(metadata)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(connection, f"the metadata of record {name!r} can't be read") from error
    return number, name, source, text, facts


def _checked_passage(connection: apsw.Connection, row: Any) -> Any:
    """A row of ``_PASSAGES`` that is what was written."""
    number, start, stop, vector, checksum = row
    if not agree([checksum], [passage_checksum(number, start, stop, vector)]):
        raise damaged(connection, f"a passage of record number {number >> ORDINAL_BITS} differs from its checksum")
    return row
