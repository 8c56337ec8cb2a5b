"""Undoable removal: everything comes back exactly, or nothing happens."""

from __future__ import annotations

from pathlib import Path

import apsw
import numpy as np
import pytest

import textkin
from textkin.errors import InputError, ModelMismatchError, ReadOnlyError, StoreError
from textkin.stores.local import LocalStore
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader


def filled(place: Path, count: int = 30) -> LocalStore:
    store = LocalStore(place)
    store.write_header(StoreHeader(ModelInfo("toy", 8, None, "ab" * 32), np.ones((1, 8), np.float32)))
    dice = np.random.default_rng(0)
    records = [
        Record(f"id{n}", f"first {n}. second {n}.", {"n": n, "x": None}, f"/s/{n % 3}", (Span(0, 7), Span(8, 16)))
        for n in range(count)
    ]
    rows = dice.normal(size=(2 * count, 8))
    store.upsert(records, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return store


def everything(store: LocalStore) -> tuple[list[Record], Matrix, dict[str, str]]:
    batches = list(store.scan_vectors())
    records = [record for batch, _ in batches for record in batch]
    vectors = np.concatenate([rows for _, rows in batches])
    return records, vectors, store.digests([record.id for record in records])


def same(
    one: tuple[list[Record], Matrix, dict[str, str]], two: tuple[list[Record], Matrix, dict[str, str]]
) -> bool:
    return one[0] == two[0] and np.array_equal(one[1], two[1]) and one[2] == two[2]


def test_undo_restores_records_vectors_metadata_and_order(tmp_path: Path) -> None:
    with filled(tmp_path / "n.kin") as store:
        before = everything(store)
        query = store.vectors(["id7"])[0][:1]
        hits = store.search(query, 5)
        assert store.delete_undoably(["id3", "id7", "id29", "id3", "unknown"], "test") == 3
        assert store.count() == 27
        assert "id7" not in {hit.id for hit in store.search(query, 30)[0]}
        store.check()
        store.upsert([Record("new", "a text", {}, None, (Span(0, 6),))], query)
        assert store.undo_delete() == 3
        store.check()
        assert [record.id for record in everything(store)[0]] == [f"id{n}" for n in range(30)] + ["new"]
        store.delete(["new"])
        assert same(everything(store), before)
        assert store.search(query, 5) == hits
        with pytest.raises(InputError, match="nothing to undo"):
            store.undo_delete()
    with LocalStore(tmp_path / "n.kin") as again:
        assert same(everything(again), before)


def test_only_the_last_removal_is_kept(tmp_path: Path) -> None:
    with filled(tmp_path / "n.kin") as store:
        store.delete_undoably(["id1"], "test")
        store.delete_undoably(["id2"], "test")
        assert store.undo_delete() == 1
        assert (store.get(["id1"]), len(store.get(["id2"]))) == ([], 1)


def test_a_removal_of_nothing_leaves_the_last_one_to_undo(tmp_path: Path) -> None:
    with filled(tmp_path / "n.kin") as store:
        store.delete_undoably(["id1"], "test")
        assert store.delete_undoably([], "test") == 0
        assert store.delete_undoably(["unknown"], "test") == 0
        assert store.undo_delete() == 1
        assert len(store.get(["id1"])) == 1


def test_what_is_forgotten_is_gone_from_the_file(tmp_path: Path) -> None:
    with filled(tmp_path / "n.kin") as store:
        store.delete_undoably(["id1", "id2"], "test")
        assert store.forget_deleted() == 2
        with pytest.raises(InputError, match="nothing to undo"):
            store.undo_delete()
    connection = apsw.Connection(str(tmp_path / "n.kin" / "collection.db"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    assert b"second 2." not in (tmp_path / "n.kin" / "collection.db").read_bytes()


def test_an_id_that_is_in_use_again_stops_the_undo(tmp_path: Path) -> None:
    with filled(tmp_path / "n.kin") as store:
        row = store.vectors(["id4"])[0][:1]
        store.delete_undoably(["id4", "id5"], "test")
        store.upsert([Record("id4", "anew", {}, None, (Span(0, 4),))], row)
        now = everything(store)
        with pytest.raises(InputError, match="'id4'"):
            store.undo_delete()
        assert same(everything(store), now)
        store.delete(["id4"])
        assert store.undo_delete() == 2


def test_another_model_s_collection_takes_nothing_back(tmp_path: Path) -> None:
    with filled(tmp_path / "n.kin", 3) as store:
        store.delete_undoably(["id0"], "test")
        store.delete(["id1", "id2"])
        store.write_header(StoreHeader(ModelInfo("other", 8, None, "cd" * 32), np.ones((1, 8), np.float32)))
        with pytest.raises(ModelMismatchError, match="another model"):
            store.undo_delete()


def test_read_only_refuses(tmp_path: Path) -> None:
    filled(tmp_path / "n.kin").close()
    with LocalStore(tmp_path / "n.kin", read_only=True) as store:
        with pytest.raises(ReadOnlyError):
            store.delete_undoably(["id1"], "test")
        with pytest.raises(ReadOnlyError):
            store.undo_delete()
        assert store.count() == 30


@pytest.fixture
def notes(tmp_path: Path) -> textkin.Collection:
    made = textkin.Collection(tmp_path / "n.kin", "hashing")
    made.add(["one text", "one  text", "another thing", "One text"], ids=["a", "b", "c", "d"])
    return made


def test_apply_deletes_what_the_report_drops_and_undo_brings_it_back(notes: textkin.Collection) -> None:
    before = list(notes)
    report = notes.duplicates(0.9)
    assert notes.apply(report) == 2
    assert [record.id for record in notes] == ["a", "c"]
    assert notes.duplicates(0.9).dropped == ()
    assert notes.undo() == 2
    assert list(notes) == before
    assert notes.apply(report) == 2
    assert notes.forget_undo() == 2


@pytest.mark.parametrize("change", ["dropped", "kept", "gone"])
def test_a_report_that_is_old_is_refused_and_nothing_goes(notes: textkin.Collection, change: str) -> None:
    report = notes.duplicates(0.9)
    if change == "gone":
        notes.remove("a")
    else:
        notes.add("now something else", ids={"dropped": "b", "kept": "a"}[change])
    count = notes.count()
    with pytest.raises(InputError, match="since duplicates were found"):
        notes.apply(report)
    assert notes.count() == count


def test_a_database_refuses_and_says_what_to_do(tmp_path: Path) -> None:
    with textkin.Collection(f"lancedb:{tmp_path / 'db'}", "hashing") as notes:
        notes.add(["one text", "one  text"], ids=["a", "b"])
        report = notes.duplicates(0.9)
        with pytest.raises(StoreError, match=r"only a collection in a folder can\. Write what stays with -o"):
            notes.apply(report)
        with pytest.raises(StoreError, match="only a collection in a folder"):
            notes.undo()
        assert notes.count() == 2
        assert notes.duplicates(0.95).work.compared == 0  # type: ignore[union-attr]  # remembered in the cache
