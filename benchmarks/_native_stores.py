"""The same work by each database's own client: what its documentation calls the fast way.

A store that textkin gains is added here and to `STORES` of stores.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from textkin.types import Matrix

Put = Callable[[Sequence[str], Matrix], None]
Ask = Callable[[Matrix, int], list[str]]
Native = Callable[[str, int], AbstractContextManager[tuple[Put, Ask]]]
_QDRANT_BATCH = 1000


@contextmanager
def numpy_alone(place: str, _: int) -> Iterator[tuple[Put, Ask]]:
    """np.save, and one product."""
    held: dict[str, Any] = {}

    def put(texts: Sequence[str], matrix: Matrix) -> None:
        np.save(place, matrix)
        held["texts"], held["matrix"] = list(texts), np.load(place)

    def ask(query: Matrix, k: int) -> list[str]:
        scores = held["matrix"] @ query
        best = np.argpartition(-scores, k)[:k]
        return [str(row) for row in best[np.argsort(-scores[best])] if held["texts"][row]]

    yield put, ask


@contextmanager
def chroma_folder(place: str, _: int) -> Iterator[tuple[Put, Ask]]:
    """PersistentClient, batches as large as it takes them."""
    import chromadb
    import chromadb.config

    settings = chromadb.config.Settings(anonymized_telemetry=False)
    yield _chroma(chromadb.PersistentClient(path=place, settings=settings), "theirs")


@contextmanager
def chroma_server(place: str, _: int) -> Iterator[tuple[Put, Ask]]:
    """HttpClient, batches as large as it takes them."""
    import chromadb
    import chromadb.config

    address, name = place.split("/")
    host, port = address.split(":")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    yield _chroma(chromadb.HttpClient(host=host, port=int(port), settings=settings), name)


def _chroma(client: Any, name: str) -> tuple[Put, Ask]:
    collection = client.create_collection(name, embedding_function=None, metadata={"hnsw:space": "cosine"})
    most = client.get_max_batch_size()

    def put(texts: Sequence[str], matrix: Matrix) -> None:
        for low in range(0, len(texts), most):
            part = range(low, min(low + most, len(texts)))
            collection.add(
                ids=[str(row) for row in part],
                embeddings=matrix[low : low + most],
                documents=list(texts[low : low + most]),
                metadatas=[{"n": row} for row in part],
            )

    def ask(query: Matrix, k: int) -> list[str]:
        return list(collection.query(query_embeddings=[query], n_results=k)["ids"][0])

    return put, ask


@contextmanager
def qdrant_folder(place: str, width: int) -> Iterator[tuple[Put, Ask]]:
    """Local mode, upload_collection."""
    import qdrant_client

    models = qdrant_client.models
    client = qdrant_client.QdrantClient(path=place)
    client.create_collection("theirs", models.VectorParams(size=width, distance=models.Distance.COSINE))

    def put(texts: Sequence[str], matrix: Matrix) -> None:
        payload = ({"text": text, "n": row} for row, text in enumerate(texts))
        client.upload_collection(
            "theirs", matrix, payload=payload, ids=range(len(texts)), batch_size=_QDRANT_BATCH, wait=True
        )

    def ask(query: Matrix, k: int) -> list[str]:
        answer = client.query_points("theirs", query=query.tolist(), limit=k, with_payload=True)
        return [str(point.id) for point in answer.points]

    try:
        yield put, ask
    finally:
        client.close()


@contextmanager
def lancedb_folder(place: str, width: int) -> Iterator[tuple[Put, Ask]]:
    """One Arrow table, exact search."""
    import lancedb
    import pyarrow as pa

    database = lancedb.connect(place)
    held: dict[str, Any] = {}

    def put(texts: Sequence[str], matrix: Matrix) -> None:
        rows = range(len(texts))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), width)
        columns = {"id": pa.array([str(row) for row in rows]), "text": pa.array(texts), "n": pa.array(rows)}
        held["table"] = database.create_table("theirs", data=pa.table({**columns, "vector": vectors}))

    def ask(query: Matrix, k: int) -> list[str]:
        found = held["table"].search(query).distance_type("cosine").limit(k).to_list()
        return [str(row["id"]) for row in found]

    yield put, ask


def _postgresql(hnsw: bool) -> Native:
    @contextmanager
    def native(place: str, width: int) -> Iterator[tuple[Put, Ask]]:
        """Binary COPY; ``<=>``, exact or by HNSW."""
        import psycopg
        from pgvector.psycopg import register_vector

        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(connection)
            connection.execute("DROP TABLE IF EXISTS theirs")
            connection.execute(
                f"CREATE TABLE theirs (id text PRIMARY KEY, text text, n integer, vector vector({width}))"
            )
            connection.execute("ALTER TABLE theirs ALTER COLUMN vector SET STORAGE EXTERNAL")

            def put(texts: Sequence[str], matrix: Matrix) -> None:
                with connection.cursor().copy(
                    "COPY theirs (id, text, n, vector) FROM STDIN (FORMAT BINARY)"
                ) as copy:
                    copy.set_types(["text", "text", "integer", "vector"])
                    for row, text in enumerate(texts):
                        copy.write_row((str(row), text, row, matrix[row]))
                if hnsw:
                    connection.execute("CREATE INDEX ON theirs USING hnsw (vector vector_cosine_ops)")
                    connection.execute("SET hnsw.ef_search = 100")

            def ask(query: Matrix, k: int) -> list[str]:
                rows = connection.execute(
                    "SELECT id, text, n FROM theirs ORDER BY vector <=> %s LIMIT %s", [query, k], binary=True
                ).fetchall()
                return [str(row[0]) for row in rows]

            yield put, ask
            connection.execute("DROP TABLE theirs")

    return native


NATIVE: dict[str, Native] = {
    "local": numpy_alone,
    "arrays": numpy_alone,
    "chroma": chroma_folder,
    "chroma server": chroma_server,
    "qdrant": qdrant_folder,
    "lancedb": lancedb_folder,
    "postgresql": _postgresql(hnsw=False),
    "postgresql hnsw": _postgresql(hnsw=True),
}
