"""Qdrant's published HTTP interface, as far as textkin uses it, over the client's own local mode.

It shows that what is sent and read over HTTP is right: bodies are checked against the client's models of Qdrant's
OpenAPI description (unknown fields are refused), and its limit on a request's size is kept. What a filter or a
distance means is the local mode's doing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from json_server import Asked, json_server

MOST_BYTES = 32 << 20
"""What a server takes in one request unless its configuration says otherwise."""


class QdrantServer:
    """Collections in a folder."""

    def __init__(self, folder: Path, key: str | None) -> None:
        self.key = key
        self.largest = 0
        """Bytes of the largest request."""
        self._client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
        self._guard = threading.Lock()

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if self.key is not None and asked.headers.get("api-key") != self.key:
            return 401, {"status": {"error": "Must provide an API key"}, "time": 0.0}
        self.largest = max(self.largest, len(asked.body))
        if len(asked.body) > MOST_BYTES:
            return 413, {"status": {"error": "Payload too large"}, "time": 0.0}
        try:
            with self._guard:
                result = self._done(asked)
        except (ValueError, ApiException) as error:
            return 400, {"status": {"error": f"Bad request: {error}"}, "time": 0.0}
        if result is None:
            return 404, {"status": {"error": f"Not found: {asked.parts}"}, "time": 0.0}
        return 200, {"result": result, "status": "ok", "time": 0.0}

    def close(self) -> None:
        self._client.close()

    def _done(self, asked: Asked) -> Any:
        name = asked.parts[1] if len(asked.parts) > 1 else ""
        call = " ".join([asked.method, asked.parts[0], *asked.parts[2:]])
        if call == "GET collections exists":
            return {"exists": self._client.collection_exists(name)}
        if call != "PUT collections" and not self._client.collection_exists(name):
            return None
        calls: dict[str, Callable[[str, bytes], Any]] = {
            "GET collections": self._described,
            "PUT collections": self._made,
            "PATCH collections": self._changed,
            "DELETE collections": lambda name, _: self._client.delete_collection(name),
            "PUT collections index": self._indexed,
            "PUT collections points": self._put,
            "POST collections points": self._retrieved,
            "POST collections points delete": self._removed,
            "POST collections points count": self._counted,
            "POST collections points scroll": self._scrolled,
            "POST collections points query": self._queried,
        }
        if call not in calls:
            return None
        if name and call.startswith(("PUT collections points", "POST collections points delete")):
            # Without it a write is answered before it is done.
            assert asked.query.get("wait") == ["true"], asked.query
        return calls[call](name, asked.body)

    def _described(self, name: str, _: bytes) -> Any:
        return _json(self._client.get_collection(name))

    def _made(self, name: str, body: bytes) -> bool:
        told = models.CreateCollection.model_validate_json(body)
        assert told.vectors is not None
        return self._client.create_collection(name, vectors_config=told.vectors, metadata=told.metadata)

    def _changed(self, name: str, body: bytes) -> bool:
        told = models.UpdateCollection.model_validate_json(body)
        return self._client.update_collection(name, metadata=told.metadata)

    def _indexed(self, _: str, body: bytes) -> dict[str, Any]:
        models.CreateFieldIndex.model_validate_json(body)
        return {"operation_id": 0, "status": "completed"}

    def _put(self, name: str, body: bytes) -> Any:
        told = models.PointsList.model_validate_json(body)
        return _json(self._client.upsert(name, points=told.points))

    def _retrieved(self, name: str, body: bytes) -> Any:
        told = models.PointRequest.model_validate_json(body)
        found = self._client.retrieve(
            name, told.ids, with_payload=told.with_payload or False, with_vectors=told.with_vector or False
        )
        return [_json(one) for one in found]

    def _removed(self, name: str, body: bytes) -> Any:
        told = models.PointIdsList.model_validate_json(body)
        return _json(self._client.delete(name, points_selector=told))

    def _counted(self, name: str, body: bytes) -> Any:
        told = models.CountRequest.model_validate_json(body)
        return _json(self._client.count(name, count_filter=told.filter, exact=bool(told.exact)))

    def _scrolled(self, name: str, body: bytes) -> Any:
        told = models.ScrollRequest.model_validate_json(body)
        found, following = self._client.scroll(
            name,
            scroll_filter=told.filter,
            limit=told.limit or 10,
            offset=told.offset,
            with_payload=told.with_payload or False,
            with_vectors=told.with_vector or False,
        )
        return {"points": [_json(one) for one in found], "next_page_offset": following}

    def _queried(self, name: str, body: bytes) -> Any:
        told = models.QueryRequest.model_validate_json(body)
        assert told.params is not None, "textkin asks a server for an exact search"
        assert told.params.exact, "textkin asks a server for an exact search"
        found = self._client.query_points(
            name,
            query=told.query,  # type: ignore[arg-type]
            query_filter=told.filter,
            limit=told.limit or 10,
            with_payload=told.with_payload or False,
            with_vectors=told.with_vector or False,
        )
        return _json(found)


def _json(model: Any) -> Any:
    return json.loads(model.model_dump_json())


@contextmanager
def qdrant_server(folder: Path, key: str | None = None) -> Iterator[tuple[str, QdrantServer]]:
    """A running server, which takes this key only; None: any, or none. Gives its URL and itself."""
    kept = QdrantServer(folder, key)
    try:
        with json_server(kept.answer) as url:
            yield url, kept
    finally:
        kept.close()
