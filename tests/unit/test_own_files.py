"""Files that textkin keeps for itself: their modes, and what dead processes left of them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import textkin
from textkin.ledger import Ledger
from textkin.stores.resolve import open_store
from textkin.vectors.own_files import own_file, remove_abandoned, unfinished

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that leaves everything open to everyone."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def dead_process() -> int:
    return int(
        subprocess.run(
            [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
        ).stdout
    )


@posix
@pytest.mark.usefixtures("open_umask")
def test_texts_and_vectors_are_for_their_owner_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "data" / "ledger.db")
    place = tmp_path / "deep" / "notes.kin"
    with textkin.Collection(place, "hashing:16", ledger=ledger) as collection:
        collection.add(["one cat", "two dogs", "three birds"])
        collection.search("cat")
        collection.duplicates(threshold=0.9)
        names = {
            "collection.db",
            "collection.db-wal",
            "collection.db-shm",
            "collection.db-mark",
            "matrix.bin",
            "join.bin",
        }
        found = modes(place)
        assert {name: found[name] for name in names} == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o777
    found = modes(tmp_path / "data")
    kept = {name: mode for name, mode in found.items() if not name.endswith(".lock")}
    assert set(kept.values()) == {0o600}
    assert {name for name in kept if ".claims-" not in name} == {
        *("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-mark")
    }
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    ledger.close()


@posix
@pytest.mark.usefixtures("open_umask")
def test_an_array_with_its_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    with (
        textkin.Collection(tmp_path / "notes.npy", "hashing:16", ledger=False) as collection,
        collection._store.writing("be looked at"),
    ):
        collection.add(["one cat"])
        assert modes(tmp_path)["notes.npy.journal"] == 0o600
    found = modes(tmp_path)
    assert (found["notes.npy"], found["notes.json"]) == (0o600, 0o600)


@posix
def test_what_the_user_opened_to_others_stays_open(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    for name in ("notes.kin", "notes.npy"):
        with textkin.Collection(tmp_path / name, "hashing:16", ledger=False) as collection:
            collection.add(["one cat", "two dogs"])
    for path in (place / "collection.db", tmp_path / "notes.npy"):
        path.chmod(0o664)
    place.chmod(0o775)
    for name in ("notes.kin", "notes.npy"):
        with textkin.Collection(tmp_path / name, ledger=False) as collection:
            collection.add(["three birds"])
            collection.search("cat")
            collection.duplicates(threshold=0.9)
    found = modes(place)
    assert {found[name] for name in ("collection.db", "matrix.bin", "join.bin")} == {0o664}
    assert stat.S_IMODE(place.stat().st_mode) == 0o775
    assert (modes(tmp_path)["notes.npy"], modes(tmp_path)["notes.json"]) == (0o664, 0o664)


@posix
def test_what_a_dead_process_left_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    place, data, dead = tmp_path / "notes.kin", tmp_path / "data", dead_process()
    with textkin.Collection(place, "hashing:16", ledger=False) as collection:
        collection.add(["one cat", "two dogs"])
    Ledger(data / "ledger.db").close()
    left = [place / f"{name}.{dead}.0123abcd.new" for name in ("matrix.bin", "join.bin")]
    left += [data / f"ledger.db.new{ending}" for ending in ("", "-wal", "-shm")]
    left += [place / f"collection.db.new{ending}" for ending in ("", "-shm")]
    for path in left:
        path.write_bytes(b"half")
    with Ledger(data / "ledger.db") as ledger, textkin.Collection(place, ledger=ledger) as collection:
        collection.add(["three birds"])
        collection.search("cat")
        collection.duplicates(threshold=0.9)
    assert [path.name for path in left if path.exists()] == []


def test_an_own_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with own_file(target) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"
    with own_file(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_other_peoples_files_are_never_taken_for_left_over_ones(tmp_path: Path) -> None:
    target = tmp_path / "file"
    own = unfinished(target)
    names = ["file.new", "file.txt", f"file.{dead_process()}.new", "file.1.zzzzzzzz.new", own.name]
    for name in names:
        (tmp_path / name).write_bytes(b"kept")
    remove_abandoned(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_the_working_directory_may_change_under_everything_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
    monkeypatch.setenv("TEXTKIN_DATA", "own data")
    monkeypatch.chdir(here)
    (here / "notes").mkdir()
    (here / "notes" / "a.txt").write_text("one cat")
    (here / "notes" / "b.txt").write_text("two dogs")

    def elsewhere(done: int, total: int) -> None:
        monkeypatch.chdir(other)

    with textkin.Collection("notes.kin", "hashing:16") as collection:
        report = collection.add_files(["notes"], progress=elsewhere)
        assert (report.added, list(report.skipped)) == (2, [])
        assert collection.add(["three birds"], ids=["c"]).added == 1
        assert sorted(record.id for record in collection) == ["c", "notes/a.txt", "notes/b.txt"]
        assert collection.search("cat", k=1)[0].id == "notes/a.txt"
        assert len(collection.duplicates(threshold=0.99).groups) == 0
        with Ledger() as ledger:
            assert ledger.stats()[0].texts >= 3
    assert sorted(path.name for path in other.iterdir()) == []
    with closing(open_store(here / "notes.kin", create=False)) as again:
        assert again.count() == 3
