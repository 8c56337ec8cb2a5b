"""Chroma: a folder (PersistentClient) or a server (HttpClient)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from textkin._optional import require
from textkin._places import absolute
from textkin.errors import InputError, StoreError, StoreNotFoundError, TextkinError
from textkin.stores.lock import WriterLock
from textkin.stores.points.backend import KIND, NO_VECTOR, PAYLOAD, SOURCE, Point
from textkin.stores.points.encoding import is_plain
from textkin.stores.problems import is_there, make_folder, require_writable
from textkin.types import Scalar, Vector
from textkin.where.conditions import And, Compare, Condition, In, Or

DEFAULT_NAME: Final = "textkin"
_HEADER: Final = "textkin_header"
_PAGE: Final = 1000
_BATCH: Final = 5000
_EF_SEARCH: Final = 200
_WHOLE: Final = 2**63


class ChromaPoints:
    """One Chroma collection; give a folder, or a host.

    Args:
        name: of the collection.
        folder: of a PersistentClient.
        server: (host, port, whether by TLS) of a Chroma server.
        create: make the collection on the first write where there is none.
        timeout: seconds to wait for another writer of the folder.

    Raises:
        MissingDependencyError: chromadb is not installed (``textkin[chroma]``).
        StoreNotFoundError: nothing there, and ``create`` is False.
        StoreError: the server does not answer.
    """

    exact = False
    most = 1 << 20

    def __init__(
        self,
        name: str,
        *,
        folder: Path | None = None,
        server: tuple[str, int, bool] | None = None,
        create: bool = True,
        timeout: float = 10.0,
    ) -> None:
        chromadb = require("chromadb", extra="chroma")
        web = require("httpx", extra="chroma").HTTPError
        self._errors = (chromadb.errors.ChromaError, web, ValueError, ConnectionError, RuntimeError)
        self._internal: type[Exception] = chromadb.errors.InternalError
        self._name = name
        self._lock: WriterLock | None = None
        self._threads = threading.RLock()
        # Chroma reads these from the environment otherwise, and sends usage statistics unless told not to.
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        if folder is not None:
            self.url = f"chroma:{folder}" + ("" if name == DEFAULT_NAME else f"?collection={name}")
            folder = absolute(folder)
            if not create and not is_there(folder / "chroma.sqlite3"):
                raise StoreNotFoundError(f"there is no Chroma database at {folder}")
            make_folder(folder)
            require_writable(folder, "Chroma")
            self._lock = WriterLock(folder, timeout)
            with self._translated():
                # Absolute: Chroma shares clients by this text, also after the working directory has changed.
                self._client = chromadb.PersistentClient(path=str(folder), settings=settings)
        else:
            assert server is not None
            host, port, tls = server
            self.url = f"chroma+http{'s' if tls else ''}://{host}:{port}/{name}"
            with self._translated():
                self._client = chromadb.HttpClient(host=host, port=port, ssl=tls, settings=settings)
        try:
            missing = not create and self._collection() is None
        except StoreError:
            self.close()
            raise
        if missing:
            self.close()
            raise StoreNotFoundError(f"{self.url}: there is no collection {name!r}")

    def close(self) -> None:
        """A folder's client is shared by all of the process that use it; it goes with the last of them."""
        self._client.close()
        # Chroma's own `close` (1.5) leaves the connections to a server open until the process ends.
        for client in (self._client, getattr(self._client, "_admin_client", None)):
            session = getattr(getattr(client, "_server", None), "_session", None)
            if session is not None:
                session.close()

    @contextmanager
    def _held(self, what: str) -> Iterator[None]:
        if self._lock is None:
            with self._threads:
                yield
        else:
            with self._lock.hold(what):
                yield

    def writing(self, what: str) -> AbstractContextManager[None]:
        return self._held(what)

    # -- header --------------------------------------------------------------------------------------------

    def read_header(self) -> str | None:
        collection = self._collection()
        if collection is None:
            return None
        header = (collection.metadata or {}).get(_HEADER)
        if header is None:
            raise InputError(
                f"{self.url} was made by another program: it doesn't say which model its vectors are of. "
                "Name the model to search it, or name another collection to write to"
            )
        return str(header)

    def write_header(self, text: str, dimensions: int) -> None:
        with self._translated():
            collection = self._collection()
            if collection is not None and collection.count() == 0:
                self._client.delete_collection(self._name)  # its index has the width of what was in it
                collection = None
            if collection is None:
                self._client.create_collection(
                    self._name,
                    embedding_function=None,
                    configuration={"hnsw": {"space": "ip", "ef_construction": 200, "ef_search": _EF_SEARCH}},
                    metadata={_HEADER: text},
                )
            else:
                collection.modify(metadata={**(collection.metadata or {}), _HEADER: text})

    def made_elsewhere(self) -> bool:
        """Whether the collection is there and lacks textkin's header: another program made it."""
        collection = self._collection()
        return collection is not None and _HEADER not in (collection.metadata or {})

    def told(self, **asked: Any) -> Mapping[str, Any]:
        """What Chroma's own ``get`` answers, for a collection that another program made."""
        with self._translated():
            answer: Mapping[str, Any] = self._existing().get(**asked)
        return answer

    # -- points --------------------------------------------------------------------------------------------

    def check(self, points: Sequence[Point]) -> None:
        """Nothing that a record may hold is too much."""

    def put(self, points: Sequence[Point]) -> None:
        if not points:
            return
        with self._translated():
            collection = self._existing()
            size = min(_BATCH, self._client.get_max_batch_size())
            for start in range(0, len(points), size):
                part = points[start : start + size]
                collection.upsert(
                    ids=[point.key for point in part],
                    embeddings=np.stack([point.vector for point in part]),
                    documents=[point.text for point in part],
                    metadatas=[{**point.fields, PAYLOAD: point.payload} for point in part],
                )

    def remove(self, keys: Sequence[str]) -> None:
        if not keys or (collection := self._collection()) is None:
            return
        with self._translated():
            size = min(_BATCH, self._client.get_max_batch_size())
            for start in range(0, len(keys), size):
                collection.delete(ids=list(keys[start : start + size]))

    def fetch(self, keys: Sequence[str], *, vectors: bool) -> dict[str, Point]:
        collection = self._collection()
        found: dict[str, Point] = {}
        if collection is None:
            return found
        with self._translated():
            for start in range(0, len(keys), _PAGE):
                answer = collection.get(ids=list(keys[start : start + _PAGE]), include=_included(vectors))
                found.update((point.key, point) for point in _points(answer))
        return found

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        collection = self._collection()
        if collection is None:
            return
        with self._translated():
            keys = collection.get(where=to_where(where), include=[])["ids"]
        for start in range(0, len(keys), _PAGE):
            yield list(self.fetch(keys[start : start + _PAGE], vectors=vectors).values())

    def count(self, where: Condition) -> int:
        collection = self._collection()
        if collection is None:
            return 0
        with self._translated():
            return len(collection.get(where=to_where(where), include=[])["ids"])

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        collection = self._collection()
        if collection is None:
            return []
        with self._translated():
            answer = self._asked(
                lambda: collection.query(
                    query_embeddings=[query],
                    n_results=count,
                    where=None if where is None else to_where(where),
                    include=_included(True),
                )
            )
        one = {name: answer[name][0] for name in ("ids", "documents", "metadatas", "embeddings")}
        return list(_points(one))

    def can(self, leaf: Compare | In) -> bool:
        return can_filter(leaf)

    # -- inside --------------------------------------------------------------------------------------------

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Ask; again when Chroma's server is just writing the index that it was about to read."""
        pause = 0.02
        while True:
            try:
                return call()
            except self._internal as error:
                if "Nothing found on disk" not in str(error) or pause > 2:
                    raise
                time.sleep(pause)
                pause *= 2

    def _collection(self) -> Any:
        with self._translated():
            try:
                # Named anew each time: another process may have made it or made it anew.
                return self._client.get_collection(self._name, embedding_function=None)
            except require("chromadb.errors", extra="chroma").NotFoundError:
                return None

    def _existing(self) -> Any:
        collection = self._collection()
        if collection is None:
            raise StoreError(f"{self.url}: the collection was deleted meanwhile; open it again")
        return collection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TextkinError:
            raise
        except Exception as error:
            # For an answer that is not its own, such as a gateway's, Chroma's client raises a bare Exception.
            if type(error) is not Exception and not isinstance(error, self._errors):
                raise
            raise StoreError(f"{self.url}: Chroma answered: {type(error).__name__}: {error!s:.300}") from error


