"""Qdrant: a folder (the client's own local mode) or a server."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from textkin._optional import require
from textkin._places import absolute
from textkin.errors import InputError, StoreError, StoreLockedError, StoreNotFoundError
from textkin.stores.lock import WriterLock
from textkin.stores.points.backend import KIND, NO_VECTOR, PAYLOAD, SOURCE, Point
from textkin.stores.points.encoding import is_plain
from textkin.stores.problems import damaged, from_client, from_system, is_there, make_folder, require_writable
from textkin.types import Scalar, Vector
from textkin.where.conditions import And, Compare, Condition, In, Or

DEFAULT_NAME: Final = "textkin"
_HEADER: Final = "textkin_header"
_TEXT: Final = "text"
_PAGE: Final = 1000
_CURE: Final = "Restore the folder from a backup, or move it away and export to it again"
_SENT_BYTES: Final = 8 << 20
"""Below the 32 MB that a server takes in one request, JSON's overhead included."""

_open: dict[Path, _Shared] = {}
_open_guard = threading.Lock()


@dataclass(slots=True)
class _Shared:
    """The process's one client of a folder: the local mode lets nobody else in."""

    client: Any
    guard: threading.RLock
    users: int = 0


class QdrantPoints:
    """One Qdrant collection, searched exactly; give a folder, or a server's URL.

    Args:
        name: of the collection.
        folder: of the local mode. One process at a time may have it open.
        server: URL of a server; its key is read from ``QDRANT_API_KEY``.
        key: that key.
        create: make the collection on the first write where there is none.
        timeout: seconds to wait for another writer of the folder, or for an answer of the server.

    Raises:
        MissingDependencyError: qdrant-client is not installed (``textkin[qdrant]``).
        StoreNotFoundError: nothing there, and ``create`` is False.
        StoreLockedError: another process has the folder open.
        StoreError: the server does not answer.
    """

    exact = True
    most = 1 << 20

    def __init__(
        self,
        name: str,
        *,
        folder: Path | None = None,
        server: str | None = None,
        key: str | None = None,
        create: bool = True,
        timeout: float = 10.0,
    ) -> None:
        qdrant = require("qdrant_client", extra="qdrant")
        self._models = qdrant.models
        from_server = require("qdrant_client.http.exceptions", extra="qdrant")
        self._errors = (from_server.ApiException, ValueError, ConnectionError, RuntimeError)
        self._name = name
        self._folder = None if folder is None else absolute(folder)
        self._lock: WriterLock | None = None
        self._guard = threading.RLock()
        self._closed = False
        if self._folder is not None:
            self.url = f"qdrant:{folder}" + ("" if name == DEFAULT_NAME else f"?collection={name}")
            if not create and not is_there(self._folder / "meta.json"):
                raise StoreNotFoundError(f"there is no Qdrant database at {folder}")
            make_folder(self._folder)
            require_writable(self._folder, "Qdrant's local mode")
            self._lock = WriterLock(self._folder, timeout)
            shared = _enter(qdrant, self._folder, self.url)
            self._client, self._guard = shared.client, shared.guard
        else:
            self.url = f"qdrant:{server}/{name}"
            with self._translated():
                self._client = qdrant.QdrantClient(
                    url=server, api_key=key, timeout=int(max(timeout, 60)), check_compatibility=False
                )
        try:
            missing = not create and not self._exists()
        except StoreError:
            self.close()
            raise
        if missing:
            self.close()
            raise StoreNotFoundError(f"{self.url}: there is no collection {name!r}")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._folder is None:
            self._client.close()
        else:
            _leave(self._folder)

    @contextmanager
    def _held(self, what: str) -> Iterator[None]:
        if self._lock is None:
            with self._guard:
                yield
        else:
            with self._lock.hold(what):
                yield

    def writing(self, what: str) -> AbstractContextManager[None]:
        return self._held(what)

    # -- header --------------------------------------------------------------------------------------------

    def read_header(self) -> str | None:
        if not self._exists():
            return None
        with self._translated():
            header = (self._client.get_collection(self._name).config.metadata or {}).get(_HEADER)
        if header is None:
            raise InputError(
                f"{self.url} was made by another program: it doesn't say which model its vectors are of. "
                "Name another collection"
            )
        return str(header)

    def write_header(self, text: str, dimensions: int) -> None:
        with self._translated():
            exists = self._client.collection_exists(self._name)
            if exists and not self._client.count(self._name, exact=True).count:
                self._client.delete_collection(self._name)  # its vectors may have had another length
                exists = False
            if exists:
                self._client.update_collection(self._name, metadata={_HEADER: text})
                return
            # Qdrant normalises what it compares by cosine, which changes the last bits of what was stored;
            # our rows are unit rows, whose product is the cosine.
            self._client.create_collection(
                self._name,
                vectors_config=self._models.VectorParams(size=dimensions, distance=self._models.Distance.DOT),
                metadata={_HEADER: text},
            )
            if self._folder is None:
                for field in (KIND, SOURCE):
                    self._client.create_payload_index(self._name, field, self._models.PayloadSchemaType.KEYWORD)

    # -- points --------------------------------------------------------------------------------------------

    def check(self, points: Sequence[Point]) -> None:
        """Nothing that a record may hold is too much."""

    def put(self, points: Sequence[Point]) -> None:
        with self._translated():
            for part in _parts(points):
                self._client.upsert(
                    self._name,
                    points=[
                        self._models.PointStruct(
                            id=point.key,
                            vector=point.vector.tolist(),
                            payload={**point.fields, PAYLOAD: point.payload, _TEXT: point.text},
                        )
                        for point in part
                    ],
                    wait=True,
                )

    def remove(self, keys: Sequence[str]) -> None:
        if not keys or not self._exists():
            return
        with self._translated():
            for start in range(0, len(keys), _PAGE):
                some = self._models.PointIdsList(points=list(keys[start : start + _PAGE]))
                self._client.delete(self._name, points_selector=some, wait=True)

    def fetch(self, keys: Sequence[str], *, vectors: bool) -> dict[str, Point]:
        found: dict[str, Point] = {}
        if not self._exists():
            return found
        with self._translated():
            for start in range(0, len(keys), _PAGE):
                some = list(keys[start : start + _PAGE])
                answer = self._client.retrieve(self._name, ids=some, with_payload=True, with_vectors=vectors)
                found.update((str(one.id), _point(one)) for one in answer)
        return found

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        if not self._exists():
            return
        offset = None
        while True:
            with self._translated():
                answer, offset = self._client.scroll(
                    self._name,
                    scroll_filter=self._filter(where),
                    limit=_PAGE,
                    offset=offset,
                    with_payload=True,
                    with_vectors=vectors,
                )
            yield [_point(one) for one in answer]
            if offset is None:
                return

    def count(self, where: Condition) -> int:
        if not self._exists():
            return 0
        with self._translated():
            return int(self._client.count(self._name, count_filter=self._filter(where), exact=True).count)

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        if not self._exists():
            return []
        with self._translated():
            answer = self._client.query_points(
                self._name,
                query=query.tolist(),
                limit=count,
                query_filter=None if where is None else self._filter(where),
                # The local mode compares everything anyhow, and warns when it is asked to.
                search_params=None if self._folder else self._models.SearchParams(exact=True),
                with_payload=True,
                with_vectors=True,
            )
        return [_point(one) for one in answer.points]

    def can(self, leaf: Compare | In) -> bool:
        if leaf.field not in (KIND, SOURCE) and not is_plain(leaf.field):
            return False
        if isinstance(leaf, In):
            return bool(leaf.values) and all(value is not None for value in leaf.values)
        return leaf.value is not None and (leaf.op == "=" or not isinstance(leaf.value, str))

    # -- inside --------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        with self._translated():
            return bool(self._client.collection_exists(self._name))

    def _filter(self, condition: Condition) -> Any:
        if isinstance(condition, And):
            return self._models.Filter(must=[self._filter(item) for item in condition.items])
        if isinstance(condition, Or):
            return self._models.Filter(should=[self._filter(item) for item in condition.items])
        if isinstance(condition, In):
            parts = [self._compare(condition.field, "=", value) for value in condition.values]
            return self._models.Filter(should=parts)
        assert isinstance(condition, Compare)
        return self._models.Filter(must=[self._compare(condition.field, condition.op, condition.value)])

    def _compare(self, field: str, op: str, value: Scalar) -> Any:
        if isinstance(value, bool | str):
            return self._models.FieldCondition(key=field, match=self._models.MatchValue(value=value))
        assert isinstance(value, int | float)
        # A bound is a float there: rounding may have put it on the wrong side of a large whole number.
        low = None if op in ("<", "<=") else math.nextafter(value, -math.inf)
        high = None if op in (">", ">=") else math.nextafter(value, math.inf)
        return self._models.FieldCondition(key=field, range=self._models.Range(gte=low, lte=high))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._guard, _on_disk(self._folder):  # the local mode is not made for threads
                yield
        except StoreError:
            raise
        except self._errors as error:
            raise StoreError(f"{self.url}: Qdrant answered: {type(error).__name__}: {error}") from error


