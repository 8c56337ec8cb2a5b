"""Full disks, read-only places, damaged and foreign files: each its own clear error, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import apsw
import numpy as np
import pytest

from textkin.errors import CorruptStoreError, ForeignFileError, NewerVersionError, StoreError
from textkin.ledger import Ledger
from textkin.stores.local import LocalStore
from textkin.stores.local.schema import DATABASE
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader

D = 64
MODEL = ModelInfo("toy", D, None, "ab" * 32)
COMMON = """
import os, sys
from pathlib import Path
import numpy as np
from textkin.errors import *
from textkin.ledger import Ledger
from textkin.stores.local import LocalStore
from textkin.types import ModelInfo, Record, Span, StoreHeader

D = 64
MODEL = ModelInfo("toy", D, None, "ab" * 32)
PLACE = Path(sys.argv[1])

def unit(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, D))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

def records(first, count):
    return [Record(f"id{n}", f"text {n}", {"n": n}, None, (Span(0, 4),)) for n in range(first, first + count)]

def refused(error, call, *words):
    try:
        call()
    except error as caught:
        assert type(caught) is error, caught
        for word in words:
            assert word in str(caught), caught
    else:
        raise AssertionError(f"{error.__name__} was expected")
"""


def unit(count: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).normal(size=(count, D))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def filled(place: Path, count: int = 200) -> Path:
    with LocalStore(place) as store:
        store.write_header(StoreHeader(MODEL, unit(16)))
        records = [Record(f"id{n}", f"text {n}", {"n": n}, None, (Span(0, 4),)) for n in range(count)]
        store.upsert(records, unit(count))
    return place


def filled_ledger(path: Path, count: int = 200) -> Path:
    with Ledger(path) as ledger:
        ledger.put("ab" * 32, "", [bytes([n]) * 32 for n in range(count)], unit(count))
    return path


def run(code: str, place: Path, *before: str) -> None:
    """Run code in a process of its own, after ``before`` (a command that ends by running its arguments)."""
    command = [*before, sys.executable, "-c", COMMON + code, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def can_mount() -> bool:
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    test = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(test, capture_output=True, check=False).returncode == 0


def in_small_disk(place: Path, size: str) -> tuple[str, ...]:
    """A tmpfs of this size at ``place``, seen by the process only."""
    script = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, str(place))


@contextlib.contextmanager
def unwritable(place: Path) -> Iterator[tuple[str, ...]]:
    """A command before which ``place`` can't be written: a read-only mount for root, permissions for others."""
    if os.name == "posix" and os.geteuid() != 0:
        place.chmod(0o555)
        yield ()
        place.chmod(0o755)
    elif can_mount():
        script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        yield ("unshare", "--mount", "sh", "-c", script, str(place))
    else:
        pytest.skip("root without the right to mount writes everywhere")


# -- full disk ----------------------------------------------------------------------------------------------

FILL = """
done = 0
with LocalStore(PLACE / "notes.kin") as store:
    store.write_header(StoreHeader(MODEL, unit(16)))
    try:
        while True:
            store.upsert(records(done, 100), unit(100, done))
            done += 100
    except StorageFullError as error:
        assert "no room left" in str(error) and str(PLACE) in str(error), error
    assert done >= 100
    # Reading goes on, with what was acknowledged and nothing else; the matrix is kept in memory.
    assert store.count() == done
    assert store.search(unit(100, done - 100)[7:8], 1)[0][0].id == f"id{done - 93}"
    store.check()
    %s
with LocalStore(PLACE / "notes.kin") as store:
    assert store.count() == done
    store.check()
    %s
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit there")
def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))\n"
    free = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"
    more = "store.upsert(records(done, 100), unit(100, done)); assert store.count() == done + 100"
    run(limit + FILL % (free, more), tmp_path)


def test_a_really_full_disk(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("needs the right to mount a small file system")
    more = "assert store.delete([f'id{n}' for n in range(100)]) == 100; assert store.count() == done - 100"
    full = 'refused(StorageFullError, lambda: store.upsert(records(done, 500), unit(500)), "make room")'
    run(FILL % (full, ""), tmp_path, *in_small_disk(tmp_path, "2m"))
    room = "(PLACE / 'ballast').unlink(); "
    with_ballast = "(PLACE / 'ballast').write_bytes(bytes(1_000_000))\n" + FILL % (room, more)
    run(with_ballast, tmp_path, *in_small_disk(tmp_path, "3m"))


def test_no_room_to_begin_with(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("needs the right to mount a small file system")
    code = """
