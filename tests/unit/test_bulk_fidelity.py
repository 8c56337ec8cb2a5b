"""What fewer bytes cost: the recall that is told is the recall that there is."""

from __future__ import annotations

import time

import numpy as np
import pytest

from textkin.errors import InputError
from textkin.jobs.bulk.fidelity import Share, measure
from textkin.types import Matrix
from textkin.vectors.quantize import Kind
from textkin.vectors.similarity import normalize


def clouds(count: int, dimensions: int, seed: int = 0) -> Matrix:
    """Unit rows around some centres, as those of texts on some subjects."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((max(1, count // 60), dimensions))
    rows = centres[generator.integers(0, len(centres), count)] + 0.7 * generator.standard_normal(
        (count, dimensions)
    )
    return np.asarray(normalize(rows), dtype=np.float32)


def by_hand(rows: Matrix, stored: Matrix, queries: list[int], k: int) -> float:
    hits = 0
    for query in queries:
        true = rows[query].astype(np.float64) @ rows.T.astype(np.float64)
        near = stored[query].astype(np.float64) @ stored.T.astype(np.float64)
        true[query] = near[query] = -9
        border = np.sort(true)[-k]
        hits += sum(true[row] >= border - 1e-6 for row in np.argsort(-near, kind="stable")[:k])
    return hits / (k * len(queries))


def test_the_share_is_that_of_a_plain_search() -> None:
    rows = clouds(600, 64)
    found = measure(rows, "binary", queries=600)
    assert found.recall.value == pytest.approx(by_hand(rows, np.where(rows > 0, 1, -1), list(range(600)), 10))
    assert found.recall.low < found.recall.value < found.recall.high
    assert found.rescored is not None
    assert found.rescored.value > found.recall.value


def test_float32_loses_nothing_and_each_kind_more_than_the_one_before() -> None:
    rows = clouds(3000, 128)
    kinds: tuple[Kind, ...] = ("float32", "float16", "int8", "binary")
    found = [measure(rows, kind) for kind in kinds]
    assert found[0].recall.value == 1.0
    assert found[0].rescored is None
    assert found[1].rescored is None
    values = [one.recall.value for one in found]
    assert values == sorted(values, reverse=True)
    assert values[1] > 0.99
    assert [one.smaller for one in found] == [1, 2, 4, 32]


def test_equal_vectors_are_no_misses() -> None:
    """Each vector twelve times: which ten of the eleven others come back does not matter."""
    rows = np.repeat(clouds(100, 64), 12, axis=0)
    for kind in ("float16", "int8", "binary"):
        assert measure(rows, kind).recall.value == 1.0  # type: ignore[arg-type]


def test_fewer_dimensions_are_measured_against_all_of_them() -> None:
    rows = clouds(1000, 64)
    found = measure(rows, "int8", 16)
    assert (found.dimensions, found.full, found.smaller) == (16, 64, 16)
    assert found.recall.value < measure(rows, "int8").recall.value
    assert str(found).startswith("int8 at 16 of 64 dimensions: 16x smaller, recall@10 0.")
    rows[:, 16:] = 0
    assert measure(np.asarray(normalize(rows), dtype=np.float32), "float32", 16).recall.value == 1.0


def test_the_line_and_the_facts() -> None:
    found = measure(clouds(2000, 64), "int8", queries=50, k=5)
    assert str(found).startswith("int8: 4x smaller, recall@5 ")
    assert " on 2,000 of your vectors, 50 queries; " in str(found)
    assert str(found).endswith("when the best 20 are scored again by the full vectors")
    facts = found.to_dict()
    assert set(facts) == {"error", "recall_at_5", "recall_at_5_rescored", "vectors", "queries", "smaller"}
    assert facts["recall_at_5"]["low"] <= facts["recall_at_5"]["value"] <= facts["recall_at_5"]["high"]
    assert measure(clouds(2000, 64), "int8", queries=50, k=5) == found


def test_a_share_is_never_told_better_than_it_is() -> None:
    assert str(Share(0.9996, 0.99849, 0.99991)) == "0.999 (0.998 to 1.000)"
    assert str(Share(1.0, 0.998, 1.0)) == "1.000 (0.998 to 1.000)"


def test_neighbours_that_are_missed_together_make_the_interval_wider() -> None:
    """Half of the queries lose all of their neighbours: 100 facts, not 1,000."""
    from textkin.jobs.bulk.fidelity import _share

    together = _share(np.array([0, 10] * 50), 10)
    apart = _share(np.full(100, 5), 10)
    assert together.value == apart.value == 0.5
    assert together.high - together.low > 2.5 * (apart.high - apart.low)
    assert together.low == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(("count", "k"), [(2, 10), (5, 10), (11, 10), (12, 10)])
def test_few_vectors(count: int, k: int) -> None:
    found = measure(clouds(count, 64), "int8", k=k)
    assert (found.vectors, found.queries) == (count, count)
    assert found.recall.value == 1.0 if count <= k + 1 else found.recall.value <= 1.0


def test_zero_rows_are_left_out() -> None:
    rows = clouds(50, 64)
    rows[7] = 0
    assert measure(rows, "binary").vectors == 49
    rows[3, :16] = 0
    assert measure(rows, "binary", 16).vectors == 49


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (np.eye(1, 8, dtype=np.float32), {}, "at least two vectors"),
        (np.zeros((3, 8), dtype=np.float32), {}, "at least two vectors"),
        (np.eye(3, 8, dtype=np.float32), {"k": 0}, "at least 1"),
        (np.eye(3, 8, dtype=np.float32), {"dimensions": 9}, "1 to 8"),
        (np.eye(3, 8, dtype=np.float32), {"dimensions": 4, "kind": "binary"}, "multiple of 8"),
    ],
)
def test_what_cannot_be_measured(rows: Matrix, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(rows, **{"kind": "int8", **arguments})  # type: ignore[arg-type]


def test_it_is_quick_where_it_is_used() -> None:
    """20,000 vectors of 384 dimensions: a few seconds; minutes where it is wrong."""
    rows = clouds(20_000, 384)
    start = time.perf_counter()
    measure(rows, "int8")
    assert time.perf_counter() - start < 120
