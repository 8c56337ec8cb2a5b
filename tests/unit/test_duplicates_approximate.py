"""The approximate join: above its size only, exact scores, and a measured recall."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.duplicates.approximate import approximate_join, wilson
from textkin.duplicates.find import find_duplicates
from textkin.duplicates.join import MAX_PAIRS, near_pairs
from textkin.duplicates.work import exact_join
from textkin.errors import InputError, MissingDependencyError


def rows(count: int) -> np.ndarray:
    dice = np.random.default_rng(0)
    made = dice.normal(size=(count, 16))
    made[count // 2 :] = made[: count - count // 2] + 0.2 * dice.normal(size=(count - count // 2, 16))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_below_the_size_it_is_exact() -> None:
    some = rows(100)
    found = approximate_join(100, exact_join)(some, 0.9, MAX_PAIRS, None)
    assert (found.work.how, found.work.recall) == ("exact", None)


def test_recall_is_that_of_the_pairs_found() -> None:
    some = rows(3000)
    found = approximate_join(2999, exact_join)(some, 0.7, MAX_PAIRS, None)
    truth = {(i, j): s for i, j, s in zip(*(x.tolist() for x in near_pairs(some, 0.7)), strict=True)}
    mine = {(i, j): s for i, j, s in zip(found.i.tolist(), found.j.tolist(), found.score.tolist(), strict=True)}
    assert mine.items() <= truth.items()
    recall = found.work.recall
    assert recall is not None
    assert (found.work.how, recall.rows) == ("approximate", 2000)
    assert recall.true > 500
    assert recall.low <= len(mine) / len(truth) <= recall.high
    assert recall.found < recall.true  # cells do miss pairs here, so the figure can't be a constant
    assert found.work.compared < 3000 * 2999 // 2 + 2000 * 3000


def test_no_true_pair_means_no_known_recall() -> None:
    eye = np.eye(64, dtype=np.float32)
    found = approximate_join(0, exact_join)(eye, 0.9, MAX_PAIRS, None)
    recall = found.work.recall
    assert recall is not None
    assert (recall.found, recall.true, recall.low, recall.high) == (0, 0, 0.0, 1.0)


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="approximate_above"):
        approximate_join(-1, exact_join)
    with pytest.raises(InputError, match="max_pairs"):
        approximate_join(0, exact_join)(np.ones((200, 4), np.float32), 0.5, 10, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"textkin\[faiss\]"):
        approximate_join(0, exact_join)(rows(10), 0.9, MAX_PAIRS, None)


def test_the_report_never_keeps_it_quiet() -> None:
    some = rows(400)
    names = [f"r{n}" for n in range(400)]
    report = find_duplicates(names, names, some, 0.9, join=approximate_join(100, exact_join))
    recall = report.work.recall if report.work else None
    assert recall is not None
    assert f"approximate, recall {recall.found / recall.true:.1%} (95 % interval" in report.summary
    assert report.to_dict()["work"]["recall"]["true"] == recall.true  # type: ignore[index]
    assert "approximate" in report.at(1.0).summary
