"""near_pairs: its edges, its refusals, what it reports."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from textkin.duplicates import cells, join
from textkin.duplicates.compiled import CompiledJoin, Work
from textkin.duplicates.frame import Frame
from textkin.duplicates.join import near_pairs
from textkin.duplicates.kernel import load_engine
from textkin.errors import InputError

RNG = np.random.default_rng(0)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_best_first_and_ties_by_row() -> None:
    a, b = [1.0, 0.0], [0.6, 0.8]
    i, j, score = near_pairs(np.array([a, b, a, b]), 0.6)
    assert list(zip(i.tolist(), j.tolist(), score.tolist(), strict=True)) == [
        (0, 2, 1.0),
        (1, 3, 1.0),
        (0, 1, 0.6),
        (0, 3, 0.6),
        (1, 2, 0.6),
        (2, 3, 0.6),
    ]
    assert i.dtype == j.dtype == np.int64
    assert score.dtype == np.float64


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.empty((0, 5)), []),
        (np.empty((0, 0)), []),
        (np.ones((1, 5)), []),
        (np.ones((2, 5)), [(0, 1)]),
        (np.eye(3), []),
        (np.array([[1.0], [-2.0], [3.0]]), [(0, 2)]),
        (np.zeros((3, 4)), []),
    ],
)
def test_few_rows(rows: np.ndarray, expected: list[tuple[int, int]]) -> None:
    i, j, _ = near_pairs(rows, 0.5)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == expected


def test_equal_rows_score_one_whatever_their_length_and_rounding() -> None:
    for d in (1, 2, 7, 384, 1536):
        row = RNG.standard_normal(d)
        rows = np.array([row, row * 3, row / 7, _unit(row[None])[0]])
        i, _, score = near_pairs(rows, 1.0)
        assert len(i) == 6, d
        assert (score == 1.0).all()


def test_rows_that_differ_are_not_found_at_one() -> None:
    row = RNG.standard_normal(384)
    row /= np.linalg.norm(row)
    near = row + 1e-5 * RNG.standard_normal(384) / np.sqrt(384)
    assert not len(near_pairs(np.array([row, near]), 1.0).i)
    assert len(near_pairs(np.array([row, near]), 0.9999999999).i) == 1


def test_a_pair_exactly_at_the_threshold_is_found() -> None:
    for cosine in (0.99, 0.95, 0.9, 0.7, 0.28):
        rows = np.array([[1.0, 0.0], [cosine, np.sqrt(1 - cosine**2)]])
        assert near_pairs(rows, cosine).score.tolist() == [cosine]
        assert not len(near_pairs(rows, cosine + 2e-12).i)


def test_zero_rows_score_zero() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert not len(near_pairs(rows, 1e-9).i)
    assert near_pairs(rows, 0.0).score.tolist() == [0.0, 0.0, 0.0]


def test_rows_too_long_or_too_short_to_square() -> None:
    rows = np.array([[1e300, 1e300], [1e-300, 1e-300], [5e-324, 5e-324], [1e308, -1e308]])
    i, j, score = near_pairs(rows, 0.5)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert (score == 1.0).all()
    small = np.array([[1e-45, 0], [3e38, 0]], dtype=np.float32)
    assert near_pairs(small, 1.0).score.tolist() == [1.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, np.bool_])
def test_every_kind_of_number(dtype: type) -> None:
    rows = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).astype(dtype)
    assert near_pairs(rows).i.tolist() == [0]


def test_strided_transposed_read_only_and_mapped_input(tmp_path: Path) -> None:
    rows = _unit(np.repeat(RNG.standard_normal((150, 24)), 2, axis=0) + 0.05 * RNG.standard_normal((300, 24)))
    expected = near_pairs(rows, 0.9)
    assert len(expected.i) >= 100
    np.save(tmp_path / "rows.npy", rows)
    wide = np.zeros((600, 48), dtype=np.float32)
    wide[::2, ::2] = rows
    frozen = rows.copy()
    frozen.flags.writeable = False
    for same in (np.load(tmp_path / "rows.npy", mmap_mode="r"), wide[::2, ::2], np.asfortranarray(rows), frozen):
        got = near_pairs(same, 0.9)
        for a, b in zip(got, expected, strict=True):
            assert np.array_equal(a, b)
    assert near_pairs(rows.tolist(), 0.9).i.tolist() == expected.i.tolist()


def test_input_is_not_changed() -> None:
    rows = 5 * RNG.standard_normal((50, 8))
    before = rows.copy()
    near_pairs(rows, 0.1)
    assert np.array_equal(rows, before)


def test_copies_in_different_bands_and_tiles() -> None:
    rows = RNG.standard_normal((9000, 48)).astype(np.float32)
    expected = []
    for a, b in [(0, 8999), (2047, 2048), (4095, 4096), (17, 5000), (8998, 1)]:
        rows[b] = rows[a] * 2
        expected.append((min(a, b), max(a, b)))
    i, j, _ = near_pairs(rows, 0.99)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == sorted(expected)


def test_other_side() -> None:
    a, b = RNG.standard_normal((40, 6)), RNG.standard_normal((30, 6))
    b[3] = a[25]
    i, j, score = near_pairs(a, 0.999, other=b)
    assert (i.tolist(), j.tolist(), score.tolist()) == ([25], [3], [1.0])
    assert len(near_pairs(a, 1.0, other=a).i) == 40
    assert not len(near_pairs(a, other=np.empty((0, 6))).i)


@pytest.mark.parametrize("threshold", [-1.0, -2.0, 1.0000001, 95, float("nan")])
def test_thresholds_out_of_range(threshold: float) -> None:
    with pytest.raises(InputError, match=r"above -1 and at most 1"):
        near_pairs(np.eye(3), threshold)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_name_the_row(bad: float, dtype: type) -> None:
    rows = np.ones((9000, 300), dtype=dtype)
    rows[8123, 4] = bad
    with pytest.raises(InputError, match="first in row 8123"):
        near_pairs(rows)


@pytest.mark.parametrize(
    "rows", [np.ones(3), np.ones((2, 2, 2)), np.array([["a"]]), np.ones((2, 2)) * 1j, np.ones((3, 0))]
)
def test_what_is_no_matrix_of_numbers(rows: np.ndarray) -> None:
    with pytest.raises(InputError, match="vectors"):
        near_pairs(rows)


def test_sides_of_different_models() -> None:
    with pytest.raises(InputError, match="3 dimensions and other has 4"):
        near_pairs(np.eye(3), other=np.eye(4))


def test_too_many_pairs_is_said_before_the_work() -> None:
    rows = np.tile(RNG.standard_normal(384).astype(np.float32), (20_000, 1))
    with pytest.raises(InputError, match=r"about 199,990,000 of 199,990,000 pairs reach 0\.95.*max_pairs"):
        near_pairs(rows)


def test_too_many_pairs_in_one_corner_is_found_while_working() -> None:
    rows = RNG.standard_normal((5000, 32)).astype(np.float32)
    rows[1000:1300] = rows[1000]
    with pytest.raises(InputError, match=r"more than 40,000 of"):
        near_pairs(rows, 0.99, max_pairs=40_000)
    assert len(near_pairs(rows, 0.99, max_pairs=300 * 299 // 2).i) == 300 * 299 // 2


def test_progress_ends_at_all_rows() -> None:
    calls: list[tuple[int, int | None]] = []
    near_pairs(RNG.standard_normal((6000, 40)), 0.9, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (6000, 6000)
    assert calls == sorted(calls)


@pytest.mark.parametrize("compiled_join", [True, False])
def test_an_interrupt_stops_the_threads(compiled_join: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    monkeypatch.setattr(join, "_COMPILED", 1 if compiled_join else 1 << 60)
    begun: list[Work] = []
    run = CompiledJoin.run
    stopped = Event()

    def slowly(self: CompiledJoin, work: Work) -> Any:
        begun.append(work)
        stopped.wait(0.1)  # else all may be done before anybody hears of the first
        return run(self, work)

    monkeypatch.setattr(CompiledJoin, "run", slowly)

    def stop(done: int, total: int | None) -> None:
        if begun or not compiled_join:
            stopped.set()
            raise Stop

    rows = RNG.standard_normal((60_000, 8))
    with pytest.raises(Stop):
        near_pairs(rows if compiled_join else rows[:6000], 1.0, progress=stop)
    assert len(begun) < 30


def test_statistics() -> None:
    rows = RNG.standard_normal((6000, 64)) * np.arange(1, 65) ** -1.0
    pairs = near_pairs(rows, 0.97)
    stats = pairs.stats
    assert stats.rows == (6000, 6000)
    assert stats.pairs == 6000 * 5999 // 2
    assert stats.found == len(pairs.i)
    left = [candidates for _, candidates in stats.steps]
    assert left == sorted(left, reverse=True)
    assert left[-1] >= stats.found
    assert 0 < stats.margin < 1e-4


def test_one_thread_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RNG.standard_normal((6000, 40))
    many = near_pairs(rows, 0.6)
    monkeypatch.setattr(join, "_processors", lambda: 1)
    for a, b in zip(near_pairs(rows, 0.6), many, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("other", [True, False])
def test_part_by_part_gives_the_same(compiled: bool, other: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "_COMPILED", 1 if compiled else 1 << 60)
    monkeypatch.setattr(join, "_LEAST_PART", 100)
    rows = RNG.standard_normal((1250, 24)).astype(np.float32)
    rows[700:800] = rows[100:200] + 0.02
    against = rows[::-1].copy() if other else None
    whole = near_pairs(rows, 0.8, other=against)
    assert len(whole.i) >= 100
    calls: list[int] = []
    parts = near_pairs(
        rows, 0.8, other=against, max_memory=400_000, progress=lambda done, total: calls.append(done)
    )
    assert set(zip(parts.i, parts.j, strict=True)) == set(zip(whole.i, whole.j, strict=True))
    assert np.allclose(parts.score, whole.score, rtol=0, atol=1e-12)
    assert parts.stats.pairs == whole.stats.pairs
    assert parts.stats.found == whole.stats.found
    assert calls == sorted(calls)
    assert calls[-1] == 1250


def test_the_compiled_join_says_what_it_did() -> None:
    """Rows that lie in clusters far apart: whole cells are never looked at."""
    pytest.importorskip("llvmlite")
    if load_engine() is None:
        pytest.skip("no machine code on this processor")
    centres = RNG.standard_normal((60, 128))
    rows = (centres[RNG.integers(0, 60, 16_000)] + 0.2 * RNG.standard_normal((16_000, 128))).astype(np.float32)
    rows[9000] = rows[17] * 3
    stats = near_pairs(rows, 0.99).stats
    assert stats.engine in {"vpdpbusd", "pmaddwd"}
    assert stats.steps[-1][1] >= stats.found >= 1
    assert 0 < stats.margin < 1e-6


def test_whole_cells_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    if load_engine() is None:
        pytest.skip("no machine code on this processor")
    monkeypatch.setattr(join, "_COMPILED", 1)
    monkeypatch.setattr(cells, "_TEST", 0.0)
    centres = RNG.standard_normal((30, 64))
    rows = (centres[RNG.integers(0, 30, 8000)] + 0.05 * RNG.standard_normal((8000, 64))).astype(np.float32)
    stats = near_pairs(rows, 0.9999).stats
    assert stats.skipped > stats.pairs / 2


def test_nothing_is_found_where_every_row_lies_in_an_empty_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    if load_engine() is None:
        pytest.skip("no machine code on this processor")
    plain = cells._centres

    def one_more(components: np.ndarray, frame: Frame, count: int) -> np.ndarray:
        empty = np.full_like(components[:1], -0.6, dtype=np.float32)
        return np.concatenate([plain(components, frame, count - 1), empty])

    monkeypatch.setattr(join, "_COMPILED", 1)
    monkeypatch.setattr(cells, "_ROWS_A_CELL", 16)
    monkeypatch.setattr(cells, "_TEST", 0.0)
    monkeypatch.setattr(cells, "_centres", one_more)
    dice = np.random.default_rng(0)
    right = dice.standard_normal((200, 8)) + 9
    found = near_pairs(right[:16] * -1, 0.95, other=right)
    assert (len(found.i), found.stats.found, found.stats.skipped) == (0, 0, 16 * 200)


def test_numpy_joins_where_there_is_no_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RNG.standard_normal((9000, 160)).astype(np.float32)
    rows[8000] = rows[5]
    expected = near_pairs(rows, 0.9)
    monkeypatch.setattr(join, "load_engine", lambda: None)
    got = near_pairs(rows, 0.9)
    assert got.stats.engine == "numpy"
    assert got.i.tolist() == expected.i.tolist() == [5]