def can_filter(leaf: Compare | In) -> bool:
    """Whether Chroma's ``where`` can judge it."""
    if leaf.field not in (KIND, SOURCE) and not is_plain(leaf.field):
        return False
    if isinstance(leaf, In):
        return bool(leaf.values) and all(value is not None for value in leaf.values)
    return leaf.value is not None and (leaf.op == "=" or not isinstance(leaf.value, str))


def to_where(condition: Condition) -> dict[str, Any]:
    """Chroma's form of a condition all of whose leaves `can_filter` accepted."""
    if isinstance(condition, And | Or):
        parts = [to_where(item) for item in condition.items]
        return parts[0] if len(parts) == 1 else {"$and" if isinstance(condition, And) else "$or": parts}
    if isinstance(condition, In):
        return _any([part for value in condition.values for part in _equal(condition.field, value)])
    assert isinstance(condition, Compare)
    if condition.op == "=":
        return _any(_equal(condition.field, condition.value))
    return _any(_ordered(condition.field, condition.op, condition.value))


def _equal(field: str, value: Scalar) -> list[dict[str, Any]]:
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return [{field: {"$eq": value}}]
    # Chroma keeps whole and broken numbers apart and compares each only with its like.
    parts: list[dict[str, Any]] = [{field: {"$eq": float(value)}}]
    if float(value).is_integer() and -_WHOLE <= int(value) < _WHOLE:
        parts.append({field: {"$eq": int(value)}})
    return parts


def _ordered(field: str, op: str, value: Scalar) -> list[dict[str, Any]]:
    assert isinstance(value, int | float)
    # Inclusive bounds: a float near a large whole number may be rounded onto it.
    name = "$lte" if op in ("<", "<=") else "$gte"
    whole = min(_WHOLE - 1, max(-_WHOLE, int(np.ceil(value) if name == "$lte" else np.floor(value))))
    if isinstance(value, int):
        whole = value
    return [{field: {name: float(value)}}, {field: {name: whole}}]


def _any(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"$or": parts}


def _included(vectors: bool) -> list[str]:
    return ["documents", "metadatas", "embeddings"] if vectors else ["documents", "metadatas"]


def _points(answer: Mapping[str, Any]) -> Iterator[Point]:
    rows = answer.get("embeddings")
    for number, key in enumerate(answer["ids"]):
        told = dict(answer["metadatas"][number] or {})
        vector = NO_VECTOR if rows is None else np.asarray(rows[number], dtype=np.float32)
        payload = str(told.pop(PAYLOAD, ""))
        fields = {KIND: told.get(KIND, "")}
        yield Point(str(key), answer["documents"][number] or "", payload, fields, vector)
