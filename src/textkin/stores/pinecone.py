"""Pinecone: one namespace of one index, through the official SDK."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import numpy as np

from textkin._network import secret
from textkin._optional import require
from textkin.errors import (
    CredentialsError,
    ForeignFileError,
    InputError,
    ModelMismatchError,
    StoreError,
    StoreNotFoundError,
)
from textkin.stores.points.backend import KIND, NO_VECTOR, PAYLOAD, SOURCE, Point
from textkin.stores.points.encoding import is_plain
from textkin.types import Scalar, Vector
from textkin.where.conditions import And, Compare, Condition, In, Or

_TEXT: Final = "text"
_PART: Final = "textkin_part"
_PARTS: Final = "textkin_parts"
_ROWS: Final = 1000
_SENT_BYTES: Final = 2_000_000
_METADATA_BYTES: Final = 40_960
_PART_LENGTH: Final = 30_000
_FETCHED: Final = 100
_PAGE: Final = 500
_NUMBER_BYTES: Final = 24
"""The most that one number of a vector takes in a request."""
_TINY: Final = np.float32(1e-30)
"""Stands where a vector is all zeros, which Pinecone refuses; it reads back as zero."""


class PineconePoints:
    """One namespace of a Pinecone index; the key is read from ``PINECONE_API_KEY`` by the SDK.

    What was written is awaited before a call returns, since Pinecone shows writes some time after it took them.

    Args:
        index: name of the index.
        namespace: inside it; its header lies in ``NAMESPACE--textkin``.
        create: make the index where there is none (serverless, by product), when the first header is written.
        cloud: where to make it.
        region: of that cloud.
        wait: seconds to wait for a write to be seen.

    Raises:
        MissingDependencyError: pinecone is not installed (``textkin[pinecone]``).
        CredentialsError: no key, or it was refused.
        StoreNotFoundError: no such index, and ``create`` is False.
        StoreError: no answer.
    """

    exact = False
    most = 10_000

    def __init__(
        self,
        index: str,
        namespace: str,
        *,
        create: bool = True,
        cloud: str = "aws",
        region: str = "us-east-1",
        wait: float = 60.0,
    ) -> None:
        self._sdk = require("pinecone", extra="pinecone")
        self.url = f"pinecone:{index}/{namespace}"
        self._index_name = index
        self._namespace = namespace
        self._place = (cloud, region)
        self._wait = wait
        self._threads = threading.RLock()
        self._index: Any = None
        try:
            self._client = self._sdk.Pinecone(api_key=secret("PINECONE_API_KEY"))
        except self._sdk.PineconeValueError:
            raise CredentialsError(
                f"{self.url}: PINECONE_API_KEY is not set, or is no key; put yours there"
            ) from None
        try:
            missing = self._opened() is None and not create
        except (CredentialsError, StoreError):
            self.close()
            raise
        if missing:
            self.close()
            raise StoreNotFoundError(f"{self.url}: there is no index {index!r}; make it, or open it for writing")

    def close(self) -> None:
        if self._index is not None:
            self._index.close()
        self._client.close()

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._threads:
            yield

    def writing(self, what: str) -> AbstractContextManager[None]:
        return self._held()

    # -- header --------------------------------------------------------------------------------------------

    @property
    def _beside(self) -> str:
        return f"{self._namespace}--textkin"

    def read_header(self) -> str | None:
        if self._opened() is None:
            return None
        first = self._fetched(["header-0"], self._beside).get("header-0")
        if first is None:
            return None
        count = int(first.metadata[_PARTS])
        keys = [f"header-{number}" for number in range(count)]
        parts = self._fetched(keys, self._beside)
        if len(parts) < count or any(part.metadata[_PARTS] != count for part in parts.values()):
            raise StoreError(f"{self.url}: its header is being written by another process; try again")
        return "".join(str(parts[key].metadata[_PART]) for key in keys)

    def write_header(self, text: str, dimensions: int) -> None:
        index = self._opened()
        if index is None:
            self._make(dimensions)
            index = self._opened()
        with self._translated():
            told = index.describe_index_stats()
        width = told.dimension
        kept = (told.namespaces or {}).get(self._namespace)
        if self.read_header() is None and kept is not None and kept.vector_count:
            raise ForeignFileError(
                f"{self.url}: another program keeps {kept.vector_count:,} vectors in this namespace; name another"
            )
        if width != dimensions:
            raise ModelMismatchError(
                f"{self.url}: the index takes vectors of {width} dimensions, and the model gives {dimensions}; "
                "name another index: Pinecone can't change an index's width"
            )
        unit = [1.0] + [0.0] * (dimensions - 1)
        parts = [text[start : start + _PART_LENGTH] for start in range(0, len(text), _PART_LENGTH)]
        rows = [
            {"id": f"header-{number}", "values": unit, "metadata": {_PART: part, _PARTS: len(parts)}}
            for number, part in enumerate(parts)
        ]
        with self._translated():
            for batch in _batches(rows, dimensions):
                index.upsert(vectors=batch, namespace=self._beside)
        self._await("the header", lambda: self._shown_header(len(parts)) == text)

    def _shown_header(self, count: int) -> str | None:
        keys = [f"header-{number}" for number in range(count)]
        parts = self._fetched(keys, self._beside)
        return "".join(str(parts[key].metadata[_PART]) for key in keys) if len(parts) == count else None

    # -- points --------------------------------------------------------------------------------------------

    def check(self, points: Sequence[Point]) -> None:
        """Refuse what exceeds Pinecone's 40 KB of metadata a point, before anything is sent."""
        for point in points:
            size = _metadata_size(_metadata(point))
            if size > _METADATA_BYTES:
                name = json.loads(point.payload)["id"]
                raise InputError(
                    f"record {name!r}: its text and metadata take {size:,} bytes, and Pinecone keeps at most "
                    f"{_METADATA_BYTES:,} with a vector; cut the text into several records, or use another store"
                )

    def put(self, points: Sequence[Point]) -> None:
        if not points:
            return
        index = self._opened()
        rows = [
            {"id": point.key, "values": _values(point.vector), "metadata": _metadata(point)} for point in points
        ]
        with self._translated():
            for batch in _batches(rows, len(points[0].vector)):
                index.upsert(vectors=batch, namespace=self._namespace)
        last = points[-1]
        self._await(f"point {last.key}", lambda: self._shown(last.key) == last.payload)

    def _shown(self, key: str) -> str | None:
        found = self._fetched([key], self._namespace).get(key)
        return None if found is None else str(found.metadata[PAYLOAD])

    def remove(self, keys: Sequence[str]) -> None:
        index = self._opened()
        if not keys or index is None:
            return
        with self._translated():
            for start in range(0, len(keys), _ROWS):
                index.delete(ids=list(keys[start : start + _ROWS]), namespace=self._namespace)
        self._await(f"the removal of {keys[-1]}", lambda: self._shown(keys[-1]) is None)

    def fetch(self, keys: Sequence[str], *, vectors: bool) -> dict[str, Point]:
        if self._opened() is None:
            return {}
        found = self._fetched(keys, self._namespace)
        return {key: _point(one, vectors) for key, one in found.items()}

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        index = self._opened()
        if index is None:
            return
        token = None
        while True:
            with self._translated():
                answer = index.fetch_by_metadata(
                    filter=to_filter(where), namespace=self._namespace, limit=_PAGE, pagination_token=token
                )
            yield [_point(one, vectors) for one in answer.vectors.values()]
            token = answer.pagination.next if answer.pagination else None
            if not token:
                return

    def count(self, where: Condition) -> int:
        """By reading all: Pinecone counts only whole namespaces, and some time later."""
        return sum(len(page) for page in self.pages(where, vectors=False))

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        index = self._opened()
        if index is None:
            return []
        with self._translated():
            # Ids only: an answer with values may exceed what Pinecone sends.
            answer = index.query(
                vector=query.tolist(),
                top_k=count,
                namespace=self._namespace,
                filter=None if where is None else to_filter(where),
            )
        found = self._fetched([match.id for match in answer.matches], self._namespace)
        return [_point(one, True) for one in found.values()]

    def can(self, leaf: Compare | In) -> bool:
        if leaf.field not in (KIND, SOURCE) and not is_plain(leaf.field):
            return False
        if isinstance(leaf, In):
            # A list of true and false is not one that Pinecone takes.
            return bool(leaf.values) and all(
                value is not None and not isinstance(value, bool) for value in leaf.values
            )
        return leaf.value is not None and (leaf.op == "=" or not isinstance(leaf.value, str))

    # -- inside --------------------------------------------------------------------------------------------

    def _opened(self) -> Any:
        if self._index is None:
            with self._threads, self._translated():
                if self._client.has_index(self._index_name):
                    host = self._client.describe_index(self._index_name).host
                    self._index = self._client.Index(host=host)
        return self._index

    def _make(self, dimensions: int) -> None:
        cloud, region = self._place
        with self._translated():
            self._client.create_index(
                name=self._index_name,
                dimension=dimensions,
                metric="dotproduct",
                spec=self._sdk.ServerlessSpec(cloud=cloud, region=region),
            )

    def _fetched(self, keys: Sequence[str], namespace: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with self._translated():
            for start in range(0, len(keys), _FETCHED):
                answer = self._index.fetch(ids=list(keys[start : start + _FETCHED]), namespace=namespace)
                found.update(answer.vectors)
        return found

    def _await(self, what: str, seen: Callable[[], bool]) -> None:
        end = time.monotonic() + self._wait
        pause = 0.05
        while not seen():
            if time.monotonic() > end:
                raise StoreError(
                    f"{self.url}: Pinecone took {what}, but does not show it after {self._wait:g} s; nothing is "
                    "lost. Run the same again later"
                )
            time.sleep(pause)
            pause = min(2.0, pause * 2)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        errors = self._sdk.errors.exceptions
        try:
            yield
        except (errors.UnauthorizedError, errors.ForbiddenError):
            raise CredentialsError(f"{self.url}: Pinecone refused the key in PINECONE_API_KEY") from None
        except errors.PineconeError as error:
            told = re.sub(r"pcsk_\w+", "***", str(error))
            raise StoreError(f"{self.url}: Pinecone answered: {type(error).__name__}: {told}") from None


def to_filter(condition: Condition) -> dict[str, Any]:
    """Pinecone's form of a condition all of whose leaves `PineconePoints.can` accepted."""
    if isinstance(condition, And | Or):
        parts = [to_filter(item) for item in condition.items]
        return {"$and" if isinstance(condition, And) else "$or": parts}
    if isinstance(condition, In):
        return {condition.field: {"$in": [_comparable(value) for value in condition.values]}}
    assert isinstance(condition, Compare)
    # Numbers are floats there, so bounds are inclusive: rounding may have put two on one.
    name = {"=": "$eq", "<": "$lte", "<=": "$lte", ">": "$gte", ">=": "$gte"}[condition.op]
    return {condition.field: {name: _comparable(condition.value)}}


def _comparable(value: Scalar) -> Scalar:
    return value if isinstance(value, bool | str) or value is None else float(value)


def _metadata(point: Point) -> dict[str, Scalar]:
    return {**point.fields, PAYLOAD: point.payload, _TEXT: point.text}


def _metadata_size(metadata: dict[str, Any]) -> int:
    return len(json.dumps(metadata, ensure_ascii=False).encode())


def _values(vector: Vector) -> list[float]:
    if not vector.any():
        vector = np.concatenate([[_TINY], vector[1:]])
    values: list[float] = vector.tolist()
    return values


def _batches(rows: list[dict[str, Any]], dimensions: int) -> Iterator[list[dict[str, Any]]]:
    """Rows in requests under both limits."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        own = _NUMBER_BYTES * dimensions + len(json.dumps(row["metadata"])) + 100
        if batch and (len(batch) == _ROWS or size + own > _SENT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += own
    if batch:
        yield batch


def _point(one: Any, vectors: bool) -> Point:
    told = one.metadata or {}
    vector = NO_VECTOR
    if vectors:
        vector = np.asarray(one.values, dtype=np.float32)
        if vector[0] == _TINY and not vector[1:].any():
            vector = np.zeros_like(vector)
    kind = str(told.get(KIND, ""))
    return Point(str(one.id), str(told.get(_TEXT, "")), str(told.get(PAYLOAD, "")), {KIND: kind}, vector)
