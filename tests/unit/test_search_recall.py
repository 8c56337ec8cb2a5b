"""Recall is measured against all vectors, and a search that misses is found out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from textkin.errors import InputError
from textkin.search.recall import Recall, measure_recall
from textkin.stores.local import LocalStore
from textkin.stores.resolve import open_store
from textkin.types import Hit, Matrix, ModelInfo, Record, Span, StoreHeader
from textkin.vectors.proportion import wilson_interval
from textkin.where import Condition


def filled(store: LocalStore, count: int, *, passages: int = 1) -> Matrix:
    rows = np.random.default_rng(3).normal(size=(count * passages, 8))
    unit = np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
    store.write_header(StoreHeader(ModelInfo("toy", 8, None, "ab" * 32), np.eye(16, 8, dtype=np.float32)))
    spans = tuple(Span(n, n + 1) for n in range(passages))
    store.upsert([Record(f"id{n}", "x" * passages, {}, None, spans) for n in range(count)], unit)
    return unit


class Forgetful(LocalStore):
    """Never finds a record whose number is odd."""

    @property
    def exact(self) -> bool:
        return False

    def search(
        self, queries: Matrix, k: int, where: Condition | None = None, *, whole: bool = False
    ) -> list[list[Hit]]:
        answers = super().search(queries, 10_000, where, whole=whole)
        return [[hit for hit in hits if int(hit.id[2:]) % 2 == 0][:k] for hits in answers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "notes.kin"


def true_neighbours(vectors: Matrix, row: int, k: int) -> Sequence[int]:
    scores = vectors.astype(np.float64) @ vectors[row].astype(np.float64)
    scores[row] = -np.inf
    return [int(n) for n in np.argsort(-scores)[:k]]


def test_an_exact_store_finds_everything(folder: Path) -> None:
    store = LocalStore(folder)
    filled(store, 300, passages=2)
    assert measure_recall(store, 10, 40).share == 1.0


def test_what_is_missed_is_counted(folder: Path) -> None:
    store = Forgetful(folder)
    vectors = filled(store, 200)
    measured = measure_recall(store, 5, 200)
    expected = sum(n % 2 == 0 for row in range(200) for n in true_neighbours(vectors, row, 5))
    assert (measured.found, measured.expected, measured.sampled) == (expected, 1000, 200)
    low, high = measured.interval
    assert low < measured.share < high
    assert "recall@5" in str(measured)


def test_few_records_have_few_neighbours(folder: Path) -> None:
    store = LocalStore(folder)
    filled(store, 3)
    assert measure_recall(store, 10, 100) == Recall(10, 3, 6, 6, 3)


def test_one_record_has_none(folder: Path) -> None:
    store = LocalStore(folder)
    filled(store, 1)
    with pytest.raises(InputError, match="at least two"):
        measure_recall(store)
    with pytest.raises(InputError, match="not 0 and 5"):
        measure_recall(store, 0, 5)


def test_chroma_is_measured_by_its_own_index(tmp_path: Path) -> None:
    source = LocalStore(tmp_path / "notes.kin")
    vectors = filled(source, 500)
    store = open_store(f"chroma:{tmp_path / 'c'}")
    header = source.header
    assert header is not None
    store.write_header(header)
    store.upsert([batch for records in source.scan() for batch in records], vectors)
    assert not store.exact
    measured = measure_recall(store, 10, 50)
    assert measured.share > 0.9
    assert measured.records == 500
    store.close()


def test_wilson_interval_of_known_values() -> None:
    # The score interval as statsmodels gives it: proportion_confint(hits, total, method="wilson").
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
