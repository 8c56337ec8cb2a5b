"""What may be wrong with, or odd in, a collection that another tool made: named, never passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from other_tools import WIDTH, Encoder, chroma_client, save_npy, texts
from textkin.errors import (
    FileReadError,
    InputError,
    ModelMismatchError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from textkin.jobs.adopting import ForeignWarning


def test_records_without_a_usable_vector_are_left_out_by_name(tmp_path: Path) -> None:
    words = texts(50)
    vectors = Encoder().encode(words)
    vectors[4] = 0
    vectors[9, 3] = np.nan
    vectors[10] *= 1e-30
    vectors[11] *= 1e30
    words[20] = ""
    place = save_npy(tmp_path, vectors, words)
    with pytest.warns(ForeignWarning) as told:
        opened = textkin.Collection(place, model=Encoder())
    with opened as collection:
        assert collection.count() == 48
        assert "4" not in collection
        assert collection.get("20").text == ""
        assert collection.search(words[10], k=1)[0].score == pytest.approx(1, abs=1e-5)
        assert collection.search(words[11], k=1)[0].id == "11"
    messages = [str(one.message) for one in told]
    assert any("2 records have no usable vector" in line and "'4' (a zero vector)" in line for line in messages)
    assert any("1 records have no text: '20'" in line for line in messages)


def test_chroma_without_documents_and_with_lists(tmp_path: Path) -> None:
    client = chroma_client(tmp_path / "db")
    theirs = client.create_collection("odd", embedding_function=None)
    words = texts(40)
    vectors = Encoder().encode(words)
    theirs.add(ids=[f"a{n}" for n in range(40)], documents=words, embeddings=vectors)
    theirs.add(ids=["silent"], embeddings=vectors[:1], metadatas=[{"tags": ["x", "y"], "n": 2**40}])
    client.close()
    with pytest.warns(ForeignWarning, match="1 records have no text: 'silent'"):
        opened = textkin.Collection(f"chroma:{tmp_path / 'db'}?collection=odd", model=Encoder())
    with opened as collection:
        assert dict(collection.get("silent").metadata) == {"tags": ["x", "y"], "n": 2**40}
        assert collection.similar("silent", k=1)[0].id == "a0"
    client = chroma_client(tmp_path / "db")
    client.create_collection("bare", embedding_function=None).add(ids=["a", "b"], embeddings=vectors[:2])
    client.create_collection("empty", embedding_function=None)
    client.close()
    with pytest.raises(InputError, match="none has a text"):
        textkin.Collection(f"chroma:{tmp_path / 'db'}?collection=bare", model=Encoder())
    with pytest.raises(InputError, match="holds no vectors"):
        textkin.Collection(f"chroma:{tmp_path / 'db'}?collection=empty", model=Encoder())
    with pytest.raises(StoreNotFoundError):
        textkin.Collection(f"chroma:{tmp_path / 'db'}?collection=nobody", model=Encoder(), read_only=True)


def test_a_folder_that_keeps_changing_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from textkin.stores.foreign import chroma

    (tmp_path / "db").mkdir()
    numbers = iter(range(100))
    monkeypatch.setattr(chroma.time, "sleep", lambda _: None)
    monkeypatch.setattr(chroma, "_states", lambda _: {"file": (next(numbers), 0)})
    with pytest.raises(StoreLockedError, match="being written"):
        chroma.copy_at_rest(tmp_path / "db", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_file_that_goes_while_a_folder_is_copied_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from textkin.stores.foreign import chroma

    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "kept").write_text("x")
    (tmp_path / "db" / "passing").write_text("x")
    copyfile = chroma.shutil.copyfile

    def vanishing(source: str, target: str) -> str:
        (tmp_path / "db" / "passing").unlink(missing_ok=True)
        return str(copyfile(source, target))

    monkeypatch.setattr(chroma.time, "sleep", lambda _: None)
    monkeypatch.setattr(chroma.shutil, "copyfile", vanishing)
    chroma.copy_at_rest(tmp_path / "db", tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["kept"]


@pytest.fixture
def table(postgresql_url: str) -> Iterator[Callable[[str, Sequence[Sequence[Any]]], str]]:
    """Makes the table ``things`` from its columns and rows; gives its place."""
    import psycopg

    def make(columns: str, rows: Sequence[Sequence[Any]]) -> str:
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute("DROP TABLE IF EXISTS things")
            connection.execute(f"CREATE TABLE things ({columns})")
            marks = ", ".join(["%s"] * len(rows[0]))
            connection.cursor().executemany(f"INSERT INTO things VALUES ({marks})", rows)
        return f"{postgresql_url}?table=things"

    yield make
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("DROP TABLE IF EXISTS things")


def test_a_table_with_columns_of_many_types(table: Callable[..., str]) -> None:
    words = texts(20)
    rows = [
        (
            number,
            text if number != 5 else None,
            None if number == 6 else str(vector.tolist()),
            "2026-11-24 10:30:00+02",
            "2026-01-02",
            "1.50",
            "7",
            True,
            "0e37df36-f698-11e6-8dd4-cb9ced3df976",
            ["x", "y"],
            '{"lang": "en", "deep": {"a": 1}, "price": 3}',
            b"\x00",
            float("nan"),
            str([1.0, 2.0]),
        )
        for number, (text, vector) in enumerate(zip(words, Encoder().encode(words), strict=True))
    ]
    place = table(
        f"id bigint, content text, embedding halfvec({WIDTH}), seen timestamptz, day date, price numeric, "
        "whole numeric, good boolean, ref uuid, tags text[], extra jsonb, raw bytea, odd float8, second vector(2)",
        rows,
    )
    with pytest.warns(ForeignWarning) as told:
        opened = textkin.Collection(f"{place}&vector=embedding&metadata=extra", model=Encoder())
    with opened as collection:
        assert collection.count() == 19
        assert dict(collection.get("3").metadata) == {
            "seen": "2026-11-24T08:30:00+00:00",
            "day": "2026-01-02",
            "price": 1.5,
            "whole": 7,
            "good": True,
            "ref": "0e37df36-f698-11e6-8dd4-cb9ced3df976",
            "tags": ["x", "y"],
            "odd": None,
            "lang": "en",
            "deep": '{"a":1}',
            "extra.price": 3,
        }
        assert collection.count("price > 1.2 and whole = 7") == 19
        assert [record.id for record in collection][:3] == ["0", "1", "2"]  # by number, not by letter
    messages = " ".join(str(one.message) for one in told)
    assert "'6' (no vector)" in messages
    assert "no text: '5'" in messages
    assert "raw (bytea), second (vector(2))" in messages


@pytest.mark.parametrize("kind", ["real[]", "double precision[]", f"vector({WIDTH})"])
def test_vectors_of_each_type(table: Callable[..., str], kind: str) -> None:
    words = texts(20)
    vectors = Encoder().encode(words).tolist()
    given = [str(row) if kind.startswith("vector") else row for row in vectors]
    place = table(f"id text, body text, v {kind}", list(zip(map(str, range(20)), words, given, strict=True)))
    with textkin.Collection(f"{place}&vector=v", model=Encoder()) as collection:
        assert collection.search(words[4], k=1)[0].id == "4"


def test_tables_that_do_not_fit_are_refused_by_name(table: Callable[..., str], postgresql_url: str) -> None:
    def refused(options: str, message: str, error: type[Exception] = InputError) -> None:
        with pytest.raises(error, match=message) as caught:
            textkin.Collection(f"{postgresql_url}?{options}", model=Encoder())
        assert "only-for-tests" not in str(caught.value)

    vector = str([1.0] * WIDTH)
    table(f"id int, words text, v vector({WIDTH}), w vector({WIDTH})", [(1, "a", vector, vector)] * 2)
    refused("table=nothing", "no table 'nothing'", StoreNotFoundError)
    refused("table=things%3B DROP TABLE things", "no table", StoreNotFoundError)
    refused("table=things", r"text=NAME; .* words \(text\), v \(vector\(64\)\)")
    refused("table=things&text=words", "it can't be told for vector=")
    refused("table=things&text=words&vector=words", "is of type text")
    refused("table=things&text=words&vector=v&id=nr", "no column 'nr'")
    refused("table=things&text=words&vector=v&metadata=w", "no column of type json")
    refused("table=things&text=words&vector=v", "the id '1' comes twice")
    refused("table=things&text=words&vector=v&tabel=x", "invalid URI query parameter", StoreError)
    table(f"id int, words text, v vector({WIDTH})", [(None, "a", vector)])
    refused("table=things&text=words", "a row has no id")
    table("id int, words text, v vector", [(1, "a", vector), (2, "b", "[1,2]")])
    refused("table=things&text=words", "record '2' has 2 dimensions", ModelMismatchError)


def test_npy_with_texts_in_other_places(tmp_path: Path) -> None:
    words = texts(30)
    vectors = Encoder().encode(words)
    np.save(tmp_path / "v.npy", np.asfortranarray(vectors.astype(np.float64)))
    (tmp_path / "t.csv").write_text("nr,review\n" + "".join(f"k{n},{text}\n" for n, text in enumerate(words)))
    (tmp_path / "names.txt").write_text("\r\n".join(f"n{n}" for n in range(30)))
    (tmp_path / "words.txt").write_text("\n".join(words))

    def ids(options: str) -> list[str]:
        with textkin.Collection(f"{tmp_path / 'v.npy'}?{options}", model=Encoder()) as collection:
            assert [record.text for record in collection] == words
            return [record.id for record in collection]

    csv = f"texts={tmp_path / 't.csv'}&text=review"
    assert ids(csv) == [str(number) for number in range(30)]
    assert ids(f"{csv}&id=nr") == [f"k{number}" for number in range(30)]
    assert ids(f"texts={tmp_path / 'words.txt'}&ids={tmp_path / 'names.txt'}") == [f"n{n}" for n in range(30)]
    for options, message in {
        "": "no texts are beside it",
        f"texts={tmp_path / 'names.txt'}&ids={tmp_path / 'none.txt'}": "none.txt can't be read",
        f"texts={tmp_path / 'words.txt'}&id=nr": "no columns to name",
        f"{csv}&id=nr&ids=x": "not from both",
        "text=x&colour=red": "unknown option 'colour'",
    }.items():
        with pytest.raises(InputError, match=message):
            textkin.Collection(f"{tmp_path / 'v.npy'}?{options}", model=Encoder())
    (tmp_path / "words.txt").write_text("\n".join(words[:-1]))
    with pytest.raises(InputError, match=r"has 30 rows, but .*words.txt has 29 texts"):
        ids(f"texts={tmp_path / 'words.txt'}")
    (tmp_path / "words.txt").write_text("\n".join([*words, "more"]))
    with pytest.raises(InputError, match=r"has 30 rows, but .*words.txt has 31 texts"):
        ids(f"texts={tmp_path / 'words.txt'}")


def test_rows_of_a_table_stay_with_their_vectors(tmp_path: Path) -> None:
    words = texts(30)
    np.save(tmp_path / "v.npy", Encoder().encode(words))
    lines = [json.dumps({"text": "" if number == 7 else text}) for number, text in enumerate(words)]
    (tmp_path / "v.jsonl").write_text("\n".join(lines))
    with pytest.warns(ForeignWarning, match=r"'7' \(row 7: no text"):
        opened = textkin.Collection(tmp_path / "v.npy", model=Encoder())
    with opened as collection:
        assert collection.count() == 29
        assert collection.get("8").text == words[8]
    lines[7] = "{broken"
    (tmp_path / "v.jsonl").write_text("\n".join(lines))
    with pytest.raises(FileReadError, match=r"row 8: .* can't be told"):
        textkin.Collection(tmp_path / "v.npy", model=Encoder())
    (tmp_path / "v.txt").write_text("x")
    with pytest.raises(InputError, match="several files beside it"):
        textkin.Collection(tmp_path / "v.npy", model=Encoder())


def test_an_npy_of_textkins_own_is_not_taken_for_a_foreign_one(tmp_path: Path) -> None:
    from textkin.stores.foreign.npy import npy_reader

    textkin.save_vectors(tmp_path / "own.npy", np.eye(3), texts=["a", "b", "c"])
    assert npy_reader(tmp_path / "own.npy") is None
    assert npy_reader(tmp_path / "notes.kin") is None