try:
    with (PLACE / "ballast").open("wb") as ballast:
        while True:
            ballast.write(bytes(4096)); ballast.flush()
except OSError:
    pass
store = LocalStore(PLACE / "notes.kin")
refused(StorageFullError, lambda: store.write_header(StoreHeader(MODEL, unit(16))), "notes.kin")
assert store.count() == 0
refused(StorageFullError, lambda: Ledger(PLACE / "ledger.db"), "ledger.db")
(PLACE / "ballast").unlink()
store.write_header(StoreHeader(MODEL, unit(16)))
store.upsert(records(0, 5), unit(5))
assert store.count() == 5
Ledger(PLACE / "ledger.db").put("ab" * 32, "", [b"x" * 32], unit(1))
"""
    run(code, tmp_path, *in_small_disk(tmp_path, "600k"))


def test_a_ledger_on_a_full_disk_keeps_what_it_has(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("needs the right to mount a small file system")
    code = """
with Ledger(PLACE / "ledger.db") as ledger:
    done = 0
    try:
        while True:
            ledger.put("ab" * 32, "", [n.to_bytes(32, "big") for n in range(done, done + 100)], unit(100, done))
            done += 100
    except StorageFullError as error:
        assert "ledger.db" in str(error)
    assert done >= 100
    known = ledger.recall("ab" * 32, "", [n.to_bytes(32, "big") for n in range(done + 100)])
    assert len(known) == done
    assert ledger.stats()[0].texts == done
"""
    run(code, tmp_path, *in_small_disk(tmp_path, "2m"))


# -- read-only places ---------------------------------------------------------------------------------------

READ = """
before = sorted(path.name for path in PLACE.iterdir())
for options in ({}, {"read_only": True}, {"create": False}):
    with LocalStore(PLACE, **options) as store:
        assert store.count() == 200 and store.header.model == MODEL
        assert store.search(unit(200)[7:8], 1)[0][0].id == "id7"
        assert len(list(store.ids())) == 200 and len(list(store.scan())) == 1
        store.check()
        refused(ReadOnlyError, lambda: store.delete(["id1"]), str(PLACE), "read-only")
        refused(ReadOnlyError, lambda: store.upsert(records(0, 1), unit(1)), str(PLACE))
        refused(ReadOnlyError, lambda: store.writing("x").__enter__(), str(PLACE))
assert sorted(path.name for path in PLACE.iterdir()) == before
"""


@pytest.mark.parametrize("prepared", [False, True])
def test_a_collection_in_a_read_only_place_is_read(tmp_path: Path, prepared: bool) -> None:
    place = filled(tmp_path / "notes.kin")
    if prepared:
        with LocalStore(place) as store:
            store.prepare()
    with unwritable(place) as before:
        run(READ, place, *before)


def test_changes_that_wait_in_the_log_of_a_killed_writer_are_read(tmp_path: Path) -> None:
    """On a read-only place SQLite can't fold them into the database; they must not be passed over."""
    place = filled(tmp_path / "notes.kin", 100)
    code = """
store = LocalStore(PLACE)
store.upsert(records(100, 100), unit(200)[100:])
os.kill(os.getpid(), 9)
"""
    with contextlib.suppress(AssertionError):
        run(code, place)
    assert (place / f"{DATABASE}-wal").stat().st_size > 0
    with unwritable(place) as before:
        run(READ, place, *before)


def test_a_reader_without_the_right_to_write_follows_a_writer(tmp_path: Path) -> None:
    place = filled(tmp_path / "notes.kin")
    store = LocalStore(place)
    store.upsert(
        [Record("id200", "new", {}, None, (Span(0, 3),))], unit(201)[200:]
    )  # its WAL stays while it is open
    with unwritable(place) as before:
        run(
            "with LocalStore(PLACE) as store: assert store.count() == 201 and store.get(['id200'])", place, *before
        )
    store.close()


def test_a_change_by_others_is_noticed_in_an_unwritable_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader opened the file as immutable; then someone who may write does."""
    place = filled(tmp_path / "notes.kin")
    real = os.access
    denied: list[bool] = [True]
    monkeypatch.setattr(os, "access", lambda path, mode: not denied[0] and real(path, mode))
    with LocalStore(place) as reader:
        assert reader.count() == 200
        scan = reader.scan(batch_size=10)
        next(scan)
        denied[0] = False
        with LocalStore(place) as writer:
            writer.delete([f"id{n}" for n in range(150)])
        denied[0] = True
        assert reader.count() == 50
        with pytest.raises(StoreError, match=r"changed|damaged"):
            list(scan)


def test_a_ledger_in_a_read_only_place_is_read(tmp_path: Path) -> None:
    filled_ledger(tmp_path / "ledger.db")
    database = apsw.Connection(str(tmp_path / "ledger.db"))
    database.execute("UPDATE entries SET day = 1")  # so that reading would like to note its use
    database.close()
    code = """
