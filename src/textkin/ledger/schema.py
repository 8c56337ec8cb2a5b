"""The tables of ledger.db."""

from __future__ import annotations

from typing import Final

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
    checksum INTEGER NOT NULL,                 -- CRC-32 of the vector
    UNIQUE (space, digest)
) STRICT;
CREATE TABLE vectors (number INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
"""
_BY_DAY = """
CREATE INDEX entries_by_day ON entries (day, number);
"""
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
    migrations=(_TABLES, _BY_DAY, _CLAIMS),
    cure=(
        "Move it away, with the files -wal and -shm beside it, and run this again: a new one is made, "
        "and texts are embedded (and paid for) anew"
    ),
)
