"""Records that were removed and can be put back: the SQL of an undoable removal.

What goes is moved to tables of the same database, in the transaction that removes it: a crash leaves all or
nothing. Numbers are kept (SQLite never gives one out twice here), so that what comes back stands where it stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from textkin.errors import InputError, ModelMismatchError
from textkin.stores.local import rows
from textkin.stores.local.schema import first_passage, last_passage

_RECORD = "number, id, source, digest, metadata, text"
_PASSAGE = "number, start, stop, vector"


def remove(connection: apsw.Connection, ids: Sequence[str], what: str) -> int:
    """Move records away, in place of what was moved away before. Returns how many there were.

    Where none of them is there, what was moved away before stays.
    """
    header = rows.read_header(connection)
    there = "SELECT 1 FROM records WHERE id = ?"
    if header is None or not any(connection.execute(there, (name,)).fetchone() for name in ids):
        return 0
    forget(connection)
    connection.execute("INSERT INTO removal VALUES (?, ?)", (header.model.fingerprint, what))
    gone = 0
    for name in ids:
        connection.execute(
            f"INSERT INTO removed_records SELECT {_RECORD} FROM records WHERE id = ? "
            "AND number NOT IN (SELECT number FROM removed_records)",
            (name,),
        )
        gone += connection.changes()
    for number in _numbers(connection):
        bounds = (first_passage(number), last_passage(number))
        connection.execute(
            f"INSERT INTO removed_passages SELECT {_PASSAGE} FROM passages WHERE number BETWEEN ? AND ?", bounds
        )
        connection.execute("DELETE FROM passages WHERE number BETWEEN ? AND ?", bounds)
    connection.execute("DELETE FROM records WHERE number IN (SELECT number FROM removed_records)")
    return gone


def restore(connection: apsw.Connection, place: str) -> int:
    """Move the records back. Returns how many.

    Raises:
        InputError: there are none, or one of their ids is in use again.
        ModelMismatchError: the collection holds another model's vectors now.
    """
    kept = connection.execute("SELECT fingerprint FROM removal").fetchone()
    if kept is None:
        raise InputError(
            f"{place} has nothing to undo: only the last removal of duplicates is kept, until it is undone"
        )
    header = rows.read_header(connection)
    if header is None or header.model.fingerprint != kept[0]:
        raise ModelMismatchError(
            f"{place} holds vectors of another model now than those that were removed; they can't come back"
        )
    taken = connection.execute(
        "SELECT id FROM removed_records WHERE id IN (SELECT id FROM records) ORDER BY number LIMIT 3"
    ).fetchall()
    if taken:
        named = ", ".join(repr(name) for (name,) in taken)
        raise InputError(f"{place} has records with these ids again: {named}. Remove them, then undo")
    connection.execute(f"INSERT INTO records ({_RECORD}) SELECT {_RECORD} FROM removed_records ORDER BY number")
    back = connection.changes()
    connection.execute(
        f"INSERT INTO passages ({_PASSAGE}) SELECT {_PASSAGE} FROM removed_passages ORDER BY number"
    )
    forget(connection)
    return back


def forget(connection: apsw.Connection) -> int:
    """Drop what can be put back. Returns how many records it were."""
    count = int(connection.execute("SELECT count(*) FROM removed_records").get)
    for kind in ("record", "passage"):
        connection.execute(
            f"DELETE FROM {kind}_checksums WHERE number IN (SELECT number FROM removed_{kind}s) "
            f"AND number NOT IN (SELECT number FROM {kind}s)"
        )
    for table in ("removal", "removed_records", "removed_passages"):
        connection.execute(f"DELETE FROM {table}")
    return count


def _numbers(connection: apsw.Connection) -> list[int]:
    rows: list[tuple[Any, ...]] = connection.execute("SELECT number FROM removed_records").fetchall()
    return [int(number) for (number,) in rows]
