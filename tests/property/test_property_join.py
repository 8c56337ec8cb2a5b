"""The join finds the same pairs as float64 brute force, and the groups keep their promises, on any data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.duplicates import cascade, cells, compiled, join, tiles
from textkin.duplicates.groups import group
from textkin.duplicates.join import near_pairs
from textkin.duplicates.kernel import Engine, compile_engine, has_llvmlite
from textkin.duplicates.kernel_code import KERNELS
from textkin.duplicates.stars import Links, star_groups

Array = npt.NDArray[np.float64]
RULES = ["first", "last", "central"]


def brute_force(a: Array, b: Array, same: bool) -> Array:
    """All cosines in float64 by an independent formula; -2 below the diagonal of a self-join."""
    units = []
    for rows in (a, b):
        long = rows.astype(np.longdouble)
        lengths = np.sqrt(np.sum(long**2, axis=1, keepdims=True))
        units.append(np.where(lengths > 0, long / np.where(lengths > 0, lengths, 1), 0).astype(np.float64))
    cosines = units[0] @ units[1].T
    if same:
        cosines[np.tril_indices(len(a))] = -2
    return np.asarray(cosines)


def _clusters(rng: np.random.Generator, n: int, d: int, spread: float) -> Array:
    centres = rng.standard_normal((max(1, n // 7), d))
    return centres[rng.integers(0, len(centres), n)] + spread * rng.standard_normal((n, d))


def _spectrum(rng: np.random.Generator, n: int, d: int) -> Array:
    rows = rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.6
    copies = rng.integers(0, n, n // 5)
    rows[: len(copies)] = rows[copies] + 0.05 * np.linalg.norm(rows[copies], axis=1)[
        :, None
    ] * rng.standard_normal((len(copies), d)) / np.sqrt(d)
    return rows


def _few_axes(rng: np.random.Generator, n: int, d: int) -> Array:
    rows = np.zeros((n, d))
    rows[:, : min(3, d)] = rng.standard_normal((n, min(3, d)))
    return rows


def _with_zeros(rng: np.random.Generator, n: int, d: int) -> Array:
    rows = _clusters(rng, n, d, 0.2)
    rows[:: max(1, n // 9)] = 0
    return rows


def _long_and_short(rng: np.random.Generator, n: int, d: int) -> Array:
    return _clusters(rng, n, d, 0.1) * 10.0 ** rng.integers(-140, 140, (n, 1))


def _integers(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.integers(-1, 2, (n, d)).astype(np.float64)


def _at_an_angle(rng: np.random.Generator, n: int, d: int) -> Array:
    """Pairs of rows at the thresholds themselves, as near as float64 comes."""
    rows = rng.standard_normal((n, d))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    for k, cosine in zip(range(0, n - 1, 2), np.resize([0.99, 0.95, 0.9, 0.8, 0.7, 0.6], n), strict=False):
        other = rows[k + 1] - (rows[k + 1] @ rows[k]) * rows[k]
        length = np.linalg.norm(other)
        if d > 1 and length > 0:
            rows[k + 1] = cosine * rows[k] + np.sqrt(1 - cosine**2) * other / length
    return rows


KINDS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "noise": lambda rng, n, d: rng.standard_normal((n, d)),
    "tight clusters": lambda rng, n, d: _clusters(rng, n, d, 0.02),
    "loose clusters": lambda rng, n, d: _clusters(rng, n, d, 0.5),
    "spectrum of texts": _spectrum,
    "positive": lambda rng, n, d: rng.random((n, d)),
    "sparse": lambda rng, n, d: rng.random((n, d)) * (rng.random((n, d)) < 0.1),
    "few axes": _few_axes,
    "zero rows": _with_zeros,
    "all lengths": _long_and_short,
    "small integers": _integers,
    "at the threshold": _at_an_angle,
    "copies": lambda rng, n, d: rng.standard_normal((max(1, n // 4), d))[rng.integers(0, max(1, n // 4), n)],
    "opposites": lambda rng, n, d: _clusters(rng, n, d, 0.05) * rng.choice([-1.0, 1.0], (n, 1)),
}


def assert_same_pairs(rows: Array, threshold: float, other: Array | None = None) -> None:
    i, j, score = near_pairs(rows, threshold, other=other)
    cosines = brute_force(rows, rows if other is None else other, other is None)
    got = np.zeros(cosines.shape, dtype=bool)
    got[i, j] = True
    assert got.sum() == len(i), "a pair came twice"
    # Only a cosine within 1e-12 of the threshold may go either way.
    differs = got != (cosines >= threshold)
    assert (np.abs(cosines[differs] - threshold) <= 1e-12).all(), np.argwhere(differs)
    assert (np.abs(cosines[i, j] - score) <= 1e-12).all()
    assert (np.lexsort((j, i, -score)) == np.arange(len(i))).all()


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 90),
    d=st.sampled_from([1, 2, 3, 17, 64, 130]),
    threshold=st.sampled_from([1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.3, 0.0, -0.5]),
    single=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_any_data_whole_products(kind: str, seed: int, n: int, d: int, threshold: float, single: bool) -> None:
    rows = KINDS[kind](np.random.default_rng(seed), n, d)
    if single and kind != "all lengths":
        rows = rows.astype(np.float32).astype(np.float64)
    assert_same_pairs(rows, threshold)


@pytest.mark.parametrize("kind", KINDS)
def test_any_data_thin_products(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sizes forced through the cascade: many bands, tiles that end unevenly, batches that fill."""
    monkeypatch.setattr(join, "load_engine", lambda: None)
    monkeypatch.setattr(cascade, "_SMALL", 10)
    monkeypatch.setattr(tiles, "_BATCH", 50)
    monkeypatch.setattr(tiles, "_SMALL_PRODUCT", 1 << 14)
    rng = np.random.default_rng(7)
    for n, d in ((401, 64), (233, 96)):
        rows = KINDS[kind](rng, n, d)
        for threshold in (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6):
            assert_same_pairs(rows, threshold)
        assert_same_pairs(rows[: n // 2], 0.9, rows[n // 3 :])


@pytest.mark.parametrize("widths", [(15,), (15, 31), (31, 47)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_cascade(kind: str, widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same whatever widths are chosen, also where they discard nothing."""
    monkeypatch.setattr(join, "load_engine", lambda: None)
    monkeypatch.setattr(cascade, "_SMALL", 10)
    monkeypatch.setattr(cascade, "_cheapest", lambda *_: widths)
    monkeypatch.setattr(tiles, "_SMALL_PRODUCT", 1 << 14)
    for threshold in (0.95, 0.5):
        assert_same_pairs(KINDS[kind](np.random.default_rng(3), 400, 100), threshold)


@cache
def engine_of(bits: int) -> Engine | None:
    """The best engine with components of so many bits."""
    made = (compile_engine(kernel) for kernel in KERNELS if kernel.bits == bits)
    return next((engine for engine in made if engine is not None), None) if has_llvmlite() else None


@pytest.fixture(params=[(8, False), (8, True), (16, True)], ids=["8 bits", "8 bits, pruned", "16 bits, pruned"])
def small_compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sizes forced through the compiled join: many tiles, batches that fill, with cells and without."""
    bits, pruned = request.param
    engine = engine_of(bits)
    if engine is None:
        pytest.skip(f"no machine code with {bits} bits here")
    monkeypatch.setattr(join, "load_engine", lambda: engine)
    monkeypatch.setattr(join, "_COMPILED", 1)
    monkeypatch.setattr(compiled, "TILE", 128)
    monkeypatch.setattr(compiled, "_TASK_ROWS", 192)
    monkeypatch.setattr(compiled, "_LEFT_BYTES", 1 << 11)
    monkeypatch.setattr(compiled, "_FEW", 24)
    monkeypatch.setattr(compiled, "_BATCH", 50)
    monkeypatch.setattr(cells, "_ROWS_A_CELL", 40)
    monkeypatch.setattr(cells, "_TEST", 0.0 if pruned else 1e9)


@pytest.mark.usefixtures("small_compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_any_data_compiled(kind: str) -> None:
    rng = np.random.default_rng(7)
    for n, d in ((401, 64), (233, 3)):
        rows = KINDS[kind](rng, n, d)
        for threshold in (1.0, 0.95, 0.6):
            assert_same_pairs(rows, threshold)
        single = rows.astype(np.float32) if kind != "all lengths" else rows
        assert_same_pairs(single, 0.9)
        assert_same_pairs(single[: n // 2], 0.9, single[n // 3 :])
        assert_same_pairs(single[:30], 0.7, rows)


@pytest.mark.slow
@pytest.mark.parametrize("compiled_join", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_real_sizes(kind: str, compiled_join: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_SMALL", 1000)
    if not compiled_join:
        monkeypatch.setattr(join, "load_engine", lambda: None)
    rows = KINDS[kind](np.random.default_rng(5), 5000, 384)
    for threshold in (0.99, 0.8):
        assert_same_pairs(rows, threshold)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Links]:
    count = draw(st.integers(1, 14))
    edges = draw(
        st.dictionaries(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), st.integers(0, 20))
    )
    chosen = {(i, j): s for (i, j), s in edges.items() if i < j}
    i = np.array([p[0] for p in chosen], dtype=np.int64)
    j = np.array([p[1] for p in chosen], dtype=np.int64)
    return count, Links(i, j, np.array([0.8 + s / 100 for s in chosen.values()], dtype=np.float64))


@given(graphs(), st.randoms(use_true_random=False), st.booleans())
def test_star_promises(graph: tuple[int, Links], random: object, central: bool) -> None:
    count, links = graph
    order = None if central else np.array(random.sample(range(count), count), dtype=np.int64)  # type: ignore[attr-defined]
    stars = star_groups(count, links, order)
    score = {
        frozenset(p): s for *p, s in zip(links.i.tolist(), links.j.tolist(), links.score.tolist(), strict=True)
    }
    kept = {r for r in range(count) if stars.keeper[r] == r}
    assert not any(frozenset((a, b)) in score for a in kept for b in kept if a < b)
    for record in set(range(count)) - kept:
        keeper = int(stars.keeper[record])
        assert keeper in kept
        mine = score[frozenset((record, keeper))]
        assert stars.score[record] == mine
        assert mine == max(score.get(frozenset((record, other)), 0.0) for other in kept)
    if order is not None:
        expected: set[int] = set()
        for record in order.tolist():
            if not any(frozenset((record, other)) in score for other in expected):
                expected.add(record)
        assert kept == expected


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from(RULES), st.sampled_from([0.9, 0.95]))
@settings(deadline=None)
def test_at_is_the_same_as_joining_again(seed: int, n: int, rule: str, threshold: float) -> None:
    rows = _clusters(np.random.default_rng(seed), n, 6, 0.25)
    ids = [f"r{k}" for k in range(n)]
    again = group(ids, near_pairs(rows, threshold), keep=rule)
    raised = group(ids, near_pairs(rows, 0.7), keep=rule).at(threshold)
    # All but the figures of the two joins, which were different ones.
    assert {**raised.to_dict(), "work": None} == {**again.to_dict(), "work": None}
