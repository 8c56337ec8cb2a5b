"""Neighbours, outliers and clusters on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.errors import InputError
from textkin.models.hashing import HashingModel
from textkin.search import neighbours as neighbours_module
from textkin.search.clusters import find_clusters
from textkin.search.neighbours import nearest_neighbours
from textkin.search.outliers import find_outliers

ANIMALS = [f"the {colour} {animal} sleeps" for colour in ("black", "white") for animal in ("cat", "dog", "fox")]
MONEY = [f"please refund my {what} payment" for what in ("card", "bank", "cash", "paper", "phone", "last")]


def _unit(seed: int, rows: int, dimensions: int = 8) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, dimensions))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block_numbers", [1 << 24, 100, 1])
def test_neighbours_equal_brute_force_whatever_the_block(
    block_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours_module, "_BLOCK_NUMBERS", block_numbers)
    vectors = _unit(1, 57)
    rows, scores = nearest_neighbours(vectors, 5)
    full = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(full, -np.inf)
    expected = np.argsort(-full, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(full, expected, axis=1), atol=1e-6)


def test_neighbours_of_equal_rows_go_to_the_lower_row() -> None:
    rows, scores = nearest_neighbours(np.tile(_unit(2, 1), (4, 1)), 2)
    assert rows.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert scores.min() > 0.999999


def test_fewer_rows_than_asked_for() -> None:
    assert nearest_neighbours(_unit(3, 1), 3)[0].shape == (1, 0)
    assert nearest_neighbours(_unit(3, 0), 3)[0].shape == (0, 0)


def test_the_odd_one_is_found_with_its_reason() -> None:
    texts = [*ANIMALS, "quarterly tax declaration form 1040"]
    ids = [str(number) for number in range(len(texts))]
    vectors = HashingModel().embed(texts).vectors
    oddest, *rest = find_outliers(ids, texts, vectors, k=3, neighbours=3)
    assert oddest.id == "6"
    assert len(oddest.neighbours) == 3
    assert oddest.score == pytest.approx(1 - np.mean([score for _, score in oddest.neighbours]), abs=1e-6)
    assert [oddest.score, *(one.score for one in rest)] == sorted(
        (one.score for one in [oddest, *rest]), reverse=True
    )


def test_outliers_refuse_what_makes_no_sense() -> None:
    with pytest.raises(InputError, match="at least two"):
        find_outliers(["a"], ["a"], _unit(1, 1))
    with pytest.raises(InputError, match="at least 1"):
        find_outliers(["a", "b"], ["a", "b"], _unit(1, 2), k=0)


def test_clusters_part_what_belongs_apart_and_name_the_words() -> None:
    texts = [text for pair in zip(ANIMALS, MONEY, strict=True) for text in pair]
    vectors = HashingModel().embed(texts).vectors
    ids = [str(number) for number in range(len(texts))]
    clusters = find_clusters(ids, texts, vectors, count=2)
    groups = {frozenset(cluster.ids) for cluster in clusters}
    assert groups == {frozenset(ids[::2]), frozenset(ids[1::2])}
    words = {min(cluster.ids): set(cluster.words) for cluster in clusters}
    assert "sleeps" in words["0"]
    assert {"refund", "payment"} <= words["1"]
    assert clusters == find_clusters(ids, texts, vectors, count=2)


def test_equal_texts_make_one_cluster_without_a_warning() -> None:
    vectors = np.tile(_unit(4, 1), (10, 1))
    clusters = find_clusters([str(n) for n in range(10)], ["same"] * 10, vectors)
    assert [len(cluster) for cluster in clusters] == [10]
    assert clusters[0].cohesion == pytest.approx(1.0)


def test_clusters_of_nothing_and_too_many() -> None:
    assert find_clusters([], [], np.empty((0, 3), np.float32)) == []
    with pytest.raises(InputError, match="from 1 to 2"):
        find_clusters(["a", "b"], ["a", "b"], _unit(1, 2), count=3)
