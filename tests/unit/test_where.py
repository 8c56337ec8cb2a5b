"""Filters as text and as mappings: what they mean, and how wrong ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from textkin.errors import FilterError, InputError
from textkin.types import Scalar
from textkin.where import And, Compare, Contains, In, Not, Or, condition, from_mapping, matches, parse

MISSING = Compare("x", "=", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lang = "en"', Compare("lang", "=", "en")),
        ("lang == 'en'", Compare("lang", "=", "en")),
        ("a != 1", Not(Compare("a", "=", 1))),
        ("a <> 1", Not(Compare("a", "=", 1))),
        ("a<-1.5e3", Compare("a", "<", -1500.0)),
        ("a>=+2", Compare("a", ">=", 2)),
        ("a = .5", Compare("a", "=", 0.5)),
        ("a = TRUE", Compare("a", "=", True)),
        ("a = False", Compare("a", "=", False)),
        ("x = Null", MISSING),
        ("x IS null", MISSING),
        ("x is NOT null", Not(MISSING)),
        ("x in (1, 'b', true, null)", In("x", (1, "b", True, None))),
        ("x not in (1)", Not(In("x", (1,)))),
        ("x in ()", In("x", ())),
        ('`odd name, with "signs"` = 1', Compare('odd name, with "signs"', "=", 1)),
        ("`a``b` = 1", Compare("a`b", "=", 1)),
        ("`` = 1", Compare("", "=", 1)),
        ("`and` = 1", Compare("and", "=", 1)),
        ("a.b-c_d = 1", Compare("a.b-c_d", "=", 1)),
        ("größe = 1", Compare("größe", "=", 1)),
        ("2020-01 = 1", Compare("2020-01", "=", 1)),
        ("a = 'it''s'", Compare("a", "=", "it's")),
        ('a = "say ""hi"""', Compare("a", "=", 'say "hi"')),
        ("a = 'C:\\temp'", Compare("a", "=", "C:\\temp")),
        ("a = 'two\nlines'", Compare("a", "=", "two\nlines")),
        ("not not a = 1", Not(Not(Compare("a", "=", 1)))),
        ("((a = 1))", Compare("a", "=", 1)),
        ("a = 9223372036854775807", Compare("a", "=", 2**63 - 1)),
    ],
)
def test_text_is_read_as(text: str, expected: Any) -> None:
    assert parse(text) == expected


def test_not_binds_tighter_than_and_and_and_than_or() -> None:
    a, b, c = (Compare(name, "=", 1) for name in "abc")
    assert parse("not a = 1 and b = 1 or c = 1") == Or((And((Not(a), b)), c))
    assert parse("c = 1 or a = 1 and b = 1") == Or((c, And((a, b))))
    assert parse("not (a = 1 or b = 1) and c = 1") == And((Not(Or((a, b))), c))


def test_the_issue_example() -> None:
    found = parse('lang = "en" and (year >= 2020 or kind in ("a", \'b\')) and not draft = true')
    assert matches(found, {"lang": "en", "year": 2021})
    assert matches(found, {"lang": "en", "kind": "b", "draft": False})
    assert not matches(found, {"lang": "en", "kind": "b", "draft": True})
    assert not matches(found, {"lang": "en", "year": "2021"})


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "a field's name"),
        ("   ", 1, "a field's name"),
        ("lang = en", 8, 'put quotes around a text: "en"'),
        ("a = 1 b", 7, "and, or, or the end"),
        ("a = 1 and", 10, "a field's name"),
        ("a", 2, "=, !="),
        ("a ~ 1", 3, "'~' has no meaning"),
        ('a = "x', 5, 'the quote " is never closed'),
        ("a in 1", 6, "( and a list"),
        ("a in (1", 8, "expected )"),
        ("(a = 1", 7, "expected )"),
        ("a is 5", 6, "null or not null"),
        ("a not 5", 7, "expected in"),
        ("5 = a", 1, "a field's name"),
        ("a = 5abc", 5, "a value"),
        ("a = nan", 5, "a value"),
        ("a = 1e999", 5, "too large"),
        ("a = 9223372036854775808", 5, "64 bits"),
        ("a = " + "9" * 5000, 5, "64 bits"),
        ("a > true", 5, "no order"),
        ("a <= null", 6, "no order"),
        ("a = 1; drop table records", 6, "';' has no meaning"),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(text: str, column: int, expected: str) -> None:
    with pytest.raises(FilterError, match=r"at character \d+") as caught:
        parse(text)
    message, _shown, caret = str(caught.value).split("\n")
    assert f"at character {column}:" in message
    assert expected in message
    assert caret.endswith("^")
    if len(text) < 70:
        assert len(caret) == column + 2


