"""The tables of collection.db, and how a passage's number is made."""

from __future__ import annotations

from typing import Final

from textkin.stores.checks import MAX_PASSAGES
from textkin.stores.sqlite import FileKind

DATABASE: Final = "collection.db"
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

COLLECTION: Final = FileKind(
    name="collection",
    application_id=0x74_6B_69_6E,  # "tkin"
    migrations=(_TABLES, _SOURCES, _UNDO),
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
