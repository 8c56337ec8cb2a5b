"""The thin-product bound is never below the cosine, rounding included."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.duplicates.bound import margin, principal_axes, thin_rows, whole_rows
from textkin.duplicates.unit_rows import unit_rows

RNG = np.random.default_rng(1)
DATA = {
    "noise": RNG.standard_normal((400, 200)),
    "low rank": RNG.standard_normal((400, 3)) @ RNG.standard_normal((3, 200)),
    "one direction": np.ones((400, 200)),
    "zeros": np.zeros((400, 200)),
    "copies": np.repeat(RNG.standard_normal((20, 200)), 20, axis=0),
    "one axis each": np.eye(400)[:, :200],
    "huge and tiny": RNG.standard_normal((400, 200)) * 10.0 ** RNG.integers(-200, 200, (400, 1)),
}


@pytest.mark.parametrize("name", DATA)
def test_axes_are_orthonormal(name: str) -> None:
    axes = principal_axes(unit_rows(DATA[name]), 63)
    assert axes.columns.shape == (200, 63)
    assert np.abs(axes.columns.T @ axes.columns - np.eye(63)).max() < 1e-13
    assert axes.error < 1e-9


@pytest.mark.parametrize("name", DATA)
def test_products_bound_the_cosines(name: str) -> None:
    rows = unit_rows(DATA[name])
    unit = rows.take(slice(None))
    cosines = unit @ unit.T
    axes = principal_axes(rows, 63)
    for matrix in thin_rows(rows, axes, (7, 15, 63)):
        allowed = margin(matrix.shape[1], axes, rows.dimensions)
        assert allowed < 1e-5
        assert (matrix @ matrix.T >= cosines - allowed).all()
        sides = matrix.astype(np.float64)
        assert (np.linalg.norm(sides, axis=1) < 1.0001).all()
    whole = whole_rows(rows)
    assert np.abs(whole @ whole.T - cosines).max() <= margin(200, None, 200)


def test_axes_of_another_sample_only_loosen_the_bound() -> None:
    rows = unit_rows(DATA["noise"])
    strange = principal_axes(unit_rows(DATA["low rank"]), 15)
    unit = rows.take(slice(None))
    (matrix,) = thin_rows(rows, strange, (15,))
    assert (matrix @ matrix.T >= unit @ unit.T - margin(16, strange, 200)).all()


def test_axes_hold_what_low_rank_rows_have() -> None:
    rows = unit_rows(DATA["low rank"])
    (matrix,) = thin_rows(rows, principal_axes(rows, 15), (3,))
    assert matrix[:, 3].max() < 1e-5
