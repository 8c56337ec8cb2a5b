"""The report: stars without chains, keep rules, reasons, thresholds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textkin.duplicates.groups import Dropped, DuplicateGroup, DuplicateReport, group
from textkin.duplicates.join import near_pairs
from textkin.errors import InputError


def _fan(*degrees: float) -> np.ndarray:
    """Vectors of the plane at these angles, so that scores are cosines of differences."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _report(*degrees: float, threshold: float = 0.98, **options: object) -> DuplicateReport:
    ids = [f"r{k}" for k in range(len(degrees))]
    return group(ids, near_pairs(_fan(*degrees), threshold), **options)  # type: ignore[arg-type]


def _shape(report: DuplicateReport) -> dict[str, list[str]]:
    return {one.kept: [record.id for record in one.dropped] for one in report}


def test_no_chains() -> None:
    # 10 degrees are 0.985, 20 degrees 0.940: each is near the next one only.
    report = _report(0, 10, 20, 30)
    assert _shape(report) == {"r0": ["r1"], "r2": ["r3"]}
    assert report.kept == ("r0", "r2")
    assert report.dropped == ("r1", "r3")


def test_a_dropped_record_goes_to_its_nearest_kept_one() -> None:
    report = _report(0, 8, 12)
    assert _shape(report) == {"r2": ["r1"]}
    assert report.kept == ("r0", "r2")
    assert _shape(_report(0, 4, 12)) == {"r0": ["r1"]}
    assert _shape(_report(0, 14, 8)) == {"r1": ["r2"]}


def test_ties_go_to_the_record_that_the_rule_prefers() -> None:
    # r2 lies in the middle of r0 and r1, which are not near each other; both scores are equal to the last digit.
    pairs = near_pairs(np.array([[0.6, 0.8], [0.6, -0.8], [1.0, 0.0]]), 0.6)
    assert _shape(group(["a", "b", "c"], pairs)) == {"a": ["c"]}
    assert _shape(group(["a", "b", "c"], pairs, keep=[1, 2, 0])) == {"b": ["c"]}


def test_order_within_and_between_groups() -> None:
    report = _report(90, 0, 93, 5, 4, 91)
    assert _shape(report) == {"r0": ["r5", "r2"], "r1": ["r4", "r3"]}


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("first", ("r0", "r2")),
        ("last", ("r1", "r3")),
        ("central", ("r1", "r3")),
        ([0, 0, 9, 1], ("r0", "r2")),
        ([0, 3, 1, 2], ("r1", "r3")),
        (lambda record: float(record == "r2"), ("r0", "r2")),
    ],
)
def test_keep_rules(keep: object, kept: tuple[str, ...]) -> None:
    assert _report(0, 10, 20, 30, keep=keep).kept == kept


def test_keep_longest_and_newest() -> None:
    assert _report(0, 1, 2, keep="longest", texts=["ab", "abcd", "abcd"]).kept == ("r1",)
    assert _report(0, 1, 2, keep="newest", dates=["2024-05-01", "2024-06", None]).kept == ("r1",)
    assert _report(0, 1, 2, keep="newest", dates=[3, 2.5, 7]).kept == ("r2",)
    zones = ["2024-01-01T12:00:00+02:00", "2024-01-01T11:30:00Z", "2024-01-01T11:00:00"]
    assert _report(0, 1, 2, keep="newest", dates=zones).kept == ("r1",)
    assert _report(0, 1, 2, keep="newest", dates=["0900", "1969-12-31", "1950-01-01"]).kept == ("r1",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "best"}, "unknown keep rule 'best'; choose one of: first, last"),
        ({"keep": "longest"}, "needs the texts"),
        ({"keep": "newest"}, "needs a date"),
        ({"keep": "newest", "dates": ["2024-01-01"]}, "1 values for 2 records"),
        (
            {"keep": "newest", "dates": ["2024-01-01", "1/2/2024"]},
            "record 'r1' is '1/2/2024'; expected an ISO 8601",
        ),
        ({"keep": "newest", "dates": ["2024-01-01", 5]}, "'r0' is a text and that of 'r1' is a number"),
        ({"keep": "newest", "dates": [True, 5]}, "'r0' is True"),
        ({"keep": "newest", "dates": [1.0, float("nan")]}, "'r1' is nan"),
        ({"keep": [1.0, float("nan")]}, "priority of record 'r1' is NaN"),
        ({"keep": [1.0]}, "1 values for 2 records"),
        ({"threshold": 0.5}, "not looked for: find duplicates again with threshold=0.5"),
        ({"threshold": 1.5}, "at most 1"),
    ],
)
def test_what_is_refused(options: dict[str, object], message: str) -> None:
    pairs = near_pairs(_fan(0, 1), 0.98)
    with pytest.raises(InputError, match=message):
        group(["r0", "r1"], pairs, **options)  # type: ignore[arg-type]