def test_the_caret_of_a_long_filter_stays_in_sight() -> None:
    with pytest.raises(FilterError) as caught:
        parse(" or ".join(f"a = {number}" for number in range(500)) + " or b = c")
    _message, shown, caret = str(caught.value).split("\n")
    assert len(shown) < 80
    assert shown[len(caret) - 1] == "c"


@pytest.mark.parametrize("text", ["(" * 10000 + "a = 1", "not " * 10000 + "a = 1"])
def test_deep_texts_are_refused_not_crashed_on(text: str) -> None:
    with pytest.raises(FilterError, match="deep"):
        parse(text)


def test_deep_mappings_are_refused_not_crashed_on() -> None:
    for key in ("$not", "$and"):
        mapping: dict[str, Any] = {"a": 1}
        for _ in range(10000):
            mapping = {key: mapping if key == "$not" else [mapping]}
        with pytest.raises(FilterError, match="deep"):
            from_mapping(mapping)
    inner: dict[str, Any] = {"$eq": 1}
    for _ in range(10000):
        inner = {"$not": inner}
    with pytest.raises(FilterError, match="deep"):
        from_mapping({"a": inner})


def test_too_many_conditions_are_refused() -> None:
    with pytest.raises(FilterError, match="5000"):
        parse(" or ".join(["a = 1"] * 6000))
    assert isinstance(condition({"a": list(range(100000))}), In)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, And(())),
        ({"a": 1}, Compare("a", "=", 1)),
        ({"x": None}, MISSING),
        ({"a": ["x", 1]}, In("a", ("x", 1))),
        ({"a": {"$in": ["x"]}}, In("a", ("x",))),
        ({"a": {"$nin": ["x"]}}, Not(In("a", ("x",)))),
        ({"a": {"$ne": 1}}, Not(Compare("a", "=", 1))),
        ({"a": {"$gte": 1, "$lt": 5}}, And((Compare("a", ">=", 1), Compare("a", "<", 5)))),
        ({"a": {"$eq": True}}, Compare("a", "=", True)),
        ({"x": {"$exists": True}}, Not(MISSING)),
        ({"x": {"$exists": False}}, MISSING),
        ({"a": {"$not": {"$gt": 1}}}, Not(Compare("a", ">", 1))),
        ({"$or": [{"a": 1}, {"b": 2}]}, Or((Compare("a", "=", 1), Compare("b", "=", 2)))),
        ({"$and": []}, And(())),
        ({"$or": []}, Or(())),
        ({"$not": {"a": 1}}, Not(Compare("a", "=", 1))),
        ({"a": 1, "b": 2}, And((Compare("a", "=", 1), Compare("b", "=", 2)))),
    ],
)
def test_mapping_is_read_as(mapping: dict[str, Any], expected: Any) -> None:
    assert from_mapping(mapping) == expected


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"a": {"$regex": "x"}}, "unknown operator '\\$regex'"),
        ({"$nor": []}, "unknown operator '\\$nor'"),
        ({"a": {}}, "empty mapping"),
        ({"a": {"b": 1}}, "unknown operator 'b'"),
        ({"$or": {"a": 1}}, "takes a list"),
        ({"a": {"$in": "text"}}, "takes a list"),
        ({"$and": [1]}, "expected a mapping"),
        ({"$not": 1}, "expected a mapping"),
        ({1: 1}, "a field's name"),
        ({"a": float("nan")}, "finite"),
        ({"a": {"$lt": float("inf")}}, "finite"),
        ({"a": 2**63}, "64 bits"),
        ({"a": 10**5000}, "64 bits"),
        ({"a": {"$gt": True}}, "no order"),
        ({"a": b"x"}, "not bytes"),
        ({"a": [[1]]}, "not list"),
        ({"a": {"$exists": 1}}, "true or false"),
        ({"a": "\ud800"}, "half a character"),
        ({"\udc00": 1}, "lone surrogate"),
        ({"a\0": 1}, "zero byte"),
    ],
)
def test_wrong_mappings_are_refused(mapping: dict[Any, Any], expected: str) -> None:
    with pytest.raises(FilterError, match=expected):
        from_mapping(mapping)