with Ledger(PLACE / "ledger.db") as ledger:
    assert len(ledger.recall("ab" * 32, "", [bytes([n]) * 32 for n in range(256)])) == 200
    refused(ReadOnlyError, lambda: ledger.put("ab" * 32, "", [b"x" * 32], unit(1)), "ledger.db")
    refused(ReadOnlyError, lambda: ledger.prune(older_than_days=0), "ledger.db")
refused(ReadOnlyError, lambda: Ledger(PLACE / "new" / "ledger.db"), "ledger.db")
"""
    with unwritable(tmp_path) as before:
        run(code, tmp_path, *before)


def test_a_new_collection_in_a_read_only_place(tmp_path: Path) -> None:
    code = """
store = LocalStore(PLACE / "notes.kin")
refused(ReadOnlyError, lambda: store.write_header(StoreHeader(MODEL, unit(16))), "notes.kin")
refused(StoreNotFoundError, lambda: LocalStore(PLACE / "notes.kin", create=False), "notes.kin")
"""
    with unwritable(tmp_path) as before:
        run(code, tmp_path, *before)


# -- damaged and foreign files ------------------------------------------------------------------------------


def exercise(place: Path) -> None:
    """Open it and read everything."""
    with LocalStore(place) as store:
        store.check()
        list(store.scan())
        store.search(unit(1), 5)


@pytest.mark.parametrize("left", [0, 50, 99, 100, 4096, 8192, 20000, -8192, -1])
def test_a_truncated_database_is_said_to_be_damaged(tmp_path: Path, left: int) -> None:
    place = filled(tmp_path / "notes.kin")
    data = (place / DATABASE).read_bytes()
    (place / DATABASE).write_bytes(data[:left])
    with pytest.raises(CorruptStoreError, match=r"collection\.db is damaged.*backup"):
        exercise(place)

    assert (place / DATABASE).read_bytes() == data[:left]


def test_a_damaged_page_is_never_answered_from(tmp_path: Path) -> None:
    place = filled(tmp_path / "notes.kin")
    data = (place / DATABASE).read_bytes()
    noise = np.random.default_rng(0).bytes(8192)
    for page in range(1, len(data) // 8192):
        (place / DATABASE).write_bytes(data[: page * 8192] + noise + data[(page + 1) * 8192 :])
        with pytest.raises(CorruptStoreError, match=DATABASE):
            exercise(place)


def test_a_garbled_vector_is_never_searched(tmp_path: Path) -> None:
    place = filled(tmp_path / "notes.kin")
    data = bytearray((place / DATABASE).read_bytes())
    at = data.index(unit(200)[100].tobytes())
    for damage in (bytes(4 * D), b"\xff" * 8):
        (place / DATABASE).write_bytes(data[:at] + damage + data[at + len(damage) :])
        with LocalStore(place) as store:
            assert store.count() == 200
            with pytest.raises(CorruptStoreError, match="differs from its checksum"):
                store.search(unit(1), 5)


def test_zeros_instead_of_a_database(tmp_path: Path) -> None:
    place = filled(tmp_path / "notes.kin")
    (place / DATABASE).write_bytes(bytes(100_000))
    with pytest.raises(CorruptStoreError, match="zeros"):
        exercise(place)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04" * 100, b"SQLite format 2\0" * 20])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "notes.kin"
    place.mkdir()
    (place / DATABASE).write_bytes(content)
    with pytest.raises(ForeignFileError, match=r"collection\.db is not"):
        exercise(place)
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(content)
    with pytest.raises(ForeignFileError, match=r"ledger\.db is not"):
        Ledger(ledger)
    assert (place / DATABASE).read_bytes() == ledger.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    place.mkdir()
    database = apsw.Connection(str(place / DATABASE))
    database.execute("CREATE TABLE records (a); INSERT INTO records VALUES (1)")
    database.close()
    data = (place / DATABASE).read_bytes()
    with pytest.raises(ForeignFileError, match="not a textkin collection"):
        exercise(place)
    with pytest.raises(ForeignFileError, match="not a textkin ledger"):
        Ledger(place / DATABASE)
    filled_ledger(tmp_path / "ledger.db")
    shutil.copy(tmp_path / "ledger.db", place / DATABASE)
    with pytest.raises(ForeignFileError, match="not a textkin collection"):
        exercise(place)
    shutil.rmtree(place)
    place.mkdir()
    (place / DATABASE).write_bytes(data)
    assert {item.name for item in place.iterdir()} == {DATABASE}


def test_folders_and_files_in_the_wrong_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ForeignFileError, match="is a file; a collection is a folder"):
        LocalStore(tmp_path / "file")
    with pytest.raises(StoreError, match="file"):
        LocalStore(tmp_path / "file" / "notes.kin").write_header(StoreHeader(MODEL, unit(16)))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.md").write_text("x")
    with pytest.raises(ForeignFileError, match=r"other things in it \(readme.md\)"):
        LocalStore(tmp_path / "docs")
    (tmp_path / "odd.kin" / DATABASE).mkdir(parents=True)
    with pytest.raises(ForeignFileError, match="is a folder"):
        LocalStore(tmp_path / "odd.kin")
    (tmp_path / "empty").mkdir()
    with LocalStore(tmp_path / "empty") as store:
        store.write_header(StoreHeader(MODEL, unit(16)))
    with pytest.raises(ForeignFileError, match="is a folder"):
        Ledger(tmp_path)


KILLED = """
import os, signal
if PLACE.suffix == ".db":
    ledger = Ledger(PLACE)
    for start in range(0, 200, 20):
        ledger.put("cd" * 32, "", [bytes([n]) * 32 for n in range(start, start + 20)], unit(20, 7))
