"""The lexical veto: what counts as a number and as a negation, and that no star holds a vetoed pair."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.duplicates.find import find_duplicates
from textkin.duplicates.veto import VETOES, checked_vetoes, differences, profile
from textkin.errors import InputError


def why(one: str, other: str) -> dict[str, str]:
    found = differences(profile(one), profile(other), VETOES)
    assert set(differences(profile(other), profile(one), VETOES)) == set(found)
    return found


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("Python 3.10 is out", "Python 3.11 is out", "3.10 / 3.11"),
        ("three cats", "four cats", "3 / 4"),
        ("the second chapter", "the third chapter", "2 / 3"),
        ("room 12", "room ١٣", "12 / 13"),
        ("add ½ cup", "add ¼ cup", "0.5 / 0.25"),
        ("第三章", "第四章", "3 / 4"),
        ("it is -5 outside", "it is 5 outside", "-5 / 5"),
        ("pay 10", "pay 10 and 10", "none / 10"),
        ("mp3 player", "mp4 player", "3 / 4"),
    ],
)
def test_numbers_that_differ(one: str, other: str, reason: str) -> None:
    assert why(one, other) == {"numbers": reason}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000 rows in 2020", "In 2020: 1000 rows"),
        ("three cats", "3 cats"),
        ("５ items", "5 items"),
        ("the ½ moon", "the 0.5 moon"),
        ("COVID-19 cases", "COVID 19 cases"),
        ("a cat", "one cat"),
    ],
)
def test_numbers_that_are_the_same(one: str, other: str) -> None:
    assert why(one, other) == {}


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("Always rebase", "Never rebase", "always / never"),
        ("It is safe", "It is not safe", "0 / 1 negating words"),
        ("You can go", "You can't go", "0 / 1 negating words"),
        ("You can go", "You can\u2019t go", "0 / 1 negating words"),
        ("tea with milk", "tea without milk", "with / without"),
        ("a happy end", "an unhappy end", "happy / unhappy"),
        ("non-smoking room", "smoking room", "1 / 0 negating words"),
        ("Enable the cache", "Disable the cache", "enable / disable"),
    ],
)
def test_negations_that_differ(one: str, other: str, reason: str) -> None:
    assert why(one, other) == {"negation": reason}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Do not touch", "Don't touch"),
        ("under the union", "the union"),
        ("nothing works", "Nothing works!"),
        ("Always rebase", "Rebase"),
    ],
)
def test_negations_that_are_the_same(one: str, other: str) -> None:
    assert why(one, other) == {}


def test_only_what_was_asked_for() -> None:
    assert differences(profile("never 3"), profile("always 4"), ("numbers",)) == {"numbers": "3 / 4"}
    assert checked_vetoes("negation") == ("negation",)
    assert checked_vetoes(["negation", "numbers", "numbers"]) == ("numbers", "negation")
    with pytest.raises(InputError, match="unknown veto 'tone'; choose of: numbers, negation"):
        checked_vetoes(["tone"])


def test_no_star_holds_a_vetoed_pair() -> None:
    texts = ["Always rebase", "Never rebase", "Never rebase!", "always  rebase"]
    vectors = np.array([[1, 0], [0.999, 0.0447], [0.998, 0.0632], [1, 0]], dtype=np.float32)
    report = find_duplicates(list("abcd"), texts, vectors, 0.9, veto=VETOES)
    assert {one.kept: [record.id for record in one.dropped] for one in report} == {"a": ["d"], "b": ["c"]}
    assert {(pair.id, pair.other) for pair in report.vetoed} == {("a", "b"), ("a", "c")}
    assert report.vetoed[0].why == {"negation": "always / never"}
    audit = list(report.audit())
    assert [(row["what"], row["id"]) for row in audit[:2]] == [("dropped", "d"), ("dropped", "c")]
    assert audit[0]["veto"] == {"numbers": "same", "negation": "same"}
    assert audit[2]["what"] == "vetoed"
    assert audit[2]["veto"]["numbers"] == "same"
    assert report.at(0.999).vetoed == tuple(pair for pair in report.vetoed if pair.score >= 0.999)


def test_equal_vectors_do_not_overrule_a_veto() -> None:
    vectors = np.ones((4, 3), dtype=np.float32)
    texts = ["version 1", "Version 2", "Version 1", "version  2"]
    report = find_duplicates(list("abcd"), texts, vectors, 0.9, veto="numbers")
    assert {one.kept: [(record.id, record.reason) for record in one.dropped] for one in report} == {
        "a": [("c", "same vector")],
        "b": [("d", "same vector")],
    }
    assert len(find_duplicates(list("abcd"), texts, vectors, 0.9)) == 1


def test_components_keep_vetoed_pairs_apart_too() -> None:
    vectors = np.ones((2, 3), dtype=np.float32)
    report = find_duplicates(["a", "b"], ["item 1", "item 2"], vectors, 0.9, veto="numbers", groups="components")
    assert report.kept == ("a", "b")
    assert report.pairs == ()
