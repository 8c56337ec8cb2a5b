"""The one writer's place of a PostgreSQL collection: a lock of a transaction, which holds behind a pooler too.

A pooler in transaction mode (PgBouncer, Supabase's, Neon's) gives each transaction to whichever session is free. A
lock of a session then stays with a session that others use too, and protects nothing. So the place is a lock of a
transaction that stays open while the place is held. What is written is committed by other transactions; each asks
first whether that one still stands, under a second lock, which whoever takes the place waits for: no write of a
holder whose transaction was ended can come after its successor has begun.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from textkin._optional import require
from textkin.errors import StoreLockedError

_PLACE: Final = "hashtextextended('textkin ' || %(name)s, 0)"
_COMMITS: Final = "hashtextextended('textkin commits ' || %(name)s, 0)"
_IS_PLACE: Final = f"locktype = 'advisory' AND granted AND ((classid::bigint << 32) | objid::bigint) = {_PLACE}"
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """The transaction that holds the place, as the server names it.

    Attributes:
        connection: the one that the transaction is open on.
        process: the server's process that runs it.
        transaction: its virtual id, which no other transaction of this process has.
    """

    connection: Any
    process: int
    transaction: str


class WriterPlace:
    """The writer's place of one collection.

    Args:
        name: of the collection.
        url: as the user names it, for messages.
        timeout: seconds to wait for another writer.
    """

    def __init__(self, name: str, *, url: str, timeout: float) -> None:
        self._psycopg = require("psycopg", extra="postgresql")
        self._url = url
        self._name = {"name": name}
        self._timeout = timeout

    @contextmanager
    def held(self, connection: Any, what: str) -> Iterator[Holder]:
        """Hold the place by a transaction of ``connection``, which is used for nothing else meanwhile.

        Args:
            connection: in autocommit mode, outside a transaction.
            what: told to whoever has to wait.

        Raises:
            StoreLockedError: another writer did not finish in time.
        """
        end = time.monotonic() + self._timeout
        while not self._try(connection, what):
            connection.execute("ROLLBACK")
            if time.monotonic() > end:
                raise self._taken(connection)
            time.sleep(_LOOK_SECONDS)
        try:
            row = connection.execute(
                f"SELECT pid, virtualtransaction FROM pg_locks WHERE pid = pg_backend_pid() AND {_IS_PLACE}",
                self._name,
            ).fetchone()
            yield Holder(connection, int(row[0]), str(row[1]))
        finally:
            # A connection that broke has lost the place with it; what broke it is told, not this.
            with suppress(self._psycopg.Error):
                connection.execute("COMMIT")

    def wait_for_predecessor(self, connection: Any) -> None:
        """Wait until the last write of whoever held the place before is committed or undone.

        Args:
            connection: another than the holder's.

        Raises:
            StoreLockedError: it did not end in time.
        """
        try:
            with connection.transaction():
                limit = f"{max(1, round(self._timeout * 1000))}ms"
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [limit])
                connection.execute(f"SELECT pg_advisory_xact_lock({_COMMITS})", self._name)
        except self._psycopg.errors.LockNotAvailable:
            raise StoreLockedError(
                f"{self._url}: a write of another session had not ended within {self._timeout:g} s; wait until it "
                "is done, then run this again"
            ) from None

    def require(self, connection: Any, holder: Holder) -> None:
        """Make sure, first of all in a transaction that writes, that the place is held until it is committed.

        Raises:
            StoreLockedError: the transaction that held it was ended from outside.
        """
        connection.execute(f"SELECT pg_advisory_xact_lock({_COMMITS})", self._name)
        if not connection.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %(pid)s AND virtualtransaction = %(own)s "
            f"AND {_IS_PLACE})",
            {**self._name, "pid": holder.process, "own": holder.transaction},
        ).fetchone()[0]:
            raise StoreLockedError(
                f"{self._url}: the server, or a pooler before it, ended the transaction that held the writer's "
                "place, so another may be writing now; nothing more was written. Run this again"
            )

    def _try(self, connection: Any, what: str) -> bool:
        """Begin a transaction and ask for the place; the transaction is open afterwards, whatever the answer."""
        connection.execute("BEGIN")
        connection.execute(
            "SELECT set_config('application_name', %s, true), (SELECT count(set_config(name, '0', true)) "
            "FROM pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout'))",
            [f"textkin: {what}"[:63]],
        )
        return bool(connection.execute(f"SELECT pg_try_advisory_xact_lock({_PLACE})", self._name).fetchone()[0])

    def _taken(self, connection: Any) -> StoreLockedError:
        holder = connection.execute(
            f"SELECT pid, application_name FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE {_IS_PLACE}",
            self._name,
        ).fetchone()
        who = "another session" if holder is None else f"session {holder[0]} ({holder[1]})"
        return StoreLockedError(
            f"{self._url} is being written by {who} and was not free within {self._timeout:g} s; wait until it is "
            "done, then run this again"
        )
