"""The tables of collection.db, and how a passage's number is made."""

from __future__ import annotations

from typing import Final

from textkin.stores.checks import MAX_PASSAGES
from textkin.stores.local.checksums import NOT_KNOWN, header_checksum, passage_checksum, record_checksum
from textkin.stores.sqlite import FileKind
from textkin.vectors import own_files

DATABASE: Final = own_files.DATABASE
DERIVED: Final = ("join.bin", "calibration.json")
"""Files that other layers keep beside it; they may be deleted at any time."""
ORDINAL_BITS: Final = MAX_PASSAGES.bit_length() - 1
"""A passage's number is its record's number times 2**20 plus its place in the record."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('stamp', randomblob(16));
CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of the first insertion
    id TEXT NOT NULL UNIQUE,
    source TEXT,
    digest TEXT NOT NULL,                      -- text.digest.record_digest
    metadata TEXT NOT NULL,                    -- a flat JSON object
    text TEXT NOT NULL                         -- last, so that filters needn't read it
) STRICT;
CREATE TABLE passages (
    number INTEGER PRIMARY KEY,                -- record * 2**20 + ordinal
    start INTEGER NOT NULL,                    -- characters of the record's text
    stop INTEGER NOT NULL,
    vector BLOB NOT NULL                       -- float32, little endian, unit length
) STRICT;
"""
_SOURCES = """
CREATE INDEX records_by_source ON records (source) WHERE source IS NOT NULL;
"""
_UNDO = """
CREATE TABLE removal (fingerprint TEXT NOT NULL, what TEXT NOT NULL) STRICT;  -- one row, or none
CREATE TABLE removed_records (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    source TEXT,
    digest TEXT NOT NULL,
    metadata TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE removed_passages (
    number INTEGER PRIMARY KEY,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    vector BLOB NOT NULL
) STRICT;
"""

_CHECKSUMS = """
CREATE TABLE record_checksums (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL) STRICT;
CREATE TABLE passage_checksums (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL) STRICT;
INSERT INTO record_checksums
    SELECT number, record_checksum(number, id, source, digest, metadata, text) FROM records;
INSERT INTO record_checksums
    SELECT number, record_checksum(number, id, source, digest, metadata, text) FROM removed_records;
INSERT INTO passage_checksums SELECT number, passage_checksum(number, start, stop, vector) FROM passages;
INSERT INTO passage_checksums SELECT number, passage_checksum(number, start, stop, vector) FROM removed_passages;
INSERT INTO meta SELECT 'checksum', header_checksum(model.value, canaries.value, accepted.value)
    FROM meta AS model, meta AS canaries, meta AS accepted
    WHERE model.key = 'model' AND canaries.key = 'canaries' AND accepted.key = 'accepted';
INSERT INTO meta VALUES ('collection', randomblob(16)), ('changes', 0);
"""
# A database that can't be written, as if it had the tables and rows of the last script.
_READ_WITHOUT = f"""
CREATE TEMP VIEW record_checksums AS SELECT number, {NOT_KNOWN} AS checksum FROM records;
CREATE TEMP VIEW passage_checksums AS SELECT number, {NOT_KNOWN} AS checksum FROM passages;
CREATE TEMP VIEW meta AS SELECT key, value FROM main.meta UNION ALL
    SELECT 'checksum', {NOT_KNOWN} WHERE EXISTS (SELECT 1 FROM main.meta WHERE key = 'model');
CREATE TEMP TABLE removed_records (number, id, source, digest, metadata, text);
CREATE TEMP TABLE removed_passages (number, start, stop, vector);
"""

COLLECTION: Final = FileKind(
    name="collection",
    application_id=0x74_6B_69_6E,  # "tkin"
    migrations=(_TABLES, _SOURCES, _UNDO, _CHECKSUMS),
    older=_READ_WITHOUT,
    functions=(
        ("record_checksum", record_checksum),
        ("passage_checksum", passage_checksum),
        ("header_checksum", header_checksum),
    ),
    cure=(
        f"Restore the whole folder ({DATABASE} with its -wal and -shm, if any) from a backup, or index the texts "
        "into a new folder: vectors are kept in the ledger, so that costs little"
    ),
)


def first_passage(record: int) -> int:
    """The number of a record's first passage."""
    return record << ORDINAL_BITS


def last_passage(record: int) -> int:
    """The highest number that a passage of the record can have."""
    return (record << ORDINAL_BITS) | (MAX_PASSAGES - 1)
