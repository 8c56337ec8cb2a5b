"""The SQL of the ledger: entries and their vectors, found, kept within a limit, forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import numpy as np

from textkin.errors import CorruptStoreError, InputError, ModelMismatchError
from textkin.ledger.schema import ENTRY_BYTES, LEDGER, entry_checksum, limit_checksum
from textkin.stores.local.checksums import NOT_KNOWN, agree
from textkin.types import Vector

_PRUNED_TO: Final = 0.9
_USES: Final = """
SELECT ifnull(m.name, substr(f.fingerprint, 1, 8)), f.fingerprint, f.dimensions, f.texts, f.day
FROM (
    SELECT fingerprint, max(dimensions) AS dimensions, sum(entries) AS texts,
        max((SELECT max(day) FROM entries WHERE entries.space = spaces.number)) AS day
    FROM spaces GROUP BY fingerprint
    UNION ALL
    SELECT fingerprint, dimensions, 0, NULL FROM models
    WHERE fingerprint NOT IN (SELECT fingerprint FROM spaces)
) AS f LEFT JOIN models AS m ON m.fingerprint = f.fingerprint
ORDER BY f.texts * f.dimensions DESC, f.fingerprint
"""


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """What the ledger knows of one text."""

    vector: Vector
    tokens: int
    truncated: bool


def find(connection: apsw.Connection, space: int, digest: bytes, path: Path) -> tuple[int, int, Remembered] | None:
    """An entry's number, the day it was last used, and what it holds."""
    found: Any = connection.execute(
        "SELECT number, day, tokens, truncated, checksum, vector FROM entries JOIN vectors USING (number) "
        "WHERE space = ? AND digest = ?",
        (space, digest),
    ).fetchone()
    if found is None:
        return None
    number, day, tokens, truncated, checksum, data = found
    if not agree([checksum], [entry_checksum(space, digest, tokens, truncated, data)]):
        raise CorruptStoreError(f"{path} is damaged: a vector differs from its checksum. {LEDGER.cure}")
    return number, day, Remembered(np.frombuffer(data, dtype="<f4"), tokens, bool(truncated))


def uses(connection: apsw.Connection) -> list[Any]:
    """Name, fingerprint, dimensions, texts and last day of each model, the largest first."""
    return connection.execute(_USES).fetchall()


def space(connection: apsw.Connection, fingerprint: str, role: str) -> int | None:
    """The number of a model's vectors in one role; None where there are none."""
    found: Any = connection.execute(
        "SELECT number FROM spaces WHERE fingerprint = ? AND role = ?", (fingerprint, role)
    ).fetchone()
    return None if found is None else int(found[0])


def space_for(connection: apsw.Connection, fingerprint: str, role: str, dimensions: int, path: Path) -> int:
    """As `space`, made where there is none.

    Raises:
        ModelMismatchError: the model had vectors of another length before.
    """
    connection.execute(
        "INSERT INTO spaces (fingerprint, role, dimensions) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (fingerprint, role, dimensions),
    )
    number, known = connection.execute(
        "SELECT number, dimensions FROM spaces WHERE fingerprint = ? AND role = ?", (fingerprint, role)
    ).get
    if known != dimensions:
        raise ModelMismatchError(
            f"{path} holds vectors with {known} dimensions of the model {fingerprint[:8]}…, not with {dimensions}"
        )
    return int(number)


def size(connection: apsw.Connection) -> int:
    """Bytes that all vectors and entries take."""
    total = connection.execute(f"SELECT sum(entries * (4 * dimensions + {ENTRY_BYTES})) FROM spaces").get
    return int(total or 0)


def limit(connection: apsw.Connection) -> int | None:
    """The size that was set; None for no limit."""
    found = dict(connection.execute("SELECT key, value FROM settings WHERE key IN ('limit', 'checksum')"))
    if not found:
        return None
    value = found.get("limit")
    if not isinstance(value, int) or not agree([found.get("checksum")], [limit_checksum(value)]):
        raise CorruptStoreError(
            f"{connection.filename} is damaged: its size limit differs from its checksum. {LEDGER.cure}"
        )
    return value


def read_change(connection: apsw.Connection) -> tuple[bytes, int]:
    """Which ledger this is, and how often it was changed; 0 is not known."""
    found = dict(connection.execute("SELECT key, value FROM settings WHERE key IN ('ledger', 'changes')"))
    owner, change = found.get("ledger", b""), found.get("changes", 0)
    if not isinstance(owner, bytes) or not isinstance(change, int) or len(owner) not in (0, 16):
        raise CorruptStoreError(
            f"{connection.filename} is damaged: the number of its last change is missing. {LEDGER.cure}"
        )
    return owner, change


