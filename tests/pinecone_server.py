"""A small server that keeps what textkin uses of Pinecone's published HTTP contract, driven by the SDK."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from json_server import Asked, json_server

KEY = "pcsk_only_for_tests"


class Refused(Exception):
    """Answered with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PineconeServer:
    """Indexes in memory. A write is seen ``lag`` seconds after it was answered."""

    def __init__(self, lag: float = 0.0) -> None:
        self.lag = lag
        self.url = ""
        self.requests: list[tuple[str, int, int]] = []
        """Path, bytes and rows of each write."""
        self._guard = threading.RLock()
        self._indexes: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, parts: list[str], query: dict[str, list[str]], body: bytes) -> Any:
        told = json.loads(body) if body else {}
        with self._guard:
            if parts[0] == "indexes":
                return self._control(method, parts[1:], told)
            index = self._indexes[parts[0]]
            self._settle(index)
            operation = "/".join(parts[1:])
            namespace = told.get("namespace") or query.get("namespace", [""])[0]
            rows: dict[str, Any] = index["rows"].setdefault(namespace, {})
            if operation == "vectors/upsert":
                return self._upsert(index, namespace, told["vectors"], len(body))
            if operation == "vectors/delete":
                if len(told["ids"]) > 1000:
                    raise Refused(400, "Cannot delete more than 1000 vectors")
                index["waiting"].append((time.monotonic() + self.lag, namespace, dict.fromkeys(told["ids"])))
                return {}
            if operation == "vectors/fetch":
                found = {key: rows[key] for key in query["ids"] if key in rows}
                return {"vectors": found, "namespace": namespace}
            if operation == "vectors/fetch_by_metadata":
                return self._pages(rows, told)
            if operation == "query":
                return self._query(rows, told, namespace)
            if operation == "describe_index_stats":
                counts = {name: {"vectorCount": len(kept)} for name, kept in index["rows"].items()}
                return {
                    "dimension": index["dimension"],
                    "namespaces": counts,
                    "totalVectorCount": sum(len(kept) for kept in index["rows"].values()),
                    "indexFullness": 0.0,
                    "metric": index["metric"],
                    "vectorType": "dense",
                }
        raise Refused(404, f"no such path: {parts}")

    def _control(self, method: str, parts: list[str], told: dict[str, Any]) -> Any:
        if method == "POST":
            ((name, field),) = told["schema"]["fields"].items()
            self._indexes[told["name"]] = {
                "dimension": field["dimension"], "metric": field["metric"], "field": {name: field},
                "deployment": told["deployment"], "rows": {}, "waiting": [],
            }  # fmt: skip
            return self._described(told["name"])
        if parts[0] not in self._indexes:
            raise Refused(404, f"Resource {parts[0]} not found")
        return self._described(parts[0])

    def _described(self, name: str) -> Any:
        index = self._indexes[name]
        return {
            "name": name,
            "host": f"{self.url}/{name}",
            "status": {"ready": True, "state": "Ready"},
            "schema": {"fields": index["field"]},
            "deployment": {**index["deployment"], "environment": "local"},
            "deletion_protection": "disabled",
        }

    def _settle(self, index: dict[str, Any]) -> None:
        now = time.monotonic()
        while index["waiting"] and index["waiting"][0][0] <= now:
            _, namespace, changes = index["waiting"].pop(0)
            rows = index["rows"].setdefault(namespace, {})
            for key, row in changes.items():
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row

    def _upsert(self, index: dict[str, Any], namespace: str, rows: list[dict[str, Any]], size: int) -> Any:
        self.requests.append((namespace, size, len(rows)))
        if len(rows) > 1000:
            raise Refused(400, "upsert: at most 1000 vectors a request")
        if size > 2 * 1024 * 1024:
            raise Refused(400, f"message length too large: found {size} bytes, the limit is: 2097152 bytes")
        changes = {}
        for row in rows:
            metadata = row.get("metadata", {})
            if len(row["values"]) != index["dimension"]:
                raise Refused(400, f"Vector dimension {len(row['values'])} does not match {index['dimension']}")
            if not any(row["values"]):
                raise Refused(400, "Dense vectors must contain at least one non-zero value")
            if not row["id"].isascii() or not 0 < len(row["id"]) <= 512:
                raise Refused(400, "Vector ID must be ASCII, 1 to 512 characters")
            if len(json.dumps(metadata, ensure_ascii=False).encode()) > 40960:
                raise Refused(400, f"metadata size of vector {row['id']} exceeds the limit of 40960 bytes")
            if any(
                value is None or not isinstance(value, str | int | float | list) for value in metadata.values()
            ):
                raise Refused(400, "Metadata value must be a string, number, boolean or list of strings")
            kept = {
                key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                for key, value in metadata.items()
            }
            values = np.asarray(row["values"], dtype=np.float32).tolist()
            changes[row["id"]] = {"id": row["id"], "values": values, "metadata": kept}
        index["waiting"].append((time.monotonic() + self.lag, namespace, changes))
        return {"upsertedCount": len(rows)}

    def _pages(self, rows: dict[str, Any], told: dict[str, Any]) -> Any:
        start = base64.b64decode(told.get("paginationToken") or "").decode()
        keys = sorted(key for key, row in rows.items() if key > start and admits(told["filter"], row["metadata"]))
        page = keys[: told["limit"]]
        answer: dict[str, Any] = {"vectors": {key: rows[key] for key in page}, "namespace": told["namespace"]}
        if len(keys) > len(page):
            answer["pagination"] = {"next": base64.b64encode(page[-1].encode()).decode()}
        return answer

    def _query(self, rows: dict[str, Any], told: dict[str, Any], namespace: str) -> Any:
        if not 1 <= told["topK"] <= 10_000:
            raise Refused(400, "topK must be 1 to 10000")
        found = [row for row in rows.values() if admits(told.get("filter") or {}, row["metadata"])]
        query = np.asarray(told["vector"], dtype=np.float32)
        scores = [float(np.asarray(row["values"], dtype=np.float32) @ query) for row in found]
        best = sorted(range(len(found)), key=lambda place: -scores[place])[: told["topK"]]
        return {"matches": [{"id": found[n]["id"], "score": scores[n]} for n in best], "namespace": namespace}


