"""What is special to a collection in an .npy: older files, the journal, locks, and what others can read."""

from __future__ import annotations

import json
import os
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.errors import (
    CorruptStoreError,
    FileReadError,
    ForeignFileError,
    InputError,
    ModelMismatchError,
    ReadOnlyError,
    StorageFullError,
    StoreLockedError,
    StoreNotFoundError,
)
from textkin.stores.arrays import ArrayStore
from textkin.stores.resolve import open_store
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader
from textkin.vectors.files import load_vectors, save_vectors

D = 8
MODEL = ModelInfo("toy", D, 256, "ab" * 32, precision="int8")


def unit(count: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).normal(size=(count, D))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def records(first: int, count: int) -> list[Record]:
    return [Record(f"id{n}", f"text {n}", {"n": n}, "/a", (Span(0, 6),)) for n in range(first, first + count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A collection of three records."""
    store = ArrayStore(tmp_path / "v.npy")
    with store.writing("fill"):
        store.write_header(StoreHeader(MODEL, unit(16, 9)))
        store.upsert(records(0, 2), unit(2))
        store.upsert([Record("two", "first. second.", {}, None, (Span(0, 6), Span(7, 14)))], unit(2, 1))
    store.close()
    return tmp_path / "v.npy"


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_others_can_read_the_files(path: Path) -> None:
    assert names(path.parent) == [".v.npy.lock", "v.json", "v.npy"]
    rows = np.load(path)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert np.array_equal(rows, np.concatenate([unit(2), unit(2, 1)]))
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert {name: facts[name] for name in ("format", "model", "fingerprint", "dimension", "count", "dtype")} == {
        "format": 2, "model": "toy", "fingerprint": "ab" * 32, "dimension": D, "count": 4, "dtype": "float32",
    }  # fmt: skip
    assert facts["records"][0] == {
        "id": "id0", "text": "text 0", "metadata": {"n": 0}, "source": "/a", "spans": [[0, 6]],
    }  # fmt: skip
    found = load_vectors(path)
    assert found.texts == ("text 0", "text 1", "first.", "second.")
    assert found.ids == ("id0", "id1", "two", "two")
    assert (found.model, found.fingerprint) == ("toy", "ab" * 32)
    found.require_model(MODEL)


def test_files_of_embed_are_a_collection_and_become_one_of_this_format(tmp_path: Path) -> None:
    path = save_vectors(tmp_path / "v.npy", unit(3), texts=["a", "b", "c\ud800"], ids=["x", "y", "z"], model=MODEL)
    before = path.read_bytes()
    store = open_store(str(path))
    header = store.header
    assert header is not None
    assert header.model == MODEL
    assert header.canaries.shape == (0, D)
    assert store.get(["z", "x"]) == [
        Record("z", "c\ufffd", {}, None, (Span(0, 2),)),
        Record("x", "a", {}, None, (Span(0, 1),)),
    ]
    assert store.search(unit(3)[1:2], 1)[0][0].id == "y"
    assert path.read_bytes() == before
    store.upsert(records(0, 1), unit(1, 5))
    assert json.loads((tmp_path / "v.json").read_text())["format"] == 2
    assert list(ArrayStore(path).ids()) == ["x", "y", "z", "id0"]


def test_older_files_without_all_facts(tmp_path: Path) -> None:
    path = save_vectors(tmp_path / "v.npy", unit(2), texts=["a", "b"], model=MODEL)
    facts = json.loads((tmp_path / "v.json").read_text())
    del facts["model_info"], facts["content_sha256"]
    (tmp_path / "v.json").write_text(json.dumps(facts))
    store = ArrayStore(path, read_only=True)
    assert list(store.ids()) == ["0", "1"]
    assert store.header is not None
    assert store.header.model == ModelInfo("toy", D, None, "ab" * 32)
    (tmp_path / "v.json").write_text(json.dumps(facts | {"model_info": facts | {"what": 1}}))
    with pytest.raises(CorruptStoreError, match=r"v\.json.*model_info"):
        ArrayStore(path)


@pytest.mark.parametrize(
    ("given", "told"),
    [({"texts": ["a", "b"]}, "which model"), ({"texts": ["a", "b"], "model": "m"}, "which model"),
     ({"model": MODEL}, "no texts")],
)  # fmt: skip
def test_vectors_without_texts_or_model_are_no_collection(tmp_path: Path, given: Any, told: str) -> None:
    path = save_vectors(tmp_path / "v.npy", unit(2), **given)
    with pytest.raises(ForeignFileError, match=rf"v\.json .*{told}"):
        open_store(path)


def test_vectors_that_are_not_of_unit_length_are_named(tmp_path: Path) -> None:
    rows = unit(3)
    rows[1] *= 2
    path = save_vectors(tmp_path / "v.npy", rows, texts=["a", "b", "c"], model=MODEL)
    with pytest.raises(CorruptStoreError, match=r"v\.npy: row 1 .*length 2"):
        ArrayStore(path)


def test_vectors_are_not_saved_over_a_collection(path: Path) -> None:
    with pytest.raises(InputError, match=r"v\.npy is a collection"):
        save_vectors(path, unit(2))
    assert ArrayStore(path).count() == 3


def test_vectors_are_not_saved_over_what_a_killed_job_left(tmp_path: Path) -> None:
    path = save_vectors(tmp_path / "v.npy", unit(2), texts=["a", "b"], model=MODEL)
    save_vectors(path, unit(2), texts=["a", "b"], model=MODEL)
    store = ArrayStore(path)
    with store.writing("index"):
        store.upsert(records(0, 1), unit(1))
        with pytest.raises(InputError, match=r"v\.npy is a collection"):
            save_vectors(path, unit(2), texts=["a", "b"], model=MODEL)
    assert store.count() == 3


def test_a_missing_one_is_not_found(tmp_path: Path) -> None:
    for arguments in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreNotFoundError, match=r"new\.npy"):
            open_store(tmp_path / "new.npy", **arguments)
    assert names(tmp_path) == []
    store = ArrayStore(tmp_path / "deep" / "new.npy")
    store.write_header(StoreHeader(MODEL, unit(16, 9)))
    assert names(tmp_path / "deep") == [".new.npy.lock", "new.json", "new.npy"]
    assert np.load(tmp_path / "deep" / "new.npy").shape == (0, D)


def test_read_only_writes_nothing(path: Path) -> None:
    before = names(path.parent)
    store = ArrayStore(path, read_only=True)
    for call in (lambda: store.delete(["id0"]), lambda: store.upsert(records(5, 1), unit(1))):
        with pytest.raises(ReadOnlyError, match=r"v\.npy"):
            call()
    assert len(store.search(unit(1), 5)[0]) == 3
    assert names(path.parent) == before


def test_a_job_rewrites_the_files_once_and_is_seen_before_that(path: Path) -> None:
    store, reader = ArrayStore(path), ArrayStore(path, read_only=True)
    assert reader.count() == 3
    inode = path.stat().st_ino
    with store.writing("index"):
        for turn in range(40):
            store.upsert(records(10 + 5 * turn, 5), unit(5, turn))
            assert path.stat().st_ino == inode
            assert reader.count() == 3 + 5 * (turn + 1)
        store.delete(["id0"])
        assert reader.search(unit(1, 7), 1) == store.search(unit(1, 7), 1)
        late = ArrayStore(path, read_only=True)
        assert list(late.ids()) == list(store.ids()) == list(reader.ids())
    assert path.stat().st_ino != inode
    assert names(path.parent) == [".v.npy.lock", "v.json", "v.npy"]
    for view in (store, reader, late, ArrayStore(path)):
        assert view.count() == 202
        assert np.array_equal(view.vectors(["id14"])[0], unit(5, 0)[4:])
    assert np.load(path).shape == (203, D)


def test_only_one_writes_and_the_other_is_told_who(path: Path, tmp_path: Path) -> None:
    store, other = ArrayStore(path), ArrayStore(path, timeout=0.1)
    beside = ArrayStore(tmp_path / "w.npy", timeout=0.1)
    problems: list[BaseException] = []

    def write() -> None:
        try:
            other.delete(["id0"])
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            problems.append(error)

    with store.writing("index"):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        beside.write_header(StoreHeader(MODEL, unit(16, 9)))  # another collection in the same folder is free
    assert [type(problem) for problem in problems] == [StoreLockedError]
    assert "v.npy is being written" in str(problems[0])
    assert "(index)" in str(problems[0])
    other.delete(["id0"])
    assert store.count() == 2


def test_a_failed_write_in_a_job_leaves_what_was_written_before(path: Path) -> None:
    store = ArrayStore(path)

    def job() -> None:
        with store.writing("index"):
            store.upsert(records(10, 2), unit(2))
            store.upsert([*records(20, 1), Record("bad", "x")], unit(2))

    with pytest.raises(InputError, match="'bad'"):
        job()
    assert list(ArrayStore(path).ids()) == ["id0", "id1", "two", "id10", "id11"]


def test_no_room_loses_nothing(path: Path) -> None:
    store = ArrayStore(path)
    store.upsert(records(100, 500), unit(500))
    size = path.stat().st_size
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 10, limits[1]))
    try:
        with pytest.raises(StorageFullError, match=r"v\.npy could not be rewritten.*v\.npy\.journal"):
            store.upsert(records(1000, 1), unit(1))  # fits the journal, not the .npy
        with pytest.raises(StorageFullError, match=r"v\.npy\.journal"):
            store.upsert(records(2000, 500), unit(500))  # doesn't fit the journal either
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    for view in (store, ArrayStore(path, read_only=True)):
        assert view.count() == 504
        assert len(view.get(["id1000", "id2000"])) == 1
    store.delete(["id0"])
    assert names(path.parent) == [".v.npy.lock", "v.json", "v.npy"]
    assert ArrayStore(path).count() == 503


def test_what_a_caller_does_to_what_it_got_changes_nothing(path: Path) -> None:
    store = ArrayStore(path)
    mine = records(0, 1)
    rows = unit(1, 4)
    with store.writing("index"):
        store.upsert(mine, rows)
        rows[:] = 0
        mine[0].metadata["n"] = "spoilt"  # type: ignore[index]
        store.get(["id0"])[0].metadata["n"] = "spoilt"  # type: ignore[index]
        store.vectors(["id0"])[0][:] = 0
        store.search(unit(1, 4), 1)[0][0].metadata["n"] = "spoilt"  # type: ignore[index]
    for view in (store, ArrayStore(path)):
        assert view.get(["id0"])[0].metadata == {"n": 0}
        assert np.array_equal(view.vectors(["id0"])[0], unit(1, 4))


def test_a_collection_by_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    from textkin.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("cats are animals")
    (tmp_path / "b.txt").write_text("dogs are animals too")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        found = capfd.readouterr()
        assert not ended.value.code, found.err
        return str(found.out)

    assert "v.npy has 2 records" in run("index", ".", "--to", "v.npy", "--model", "hashing")
    # Its own description is no text to index.
    assert "2 unchanged" in run("index", ".", "--to", "v.npy")
    assert json.loads(run("search", "v.npy", "cats", "-k", "1", "--json"))[0]["id"] == "a.txt"
    assert json.loads(run("similar", "v.npy", "a.txt", "--json"))[0]["id"] == "b.txt"
    assert "near  0.6118  b.txt" in run("duplicates", "v.npy", "--threshold", "0.1")
    assert "dogs" in run("show", "v.npy", "b.txt")
    assert "a.txt" in run("list", "v.npy")
    size = sum((tmp_path / name).stat().st_size for name in ("v.npy", "v.json"))
    assert json.loads(run("info", "v.npy", "--json"))["bytes"] == size
    assert "1 record removed, 1 left" in run("remove", "v.npy", "a.txt")
    with pytest.raises(SystemExit):
        main(["duplicates", "none.npy"])
    assert "no collection at none.npy" in capfd.readouterr().err


def test_another_model_is_refused(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "v.npy", model="hashing") as made:
        made.add(["a text"])
    with pytest.raises(ModelMismatchError, match="hashing:64"):
        textkin.Collection(tmp_path / "v.npy", model="hashing:64")


def test_a_link_is_written_through_and_modes_stay(path: Path, tmp_path: Path) -> None:
    for file in (path, path.with_suffix(".json")):
        file.chmod(0o600)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "w.npy"
    link.symlink_to(Path("..") / path.name)
    link.with_suffix(".json").symlink_to(path.with_suffix(".json"))
    store = open_store(str(link))
    with store.writing("index"):
        store.upsert(records(5, 1), unit(1))
        with pytest.raises(StoreLockedError):
            open_store(str(path), timeout=0).upsert(records(6, 1), unit(1))
    assert ArrayStore(path).count() == 4
    assert link.is_symlink()
    assert names(link.parent) == ["w.json", "w.npy"]
    assert {file.stat().st_mode & 0o777 for file in (path, path.with_suffix(".json"))} == {0o600}


def test_links_to_two_collections_are_none(path: Path, tmp_path: Path) -> None:
    save_vectors(tmp_path / "other", unit(1), texts=["a"], model=MODEL)
    (tmp_path / "w.npy").symlink_to(path.name)
    (tmp_path / "w.json").symlink_to("other.json")
    with pytest.raises(ForeignFileError, match="no pair"):
        open_store(str(tmp_path / "w.npy"))


@pytest.mark.parametrize("name", ["p.npy", "p.json"])
def test_a_pipe_is_no_collection(tmp_path: Path, name: str) -> None:
    (tmp_path / "p.npy").touch()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(ForeignFileError, match="a device or a pipe"):
        open_store(str(tmp_path / "p.npy")).count()
    with pytest.raises(FileReadError, match="a device or a pipe"):
        load_vectors(tmp_path / "p")
