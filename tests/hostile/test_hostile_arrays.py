"""Damaged, foreign and malicious collections in an .npy: each refused by name, none half-read."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textkin.errors import (
    CorruptStoreError,
    ForeignFileError,
    InputError,
    NewerVersionError,
    ReadOnlyError,
    StoreError,
)
from textkin.stores.arrays import ArrayStore
from textkin.stores.arrays import live as live_module
from textkin.stores.resolve import open_store
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader

D = 8
MODEL = ModelInfo("toy", D, 256, "ab" * 32)


def unit(count: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).normal(size=(count, D))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def records(first: int, count: int) -> list[Record]:
    return [Record(f"id{n}", f"text {n}", {"n": n}, None, (Span(0, 6),)) for n in range(first, first + count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A collection of 20 records, in files."""
    store = ArrayStore(tmp_path / "v.npy")
    store.write_header(StoreHeader(MODEL, unit(16, 9)))
    store.upsert(records(0, 20), unit(20))
    return tmp_path / "v.npy"


@pytest.fixture
def journalled(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with 3 changes that were not yet written into the files."""
    with monkeypatch.context() as patched:
        patched.setattr(live_module.Live, "fold", lambda self: None)
        store = ArrayStore(path)
        store.upsert(records(100, 2), unit(2, 1))
        store.delete(["id3"])
        store.upsert(records(200, 2), unit(2, 2))
    assert ArrayStore(path).count() == 23
    return path


def flipped(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def rewritten(path: Path, rows: Matrix, change: Callable[[dict[str, Any]], object]) -> None:
    """Replace both files by ones that agree with each other."""
    np.save(path, rows)
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    del facts["content_sha256"]
    change(facts)
    path.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")


@pytest.mark.parametrize("place", [0, 20, 127, 128, 400, -1])
def test_a_changed_bit_in_the_numbers(path: Path, place: int) -> None:
    flipped(path, place)
    with pytest.raises(CorruptStoreError, match=r"v\.npy"):
        open_store(path)


@pytest.mark.parametrize("size", [0, 10, 128, 300])
def test_cut_numbers(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorruptStoreError, match=r"v\.npy"):
        open_store(path)


@pytest.mark.parametrize("size", [0, 1, 10, 300, -3])
def test_a_cut_description(path: Path, size: int) -> None:
    description = path.with_suffix(".json")
    description.write_bytes(description.read_bytes()[:size])
    with pytest.raises(CorruptStoreError, match=r"v\.json"):
        open_store(path)


def test_a_file_of_two_is_missing(path: Path) -> None:
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(CorruptStoreError, match=r"v\.npy is missing"):
        open_store(path)
    path.write_bytes(kept)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"v\.npy: no texts are beside it"):
        open_store(path)  # as an .npy of another tool


def test_other_things_are_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"mine": 1}')
    with pytest.raises(ForeignFileError, match=r"v\.json is in the way"):
        open_store(tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", unit(2))
    with closing(open_store(tmp_path / "v.npy")) as foreign, pytest.raises(ReadOnlyError):
        foreign.delete(["0"])
    (tmp_path / "w.npy").mkdir()
    with pytest.raises(ForeignFileError, match=r"w\.npy is a folder"):
        open_store(tmp_path / "w.npy")
    (tmp_path / "x.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match=r"x\.npy: no texts are beside it"):
        open_store(tmp_path / "x.npy")
    assert (tmp_path / "v.json").read_text() == '{"mine": 1}'


def test_newer_formats(journalled: Path) -> None:
    journal = journalled.with_name("v.npy.journal")
    journal.write_bytes(journal.read_bytes().replace(b"textkin journal 2", b"textkin journal 3", 1))
    with pytest.raises(NewerVersionError, match=r"v\.npy\.journal"):
        open_store(journalled)
    journal.unlink()
    rewritten(journalled, unit(20), lambda facts: facts.update(format=3))
    with pytest.raises(NewerVersionError, match=r"v\.json has format 3"):
        open_store(journalled)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["records"].append(facts["records"][0]),
        lambda facts: facts["records"].pop(),
        lambda facts: facts.update(records={}),
        lambda facts: facts.update(header=None),
        lambda facts: facts.update(header={"model": {}}),
        lambda facts: facts["header"].update(canaries="AAAA"),
        lambda facts: facts["header"]["model"].update(dimensions=D + 1),
        lambda facts: facts.update(dimension=D + 1),
        lambda facts: facts["records"][3].update(id="id4"),
        lambda facts: facts["records"][3].update(id=""),
        lambda facts: facts["records"][3].update(id=7),
        lambda facts: facts["records"][3].update(text=None),
        lambda facts: facts["records"][3].update(text="\ud800aaaaaaaaaa"),
        lambda facts: facts["records"][3].update(spans=[]),
        lambda facts: facts["records"][3].update(spans=[[0, 1000]]),
        lambda facts: facts["records"][3].update(spans=[[0, True]]),
        lambda facts: facts["records"][3].update(spans=[[0]]),
        lambda facts: facts["records"][3].update(source=["a"]),
        lambda facts: facts["records"][3].update(metadata=[1]),
        lambda facts: facts["records"][3].update(metadata={"a": [[1]]}),
        lambda facts: facts["records"][3].update(metadata={"a": float("nan")}),
        lambda facts: facts["records"][3].update(metadata={"a": 2**70}),
    ],
)
def test_a_description_that_lies(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewritten(path, unit(20), change)
    with pytest.raises(CorruptStoreError, match=r"v\.json"):
        open_store(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_numbers_that_are_no_unit_vectors(path: Path, value: float) -> None:
    rows = unit(20)
    rows[7] = value
    rewritten(path, rows, lambda facts: None)
    with pytest.raises(CorruptStoreError, match=r"v\.npy: row 7"):
        open_store(path)


def kept_to(whole: bytes, end: int) -> bytes:
    """A journal that says that it was flushed up to a place."""
    first = whole.index(b"\n") + 1
    digits = b"%020d" % end
    return whole[: first - 30] + b"%s %08x\n" % (digits, zlib.crc32(digits)) + whole[first:]


def test_a_change_that_was_cut_before_it_was_flushed_is_the_end(journalled: Path) -> None:
    journal = journalled.with_name("v.npy.journal")
    whole = journal.read_bytes()
    heads = [place for place in range(len(whole)) if whole.startswith(b"tkj1", place)]
    for kept, (start, end), count in zip(
        heads, itertools.pairwise([*heads, len(whole)]), (20, 22, 21), strict=True
    ):
        for size in range(start, end, 7):
            journal.write_bytes(kept_to(whole, kept)[:size])
            assert ArrayStore(journalled, read_only=True).count() == count
    # The next writer goes on behind the last whole change.
    journal.write_bytes(kept_to(whole, heads[2])[:-5])
    store = ArrayStore(journalled)
    store.upsert(records(300, 1), unit(1))
    assert list(ArrayStore(journalled).ids())[-3:] == ["id100", "id101", "id300"]
    assert not journal.exists()


def test_a_journal_that_lost_what_was_flushed_is_damaged(journalled: Path) -> None:
    journal = journalled.with_name("v.npy.journal")
    whole = journal.read_bytes()
    for size in range(0, len(whole), 7):
        journal.write_bytes(whole[:size])
        with pytest.raises(CorruptStoreError, match=r"v\.npy\.journal is damaged"):
            ArrayStore(journalled, read_only=True)


def test_a_damaged_journal_is_never_half_read(journalled: Path) -> None:
    journal = journalled.with_name("v.npy.journal")
    whole = journal.read_bytes()
    for place in (*range(20, 92, 5), *range(whole.index(b"\n") + 1, len(whole), 11)):
        flipped(journal, place)
        with pytest.raises(CorruptStoreError, match=r"v\.npy\.journal is damaged"):
            open_store(journalled)
        journal.write_bytes(whole)
    flipped(journal, 3)
    with pytest.raises(ForeignFileError, match=r"v\.npy\.journal"):
        open_store(journalled)


def test_a_journal_of_another_state_is_left_over(journalled: Path) -> None:
    journal = journalled.with_name("v.npy.journal")
    old = journal.read_bytes()
    store = ArrayStore(journalled)
    store.delete(["id7"])
    journal.write_bytes(old)  # as a writer leaves it that was killed before it could remove it
    for _ in range(2):
        assert ArrayStore(journalled, read_only=True).count() == 22
    store.delete(["id8"])
    assert not journal.exists()
    assert ArrayStore(journalled).count() == 21


def test_what_cannot_be_read_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StoreError, match=r"v\.npy can't be read: Permission denied"):
        open_store(path)
