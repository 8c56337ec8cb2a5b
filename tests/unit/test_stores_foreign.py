"""Collections that other tools made: read, searched exactly, never written, never by another model than theirs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from other_tools import WIDTH, Encoder, chroma_client, content
from textkin.errors import (
    InputError,
    ModelMismatchError,
    ReadOnlyError,
    RecordNotFoundError,
    StoreError,
)
from textkin.stores.foreign import ForeignStore
from textkin.stores.resolve import open_store
from textkin.types import ModelInfo, Record, Span, StoreHeader


@dataclass
class Made:
    """A collection as another tool left it, and the same as arrays."""

    place: str
    ids: list[str]
    texts: list[str]
    metadata: list[dict[str, Any]]
    vectors: np.ndarray
    state: Callable[[], object]


def fill_chroma(client: Any, name: str, space: str, count: int = 1100) -> Made:
    ids, words, metadata, vectors = content(count)
    theirs = client.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"space": space, "ef_search": 10}}
    )
    theirs.add(ids=ids, documents=words, metadatas=metadata, embeddings=vectors)
    return Made("", ids, words, metadata, vectors, lambda: None)


def every_byte(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def chroma_folder(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("theirs") / "db"
    client = chroma_client(folder)
    for space in ("l2", "ip"):
        fill_chroma(client, f"in_{space}", space, 300)
    made = fill_chroma(client, "theirs", "cosine")
    client.close()
    made.place = f"chroma:{folder}?collection=theirs"
    made.state = lambda: every_byte(folder)
    return made


@pytest.fixture(scope="module")
def chroma_server(chroma_address: str) -> Iterator[Made]:
    import chromadb

    host, _, port = chroma_address.partition(":")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    client = chromadb.HttpClient(host=host, port=int(port), settings=settings)
    made = fill_chroma(client, "foreign", "cosine")
    theirs = client.get_collection("foreign", embedding_function=None)
    made.place = f"chroma+http://{chroma_address}/foreign"

    def state() -> object:
        told = theirs.get(include=["documents", "metadatas", "embeddings"])
        return told["ids"], told["documents"], told["metadatas"], told["embeddings"].tolist()

    made.state = state
    yield made
    client.close()
    for owner in (client, client._admin_client):
        owner._server._session.close()  # which Chroma's own `close` leaves open


@pytest.fixture(scope="module")
def items_table(postgresql_url: str) -> Made:
    import psycopg

    ids, words, metadata, vectors = content(1100)
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE SCHEMA IF NOT EXISTS shop")
        connection.execute(
            'CREATE TABLE shop."Odd items" ("Key" text PRIMARY KEY, content text, year int, lang varchar(2), '
            f"embedding vector({WIDTH}))"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                'INSERT INTO shop."Odd items" VALUES (%s, %s, %s, %s, %s::vector)',
                [
                    (name, text, own["year"], own["lang"], str(vector.tolist()))
                    for name, text, own, vector in zip(ids, words, metadata, vectors, strict=True)
                ],
            )

    def state() -> object:
        with psycopg.connect(postgresql_url) as connection:
            rows = connection.execute(
                'SELECT *, xmin::text, ctid::text FROM shop."Odd items" ORDER BY 1'
            ).fetchall()
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'shop' ORDER BY 1, 2"
            ).fetchall()
        return [tuple(map(str, row)) for row in rows], tables

    place = f"{postgresql_url}?table=shop.Odd%20items&id=Key&text=content&vector=embedding"
    return Made(place, ids, words, metadata, vectors, state)


@pytest.fixture(scope="module")
def npy_file(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("arrays")
    ids, words, metadata, vectors = content(1100)
    np.save(folder / "vectors.npy", vectors)
    with (folder / "vectors.jsonl").open("w") as file:
        for name, text, own in zip(ids, words, metadata, strict=True):
            file.write(json.dumps({"key": name, "text": text, **own}) + "\n")
    place = f"{folder / 'vectors.npy'}?id=key"
    return Made(place, ids, words, metadata, vectors, lambda: every_byte(folder))


KINDS = ("chroma_folder", "chroma_server", "items_table", "npy_file")


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Made:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Made)
    return found


@pytest.fixture
def opened(made: Made) -> Iterator[textkin.Collection]:
    with textkin.Collection(made.place, model=Encoder(), read_only=True) as collection:
        yield collection


def cosines(made: Made, query: np.ndarray) -> np.ndarray:
    wide, one = made.vectors.astype(np.float64), query.astype(np.float64)
    return wide @ one / np.linalg.norm(wide, axis=1) / np.linalg.norm(one)


# -- the four kinds --------------------------------------------------------------------------------------------


def test_records_are_what_the_other_tool_keeps(made: Made, opened: textkin.Collection) -> None:
    records = list(opened)
    assert [record.id for record in records] == made.ids
    assert [record.text for record in records] == made.texts
    assert [dict(record.metadata) for record in records] == made.metadata
    assert opened.count() == 1100
    assert opened.get("id0007").text == made.texts[7]
    rows = opened.vectors(["id0007", "id0003"])
    wanted = made.vectors[[7, 3]] / np.linalg.norm(made.vectors[[7, 3]], axis=1, keepdims=True)
    np.testing.assert_allclose(rows, wanted, atol=1e-6)
    with pytest.raises(RecordNotFoundError, match="'nobody'"):
        opened.vectors("nobody")


def test_search_is_exact_and_scores_are_numpys_cosines(made: Made, opened: textkin.Collection) -> None:
    for query in ("red cat river", "salt 17 north", "stone"):
        scores = cosines(made, Encoder().encode([query])[0])
        hits = opened.search(query, k=10)
        best = np.argsort(-scores, kind="stable")[:10]
        assert [hit.score for hit in hits] == pytest.approx(scores[best].tolist(), abs=1e-5)
        assert [hit.id for hit in hits] == [made.ids[row] for row in best]


def test_filters_mean_what_they_mean_elsewhere(made: Made, opened: textkin.Collection) -> None:
    fit = [row for row, own in enumerate(made.metadata) if own["lang"] == "fr" and own["year"] >= 2015]
    where = 'lang = "fr" and year >= 2015'
    assert opened.count(where) == len(fit)
    scores = cosines(made, Encoder().encode(["blue tree"])[0])
    best = sorted(fit, key=lambda row: -scores[row])[:5]
    assert [hit.id for hit in opened.search("blue tree", where=where)] == [made.ids[row] for row in best]
    assert opened.count({"nothing": "here"}) == 0


def test_similar_and_duplicates(made: Made, opened: textkin.Collection) -> None:
    hits = opened.similar("id0000", k=3)
    assert (hits[0].id, hits[0].score) == ("id0001", pytest.approx(1, abs=1e-6))
    unit = made.vectors / np.linalg.norm(made.vectors, axis=1, keepdims=True)
    wanted = {(made.ids[i], made.ids[j]) for i, j in np.argwhere(np.triu(unit @ unit.T, 1) >= 0.97)}
    assert {(first, second) for first, second, _ in opened.duplicates(0.97).pairs} == wanted
    assert ("id0000", "id0001") in wanted


def test_nothing_is_written(made: Made) -> None:
    before = made.state()
    record = Record("new", "text", {}, None, (Span(0, 4),))
    with textkin.Collection(made.place, model=Encoder()) as collection:
        collection.search("cat")
        collection.duplicates()
        for write in (
            lambda: collection.add(["something"]),
            lambda: collection.remove("id0001"),
            lambda: collection.remove_source("-"),
            lambda: collection.index([record]),
        ):
            with pytest.raises(ReadOnlyError, match="made by another program"):
                write()
    store = open_store(made.place)
    header = StoreHeader(ModelInfo("toy", WIDTH, 256, "ab" * 32), np.eye(16, WIDTH, dtype=np.float32))
    for write in (
        lambda: store.write_header(header),
        lambda: store.upsert([record], np.eye(1, WIDTH, dtype=np.float32)),
        lambda: store.delete(["id0001"]),
        lambda: store.writing("anything"),
    ):
        with pytest.raises(ReadOnlyError, match="made by another program"):
            write()
    store.close()
    assert made.state() == before


def test_the_model_must_be_named(made: Made) -> None:
    with pytest.raises(InputError, match=r"Name the model: --model NAME, or Collection\(place, model=") as caught:
        textkin.Collection(made.place, read_only=True)
    assert "only-for-tests" not in str(caught.value)


def test_another_model_is_refused_with_the_figures(made: Made) -> None:
    with pytest.raises(ModelMismatchError, match=r"of 32 texts .* 32 have a cosine under 0.999 .*least -?0\.\d+"):
        textkin.Collection(made.place, model=Encoder(seed=1), read_only=True)
    with pytest.raises(ModelMismatchError, match=r"have 64 dimensions, those of hashing\S* 32"):
        textkin.Collection(made.place, model="hashing:32", read_only=True)


def test_export_takes_the_vectors_over(made: Made, tmp_path: Path) -> None:
    report = textkin.copy_collection(made.place, tmp_path / "notes.kin", model=Encoder())
    assert (report.copied, report.compared) == (1100, 100)
    encoder = Encoder()
    with textkin.Collection(tmp_path / "notes.kin", model=encoder) as copied:
        assert [record.text for record in copied] == made.texts
        asked = len(encoder.seen)
        copied.duplicates()
        assert len(encoder.seen) == asked  # nothing is embedded again
        assert copied.search(made.texts[5], k=1)[0].score == pytest.approx(1, abs=1e-5)
        copied.add(["and one more"])
        assert copied.count() == 1101
    with pytest.raises(ReadOnlyError):
        textkin.copy_collection(tmp_path / "notes.kin", made.place)
    with pytest.raises(InputError, match="leave model out"):
        textkin.copy_collection(tmp_path / "notes.kin", tmp_path / "b.kin", model="hashing")


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_chromas_other_distances(chroma_folder: Made, space: str) -> None:
    folder = chroma_folder.place.removeprefix("chroma:").partition("?")[0]
    place = f"chroma:{folder}?collection=in_{space}"
    with textkin.Collection(place, model=Encoder()) as collection:
        scores = cosines(chroma_folder, Encoder().encode(["green dog"])[0])[:300]
        assert collection.search("green dog", k=1)[0].score == pytest.approx(scores.max(), abs=1e-5)


def test_chromas_folder_stays_as_it_is_though_its_client_would_write(chroma_folder: Made, tmp_path: Path) -> None:
    """In a process of its own: what a client does at its first opening is done once a process."""
    before = chroma_folder.state()
    script = (
        "import sys, textkin\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from other_tools import Encoder\n"
        "with textkin.Collection(sys.argv[1], model=Encoder(), read_only=True) as collection:\n"
        "    print(collection.count())\n"
    )
    command = [sys.executable, "-c", script, chroma_folder.place, str(Path(__file__).parent.parent)]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout == "1100\n"
    assert chroma_folder.state() == before


def test_the_server_itself_would_refuse_a_write(postgresql_url: str, items_table: Made) -> None:
    import psycopg

    from textkin.stores.foreign.table import TableColumns, TableReader

    reader = TableReader(postgresql_url, url="shown", columns=TableColumns("items"))
    with (
        pytest.raises(StoreError, match="read-only transaction"),
        reader._connection() as connection,
    ):
        connection.execute('DELETE FROM shop."Odd items"')
    with psycopg.connect(postgresql_url) as connection:
        assert connection.execute('SELECT count(*) FROM shop."Odd items"').fetchone() == (1100,)


def test_the_copy_goes_with_the_collection(
    npy_file: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = open_store(npy_file.place)
    assert isinstance(store, ForeignStore)
    assert store.count() == 1100
    assert len(list(tmp_path.iterdir())) == 1
    store.close()
    store.close()
    assert list(tmp_path.iterdir()) == []
    assert store.count() == 1100  # read anew
    store.close()
    assert list(tmp_path.iterdir()) == []
    forgotten = open_store(npy_file.place)
    assert forgotten.count() == 1100
    del forgotten, store
    assert list(tmp_path.iterdir()) == []