@contextmanager
def _on_disk(folder: Path | None) -> Iterator[None]:
    """Errors of the local mode's files, which its client lets through as they are."""
    try:
        yield
    except sqlite3.Error as error:
        if folder is None:
            raise
        raise from_client(error, folder, _CURE) from error
    except OSError as error:
        if folder is None:
            raise
        raise from_system(error, folder) from error


def _enter(qdrant: Any, folder: Path, url: str) -> _Shared:
    with _open_guard:
        if folder not in _open:
            try:
                with _on_disk(folder):
                    client = qdrant.QdrantClient(path=str(folder), force_disable_check_same_thread=True)
            except RuntimeError as error:
                raise StoreLockedError(
                    f"{url} is open in another process, and Qdrant's local mode lets in one at a time; close it "
                    "there, or run a Qdrant server and name its URL"
                ) from error
            except ValueError as error:  # its description is written in place, so that a crash can cut it off
                raise damaged(folder, error, _CURE) from error
            _open[folder] = _Shared(client, threading.RLock())
        _open[folder].users += 1
        return _open[folder]


def _leave(folder: Path) -> None:
    with _open_guard:
        shared = _open[folder]
        shared.users -= 1
        if not shared.users:
            del _open[folder]
            shared.client.close()


def _parts(points: Sequence[Point]) -> Iterator[list[Point]]:
    part: list[Point] = []
    size = 0
    for point in points:
        own = 22 * len(point.vector) + 2 * len(point.payload) + 6 * len(point.text)
        if part and (size + own > _SENT_BYTES or len(part) == _PAGE):
            yield part
            part, size = [], 0
        part.append(point)
        size += own
    if part:
        yield part


def _point(one: Any) -> Point:
    told = dict(one.payload or {})
    vector = NO_VECTOR if one.vector is None else np.asarray(one.vector, dtype=np.float32)
    return Point(
        str(one.id), str(told.get(_TEXT, "")), str(told.get(PAYLOAD, "")), {KIND: told.get(KIND, "")}, vector
    )
