"""The tables of ledger.db."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from textkin.stores.local.checksums import IMPOSSIBLE, NOT_KNOWN
from textkin.stores.sqlite import FileKind

ENTRY_BYTES: Final = 160
"""What an entry takes beside its vector: two rows, an index entry and their page overhead."""

_TABLES = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE models (
    fingerprint TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    info TEXT NOT NULL,                        -- types.ModelInfo as JSON
    canaries BLOB                              -- float32, little endian
) STRICT, WITHOUT ROWID;
CREATE TABLE spaces (                          -- whose vectors can be compared
    number INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    role TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    entries INTEGER NOT NULL DEFAULT 0,
    UNIQUE (fingerprint, role)
) STRICT;
CREATE TABLE entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    space INTEGER NOT NULL,
    digest BLOB NOT NULL,                      -- SHA-256 of the text as sent; the text is kept nowhere
    tokens INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    day INTEGER NOT NULL,                      -- last used, days since 1970-01-01
    checksum INTEGER NOT NULL,                 -- entry_checksum; before the third version CRC-32 of the vector
    UNIQUE (space, digest)
) STRICT;
CREATE TABLE vectors (number INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
"""
_BY_DAY = """
CREATE INDEX entries_by_day ON entries (day, number);
"""
_CHECKSUMS = f"""
UPDATE entries SET checksum = ifnull(
    (
        SELECT iif(vector_checksum(vector) = checksum,
            entry_checksum(space, digest, tokens, truncated, vector), {IMPOSSIBLE})
        FROM vectors WHERE vectors.number = entries.number
    ),
    {IMPOSSIBLE}
);
ALTER TABLE models ADD COLUMN checksum INTEGER;
UPDATE models SET checksum = model_checksum(fingerprint, name, dimensions, info, canaries);
INSERT INTO settings SELECT 'checksum', limit_checksum(value) FROM settings WHERE key = 'limit';
INSERT INTO settings VALUES ('ledger', randomblob(16)), ('changes', 0);
"""
# A database that can't be written, as if it had the columns and rows of the last script.
_READ_WITHOUT = f"""
CREATE TEMP VIEW entries AS
    SELECT number, space, digest, tokens, truncated, day, {NOT_KNOWN} AS checksum FROM main.entries;
CREATE TEMP VIEW models AS
    SELECT fingerprint, name, dimensions, info, canaries, {NOT_KNOWN} AS checksum FROM main.models;
CREATE TEMP VIEW settings AS SELECT key, value FROM main.settings UNION ALL
    SELECT 'checksum', {NOT_KNOWN} WHERE EXISTS (SELECT 1 FROM main.settings WHERE key = 'limit');
"""


def entry_checksum(space: int, digest: object, tokens: object, truncated: object, vector: object) -> int:
    """Of an entry: its key, its vector, and what is told of the text."""
    numbers = (space, tokens, truncated)
    if not all(isinstance(one, int) for one in numbers) or not isinstance(digest, bytes | bytearray):
        return IMPOSSIBLE
    if not isinstance(vector, bytes):
        return IMPOSSIBLE
    return zlib.crc32(vector, zlib.crc32(digest, zlib.crc32(struct.pack("<3q", *numbers))))


def model_checksum(fingerprint: object, name: object, dimensions: object, info: object, canaries: object) -> int:
    """Of a row of models."""
    if not isinstance(fingerprint, str) or not isinstance(name, str) or not isinstance(info, str):
        return IMPOSSIBLE
    if not isinstance(dimensions, int) or not isinstance(canaries, bytes | None):
        return IMPOSSIBLE
    texts = [text.encode() for text in (fingerprint, name, info)]
    lengths = struct.pack("<4q", dimensions, *map(len, texts))
    return zlib.crc32(canaries or b"", zlib.crc32(b"".join([lengths, *texts])))


def limit_checksum(value: object) -> int:
    """Of the size that was set."""
    return zlib.crc32(b"%d" % value) if isinstance(value, int) else IMPOSSIBLE


_CLAIMS = """
CREATE TABLE claimants (                       -- open ledgers of processes that embed
    lock TEXT PRIMARY KEY,                     -- name of a file beside this one, locked while its process lives
    renewed INTEGER NOT NULL                   -- seconds since 1970-01-01
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (                          -- texts that somebody is embedding now
    fingerprint TEXT NOT NULL,
    role TEXT NOT NULL,
    digest BLOB NOT NULL,
    lock TEXT NOT NULL,
    call INTEGER NOT NULL,                     -- which of that ledger's calls
    PRIMARY KEY (fingerprint, role, digest)
) STRICT, WITHOUT ROWID;
"""

LEDGER: Final = FileKind(
    name="ledger",
    application_id=0x74_6B_6C_67,  # "tklg"
    migrations=(_TABLES, _BY_DAY, _CHECKSUMS, _CLAIMS),
    older=_READ_WITHOUT,
    functions=(
        ("vector_checksum", zlib.crc32),
        ("entry_checksum", entry_checksum),
        ("model_checksum", model_checksum),
        ("limit_checksum", limit_checksum),
    ),
    cure=(
        "Move it away, with the files -wal and -shm beside it, and run this again: a new one is made, "
        "and texts are embedded (and paid for) anew"
    ),
)