def admits(condition: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Pinecone's filter language, as far as it is documented: $and, $or, $eq, $in, $gt, $gte, $lt, $lte."""
    for name, told in condition.items():
        if name == "$and":
            good = all(admits(item, metadata) for item in told)
        elif name == "$or":
            good = any(admits(item, metadata) for item in told)
        else:
            stored = metadata.get(name)
            ((operator, value),) = told.items()
            if operator == "$in":
                if any(isinstance(item, bool) for item in value):
                    raise Refused(400, "$in takes strings and numbers")
                good = any(_same(stored, item) for item in value)
            elif operator == "$eq":
                good = _same(stored, value)
            else:
                if not _number(value):
                    raise Refused(400, f"{operator} takes a number")
                good = _number(stored) and {
                    "$gt": stored > value, "$gte": stored >= value, "$lt": stored < value, "$lte": stored <= value
                }[operator]  # fmt: skip
        if not good:
            return False
    return True


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(stored: Any, value: Any) -> bool:
    return isinstance(stored, bool) == isinstance(value, bool) and stored == value


@contextmanager
def pinecone_server(lag: float = 0.0) -> Iterator[PineconeServer]:
    """A running server; point PINECONE_CONTROLLER_HOST to its ``url``."""
    kept = PineconeServer(lag)

    def answer(asked: Asked) -> tuple[int, Any]:
        try:
            if asked.headers.get("Api-Key") != KEY:
                raise Refused(401, "Invalid API Key")
            return 200, kept.answer(asked.method, asked.parts, asked.query, asked.body)
        except Refused as refused:
            error = {"code": "INVALID_ARGUMENT", "message": str(refused)}
            return refused.status, {"error": error, "status": refused.status}

    with json_server(answer) as kept.url:
        yield kept
