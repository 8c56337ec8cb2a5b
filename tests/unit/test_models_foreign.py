"""Objects with encode as models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from textkin.errors import BadVectorsError, InputError
from textkin.models.foreign import ForeignModel
from textkin.models.hashing import HashingModel
from textkin.models.resolve import load_model


class Letters:
    """Counts letters: a user's own model of a few lines."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def encode(self, texts: list[str]) -> Any:
        rows = np.zeros((len(texts), 32))
        for row, text in zip(rows, texts, strict=True):
            row[0] = 1
            for letter in text:
                row[ord(letter) % 31 + 1] += 1
        return rows * self.scale


class Roles(Letters):
    def encode_query(self, texts: list[str]) -> Any:
        return self.encode(["query: " + text for text in texts])


def test_rows_are_unit_float32_in_order() -> None:
    model = ForeignModel(Letters(scale=7.0))
    vectors = model.embed(["abc", "", "xyz"]).vectors
    assert vectors.shape == (3, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(model.embed(["xyz"]).vectors[0], vectors[2])


def test_the_fingerprint_comes_from_the_vectors() -> None:
    assert ForeignModel(Letters()).info.fingerprint == ForeignModel(Letters()).info.fingerprint

    class Other(Letters):
        def encode(self, texts: list[str]) -> Any:
            return super().encode([text[::2] for text in texts])

    assert ForeignModel(Letters()).info.fingerprint != ForeignModel(Other()).info.fingerprint


def test_queries_use_encode_query_where_there_is_one() -> None:
    model = ForeignModel(Roles())
    assert model.info.role_sensitive
    assert not np.allclose(model.embed(["a"], "query").vectors, model.embed(["a"], "document").vectors)
    assert not ForeignModel(Letters()).info.role_sensitive


def test_lists_of_rows_and_lone_surrogates_are_fine() -> None:
    class Lists(Letters):
        def encode(self, texts: list[str]) -> Any:
            for text in texts:
                text.encode("utf-8")
            return [list(row) for row in super().encode(texts)]

    assert ForeignModel(Lists()).embed(["\ud800 broken"]).vectors.shape == (1, 32)


def test_no_encode_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="a dict can't be used as a model"):
        load_model({})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: np.ones((len(texts) + 1, 3)), "expected"),
        (lambda texts: np.ones(3), "expected"),
        (lambda texts: np.full((len(texts), 3), np.nan), "NaN"),
        (lambda texts: [["a"]] * len(texts), "expected"),
        (lambda texts: [[1.0] * (1 + number % 2) for number in range(len(texts))], "lengths|expected"),
    ],
)
def test_answers_that_are_no_vectors_are_refused(answer: Any, message: str) -> None:
    class Bad:
        def encode(self, texts: list[str]) -> Any:
            return answer(texts)

    with pytest.raises(BadVectorsError, match=message):
        ForeignModel(Bad())


def test_a_model_of_textkins_own_protocol_is_used_as_it_is() -> None:
    inner = HashingModel()
    assert load_model(inner).unwrap() is inner
