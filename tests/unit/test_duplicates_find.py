"""find_duplicates: texts first, then vectors, then the join."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.duplicates.find import find_duplicates
from textkin.duplicates.groups import Dropped, DuplicateReport
from textkin.errors import InputError
from textkin.models.hashing import HashingModel


def _find(texts: list[str], threshold: float = 0.9, **options: object) -> DuplicateReport:
    ids = [f"r{k}" for k in range(len(texts))]
    return find_duplicates(ids, texts, HashingModel().embed(texts).vectors, threshold, **options)  # type: ignore[arg-type]


def test_same_text_but_for_white_space_and_unicode_form() -> None:
    report = _find(["caf\u00e9 au lait", "tea", "  cafe\u0301\n au\tlait ", "Caf\u00e9 au lait"], 1.0)
    assert report.groups[0].kept == "r0"
    assert report.groups[0].dropped[0] == Dropped("r2", 1.0, "same text")
    # Case is no white space: that one is found by its vector.
    assert report.groups[0].dropped[1] == Dropped("r3", 1.0, "same vector")


def test_lone_surrogates_and_empty_texts_are_texts() -> None:
    texts = ["\ud800 a", "", "\ud800  a", " \n", "b"]
    report = find_duplicates(list("vwxyz"), texts, np.eye(5), 0.5)
    assert report.rows() == [
        {"id": "x", "kept": "v", "score": 1.0, "reason": "same text", "via": None, "rule": "first"},
        {"id": "y", "kept": "w", "score": 1.0, "reason": "same text", "via": None, "rule": "first"},
    ]


def test_a_copy_follows_the_record_that_stands_for_it() -> None:
    vectors = np.array([[1.0, 0.0], [0.96, 0.28], [0.96, 0.28]])
    report = find_duplicates(["a", "b", "c"], ["one", "two", " two"], vectors, 0.9)
    assert report.groups[0].dropped == (Dropped("b", 0.96, "near"), Dropped("c", 0.96, "near", via="b"))
    assert report.pairs == (("b", "c", 1.0), ("a", "b", 0.96))
    assert [one.kept for one in report.at(0.97)] == ["b"]


def test_the_rule_chooses_among_copies_too() -> None:
    texts = ["same words", "same  words", "same words  ", "other"]
    assert _find(texts, keep="last").kept == ("r2", "r3")
    assert _find(texts, keep="longest").kept == ("r2", "r3")
    assert _find(texts, keep="newest", dates=["2020", "2022", "2021", None]).kept == ("r1", "r3")


def test_copies_count_as_neighbours_for_central() -> None:
    # x is near y and z, which are not near each other; z has three copies, and w is near z. Counted by records
    # x has 4 neighbours and z (with its copies) 4 too; counted by texts both would have 2.
    angles = np.radians([0, 10, 20, 20, 20, 32])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    texts = ["y", "x", "z", "z", "z", "w"]
    report = find_duplicates(list("yxzabw"), texts, vectors, 0.98, keep="central")
    assert report.kept == ("x", "w")


def test_equal_vectors_are_not_joined() -> None:
    rng = np.random.default_rng(0)
    base = rng.standard_normal((10, 8)).astype(np.float32)
    vectors = np.repeat(base, 2000, axis=0)
    texts = [f"text {k}" for k in range(20_000)]
    report = find_duplicates([str(k) for k in range(20_000)], texts, vectors, 0.999)
    assert len(report) == 10
    assert len(report.dropped) == 19_990
    assert {row["reason"] for row in report.rows()} == {"same vector"}
    assert report.stats is not None
    assert report.stats.rows == (10, 10)


def test_equal_texts_in_any_number() -> None:
    report = _find(["again and again"] * 5000 + ["once"])
    assert report.kept == ("r0", "r5000")
    assert {row["reason"] for row in report.rows()} == {"same text"}


def test_zero_vectors_are_duplicates_by_text_only() -> None:
    report = find_duplicates(["a", "b", "c"], ["x", "y", "x"], np.zeros((3, 4)), 0.5)
    assert report.kept == ("a", "b")


def test_the_order_of_the_records_changes_nothing_but_first() -> None:
    rng = np.random.default_rng(1)
    texts = [f"word{rng.integers(4)} word{rng.integers(4)} word{rng.integers(3)}" for _ in range(60)]
    ids = [f"r{k}" for k in range(60)]
    priority = {record: float(k) for k, record in enumerate(ids)}
    vectors = HashingModel().embed(texts).vectors
    one = find_duplicates(ids, texts, vectors, 0.8, keep=priority.__getitem__)
    order = rng.permutation(60).tolist()
    two = find_duplicates(
        [ids[k] for k in order], [texts[k] for k in order], vectors[order], 0.8, keep=priority.__getitem__
    )
    assert set(one.kept) == set(two.kept)
    assert {(row["id"], row["kept"], row["reason"]) for row in one.rows()} == {
        (row["id"], row["kept"], row["reason"]) for row in two.rows()
    }


@pytest.mark.parametrize(
    ("ids", "texts", "rows", "message"),
    [
        (["a"], ["x", "y"], 2, "1 ids, 2 texts and 2 vectors"),
        (["a", "b"], ["x", "y"], 3, "2 ids, 2 texts and 3 vectors"),
        (["a", "a"], ["x", "y"], 2, "'a' occurs twice"),
    ],
)
def test_what_does_not_fit(ids: list[str], texts: list[str], rows: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_duplicates(ids, texts, np.ones((rows, 2)))


def test_nan_names_the_row_of_the_records() -> None:
    vectors = np.ones((3, 2))
    vectors[2, 1] = np.nan
    with pytest.raises(InputError, match="row 2"):
        find_duplicates(["a", "b", "c"], ["x", "x", "y"], vectors)


def test_no_records() -> None:
    report = find_duplicates([], [], np.empty((0, 4)))
    assert (len(report), report.kept) == (0, ())
