"""What is particular to the embedded store: its folder, its lock, its derived matrix, its versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
import pytest

from textkin.errors import (
    CorruptStoreError,
    InputError,
    NewerVersionError,
    ReadOnlyError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from textkin.stores.local import LocalStore, exact, matrix
from textkin.stores.local.matrix import FILE, PassageMatrix
from textkin.stores.local.schema import COLLECTION, DATABASE
from textkin.stores.resolve import open_store
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader
from textkin.where import condition

D = 8
MODEL = ModelInfo("toy", D, None, "ab" * 32)


def unit(count: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).normal(size=(count, D))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def filled(place: Path, count: int = 20, seed: int = 0) -> LocalStore:
    store = LocalStore(place, timeout=1)
    store.write_header(StoreHeader(MODEL, unit(16, 99)))
    records = [Record(f"id{n}", f"secret text {n}", {"n": n}, None, (Span(0, 13),)) for n in range(count)]
    store.upsert(records, unit(count, seed))
    return store


def best(store: LocalStore, seed: int = 0, row: int = 4) -> str:
    return store.search(unit(20, seed)[row : row + 1], 1)[0][0].id


def test_opening_makes_nothing_and_the_first_write_makes_the_folder(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "notes.kin"
    store = LocalStore(place)
    assert store.count() == 0
    assert not place.exists()
    store.write_header(StoreHeader(MODEL, unit(16)))
    assert (place / DATABASE).exists()
    assert store.url == str(place)


def test_the_database_is_set_up_as_promised(tmp_path: Path) -> None:
    filled(tmp_path / "notes.kin").close()
    database = apsw.Connection(str(tmp_path / "notes.kin" / DATABASE))
    assert database.pragma("journal_mode") == "wal"
    assert database.pragma("page_size") == 8192
    assert database.pragma("application_id") == COLLECTION.application_id
    assert database.pragma("user_version") == COLLECTION.version
    assert database.pragma("integrity_check") == "ok"
    assert database.pragma("auto_vacuum") == 2
    database.close()


def test_a_closed_collection_is_one_database_and_derived_files(tmp_path: Path) -> None:
    store = filled(tmp_path / "notes.kin")
    store.prepare()
    store.close()
    assert {item.name for item in (tmp_path / "notes.kin").iterdir()} <= {
        DATABASE,
        FILE,
        "writer.lock",
        f"{DATABASE}-mark",
    }


def test_missing_is_said(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreNotFoundError, match=r"textkin index"):
            LocalStore(tmp_path / "none.kin", **options)
        with pytest.raises(StoreNotFoundError):
            LocalStore(tmp_path, **options)


def test_read_only_refuses_changes_and_writes_no_file(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    filled(place).close()
    before = sorted(item.name for item in place.iterdir())
    with LocalStore(place, read_only=True) as store:
        assert best(store) == "id4"
        for call in (
            lambda: store.delete(["id1"]),
            lambda: store.upsert([], unit(0)),
            lambda: store.write_header(StoreHeader(MODEL, unit(16))),
            lambda: store.writing("x").__enter__(),
        ):
            with pytest.raises(ReadOnlyError):
                call()
    assert sorted(item.name for item in place.iterdir()) == before


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = filled(tmp_path / "notes.kin")
    store.close()
    for call in (store.count, lambda: store.delete(["id1"])):
        with pytest.raises(StoreError, match="closed"):
            call()


# -- deleted and replaced folders ---------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be deleted there")


@posix
@pytest.mark.parametrize("way", ["delete", "rename"])
def test_a_collection_that_is_gone_is_said_and_not_begun_anew(tmp_path: Path, way: str) -> None:
    place = tmp_path / "notes.kin"
    store = filled(place)
    assert best(store) == "id4"
    if way == "delete":
        shutil.rmtree(place)
    else:
        place.rename(tmp_path / "elsewhere.kin")
    for call in (
        store.count,
        lambda: store.header,
        lambda: store.search(unit(1), 3),
        lambda: list(store.ids()),
        lambda: store.delete(["id1"]),
        lambda: store.write_header(StoreHeader(MODEL, unit(16))),
        lambda: store.upsert([Record("new", "text", {}, None, (Span(0, 4),))], unit(1)),
    ):
        with pytest.raises(StoreNotFoundError, match="moved or deleted"):
            call()
    assert not place.exists()
    store.close()


@posix
@pytest.mark.parametrize("way", ["delete", "rename", "only the database"])
def test_another_collection_in_its_place_is_refused(tmp_path: Path, way: str) -> None:
    place = tmp_path / "notes.kin"
    store = filled(place)
    assert best(store) == "id4"
    held = store.scan(batch_size=7)
    first = next(held)
    if way == "delete":
        shutil.rmtree(place)
    elif way == "rename":
        place.rename(tmp_path / "old.kin")
    else:
        for ending in ("", "-wal", "-shm"):
            (place / (DATABASE + ending)).unlink()
    with filled(place, 3, seed=5) as other:
        for call in (store.count, lambda: best(store), lambda: store.delete(["id0"])):
            with pytest.raises(StoreError, match="another collection lies at"):
                call()
        assert [len(batch) for batch in [first, *held]] == [7, 7, 6]  # what was being read is read to its end
        assert list(other.ids()) == ["id0", "id1", "id2"]
        store.close()
    with LocalStore(place) as again:
        again.check()


@posix
def test_a_collection_restored_from_a_backup_under_an_open_store_is_read_and_written(tmp_path: Path) -> None:
    place, backup = tmp_path / "notes.kin", tmp_path / "backup"
    filled(place).close()
    shutil.copytree(place, backup)
    with LocalStore(place) as store:
        assert store.delete(["id0"]) == 1
        shutil.rmtree(place)
        shutil.copytree(backup, place)
        assert store.count() == 20
        assert best(store) == "id4"
        assert store.delete(["id1"]) == 1
    with LocalStore(place) as again:
        assert again.count() == 19
        again.check()


@pytest.mark.parametrize("kind", ["kin", "npy"])
def test_a_relative_place_is_what_it_was_when_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
    monkeypatch.chdir(here)
    store = open_store(f"notes.{kind}")
    monkeypatch.chdir(other)
    store.write_header(StoreHeader(MODEL, unit(16)))
    store.upsert([Record("new", "text", {}, None, (Span(0, 4),))], unit(1))
    assert store.count() == 1
    assert store.url == f"notes.{kind}"
    store.close()
    assert list(other.iterdir()) == []
    with closing(open_store(here / f"notes.{kind}", create=False)) as again:
        assert list(again.ids()) == ["new"]


# -- the matrix ---------------------------------------------------------------------------------------------


def test_the_matrix_is_kept_and_used_again(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    with filled(place) as store:
        assert best(store) == "id4"
    stamp = (place / FILE).stat().st_mtime_ns
    with LocalStore(place) as store:
        assert best(store) == "id4"
    assert (place / FILE).stat().st_mtime_ns == stamp


def test_a_builder_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "notes.kin"
    with filled(place) as store:
        with monkeypatch.context() as context:

            def interrupted(*_: object) -> None:
                raise KeyboardInterrupt

            context.setattr(matrix._Checksum, "add", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.prepare()
        assert not list(place.glob(f"{FILE}*"))
        assert best(store) == "id4"


@pytest.mark.parametrize(
    "damage", ["bit", "zeros", "cut", "longer", "empty", "header", "words", "blocks", "folder"]
)
def test_a_damaged_matrix_is_rebuilt(tmp_path: Path, damage: str) -> None:
    place = tmp_path / "notes.kin"
    with filled(place, 600) as store:
        store.prepare()
        expected = [hit.id for hit in store.search(unit(600)[4:5], 10)[0]]
    path = place / FILE
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[64 + 4 * D * 300] ^= 1
    elif damage == "zeros":
        data[4096:8192] = bytes(4096)
    elif damage == "cut":
        del data[-8:]
    elif damage == "longer":
        data += bytes(8)
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data[12] ^= 255
    elif damage == "words":
        data[-9] ^= 128  # the last but one passage number
    elif damage == "blocks":
        data[64:4160], data[4160:8256] = data[4160:8256], data[64:4160]
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(data)
    with LocalStore(place) as store:
        assert [hit.id for hit in store.search(unit(600)[4:5], 10)[0]] == expected
    if damage != "folder":
        assert path.stat().st_size == 64 + 600 * (4 * D + 8)


def test_a_matrix_of_another_state_is_not_used(tmp_path: Path) -> None:
    """A database restored from a backup, then changed as often as the other one: generations would agree."""
    one, two = tmp_path / "one.kin", tmp_path / "two.kin"
    for place, seed in ((one, 0), (two, 7)):
        with filled(place, seed=seed) as store:
            store.prepare()
    (one / FILE).write_bytes((two / FILE).read_bytes())
    with LocalStore(one) as store:
        assert best(store, seed=0) == "id4"
        assert store.search(unit(20)[4:5], 1)[0][0].score == pytest.approx(1)


def test_after_deleting_nothing_of_the_text_or_vector_is_in_the_files(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    vectors = unit(20)
    with filled(place) as store:
        store.prepare()
        assert store.delete(["id4"]) == 1
        assert store.count(condition("n = 4")) == 0
    for path in place.iterdir():
        data = path.read_bytes()
        assert b"secret text 4" not in data, path
        assert vectors[4].tobytes() not in data, path
    assert b"secret text 5" in (place / DATABASE).read_bytes()


def test_freed_space_is_given_back(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    store = LocalStore(place)
    store.write_header(StoreHeader(MODEL, unit(16)))
    text = "x" * 10000
    for start in range(0, 2000, 200):
        records = [Record(f"id{start + n}", text, {}, None, (Span(0, 5),)) for n in range(200)]
        store.upsert(records, unit(200))
    store.delete([f"id{n}" for n in range(1990)])
    store.close()
    assert (place / DATABASE).stat().st_size < 1_000_000


def test_files_of_a_killed_builder_are_removed(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    with filled(place) as store:
        dead = subprocess.run(
            [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
        )
        names = {"dead": int(dead.stdout), "living": os.getppid(), "old": os.getppid(), "own": os.getpid()}
        left = {name: place / f"{FILE}.{pid}.{abs(hash(name)) % 16**8:08x}.new" for name, pid in names.items()}
        for path in left.values():
            path.write_bytes(b"x")
        os.utime(left["old"], (time.time() - 9999,) * 2)
        store.prepare()
    assert {name for name, path in left.items() if path.exists()} == {"living", "own"}


def test_blocks_of_records_and_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 5, size=500)
    firsts = np.concatenate([[0], np.cumsum(counts)])
    rows = rng.normal(size=(int(firsts[-1]), D)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[100:200] = rows[5]
    passages = PassageMatrix(b"", rows, np.arange(len(rows)), np.arange(500), firsts)
    queries = np.concatenate([rows[5:6], rows[300:330]])
    selections = (None, np.flatnonzero(rng.random(500) < 0.1), np.flatnonzero(rng.random(500) < 0.9), firsts[:0])
    expected = [exact.best_records(passages, queries, 9, selected) for selected in selections]
    for scores, gathered, at_once in ((1, 1, 1), (500, 64, 7), (64, 10**6, 256)):
        monkeypatch.setattr(exact, "_SCORES", scores)
        monkeypatch.setattr(exact, "_GATHERED", gathered)
        monkeypatch.setattr(exact, "_QUERIES", at_once)
        assert [exact.best_records(passages, queries, 9, selected) for selected in selections] == expected


# -- the lock -----------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from contextlib import closing
from pathlib import Path
from textkin.stores.local import LocalStore
with LocalStore(Path(sys.argv[1])).writing("indexing a lot"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_writer_waits_and_is_told_who_holds_it(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    filled(place).close()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with LocalStore(place, timeout=0.3) as store:
            started = time.monotonic()
            with pytest.raises(StoreLockedError) as caught:
                store.delete(["id1"])
            assert time.monotonic() - started >= 0.3
            assert f"process {holder.pid} (indexing a lot)" in str(caught.value)
            assert store.count() == 20  # reading goes on
            assert best(store) == "id4"
            holder.kill()
            holder.wait()
            assert store.delete(["id1"]) == 1  # the system has freed the dead process's lock


def test_a_waiting_writer_goes_on_when_the_place_is_free(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    one, two = filled(place), LocalStore(place, timeout=120)
    done: list[int] = []
    with one.writing("first"):
        waiting = threading.Thread(target=lambda: done.append(two.delete(["id1"])))
        waiting.start()
        time.sleep(0.2)
        assert not done
    waiting.join()
    assert done == [1]
    one.close()
    two.close()


def test_a_second_thread_of_one_object_waits_too(tmp_path: Path) -> None:
    store = filled(tmp_path / "notes.kin")
    caught: list[StoreLockedError] = []

    def write() -> None:
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} \\(the first\\)") as error:
            store.delete(["id1"])
        caught.append(error.value)

    with store.writing("the first"):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert caught
    store.close()


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    store = filled(tmp_path / "notes.kin")
    with pytest.raises(InputError), store.writing("x"):
        raise InputError("stopped")
    with LocalStore(tmp_path / "notes.kin", timeout=0) as other:
        assert other.delete(["id1"]) == 1
    assert not (tmp_path / "notes.kin" / "writer.json").exists()
    store.close()


def test_two_processes_that_create_the_same_place_share_it(tmp_path: Path) -> None:
    code = """
