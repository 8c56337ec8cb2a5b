"""Stored vectors: the bounds that are stated hold for any unit row, and nothing else is changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from textkin.errors import InputError
from textkin.types import Matrix
from textkin.vectors.quantize import (
    KINDS,
    Kind,
    bytes_per_vector,
    dequantize,
    error_sentence,
    quantize,
    score_error,
    signs,
    stored_type,
    stored_width,
    truncate,
)
from textkin.vectors.similarity import normalize

ROUNDING = 2e-6
"""Of float32: rows are normalised twice, and multiplied."""


@st.composite
def unit_matrices(draw: st.DrawFn, zero_rows: bool = False) -> Matrix:
    """Up to 6 rows of up to 64 dimensions, a multiple of 8: constant rows, one-hot rows, zeros of both signs."""
    shape = draw(st.integers(1, 6)), 8 * draw(st.integers(1, 8))
    numbers = st.floats(-1, 1, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-126, 1e-40, 0.1])
    rows = draw(hnp.arrays(np.float32, shape, elements=numbers))
    for row in rows:
        if draw(st.booleans()):
            row[:] = row[0]
    if not zero_rows:
        rows[~rows.any(axis=1), 0] = 1.0
    return np.asarray(normalize(rows), dtype=np.float32)


@given(unit_matrices(), st.sampled_from(KINDS))
def test_no_cosine_changes_by_more_than_is_stated(rows: Matrix, kind: Kind) -> None:
    back = dequantize(quantize(rows, kind), kind).astype(np.float64)
    others = np.concatenate([rows, np.eye(rows.shape[1], dtype=np.float32)]).astype(np.float64)
    bound = score_error(kind, rows.shape[1]) + ROUNDING
    assert (np.abs(back @ others.T - rows.astype(np.float64) @ others.T) <= bound).all()
    # A change that large is reached by the difference itself, for any third vector.
    assert (np.linalg.norm(back - rows, axis=1) <= bound).all()


@given(unit_matrices(zero_rows=True))
def test_a_component_is_within_its_share_of_the_largest(rows: Matrix) -> None:
    stored = quantize(rows, "int8")
    peak = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
    assert (np.abs(stored * peak / 127 - rows) <= peak / 254 * (1 + 1e-9)).all()
    assert (np.abs(stored.astype(np.int64)).max(axis=1)[peak[:, 0] > 0] == 127).all()


@given(unit_matrices(zero_rows=True))
def test_a_half_float_is_within_its_share_of_itself(rows: Matrix) -> None:
    stored = quantize(rows, "float16").astype(np.float64)
    assert (np.abs(stored - rows) <= np.maximum(np.abs(rows) * 2.0**-11, 2.0**-25)).all()


@given(unit_matrices())
def test_signs_have_the_cosine_that_is_stated(rows: Matrix) -> None:
    back = dequantize(quantize(rows, "binary"), "binary").astype(np.float64)
    cosines = np.einsum("ij,ij->i", back, rows.astype(np.float64))
    expected = np.abs(rows.astype(np.float64)).sum(axis=1) / math.sqrt(rows.shape[1])
    assert np.allclose(cosines, expected, atol=1e-6)
    assert (cosines >= 1 / math.sqrt(rows.shape[1]) - 1e-6).all()


@given(unit_matrices())
def test_the_product_of_signs_is_hamming_distance(rows: Matrix) -> None:
    packed = quantize(rows, "binary")
    distance = np.unpackbits(packed[:, None, :] ^ packed[None, :, :], axis=2).sum(axis=2)
    product = signs(packed) @ signs(packed).T
    assert (product == rows.shape[1] - 2 * distance.astype(np.int64)).all()


@given(unit_matrices(zero_rows=True), st.sampled_from(["float32", "float16", "int8"]))
def test_rows_come_back_as_unit_rows_and_zero_as_zero(rows: Matrix, kind: Kind) -> None:
    stored = quantize(rows, kind)
    assert stored.dtype == stored_type(kind)
    assert stored.shape == (len(rows), stored_width(kind, rows.shape[1]))
    assert stored[0].nbytes == bytes_per_vector(kind, rows.shape[1])
    back = dequantize(stored, kind)
    assert back.dtype == np.float32
    assert back.flags.c_contiguous
    assert np.allclose(np.linalg.norm(back, axis=1), rows.any(axis=1), atol=1e-5)
    if kind == "float32":
        assert back.tobytes() == rows.tobytes()


@given(unit_matrices(zero_rows=True), st.data())
def test_what_stays_of_a_row_is_its_beginning(rows: Matrix, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, rows.shape[1]))
    short = truncate(rows, wanted)
    assert short.shape == (len(rows), wanted)
    head = rows[:, :wanted].astype(np.float64)
    lengths = np.linalg.norm(head, axis=1, keepdims=True)
    assert np.allclose(short * lengths, head, atol=1e-6)
    assert np.allclose(np.linalg.norm(short, axis=1), head.any(axis=1), atol=1e-5)


def test_zeros_of_either_sign_are_one() -> None:
    rows = np.array([[1, 0.0, -0.0, -1e-45, 1e-45, 0, 0, 0]], dtype=np.float32)
    assert quantize(rows, "binary").tolist() == [[0b10001000]]
    assert quantize(rows, "int8").tolist() == [[127, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_the_worst_that_is_stated_is_nearly_reached(kind: Kind) -> None:
    """A bound that is never approached would tell a user nothing."""
    generator = np.random.default_rng(0)
    if kind == "int8":
        # Half a step off in every component but one.
        rows = np.full((1, 256), 0.4999 / 127, dtype=np.float32)
        rows[0, 0] = 1
    elif kind == "binary":
        rows = np.eye(1, 256, dtype=np.float32)
    else:
        rows = normalize(np.full((1, 256), 1 + 2.0**-11 * 0.99)).astype(np.float32)
        rows = np.asarray(rows * (1 + generator.random((2000, 1)) * 1e-3), dtype=np.float32)
    back = dequantize(quantize(rows, kind), kind)
    unit = normalize(rows)
    bound = score_error(kind, 256)
    reached = np.linalg.norm(back - unit, axis=1).max()
    if kind == "float16":
        # Of rows with equal components rounding keeps the direction; random ones lose about half of the bound.
        unit = np.asarray(normalize(generator.standard_normal((2000, 256))), dtype=np.float32)
        reached = np.linalg.norm(dequantize(quantize(unit, kind), kind) - unit, axis=1).max()
        assert 0.3 * bound < reached <= bound
    else:
        assert 0.9 * bound < reached <= bound + ROUNDING


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (np.eye(2, 12, dtype=np.float32), "binary", "multiple of 8; store int8"),
        (np.zeros((2, 8), dtype=np.float32), "binary", "row 0 is zero"),
        (np.eye(2, 8), "int8", "float32 matrix"),
        (np.eye(2, 8, dtype=np.float32)[0], "int8", "float32 matrix"),
        (np.full((1, 8), np.nan, dtype=np.float32), "float16", "NaN or infinity, first in row 0"),
        (np.full((1, 8), 70000, dtype=np.float32), "float16", "row 0 is longer than 1"),
        (np.eye(2, 8, dtype=np.float32), "int4", "float32, float16, int8 or binary, not 'int4'"),
    ],
)
def test_what_cannot_be_stored_is_refused(rows: Matrix, kind: Kind, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantize(rows, kind)


@pytest.mark.parametrize("wanted", [0, -1, 9])
def test_no_more_dimensions_than_there_are(wanted: int) -> None:
    with pytest.raises(InputError, match="dimensions must be 1 to 8"):
        truncate(np.eye(2, 8, dtype=np.float32), wanted)


def test_numbers_of_another_kind_are_not_taken() -> None:
    with pytest.raises(InputError, match="int8 vectors are stored as a matrix of int8, not uint8"):
        dequantize(np.zeros((1, 8), dtype=np.uint8), "int8")


def test_what_is_told_to_people() -> None:
    assert error_sentence("float32", 384) == "every number as the model gave it"
    assert "at most 0.00049" in error_sentence("float16", 384)
    assert "a cosine changes by 0.078," in error_sentence("int8", 384)
    assert "cosine 0.051 at worst" in error_sentence("binary", 384)


def test_nothing_in_nothing_out() -> None:
    for kind in KINDS:
        stored = quantize(np.zeros((0, 16), dtype=np.float32), kind)
        assert stored.shape == (0, stored_width(kind, 16))
        assert dequantize(stored, kind).shape == (0, 16)