def set_limit(connection: apsw.Connection, value: int | None) -> None:
    """Keep a size, or take it away."""
    connection.execute("DELETE FROM settings WHERE key IN ('limit', 'checksum')")
    if value is not None:
        rows = [("limit", value), ("checksum", limit_checksum(value))]
        connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)


def first_inconsistency(connection: apsw.Connection) -> str | None:
    """What no SQL constraint says: every entry has its vector, and every row is what was written."""
    limit(connection)
    found: Any = connection.execute(
        "SELECT entries.number FROM entries LEFT JOIN vectors USING (number) WHERE vector IS NULL OR "
        f"checksum NOT IN ({NOT_KNOWN}, entry_checksum(space, digest, tokens, truncated, vector)) LIMIT 1"
    ).fetchone()
    if found is not None:
        return f"the vector number {found[0]} differs from its checksum"
    found = connection.execute(
        "SELECT name FROM models WHERE checksum IS NULL OR "
        f"checksum NOT IN ({NOT_KNOWN}, model_checksum(fingerprint, name, dimensions, info, canaries)) LIMIT 1"
    ).fetchone()
    if found is not None:
        return f"what is known of the model {found[0]} differs from its checksum"
    if (
        connection.execute("SELECT count(*) FROM entries").get
        != connection.execute("SELECT count(*) FROM vectors").get
    ):
        return "there are vectors of no text"
    found = connection.execute(
        "SELECT number FROM spaces WHERE entries != (SELECT count(*) FROM entries WHERE space = spaces.number) "
        "OR EXISTS (SELECT 1 FROM entries JOIN vectors USING (number) WHERE space = spaces.number "
        "AND length(vector) != 4 * spaces.dimensions) LIMIT 1"
    ).fetchone()
    if found is None:
        found = connection.execute(
            "SELECT space FROM entries WHERE space NOT IN (SELECT number FROM spaces) LIMIT 1"
        ).fetchone()
    return None if found is None else f"what is known of the vectors number {found[0]} contradicts them"


def shrink(connection: apsw.Connection, limit: int | None) -> int:
    """Forget the entries that were not used for longest until the size is well under the limit."""
    if limit is None or size(connection) <= limit:
        return 0
    over = size(connection) - int(limit * _PRUNED_TO)
    last: Any = None
    oldest: Any = connection.execute(
        f"SELECT day, entries.number, 4 * dimensions + {ENTRY_BYTES} FROM entries "
        "JOIN spaces ON spaces.number = entries.space ORDER BY day, entries.number"
    )
    for day, number, held in oldest:
        last = (day, number)
        over -= held
        if over <= 0:
            break
    oldest.close(True)
    return 0 if last is None else forget(connection, "(day, number) <= (?, ?)", last)


def holds(connection: apsw.Connection, fingerprint: str) -> bool:
    """Whether any vector of this model is here."""
    found = connection.execute("SELECT 1 FROM spaces WHERE fingerprint = ? AND entries > 0", (fingerprint,))
    return found.fetchone() is not None


def forget(connection: apsw.Connection, condition: str, parameters: tuple[int, int]) -> int:
    """Delete the entries that satisfy a condition. Returns how many there were."""
    chosen = f"FROM entries WHERE {condition}"
    connection.execute(f"DELETE FROM vectors WHERE number IN (SELECT number {chosen})", parameters)
    counts: list[Any] = connection.execute(
        f"SELECT space, count(*) {chosen} GROUP BY space", parameters
    ).fetchall()
    connection.execute(f"DELETE {chosen}", parameters)
    for space, count in counts:
        connection.execute("UPDATE spaces SET entries = entries - ? WHERE number = ?", (count, space))
    return sum(count for _, count in counts)


def spaces_of(connection: apsw.Connection, model: str | None) -> list[int]:
    """The spaces of the model that a name or the beginning of a fingerprint means; None means all.

    Raises:
        InputError: it means none, or more than one.
    """
    everything: list[Any] = connection.execute(
        "SELECT number, fingerprint, name FROM spaces LEFT JOIN models USING (fingerprint)"
    ).fetchall()
    if model is None:
        return [number for number, _, _ in everything]
    chosen = [row for row in everything if row[2] == model]
    if not chosen and len(model) >= 4:
        chosen = [row for row in everything if row[1].startswith(model.lower())]
        if len({row[1] for row in chosen}) > 1:
            raise InputError(f"more than one model's fingerprint begins with {model}; give more digits")
    if not chosen:
        names = sorted({row[2] or row[1][:8] for row in everything})
        raise InputError(
            f"the ledger has no vectors of {model!r}; it has those of: {', '.join(names) or 'no model'}"
        )
    return [number for number, _, _ in chosen]
