"""LanceDB: a folder, or an object store such as s3://."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from textkin._optional import require
from textkin._places import absolute
from textkin.errors import InputError, StoreError, StoreLockedError, StoreNotFoundError
from textkin.stores.lock import WriterLock
from textkin.stores.points.backend import KIND, NO_VECTOR, PAYLOAD, SOURCE, Point
from textkin.stores.problems import is_there, make_folder
from textkin.types import Vector
from textkin.where.conditions import And, Compare, Condition, In, Or

DEFAULT_NAME: Final = "textkin"
_PAGE: Final = 1000
_TIDIED: Final = 64
"""Writes after which small files are joined."""
_KEPT: Final = timedelta(minutes=10)
"""How long a replaced version is kept for those who still read it."""
_KEY, _TEXT, _VECTOR = "key", "text", "vector"
_COLUMNS: Final = [_KEY, _TEXT, PAYLOAD, KIND]


class LancePoints:
    """One LanceDB table, searched exactly (no vector index).

    Args:
        place: a folder, or a URL that LanceDB opens.
        name: of the table.
        create: make the table on the first write where there is none.
        timeout: seconds to wait for another writer of the folder.

    Raises:
        MissingDependencyError: lancedb is not installed (``textkin[lancedb]``).
        StoreNotFoundError: nothing there, and ``create`` is False.
        StoreError: the place can't be opened.
    """

    exact = True
    most = 1 << 20

    def __init__(
        self, place: str, *, name: str = DEFAULT_NAME, create: bool = True, timeout: float = 10.0
    ) -> None:
        lancedb = require("lancedb", extra="lancedb")
        self._arrow = require("pyarrow", extra="lancedb")
        self.url = f"lancedb:{place}" + ("" if name == DEFAULT_NAME else f"?collection={name}")
        self._name = name
        self._threads = threading.RLock()
        self._lock: WriterLock | None = None
        self._folder: Path | None = None
        self._writes = 0
        if "://" not in place:
            place = str(absolute(place))
            if not create and not is_there(Path(place) / f"{name}.lance"):
                raise StoreNotFoundError(f"there is no LanceDB table {name!r} at {place}")
            self._folder = Path(place)
            make_folder(self._folder)
            self._lock = WriterLock(self._folder, timeout)
        with self._translated():
            # Without the interval a table that is open doesn't see what others write.
            self._database = lancedb.connect(place, read_consistency_interval=timedelta(0))
        self._tables: dict[str, Any] = {}
        if not create and self._table(name) is None:
            raise StoreNotFoundError(f"{self.url}: there is no table {name!r}")

    def close(self) -> None:
        if self._writes:
            with suppress(StoreLockedError):  # all is written; who writes now joins the files at his end
                self._tidy()

    @contextmanager
    def _held(self, what: str) -> Iterator[None]:
        with self._threads:
            if self._lock is None:
                yield
            else:
                with self._lock.hold(what):
                    yield

    def writing(self, what: str) -> AbstractContextManager[None]:
        return self._held(what)

    # -- header --------------------------------------------------------------------------------------------

    @property
    def _header_name(self) -> str:
        return f"{self._name}__textkin"

    def read_header(self) -> str | None:
        table = self._table(self._header_name)
        if table is None:
            self._refuse_others()
            return None
        with self._translated():
            rows = table.to_arrow().column("header").to_pylist()
        return str(rows[0]) if rows else None

    def write_header(self, text: str, dimensions: int) -> None:
        arrow = self._arrow
        with self._translated():
            table = self._table(self._name)
            if table is None or (table.count_rows() == 0 and _width(table) != dimensions):
                schema = arrow.schema(
                    [
                        arrow.field(_KEY, arrow.string(), nullable=False),
                        (_TEXT, arrow.string()),
                        (PAYLOAD, arrow.string()),
                        (KIND, arrow.string()),
                        (SOURCE, arrow.string()),
                        (_VECTOR, arrow.list_(arrow.float32(), dimensions)),
                    ]
                )
                table = self._database.create_table(
                    self._name, schema=schema, mode="create" if table is None else "overwrite"
                )
                table.set_unenforced_primary_key([_KEY])  # or two merges at once may both insert a row
                self._tables[self._name] = table
            header = arrow.table({"header": arrow.array([text], arrow.string())})
            mode = "create" if self._table(self._header_name) is None else "overwrite"
            self._tables[self._header_name] = self._database.create_table(
                self._header_name, data=header, mode=mode
            )

    # -- points --------------------------------------------------------------------------------------------

    def check(self, points: Sequence[Point]) -> None:
        """Nothing that a record may hold is too much."""

    def put(self, points: Sequence[Point]) -> None:
        if not points:
            return
        table = self._existing()
        arrow = self._arrow
        with self._translated():
            vectors = np.stack([point.vector for point in points])
            flat = arrow.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
            rows = arrow.table(
                {
                    _KEY: [point.key for point in points],
                    _TEXT: [point.text for point in points],
                    PAYLOAD: [point.payload for point in points],
                    KIND: [str(point.fields[KIND]) for point in points],
                    SOURCE: arrow.array([point.fields.get(SOURCE) for point in points], arrow.string()),
                    _VECTOR: arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                },
                schema=table.schema,
            )
            table.merge_insert(_KEY).when_matched_update_all().when_not_matched_insert_all().execute(rows)
        self._wrote()

    def remove(self, keys: Sequence[str]) -> None:
        table = self._table(self._name)
        if not keys or table is None:
            return
        with self._translated():
            for start in range(0, len(keys), _PAGE):
                table.delete(_in(_KEY, keys[start : start + _PAGE]))
        self._wrote()

    def fetch(self, keys: Sequence[str], *, vectors: bool) -> dict[str, Point]:
        table = self._table(self._name)
        found: dict[str, Point] = {}
        if table is None:
            return found
        with self._translated():
            for start in range(0, len(keys), _PAGE):
                some = keys[start : start + _PAGE]
                query = table.search().where(_in(_KEY, some)).select(_selected(vectors)).limit(len(some))
                found.update((point.key, point) for point in _points(query.to_arrow()))
        return found

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        with self._translated():
            if self._table(self._name) is None:
                return
            table = self._database.open_table(self._name)
            table.checkout(table.version)  # all pages are of this state
            total = table.count_rows()
            if not total:
                return
            query = table.search().where(to_sql(where)).select(_selected(vectors)).limit(total)
            for batch in query.to_batches(batch_size=_PAGE):
                yield _points(self._arrow.Table.from_batches([batch]))

    def count(self, where: Condition) -> int:
        table = self._table(self._name)
        if table is None:
            return 0
        with self._translated():
            return int(table.count_rows(to_sql(where)))

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        table = self._table(self._name)
        if table is None:
            return []
        with self._translated():
            search = table.search(query, vector_column_name=_VECTOR).distance_type("dot").bypass_vector_index()
            if where is not None:
                search = search.where(to_sql(where), prefilter=True)
            return _points(search.select([*_selected(True), "_distance"]).limit(count).to_arrow())

    def can(self, leaf: Compare | In) -> bool:
        # Metadata are not columns: their names and types may differ from record to record.
        return leaf.field in (KIND, SOURCE)

    # -- inside --------------------------------------------------------------------------------------------

    def _table(self, name: str) -> Any:
        if name not in self._tables:
            with self._translated():
                if name not in self._database.list_tables().tables or self._unfinished(name):
                    return None
                self._tables[name] = self._database.open_table(name)
        return self._tables[name]

    def _unfinished(self, name: str) -> bool:
        """Whether the making of a table was cut off before its first version: then it holds nothing."""
        if self._folder is None:
            return False
        table = self._folder / f"{name}.lance"
        return not any(next(table.glob(kind), None) for kind in ("_versions/*.manifest", "data/*"))

    def _refuse_others(self) -> None:
        """Refuse a table that has rows, but no header: another program made it."""
        table = self._table(self._name)
        with self._translated():
            theirs = table is not None and table.count_rows() > 0
        if theirs:
            raise InputError(
                f"{self.url} was made by another program: it doesn't say which model its vectors are of; name "
                "another collection (?collection=NAME)"
            )

    def _existing(self) -> Any:
        table = self._table(self._name)
        if table is None:
            raise StoreError(f"{self.url}: the table was deleted meanwhile; open it again")
        return table

    def _wrote(self) -> None:
        self._writes += 1
        if self._writes >= _TIDIED:
            self._tidy()

    def _tidy(self) -> None:
        """Join small files, and drop the versions that nobody reads any more."""
        with self._translated(), self.writing("join small files"):
            self._writes = 0
            self._existing().optimize(cleanup_older_than=_KEPT)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            told = re.sub(r"[\w.-]+@", "***@", str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise StoreError(f"{self.url}: LanceDB answered: {told}") from error


def to_sql(condition: Condition) -> str:
    """The SQL of a condition over `KIND` and `SOURCE`."""
    if isinstance(condition, And | Or):
        word = " AND " if isinstance(condition, And) else " OR "
        return "(" + word.join(to_sql(item) for item in condition.items) + ")"
    if isinstance(condition, In):
        return _in(condition.field, [str(value) for value in condition.values])
    assert isinstance(condition, Compare)
    return _in(condition.field, [str(condition.value)])


def _in(column: str, values: Sequence[str]) -> str:
    return f"{column} IN (" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + ")"


def _selected(vectors: bool) -> list[str]:
    return [*_COLUMNS, _VECTOR] if vectors else _COLUMNS


def _width(table: Any) -> int:
    return int(table.schema.field(_VECTOR).type.list_size)


def _points(rows: Any) -> list[Point]:
    texts, payloads, kinds = (rows.column(name).to_pylist() for name in (_TEXT, PAYLOAD, KIND))
    keys = rows.column(_KEY).to_pylist()
    vectors: Any = [NO_VECTOR] * len(keys)
    if _VECTOR in rows.column_names and len(keys):
        column = rows.column(_VECTOR).combine_chunks()
        vectors = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
        vectors = vectors.reshape(len(keys), -1)
    return [
        Point(key, text, payload, {KIND: kind}, vector)
        for key, text, payload, kind, vector in zip(keys, texts, payloads, kinds, vectors, strict=True)
    ]
