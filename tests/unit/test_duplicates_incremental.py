"""Joins that remember: the same result as a full join, and only new rows compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import textkin
from textkin.duplicates.incremental import remembering_join
from textkin.duplicates.join import MAX_PAIRS
from textkin.duplicates.remembered import FILE, JoinMemory
from textkin.duplicates.work import Joined, exact_join
from textkin.errors import InputError

Rows = npt.NDArray[np.float32]
PRINT = "ab" * 32


def rows(count: int, seed: int = 0) -> Rows:
    dice = np.random.default_rng(seed)
    made = dice.normal(size=(count, 12)).astype(np.float32)
    made[count // 2 :] = made[: count - count // 2] + 0.15 * dice.normal(size=(count - count // 2, 12))
    return np.ascontiguousarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def run(path: Path, some: Rows, threshold: float = 0.9, *, write: bool = True) -> Joined:
    return remembering_join(JoinMemory(path, PRINT, write))(some, threshold, MAX_PAIRS, None)


def same(one: Joined, some: Rows, threshold: float = 0.9) -> bool:
    full = exact_join(some, threshold, MAX_PAIRS, None)
    order = np.lexsort((full.j, full.i, -full.score))
    return bool(
        len(full.i) > 0
        and np.array_equal(one.i, full.i[order])
        and np.array_equal(one.j, full.j[order])
        and np.array_equal(one.score, full.score[order])
    )


def test_only_new_rows_are_compared(tmp_path: Path) -> None:
    some = rows(400)
    first = run(tmp_path / FILE, some[:360])
    assert (first.work.how, first.work.compared) == ("exact", 360 * 359 // 2)
    second = run(tmp_path / FILE, some)
    assert (second.work.how, second.work.new, second.work.compared) == ("incremental", 40, 40 * 360 + 40 * 39 // 2)
    assert same(second, some)
    third = run(tmp_path / FILE, some)
    assert (third.work.new, third.work.compared) == (0, 0)
    assert same(third, some)


def test_changes_deletions_and_another_order(tmp_path: Path) -> None:
    some = rows(300)
    run(tmp_path / FILE, some)
    changed = some[np.random.default_rng(1).permutation(300)][:250].copy()
    changed[:5] = rows(5, seed=9)
    again = run(tmp_path / FILE, changed)
    assert (again.work.how, again.work.new) == ("incremental", 5)
    assert same(again, changed)
    assert run(tmp_path / FILE, some).work.new == 50 + 5  # what was gone is forgotten


def test_a_higher_threshold_is_answered_from_memory_and_a_lower_one_is_not(tmp_path: Path) -> None:
    some = rows(200)
    run(tmp_path / FILE, some, 0.9)
    higher = run(tmp_path / FILE, some, 0.95)
    assert higher.work.compared == 0
    assert same(higher, some, 0.95)
    lower = run(tmp_path / FILE, some, 0.8)
    assert lower.work.how == "exact"
    assert same(lower, some, 0.8)
    assert run(tmp_path / FILE, some, 0.85).work.compared == 0
    # New rows are compared at the remembered threshold, so that the next lower question needs no full join.
    more = np.concatenate([some, rows(10, seed=4)])
    run(tmp_path / FILE, more, 0.95)
    last = run(tmp_path / FILE, more, 0.8)
    assert last.work.compared == 0
    assert same(last, more, 0.8)


def test_too_many_pairs_for_the_last_threshold_are_no_error_at_this_one(tmp_path: Path) -> None:
    some = rows(300)
    first = run(tmp_path / FILE, some[:280], 0.1)
    allowed = 500
    assert len(first.i) > allowed
    again = remembering_join(JoinMemory(tmp_path / FILE, PRINT))(some, 0.9, allowed, None)
    assert same(again, some)


@pytest.mark.parametrize("known", [True, False])
def test_more_pairs_than_allowed_are_an_error_also_from_memory(tmp_path: Path, known: bool) -> None:
    some = rows(300)
    copies = np.concatenate([some, np.repeat(some[:1], 50, axis=0)])
    if known:
        run(tmp_path / FILE, some)
    with pytest.raises(InputError, match="max_pairs is 1,000"):
        remembering_join(JoinMemory(tmp_path / FILE, PRINT))(copies, 0.9, 1000, None)
    run(tmp_path / FILE, copies)
    with pytest.raises(InputError, match="max_pairs is 10:"):
        remembering_join(JoinMemory(tmp_path / FILE, PRINT))(some, 0.9, 10, None)


def test_equal_and_zero_rows(tmp_path: Path) -> None:
    some = rows(60)
    some = np.concatenate([some, some[:7], some[:3], np.zeros((4, 12), np.float32)])
    assert same(run(tmp_path / FILE, some), some)
    assert same(run(tmp_path / FILE, some), some)


@pytest.mark.parametrize("damage", ["cut", "flipped", "other model", "empty"])
def test_a_file_that_is_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    some = rows(100)
    run(tmp_path / FILE, some)
    data = bytearray((tmp_path / FILE).read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    whole = {"cut": data[:-9], "flipped": data, "other model": data, "empty": b""}[damage]
    (tmp_path / FILE).write_bytes(whole)
    fingerprint = "cd" * 32 if damage == "other model" else PRINT
    join = remembering_join(JoinMemory(tmp_path / FILE, fingerprint))
    found = join(some, 0.9, MAX_PAIRS, None)
    assert found.work.how == "exact"
    assert same(found, some)
    assert join(some, 0.9, MAX_PAIRS, None).work.compared == 0


def test_what_only_reads_writes_nothing(tmp_path: Path) -> None:
    assert same(run(tmp_path / FILE, rows(50), write=False), rows(50))
    assert not (tmp_path / FILE).exists()
    (tmp_path / "file").write_text("no folder")
    assert same(run(tmp_path / "file" / FILE, rows(50)), rows(50))


def test_a_collection_remembers(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    words = [f"word{n}" for n in range(40)]
    texts = [" ".join(dice.choice(words, 6)) for _ in range(200)]
    texts += [text + " more" for text in texts[:50]]
    with textkin.Collection(tmp_path / "n.kin", "hashing") as notes:
        notes.add(texts[:220])
        assert notes.duplicates(0.85).work.how == "exact"  # type: ignore[union-attr]
        notes.add(texts[220:])
        notes.remove(notes.duplicates(0.99, where={"x": 1}).dropped)  # a part: nothing is forgotten
        found = notes.duplicates(0.85)
        assert found.work is not None
        assert (found.work.how, found.work.new) == ("incremental", 30)
        assert found.work.compared == 30 * 220 + 30 * 29 // 2
        (tmp_path / "n.kin" / FILE).unlink()
        full = notes.duplicates(0.85)
        assert full.work is not None
        assert full.work.how == "exact"
        assert full.rows() == found.rows()
        assert full.pairs == found.pairs
    with textkin.Collection(tmp_path / "n.kin", read_only=True) as reader:
        assert reader.duplicates(0.9).work.compared == 0  # type: ignore[union-attr]


def test_an_empty_folder_with_the_derived_file_left_is_a_collection_s_place(tmp_path: Path) -> None:
    (tmp_path / "n.kin").mkdir()
    (tmp_path / "n.kin" / FILE).write_bytes(b"left behind")
    with textkin.Collection(tmp_path / "n.kin", "hashing") as notes:
        notes.add(["a text", "another"])
        assert notes.duplicates().total == 2