def test_longest_needs_one_text_a_record() -> None:
    with pytest.raises(InputError, match="1 values for 2 records"):
        group(["r0", "r1"], near_pairs(_fan(0, 1), 0.98), keep="longest", texts=["a"])


def test_ids_must_be_unique_and_fit() -> None:
    pairs = near_pairs(_fan(0, 1), 0.98)
    with pytest.raises(InputError, match="'a' occurs twice"):
        group(["a", "a"], pairs)
    with pytest.raises(InputError, match="3 ids"):
        group(["a", "b", "c"], pairs)
    with pytest.raises(InputError, match="self-join"):
        group(["a", "b"], near_pairs(_fan(0, 1), 0.98, other=_fan(0, 1, 2)))


def test_re_threshold() -> None:
    report = _report(0, 10, 20, threshold=0.9)
    assert _shape(report) == {"r0": ["r1", "r2"]}
    higher = report.at(0.98)
    assert _shape(higher) == {"r0": ["r1"]}
    assert (higher.threshold, higher.keep, higher.total) == (0.98, "first", 3)
    assert _shape(higher.at(0.9)) == _shape(report)
    assert [pair[:2] for pair in higher.pairs] == [("r0", "r1"), ("r1", "r2")]
    assert not report.at(1.0)
    with pytest.raises(InputError, match=r"pairs below 0\.9 were not looked for"):
        report.at(0.8)


def test_central_is_ranked_anew_at_a_higher_threshold() -> None:
    report = _report(0, 10, 20, 21, 30, threshold=0.93, keep="central")
    assert _shape(report.at(0.98)) == _shape(_report(0, 10, 20, 21, 30, threshold=0.98, keep="central"))


def test_what_it_says() -> None:
    report = _report(0, 10, 20, 90, threshold=0.93)
    assert len(report) == 1
    assert report.summary == "4 records: 2 near-duplicates at 0.93 in 1 group; 2 kept (first)"
    first = round(float(np.cos(np.radians(10))), 12)
    second = round(float(np.cos(np.radians(20))), 12)
    assert report.groups == (DuplicateGroup("r0", (Dropped("r1", first, "near"), Dropped("r2", second, "near"))),)
    assert report.rows()[0] == {
        "id": "r1",
        "kept": "r0",
        "score": first,
        "reason": "near",
        "via": None,
        "rule": "first",
    }
    assert report.pairs == (("r0", "r1", first), ("r1", "r2", first), ("r0", "r2", second))
    again = json.loads(json.dumps(report.to_dict()))
    assert (again["records"], again["kept"], again["dropped"], again["threshold"]) == (4, 2, 2, 0.93)
    assert again["groups"][0]["dropped"][1] == {"id": "r2", "score": second, "reason": "near", "via": None}
    assert report.stats is not None
    assert report.stats.found == 3


def test_none_and_nothing() -> None:
    assert _report(0, 90).summary == "2 records, no near-duplicates at 0.98"
    empty = group([], near_pairs(np.empty((0, 4))))
    assert (empty.total, empty.kept, empty.dropped, empty.pairs, len(empty), empty.rows()) == (
        0,
        (),
        (),
        (),
        0,
        [],
    )
