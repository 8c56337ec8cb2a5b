"""The metrics against independent formulas in exact or long arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from textkin.errors import InputError
from textkin.vectors.similarity import (
    angular_similarity,
    cosine_similarity,
    dot_product,
    euclidean_distance,
    euclidean_similarity,
    manhattan_distance,
    manhattan_similarity,
    normalize,
    similarity,
)

RNG = np.random.default_rng(0)


def _dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _cosine(a: list[float], b: list[float]) -> float:
    long = math.hypot(*a), math.hypot(*b)
    return _dot([x / long[0] for x in a], [y / long[1] for y in b]) if all(long) else 0.0


def _angular(a: list[float], b: list[float]) -> float:
    return 1 - math.acos(max(-1.0, min(1.0, _cosine(a, b)))) / math.pi


FORMULAS: dict[str, Callable[[list[float], list[float]], float]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": lambda a, b: -math.dist(a, b),
    "manhattan": lambda a, b: -math.fsum(abs(x - y) for x, y in zip(a, b, strict=True)),
    "angular": _angular,
}


def _expected(metric: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    formula = FORMULAS[metric]
    return np.array([[formula(x, y) for y in b.tolist()] for x in a.tolist()]).reshape(len(a), len(b))


@pytest.mark.parametrize("metric", FORMULAS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-5), (np.int16, 1e-12)])
@pytest.mark.parametrize("shape", [(6, 4, 7), (1, 1, 1), (1, 5, 384), (5, 1, 2), (0, 3, 4), (3, 0, 4), (0, 0, 4)])
def test_all_against_all_and_pairwise(
    metric: str, dtype: type, tolerance: float, shape: tuple[int, int, int]
) -> None:
    n, m, d = shape
    a = (4 * RNG.standard_normal((n, d))).astype(dtype)
    b = (4 * RNG.standard_normal((m, d))).astype(dtype)
    if metric == "angular":
        # The arc cosine near 1 has half of the digits, in the formula above too.
        tolerance = max(tolerance, 3e-8)
    scale = 1 + (16 * d if metric in ("dot", "manhattan", "euclidean") else 0)
    got = similarity(a, b, metric)  # type: ignore[arg-type]
    assert isinstance(got, np.ndarray)
    assert got.shape == (n, m)
    assert np.abs(got - _expected(metric, a, b)).max(initial=0) <= tolerance * scale
    itself = similarity(a, None, metric)  # type: ignore[arg-type]
    assert np.abs(itself - _expected(metric, a, a)).max(initial=0) <= tolerance * scale
    rows = min(n, m)
    pairs = similarity(a[:rows], b[:rows], metric, pairwise=True)  # type: ignore[arg-type]
    assert np.shape(pairs) == (rows,)
    assert np.abs(pairs - np.diag(_expected(metric, a[:rows], b[:rows]))).max(initial=0) <= tolerance * scale


@pytest.mark.parametrize("metric", FORMULAS)
def test_vectors_and_matrices(metric: str) -> None:
    a, b = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 4))
    whole = similarity(a, b, metric)  # type: ignore[arg-type]
    assert isinstance(whole, np.ndarray)
    one = similarity(a[1], b[2], metric)  # type: ignore[arg-type]
    assert isinstance(one, float)
    assert one == pytest.approx(whole[1, 2], abs=1e-12)
    assert np.allclose(similarity(a, b[2], metric), whole[:, 2], atol=1e-12)  # type: ignore[arg-type]
    assert np.allclose(similarity(a[1], b, metric), whole[1], atol=1e-12)  # type: ignore[arg-type]
    assert isinstance(similarity(a[0], b[0], metric, pairwise=True), float)  # type: ignore[arg-type]
    assert similarity([1, 2], [1, 2], metric) == pytest.approx(
        5 if metric == "dot" else FORMULAS[metric]([1, 2], [1, 2])
    )  # type: ignore[arg-type]


def test_known_values() -> None:
    assert cosine_similarity([1, 0], [1, 1]) == pytest.approx(math.sqrt(0.5))
    assert dot_product([1, 2, 3], [4, 5, 6]) == 32
    assert euclidean_distance([0, 0], [3, 4]) == 5
    assert manhattan_distance([0, 0], [3, -4]) == 7
    assert angular_similarity([1, 0], [0, 2]) == pytest.approx(0.5)
    assert angular_similarity([1, 0], [-3, 0]) == pytest.approx(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_rows(dtype: type) -> None:
    rows = (10 * RNG.standard_normal((50, 384))).astype(dtype)
    assert np.allclose(cosine_similarity(rows, rows, pairwise=True), 1, atol=1e-6)
    assert np.diag(euclidean_distance(rows)).tolist() == [0] * 50
    assert np.diag(manhattan_distance(rows)).tolist() == [0] * 50
    assert not np.signbit(np.diag(euclidean_similarity(rows))).any(), "minus zero is shown as -0.0"
    assert not np.signbit(manhattan_similarity(rows, rows, pairwise=True)).any()
    assert (angular_similarity(rows, rows, pairwise=True) >= 1 - 1e-7).all()
    assert (np.diag(angular_similarity(rows)) >= 1 - 1e-7).all()


def test_cosines_stay_within_one() -> None:
    rows = np.repeat(RNG.standard_normal((300, 40)).astype(np.float32), 2, axis=0)
    for signs in (rows, -rows):
        assert np.abs(cosine_similarity(rows, signs)).max() <= 1


def test_near_equal_rows_keep_their_distance() -> None:
    row = RNG.standard_normal(384).astype(np.float32)
    near = row.copy()
    near[5] += np.float32(1e-3)
    true = abs(float(near[5]) - float(row[5]))
    assert euclidean_distance(row[None], near[None])[0, 0] == pytest.approx(true, rel=1e-6)


def test_zero_rows() -> None:
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert cosine_similarity(rows).tolist() == [[0, 0], [0, 1]]
    assert normalize(rows).tolist() == [[0, 0], [0.6, 0.8]]
    assert angular_similarity(rows)[0].tolist() == [0.5, 0.5]
    assert cosine_similarity([0.0, 0.0], [0.0, 0.0]) == 0


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300, 5e-324])
def test_huge_and_tiny_rows(size: float) -> None:
    a, b = np.array([3.0, 4.0]) * size, np.array([-4.0, 3.0]) * size
    assert cosine_similarity(a, a) == pytest.approx(1)
    assert cosine_similarity(a, b) == pytest.approx(0, abs=1e-12)
    assert euclidean_distance(a, b) == pytest.approx(math.dist(a, b), rel=1e-12)
    assert euclidean_distance(a[None], b[None], pairwise=True) == pytest.approx([math.dist(a, b)], rel=1e-12)
    assert manhattan_distance(a, b) == pytest.approx(float(sum(abs(x - y) for x, y in zip(a, b, strict=True))))


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-22, 1e19, 1e25, 1e37])
def test_huge_and_tiny_float32_rows(size: float) -> None:
    rows = (np.array([[3.0, 4.0], [-4.0, 3.0], [3.5, 4.0]]) * size).astype(np.float32)
    wide = rows.astype(np.float64)
    expected = np.array([[math.dist(x, y) for y in wide] for x in wide])
    assert euclidean_distance(rows) == pytest.approx(expected, rel=1e-4)
    cosines = np.array([[_cosine(x, y) for y in wide.tolist()] for x in wide.tolist()])
    assert cosine_similarity(rows) == pytest.approx(cosines, abs=1e-6)


def test_tiny_rows_beside_huge_ones() -> None:
    rows = np.array([[1e-30, 0], [0, 1e-30], [1e5, 0]], dtype=np.float32)
    assert euclidean_distance(rows)[0, 1] == pytest.approx(math.sqrt(2) * 1e-30, rel=1e-5, abs=0)


def test_a_distance_beyond_the_largest_number_is_infinite() -> None:
    assert euclidean_distance([1.7e308, 0.0], [-1.7e308, 0.0]) == math.inf


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int8, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes(given: type, made: type) -> None:
    rows = np.array([[1, 0, 1], [0, 1, 1]]).astype(given)
    assert normalize(rows).dtype == made
    assert cosine_similarity(rows).dtype == made
    assert cosine_similarity(rows)[0, 1] == pytest.approx(0.5, abs=1e-3)


def test_mixed_dtypes_keep_the_wider_one() -> None:
    a, b = RNG.standard_normal((3, 5)).astype(np.float32), RNG.standard_normal((4, 5))
    for metric in ("dot", "manhattan", "euclidean"):
        got = similarity(a, b, metric)  # type: ignore[arg-type]
        assert isinstance(got, np.ndarray)
        assert got.dtype == np.float64
        assert np.allclose(got, _expected(metric, a.astype(np.float64), b), atol=1e-12)


def test_normalize_against_exact_fractions() -> None:
    row = [3.0, -1.0, 2.5, 0.125]
    length = sum(Fraction(x) ** 2 for x in row)
    got = normalize(row)
    for x, y in zip(row, got.tolist(), strict=True):
        assert float(Fraction(y) ** 2 * length) == pytest.approx(x * x, rel=1e-14)
    assert normalize(np.empty((0, 3))).shape == (0, 3)
    assert normalize(np.empty((2, 0))).shape == (2, 0)


def test_strided_and_read_only_input_is_left_alone() -> None:
    rows = RNG.standard_normal((8, 6))[::2, ::2]
    before = rows.copy()
    rows.flags.writeable = False
    for metric in FORMULAS:
        similarity(rows, rows, metric)  # type: ignore[arg-type]
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", FORMULAS)
def test_nan_and_infinity_name_the_row(metric: str, bad: float) -> None:
    rows = np.ones((4, 3))
    rows[2, 1] = bad
    with pytest.raises(InputError, match="row 2"):
        similarity(rows, np.ones((2, 3)), metric)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="row 2"):
        similarity(np.ones((2, 3)), rows, metric)  # type: ignore[arg-type]


def test_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="unknown metric 'cos'; choose one of: cosine, dot"):
        similarity([1.0], [1.0], "cos")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a has 2 dimensions and b has 3"):
        cosine_similarity(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(InputError, match=r"equal shapes, not \(4, 2\) and \(3, 2\)"):
        dot_product(np.ones((4, 2)), np.ones((3, 2)), pairwise=True)
    with pytest.raises(InputError, match="not of shape"):
        cosine_similarity(np.ones((2, 2, 2)))
    with pytest.raises(InputError, match="not of shape"):
        cosine_similarity(3.0)
    words: npt.ArrayLike = ["a", "b"]
    with pytest.raises(InputError, match="must hold numbers"):
        cosine_similarity(words)


def test_manhattan_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = RNG.standard_normal((11, 3)), RNG.standard_normal((7, 3))
    whole = manhattan_distance(a, b)
    monkeypatch.setattr("textkin.vectors.similarity._BLOCK", 50)
    assert np.array_equal(manhattan_distance(a, b), whole)
    assert np.allclose(euclidean_distance(a, a), np.linalg.norm(a[:, None] - a[None], axis=2))