else:
    store = LocalStore(PLACE)
    store.write_header(StoreHeader(MODEL, unit(16)))
    for start in range(0, 200, 20):
        store.upsert(records(1000 + start, 20), unit(20, 7))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_the_log_of_a_database_that_was_moved_away_is_not_replayed_into_a_new_one(tmp_path: Path) -> None:
    collection, ledger_file = tmp_path / "notes.kin", tmp_path / "ledger.db"
    for place, database in ((collection, collection / DATABASE), (ledger_file, ledger_file)):
        subprocess.run([sys.executable, "-c", COMMON + KILLED, str(place)], check=False, timeout=120)
        assert database.with_name(database.name + "-wal").stat().st_size > 0
        database.with_name(database.name + "-journal").write_bytes(b"left")
        database.rename(tmp_path / "away")
        assert database.with_name(database.name + "-wal").exists()
        if place == database:
            filled_ledger(place)
            with Ledger(place) as ledger:
                assert [use.fingerprint for use in ledger.stats()] == ["ab" * 32]
        else:
            exercise(filled(place))
            with LocalStore(place) as store:
                assert list(store.ids()) == [f"id{n}" for n in range(200)]
                store.check()
        assert not list(database.parent.glob(f"{database.name}-journal"))


def test_an_unfinished_creation_is_begun_again(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    place.mkdir()
    for ending in ("", "-wal", "-shm"):
        (place / f"{DATABASE}.new{ending}").write_bytes(b"half")
    exercise(filled(place))
    assert not list(place.glob("*.new*"))


# -- the ledger ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 50, 4096, 20000, -8192])
def test_a_truncated_ledger_says_how_to_go_on(tmp_path: Path, left: int) -> None:
    path = filled_ledger(tmp_path / "ledger.db")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CorruptStoreError, match=r"ledger\.db is damaged.*Move it.*-wal"), Ledger(path) as ledger:
        ledger.recall("ab" * 32, "", [bytes([n]) * 32 for n in range(200)])
    path.rename(path.with_suffix(".bad"))
    filled_ledger(path)


def test_a_single_wrong_bit_in_a_vector_is_noticed(tmp_path: Path) -> None:
    path = filled_ledger(tmp_path / "ledger.db")
    data = bytearray(path.read_bytes())
    place = data.index(unit(200)[100].tobytes())
    data[place + 9] ^= 1
    path.write_bytes(data)
    with Ledger(path) as ledger:
        assert len(ledger.recall("ab" * 32, "", [bytes([99]) * 32])) == 1
        with pytest.raises(CorruptStoreError, match="checksum"):
            ledger.recall("ab" * 32, "", [bytes([100]) * 32])


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    path = filled_ledger(tmp_path / "ledger.db")
    database = apsw.Connection(str(path))
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(NewerVersionError, match="99"):
        Ledger(path)
