"""top_k against sorting whole rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkin.vectors.top_k import top_k


@given(
    rows=st.integers(0, 4),
    columns=st.integers(0, 30),
    k=st.integers(-1, 35),
    values=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_same_as_a_stable_sort(rows: int, columns: int, k: int, values: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(-values, values, (rows, columns)).astype(np.float32) / values
    picked, best = top_k(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, : max(0, k)]
    assert picked.shape == best.shape == (rows, max(0, min(k, columns)))
    assert np.array_equal(picked, expected)
    assert np.array_equal(best, np.take_along_axis(scores, expected, axis=1))
    assert best.dtype == np.float32


def test_ties_at_the_border_go_to_the_lower_column() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.5, 0.9]], dtype=np.float32)
    assert top_k(scores, 3)[0].tolist() == [[1, 4, 0]]
    assert top_k(np.zeros((1, 100), dtype=np.float32), 4)[0].tolist() == [[0, 1, 2, 3]]
    assert top_k(np.array([[0.0, -0.0, 0.0]], dtype=np.float32), 2)[0].tolist() == [[0, 1]]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_infinities_and_nan(k: int) -> None:
    scores = np.array([[np.nan, -np.inf, 1.0, np.inf, np.nan]], dtype=np.float32)
    assert top_k(scores, k)[0].tolist() == [[3, 2, 1, 0, 4][:k]]


def test_strided_and_read_only_scores() -> None:
    scores = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32)
    view = scores.T[::2]
    view.flags.writeable = False
    assert np.array_equal(top_k(view, 3)[0], np.argsort(-view, axis=1, kind="stable")[:, :3])
