"""What is special to one database: addresses, other people's collections, passwords, indexes, limits."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pinecone_server import KEY, pinecone_server
from qdrant_server import qdrant_server
from textkin import Collection
from textkin.errors import (
    CorruptStoreError,
    CredentialsError,
    ForeignFileError,
    InputError,
    ReadOnlyError,
    StorageFullError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from textkin.stores.options import format_options, parse_options
from textkin.stores.points import PointStore
from textkin.stores.resolve import is_database, open_store, without_password
from textkin.types import ModelInfo, Record, Span, StoreHeader


def header(width: int) -> StoreHeader:
    return StoreHeader(ModelInfo("toy", width, 256, "ab" * 32), np.eye(16, width, dtype=np.float32))


def test_addresses(tmp_path: Path) -> None:
    assert is_database("postgresql://h/d")
    assert not is_database("notes.kin")
    assert "secret" not in without_password("postgresql://me:secret@h/d?sslpassword=secret&x=1")
    for unescaped in ("sec/ret", "sec@ret", "sec:ret", "/secret"):
        assert "ret" not in without_password(f"postgresql://me:{unescaped}@h/d?application_name=x")
    assert without_password("postgresql://me@h:5432/d") == "postgresql://me@h:5432/d"
    options = parse_options("options=-c%20work_mem%3D1MB&password=a+b")
    assert options == {"options": "-c work_mem=1MB", "password": "a+b"}
    assert format_options(options) == "?options=-c%20work_mem%3D1MB&password=a%2Bb"  # as libpq reads it
    with pytest.raises(InputError, match="unknown option 'colour'"):
        open_store(f"chroma:{tmp_path / 'c'}?colour=red")
    with pytest.raises(InputError, match="milvus: store"):
        open_store("milvus:x")
    for place in ("chroma", "lancedb", "qdrant"):
        with pytest.raises(StoreNotFoundError):
            open_store(f"{place}:{tmp_path / 'nothing'}", create=False)


def test_a_collection_that_chroma_made_is_refused_and_left_alone(tmp_path: Path) -> None:
    import chromadb

    settings = chromadb.config.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(path=str(tmp_path / "c"), settings=settings)
    theirs = client.create_collection("theirs", embedding_function=None)
    theirs.add(ids=["a"], embeddings=[[1.0, 0.0]], documents=["x"])
    store = open_store(f"chroma:{tmp_path / 'c'}?collection=theirs")
    with pytest.raises(ReadOnlyError, match="made by another program"):
        store.write_header(header(2))
    store.close()
    assert theirs.get()["ids"] == ["a"]


def test_a_table_that_others_made_with_lancedb_is_refused_and_left_alone(tmp_path: Path) -> None:
    import lancedb

    theirs = lancedb.connect(tmp_path / "l")
    theirs.create_table("theirs", data=[{"id": 1, "vector": [1.0, 0.0]}])
    store = open_store(f"lancedb:{tmp_path / 'l'}?collection=theirs")
    with pytest.raises(InputError, match="made by another program"):
        store.write_header(header(2))
    store.close()
    assert theirs.list_tables().tables == ["theirs"]


def test_lancedb_closes_while_somebody_else_writes(tmp_path: Path) -> None:
    first, second = (open_store(f"lancedb:{tmp_path / 'l'}", timeout=0.1) for _ in range(2))
    first.write_header(header(2))
    first.upsert([Record("a", "x", {}, None, (Span(0, 1),))], np.eye(1, 2, dtype=np.float32))
    with second.writing("a long job"):
        first.close()  # all was written, and only small files would be joined
    assert second.count() == 1
    second.close()


def test_what_stands_before_a_chroma_server_is_named() -> None:
    answers = {"/auth/identity": {"user_id": "", "tenant": "t", "databases": ["d"]}}
    place = {"id": "0" * 32, "name": "d", "tenant": "t"}
    broken = False

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            found = next((told for path, told in answers.items() if self.path.endswith(path)), place)
            missing = "/collections/" in self.path
            told = {"error": "NotFoundError", "message": "none"} if missing else found
            self.send_response(502 if broken else 404 if missing else 200)
            self.end_headers()
            self.wfile.write(b"<html>bad gateway" if broken else json.dumps(told).encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        store = open_store(f"chroma+http://127.0.0.1:{server.server_address[1]}/notes")
        assert store.header is None
        broken = True
        with pytest.raises(StoreError, match="bad gateway"):
            store.count()
        server.shutdown()
    with pytest.raises(StoreError, match="ConnectError"):
        store.count()
    store.close()


def test_postgresql_hides_its_password_and_names_the_trouble(postgresql_url: str) -> None:
    wrong = postgresql_url.replace("only-for-tests", "wr0ng")
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        open_store(wrong)
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(InputError, match="hnsw or none"):
        open_store(f"{postgresql_url}?index=flat")


def test_postgresql_lets_one_session_write(postgresql_url: str) -> None:
    first, second = (open_store(f"{postgresql_url}?collection=locked", timeout=0.3) for _ in range(2))
    with first.writing("a long job"), pytest.raises(StoreLockedError, match="a long job"):
        second.write_header(header(4))
    second.write_header(header(4))
    first.close()
    second.close()


@pytest.mark.parametrize("width", [64, 2500])
def test_postgresql_searches_by_hnsw_on_request(postgresql_url: str, width: int) -> None:
    rows = np.random.default_rng(0).normal(size=(300, width))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    store = open_store(f"{postgresql_url}?collection=hnsw{width}&index=hnsw")
    assert isinstance(store, PointStore)
    assert not store.exact
    store.write_header(header(width))
    store.upsert([Record(f"id{n}", "x", {}, None, (Span(0, 1),)) for n in range(300)], vectors)
    for number in range(0, 300, 30):
        best = store.search(vectors[number : number + 1], 3)[0]
        assert best[0].id == f"id{number}"
        assert best[0].score == pytest.approx(1, abs=1e-6)
    store.close()
    too_wide = open_store(f"{postgresql_url}?collection=wide&index=hnsw")
    with pytest.raises(InputError, match="4000 dimensions"):
        too_wide.write_header(header(5000))
    too_wide.close()


def test_pinecone_splits_waits_and_refuses_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pinecone_server(lag=0.2) as server:
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        store = open_store("pinecone:wide/notes")
        store.write_header(header(1536))
        vectors = np.eye(120, 1536, dtype=np.float32)
        store.upsert([Record(f"id{n}", "é" * 9000, {}, None, (Span(0, 1),)) for n in range(120)], vectors)
        sent = [(size, rows) for namespace, size, rows in server.requests if namespace == "notes"]
        assert sum(rows for _, rows in sent) == 120
        assert len(sent) > 2  # by bytes
        assert store.count() == 120  # seen, although the server shows writes late
        assert store.delete(["id7"]) == 1
        assert store.get(["id7"]) == []
        with pytest.raises(InputError, match=r"'big'.*40,960"):
            store.upsert([Record("big", "x" * 50_000, {}, None, (Span(0, 1),))], vectors[:1])
        store.close()
        monkeypatch.setenv("PINECONE_API_KEY", "pcsk_wrong")
        with pytest.raises(CredentialsError) as caught:
            open_store("pinecone:wide/notes")
        assert "pcsk_wrong" not in str(caught.value)


def test_a_namespace_of_another_program_is_refused_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import pinecone

    with pinecone_server() as server:
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        store = open_store("pinecone:shared/ours")
        store.write_header(header(4))
        client = pinecone.Pinecone()
        index = client.Index(host=client.describe_index("shared").host)
        index.upsert(vectors=[{"id": "x", "values": [1.0, 0.0, 0.0, 0.0]}], namespace="theirs")
        theirs = open_store("pinecone:shared/theirs")
        with pytest.raises(ForeignFileError, match="1 vectors in this namespace"):
            theirs.write_header(header(4))
        assert list(index.fetch(ids=["x"], namespace="theirs").vectors) == ["x"]
        for opened in (store, theirs, index, client):
            opened.close()


def test_qdrant_server_takes_its_key_and_large_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server(tmp_path / "q", key="only-for-tests") as (url, server):
        monkeypatch.setenv("QDRANT_API_KEY", "wr0ng")
        with pytest.warns(UserWarning, match="insecure connection"):
            refused = open_store(f"qdrant:{url}/notes")
        with pytest.raises(StoreError) as caught:
            refused.count()
        refused.close()
        assert "401" in str(caught.value)
        assert "wr0ng" not in str(caught.value)
        monkeypatch.setenv("QDRANT_API_KEY", "only-for-tests")
        with pytest.warns(UserWarning, match="insecure connection"):
            store = open_store(f"qdrant:{url}/notes")
        store.write_header(header(1536))
        text = "\u00e9\n" * 30_000
        vectors = np.eye(200, 1536, dtype=np.float32)
        store.upsert([Record(f"id{n}", text, {}, None, (Span(0, 1),)) for n in range(200)], vectors)
        assert server.largest < 32 << 20  # in requests that a server takes
        assert store.count() == 200
        assert store.search(vectors[7:8], 1)[0][0].id == "id7"
        store.close()


def test_qdrant_folder_on_a_disk_that_is_full_or_damaged_is_told_as_such(tmp_path: Path) -> None:
    from textkin.stores import qdrant

    def records(first: int) -> list[Record]:
        return [Record(f"id{n}", f"text {n} " * 100, {}, None, (Span(0, 4),)) for n in range(first, first + 20)]

    place = f"qdrant:{tmp_path / 'q'}"
    store = open_store(place)
    store.write_header(header(8))
    store.upsert(records(0), np.tile(np.eye(1, 8, dtype=np.float32), (20, 1)))
    (shared,) = qdrant._open.values()
    database = shared.client._client.collections["textkin"].storage.storage
    database.execute("PRAGMA max_page_count = 1")  # as a full disk: not a page more
    with pytest.raises(StorageFullError, match="no room left"):
        store.upsert(records(100), np.tile(np.eye(1, 8, dtype=np.float32), (20, 1)))
    store.close()
    (file,) = tmp_path.rglob("storage.sqlite")
    whole = file.read_bytes()
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * (len(whole) - 16))
    with pytest.raises(CorruptStoreError, match="is damaged"):
        open_store(place)
    file.write_bytes(whole)
    description = tmp_path / "q" / "meta.json"
    description.write_bytes(description.read_bytes()[:-5])
    with pytest.raises(CorruptStoreError, match="is damaged"):
        open_store(place)
    assert not qdrant._open


def test_lancedb_makes_a_table_whose_making_was_cut_off(tmp_path: Path) -> None:
    for name in ("textkin", "textkin__textkin"):
        (tmp_path / "db" / f"{name}.lance" / "_versions").mkdir(parents=True)
        (tmp_path / "db" / f"{name}.lance" / "_versions" / ".tmpqnTgwO").touch()
    with pytest.raises(StoreNotFoundError):
        open_store(f"lancedb:{tmp_path / 'db'}", create=False)
    with Collection(f"lancedb:{tmp_path / 'db'}", "hashing:8") as made:
        made.add(["one text"], ids=["a"])
        assert made.get("a").text == "one text"
