"""PostgreSQL with the pgvector extension: one table per collection, in the schema ``textkin``.

Nothing here rests on a session, so that a pooler in transaction mode may stand before the server: no prepared
statements, no settings or locks of a session, temporary tables only within a transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from uuid import UUID

from textkin._optional import require
from textkin.errors import InputError, NewerVersionError, StoreError, StoreLockedError, StoreNotFoundError
from textkin.stores.pgvector_place import Holder, WriterPlace
from textkin.stores.pgvector_sql import (
    COLUMNS,
    MOST_INDEXED,
    STEPS,
    closeness,
    create_table,
    fields_json,
    to_point,
    to_sql,
)
from textkin.stores.points.backend import KIND, SOURCE, Point
from textkin.stores.points.encoding import is_plain
from textkin.types import Vector
from textkin.where.conditions import Compare, Condition, In

DEFAULT_NAME: Final = "textkin"
_PAGE: Final = 1000
_EF_SEARCH: Final = 200
_SETUP_LOCK: Final = 0x7465787
_CONNECTIONS: Final = 8


class PgVectorPoints:
    """One collection in a PostgreSQL database.

    Args:
        address: a libpq URL.
        shown: the same without a password.
        name: of the collection.
        hnsw: make an HNSW index and search by it: faster from some hundred thousand vectors on, and approximate.
        create: make schema and table where there are none.
        timeout: seconds to wait for a connection, and for another writer.

    Raises:
        MissingDependencyError: psycopg or pgvector is not installed (``textkin[postgresql]``).
        StoreNotFoundError: no such collection, and ``create`` is False.
        NewerVersionError: a newer textkin made the schema.
        StoreError: the server can't be reached, refuses the user, or has no pgvector.
    """

    most = 1 << 20

    def __init__(
        self,
        address: str,
        *,
        shown: str,
        name: str = DEFAULT_NAME,
        hnsw: bool = False,
        create: bool = True,
        timeout: float = 10.0,
    ) -> None:
        self._psycopg = require("psycopg", extra="postgresql")
        self._vectors = require("pgvector.psycopg", extra="postgresql")
        pools = require("psycopg_pool", extra="postgresql")
        self._pool_timeout: type[BaseException] = pools.PoolTimeout
        self.url = shown
        self.exact = not hnsw
        self._name = name
        self._timeout = timeout
        self._threads = threading.RLock()
        self._held: list[Holder] = []
        self._place = WriterPlace(name, url=shown, timeout=timeout)
        options = {"connect_timeout": max(2, int(timeout)), "prepare_threshold": None}
        with self._translated(), self._psycopg.connect(address, **options) as first:
            self._bring_up_to_date(first, create)
            if not create and self._table_of(first) is None:
                raise StoreNotFoundError(f"{shown}: there is no collection {name!r} in this database")
        with self._translated():
            self._pool = pools.ConnectionPool(
                address,
                min_size=1,
                max_size=_CONNECTIONS,
                timeout=timeout,
                kwargs={**options, "autocommit": True},
                configure=self._vectors.register_vector,
                open=True,
            )

    def close(self) -> None:
        if not self._pool.closed:
            self._pool.close()

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        if not self._threads.acquire(timeout=self._timeout):
            raise StoreLockedError(f"{self.url} is being written by another thread; wait until it is done")
        try:
            if self._held:
                yield
                return
            with self._connection() as connection, self._place.held(connection, what) as holder:
                with self._connection() as other:
                    self._place.wait_for_predecessor(other)
                self._held.append(holder)
                try:
                    yield
                    if not self.exact:
                        with self._writer() as writer:
                            self._index(writer)
                finally:
                    self._held.pop()
        finally:
            self._threads.release()

    def writing(self, what: str) -> AbstractContextManager[None]:
        return self._writing(what)

    # -- header --------------------------------------------------------------------------------------------

    def read_header(self) -> str | None:
        with self._connection() as connection:
            row = connection.execute(
                "SELECT header FROM textkin.collections WHERE name = %s", [self._name]
            ).fetchone()
        return None if row is None else str(row[0])

    def write_header(self, text: str, dimensions: int) -> None:
        if not self.exact and dimensions > MOST_INDEXED:
            raise InputError(
                f"{self.url}: HNSW takes at most {MOST_INDEXED} dimensions (as halfvec), and the model has "
                f"{dimensions}; leave index=hnsw out"
            )
        with self._writer() as connection:
            row = connection.execute(
                "SELECT number, dimensions FROM textkin.collections WHERE name = %s FOR UPDATE", [self._name]
            ).fetchone()
            if row is not None and row[1] != dimensions:
                connection.execute(f"DROP TABLE textkin.points_{int(row[0])}")
                connection.execute("DELETE FROM textkin.collections WHERE name = %s", [self._name])
                row = None
            if row is None:
                row = connection.execute(
                    "INSERT INTO textkin.collections (name, dimensions, header) VALUES (%s, %s, %s) "
                    "RETURNING number",
                    [self._name, dimensions, text],
                ).fetchone()
                for statement in create_table(int(row[0]), dimensions):
                    connection.execute(statement)
            else:
                connection.execute(
                    "UPDATE textkin.collections SET header = %s WHERE name = %s", [text, self._name]
                )

    # -- points --------------------------------------------------------------------------------------------

    def check(self, points: Sequence[Point]) -> None:
        """Nothing that a record may hold is too much."""

    def put(self, points: Sequence[Point]) -> None:
        if not points:
            return
        with self._writer() as connection:
            table, _ = self._existing(connection)
            keys = [point.key for point in points]
            new = not connection.execute(
                f"SELECT EXISTS (SELECT FROM {table} WHERE key = ANY(%s::uuid[]))", [keys]
            ).fetchone()[0]
            # We are the only writer: rows of which none is there go in directly, others by way of a second table.
            target = table if new else "arriving"
            if not new:
                connection.execute(f"CREATE TEMP TABLE arriving (LIKE {table}) ON COMMIT DROP")
            with connection.cursor().copy(f"COPY {target} ({COLUMNS}, vector) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["uuid", "text", "text", "text", "text", "jsonb", "vector"])
                for point in points:
                    copy.write_row(
                        (
                            UUID(point.key),
                            point.text,
                            point.payload,
                            point.fields[KIND],
                            _storable(point.fields.get(SOURCE)),
                            fields_json(self._psycopg, point),
                            point.vector,
                        )
                    )
            if not new:
                connection.execute(
                    f"INSERT INTO {table} ({COLUMNS}, vector) SELECT {COLUMNS}, vector FROM arriving "
                    "ON CONFLICT (key) DO UPDATE SET text = excluded.text, payload = excluded.payload, "
                    "kind = excluded.kind, source = excluded.source, fields = excluded.fields, "
                    "vector = excluded.vector"
                )

    def remove(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        with self._writer() as connection:
            found = self._table_of(connection)
            if found is not None:
                connection.execute(f"DELETE FROM {found[0]} WHERE key = ANY(%s::uuid[])", [list(keys)])

    def fetch(self, keys: Sequence[str], *, vectors: bool) -> dict[str, Point]:
        points: dict[str, Point] = {}
        with self._connection() as connection:
            found = self._table_of(connection)
            if found is None:
                return points
            columns = f"{COLUMNS}, vector" if vectors else COLUMNS
            for start in range(0, len(keys), _PAGE):
                some = list(keys[start : start + _PAGE])
                rows = connection.execute(
                    f"SELECT {columns} FROM {found[0]} WHERE key = ANY(%s::uuid[])", [some], binary=True
                ).fetchall()
                points.update((str(row[0]), to_point(row)) for row in rows)
        return points

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        with self._connection() as connection:
            found = self._table_of(connection)
            if found is None:
                return
            condition, values = to_sql(where)
            columns = f"{COLUMNS}, vector" if vectors else COLUMNS
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                with connection.cursor(name="pages", binary=True) as cursor:
                    cursor.execute(f"SELECT {columns} FROM {found[0]} WHERE {condition}", values)
                    while rows := cursor.fetchmany(_PAGE):
                        yield [to_point(row) for row in rows]

    def count(self, where: Condition) -> int:
        with self._connection() as connection:
            found = self._table_of(connection)
            if found is None:
                return 0
            condition, values = to_sql(where)
            row = connection.execute(f"SELECT count(*) FROM {found[0]} WHERE {condition}", values).fetchone()
        return int(row[0])

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        settings = {"enable_indexscan": "off"}
        if not self.exact:
            searched = min(1000, max(_EF_SEARCH, count))
            settings = {"hnsw.ef_search": str(searched), "hnsw.iterative_scan": "strict_order"}
        # One statement for the settings and the table: each is a way to the server and back.
        called = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        names = [word for setting in settings.items() for word in setting]
        with self._connection() as connection, connection.transaction():
            found = connection.execute(
                f"SELECT number, dimensions, {called} FROM textkin.collections WHERE name = %s",
                [*names, self._name],
            ).fetchone()
            if found is None:
                return []
            table, dimensions = f"textkin.points_{int(found[0])}", int(found[1])
            condition, values = ("true", []) if where is None else to_sql(where)
            closer, kind = closeness(dimensions)
            order = "vector <#> %s" if self.exact else f"{closer} <#> %s::{kind}({dimensions})"
            rows = connection.execute(
                f"SELECT {COLUMNS}, vector FROM {table} WHERE {condition} ORDER BY {order} LIMIT %s",
                [*values, query, count],
                binary=True,
            ).fetchall()
        return [to_point(row) for row in rows]

    def can(self, leaf: Compare | In) -> bool:
        values = leaf.values if isinstance(leaf, In) else (leaf.value,)
        if any(value is None or (isinstance(value, str) and "\0" in value) for value in values):
            return False
        return leaf.field in (KIND, SOURCE) or is_plain(leaf.field)

    # -- inside --------------------------------------------------------------------------------------------

    def _bring_up_to_date(self, connection: Any, create: bool) -> None:
        """Apply the steps that this database lacks."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
            there = connection.execute("SELECT to_regclass('textkin.version')").fetchone()[0]
            version = connection.execute("SELECT number FROM textkin.version").fetchone()[0] if there else 0
            if version > len(STEPS):
                raise NewerVersionError(
                    f"{self.url}: a newer textkin made its tables (version {version}); update textkin"
                )
            if version == 0 and not create:
                raise StoreNotFoundError(f"{self.url}: there is no textkin collection in this database")
            for number, step in enumerate(STEPS[version:], start=version + 1):
                for statement in step:
                    connection.execute(statement)
                connection.execute("UPDATE textkin.version SET number = %s", [number])

    def _table_of(self, connection: Any) -> tuple[str, int] | None:
        row = connection.execute(
            "SELECT number, dimensions FROM textkin.collections WHERE name = %s", [self._name]
        ).fetchone()
        return None if row is None else (f"textkin.points_{int(row[0])}", int(row[1]))

    def _existing(self, connection: Any) -> tuple[str, int]:
        found = self._table_of(connection)
        if found is None:
            raise StoreError(f"{self.url}: the collection was deleted meanwhile; open it again")
        return found

    def _index(self, connection: Any) -> None:
        """Make the HNSW index where there is none and something to index: over rows that are there it is made
        several times faster than row by row. Until then a search compares every vector."""
        found = self._table_of(connection)
        if found is None or not connection.execute(f"SELECT EXISTS (SELECT FROM {found[0]})").fetchone()[0]:
            return
        closer, kind = closeness(found[1])
        name = f"{found[0].partition('.')[2]}_hnsw"
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS {name} ON {found[0]} USING hnsw (({closer}) {kind}_ip_ops)"
        )

    @contextmanager
    def _writer(self) -> Iterator[Any]:
        """A transaction that is committed only while the writer's place is held."""
        with self._connection() as connection, connection.transaction():
            if self._held:
                self._place.require(connection, self._held[-1])
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with self._translated(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.errors.FeatureNotSupported as error:
            raise StoreError(
                f"{self.url}: this PostgreSQL has no pgvector ({_first_line(error)}); install the extension on "
                "the server, e.g. the package postgresql-NN-pgvector"
            ) from None
        except self._psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(
                f"{self.url}: the user may not do this ({_first_line(error)}); have an administrator run CREATE "
                "EXTENSION vector; CREATE SCHEMA textkin AUTHORIZATION your_user;"
            ) from None
        except self._pool_timeout as error:
            raise StoreError(
                f"{self.url}: no connection within {self._timeout:g} s ({error}). A pooler before the server must "
                "have two connections to it for each writer (default_pool_size)"
            ) from None
        except self._psycopg.Error as error:
            raise StoreError(f"{self.url}: PostgreSQL answered: {_first_line(error)}{_cure(error)}") from None


def _storable(text: Any) -> str | None:
    return None if text is None or "\0" in text else str(text)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _cure(error: Exception) -> str:
    """What helps against a pooler's own refusals."""
    told = str(error)
    if "statement pooling" in told:
        return "; textkin needs transactions: use a pooler in transaction or session mode, or the server itself"
    if "query_wait_timeout" in told:
        return "; the pooler had none free: it must have two connections for each writer (default_pool_size)"
    return ""