import sys
from contextlib import closing
from pathlib import Path
import numpy as np
from textkin.stores.local import LocalStore
from textkin.types import *
store = LocalStore(Path(sys.argv[1]))
store.write_header(StoreHeader(ModelInfo("toy", 1, None, "f" * 64), np.ones((1, 1), np.float32)))
store.upsert([Record(sys.argv[2], "x", {}, None, (Span(0, 1),))], np.ones((1, 1), np.float32))
"""
    place = tmp_path / "notes.kin"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(place), name]) for name in "ab"]
    assert [worker.wait() for worker in workers] == [0, 0]
    with LocalStore(place) as store:
        assert sorted(store.ids()) == ["a", "b"]


# -- versions -----------------------------------------------------------------------------------------------


def older(place: Path) -> None:
    """Take the collection back to the first version of the format."""
    database = apsw.Connection(str(place / DATABASE))
    database.execute(
        "DROP INDEX records_by_source; DROP TABLE removal; DROP TABLE removed_records; "
        "DROP TABLE removed_passages; DROP TABLE record_checksums; DROP TABLE passage_checksums; "
        "DELETE FROM meta WHERE key IN ('checksum', 'collection', 'changes'); PRAGMA user_version = 1"
    )
    database.close()


def test_an_older_collection_is_brought_up_to_date(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    filled(place).close()
    older(place)
    data = (place / DATABASE).read_bytes()
    with LocalStore(place, read_only=True) as store:
        assert store.count() == 20
        assert best(store) == "id4"
        assert store.get(["id4"])[0].text == "secret text 4"
        assert sum(len(records) for records, _ in store.scan_vectors()) == 20
        store.check()
    assert (place / DATABASE).read_bytes() == data
    with LocalStore(place) as store:
        assert store.count() == 20
        assert best(store) == "id4"
        store.check()
        assert store.delete(["id1"]) == 1
        store.check()
    database = apsw.Connection(str(place / DATABASE))
    assert database.pragma("user_version") == COLLECTION.version
    assert database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'records_by_source'").get == 1
    database.close()


def test_a_newer_collection_is_refused_and_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    filled(place).close()
    database = apsw.Connection(str(place / DATABASE))
    database.execute(f"PRAGMA user_version = {COLLECTION.version + 1}")
    database.close()
    data = (place / DATABASE).read_bytes()
    with pytest.raises(NewerVersionError, match="pip install -U textkin"):
        LocalStore(place)
    assert (place / DATABASE).read_bytes() == data


def test_check_finds_what_no_constraint_says(tmp_path: Path) -> None:
    for statement, problem in (
        ("DELETE FROM passages WHERE number >> 20 = 3", "do not belong together"),
        ("DELETE FROM records WHERE number = 3", "do not belong together"),
        ("UPDATE passages SET vector = zeroblob(4) WHERE number >> 20 = 3", "wrong length"),
    ):
        place = tmp_path / f"{abs(hash(statement))}.kin"
        with filled(place) as store:
            store.check()
        database = apsw.Connection(str(place / DATABASE))
        database.execute(statement)
        database.close()
        with LocalStore(place) as store, pytest.raises(CorruptStoreError, match=problem):
            store.check()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM passages WHERE number >> 20 = 3",
        "DELETE FROM passages",
        "UPDATE passages SET vector = zeroblob(4) WHERE number >> 20 = 3",
    ],
)
def test_a_scan_with_vectors_never_gives_those_of_another_record(tmp_path: Path, statement: str) -> None:
    place = tmp_path / "notes.kin"
    filled(place).close()
    database = apsw.Connection(str(place / DATABASE))
    database.execute(statement)
    database.close()
    with (
        LocalStore(place) as store,
        pytest.raises(CorruptStoreError, match=r"record 'id\d' and its passages|differs from"),
    ):
        list(store.scan_vectors())


def test_a_lost_passage_of_a_record_that_was_hit_before_is_told(tmp_path: Path) -> None:
    place, rows = tmp_path / "notes.kin", unit(3)
    record = Record("a", "one two three", {}, None, (Span(0, 3), Span(4, 7), Span(8, 13)))
    with LocalStore(place) as store:
        store.write_header(StoreHeader(MODEL, unit(16, 99)))
        store.upsert([record], rows)
        assert [hit.text for (hit,) in store.search(rows[:2], 1)] == ["one", "two"]
    database = apsw.Connection(str(place / DATABASE))
    database.execute("DELETE FROM passages WHERE number & 1048575 = 1")
    database.close()
    assert (place / FILE).exists()
    with LocalStore(place) as store, pytest.raises(CorruptStoreError, match="don't belong together"):
        store.search(rows[:2], 1)