@pytest.mark.parametrize(
    ("text", "metadata", "expected"),
    [
        ("a = 5", {"a": "5"}, False),
        ("a = '5'", {"a": 5}, False),
        ("a = 1", {"a": True}, False),
        ("a = true", {"a": 1}, False),
        ("a = 0", {"a": False}, False),
        ("a in (0, 1)", {"a": True}, False),
        ("a = 1", {"a": 1.0}, True),
        ("a = 1.0", {"a": 1}, True),
        ("a = 9007199254740992.0", {"a": 9007199254740993}, False),
        ("a < 9007199254740993", {"a": 9007199254740992.0}, True),
        ("a != 5", {}, True),
        ("a != 5", {"a": "5"}, True),
        ("a < 5", {}, False),
        ("a >= 5", {}, False),
        ("not a < 5", {}, True),
        ("a < 5", {"a": None}, False),
        ("a < 'b'", {"a": "a"}, True),
        ("a < 'b'", {"a": 1}, False),
        ("a > 'Z'", {"a": "a"}, True),
        ("a > '\uffff'", {"a": "\U0001f600"}, True),
        ("a <= 'a'", {"a": "a"}, True),
        ("a > 'a'", {"a": "a"}, False),
        ("a = null", {"a": None}, True),
        ("a = null", {}, True),
        ("a is not null", {"a": False}, True),
        ("a in (null)", {}, True),
        ("a not in (1, 2)", {}, True),
        ("a in ()", {"a": 1}, False),
    ],
)
def test_meaning(text: str, metadata: dict[str, Scalar], expected: bool) -> None:
    assert matches(parse(text), metadata) is expected


def test_empty_and_is_true_and_empty_or_false() -> None:
    assert matches(And(()), {})
    assert not matches(Or(()), {})


def test_nan_in_metadata_satisfies_nothing() -> None:
    for text in ("a < 1", "a <= 1", "a > 1", "a >= 1", "a = 1"):
        assert not matches(parse(text), {"a": float("nan")})


def test_condition_takes_every_form() -> None:
    expected = Compare("a", "=", 1)
    assert condition(None) is None
    assert condition("a = 1") == condition({"a": 1}) == condition(expected) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        ["a"],
        Compare("a", "like", "x"),  # type: ignore[arg-type]
        Compare("a", "<", None),
        Compare("a", "=", float("inf")),
        Compare(5, "=", 1),  # type: ignore[arg-type]
        And((Compare("a", "=", 1), "b = 2")),  # type: ignore[arg-type]
    ],
)
def test_condition_refuses_what_is_none(wrong: Any) -> None:
    with pytest.raises(FilterError):
        condition(wrong)


def test_a_filter_error_is_an_input_error() -> None:
    with pytest.raises(InputError):
        parse("?")


def test_contains_looks_into_lists_and_texts() -> None:
    data = {"tags": ["a", 5, None, True], "none": [], "title": "Refunds by post", "n": 5}
    for text in ('tags contains "a"', "tags CONTAINS 5", "tags contains 5.0", "tags contains null",
                 "tags contains true", 'title contains "by"', 'title contains ""', 'none not contains "a"',
                 'missing not contains "a"', 'not tags contains "A"', 'tags != "a"', "tags is not null",
                 "none is not null"):  # fmt: skip
        assert matches(parse(text), data), text
    for text in ('tags contains "5"', "tags contains 1", "tags contains false", 'title contains "POST"',
                 "title contains 5", "n contains 5", 'none contains ""', "missing contains null", 'tags = "a"',
                 'tags in ("a", 5)', 'tags >= "a"', "none is null"):  # fmt: skip
        assert not matches(parse(text), data), text
    assert parse('contains contains "x"') == Contains("contains", "x")
    assert from_mapping({"tags": {"$contains": "a", "$not_contains": 6}}) == And(
        (Contains("tags", "a"), Not(Contains("tags", 6)))
    )
    with pytest.raises(FilterError, match="a value"):
        parse("tags contains (1, 2)")
    with pytest.raises(FilterError, match="tags"):
        from_mapping({"tags": {"$contains": [1]}})
