"""Any filter reads back from its own text, and SQL agrees with the reference on any metadata."""

from __future__ import annotations

import json
from contextlib import suppress

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.errors import FilterError
from textkin.stores.local.filter_sql import filter_sql
from textkin.types import MetadataValue, Scalar
from textkin.where import And, Compare, Condition, Contains, In, Not, Or, check, matches, parse

WHOLE = st.characters(exclude_categories=["Cs"])
NAMED = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
FIELDS = st.one_of(
    st.sampled_from(["a", "b", "", "a.b", 'a"b', "a\\", 'a\\"', "$", "$.a", "[0]", "#", "'", "é", "a]", "and"]),
    st.text(NAMED, max_size=4),
)
INTEGERS = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]),
)
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, 2.0**53, 2.0**63, -(2.0**63), 5e-324, 1e308]),
)
TEXTS = st.one_of(
    st.sampled_from(["", "a", "A", "1", "true", "null", "\x00", "a\x00b", "\uffff", "😀"]),
    st.text(WHOLE, max_size=4),
)
ORDERED = st.one_of(INTEGERS, FLOATS, TEXTS)
SCALARS: st.SearchStrategy[Scalar] = st.one_of(st.none(), st.booleans(), ORDERED)
VALUES: st.SearchStrategy[MetadataValue] = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
METADATA = st.dictionaries(FIELDS, VALUES, max_size=4)
LEAVES: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, FIELDS, st.just("="), SCALARS),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), ORDERED),
    st.builds(In, FIELDS, st.lists(SCALARS, max_size=4).map(tuple)),
    st.builds(Contains, FIELDS, SCALARS),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
DATABASE = apsw.Connection(":memory:")


def written(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def text_of(condition: Condition) -> str:
    if isinstance(condition, Not):
        return f"not ({text_of(condition.item)})"
    if isinstance(condition, And | Or):
        return (" and " if isinstance(condition, And) else " or ").join(
            f"({text_of(item)})" for item in condition.items
        )
    field = "`" + condition.field.replace("`", "``") + "`"
    if isinstance(condition, In):
        return f"{field} in ({', '.join(written(value) for value in condition.values)})"
    op = "contains" if isinstance(condition, Contains) else condition.op
    return f"{field} {op} {written(condition.value)}"


def sql_says(condition: Condition, metadata: dict[str, MetadataValue]) -> object:
    expression, parameters = filter_sql(condition)
    row = json.dumps(metadata, ensure_ascii=False)
    return DATABASE.execute(f"SELECT {expression} FROM (SELECT ? AS metadata)", [*parameters, row]).get


def same_fields(condition: Condition, fields: list[str]) -> Condition:
    """The condition with its fields replaced by some that the metadata have, so that more than nothing matches."""
    if isinstance(condition, Not):
        return Not(same_fields(condition.item, fields))
    if isinstance(condition, And | Or):
        return type(condition)(tuple(same_fields(item, fields) for item in condition.items))
    field = fields[len(condition.field) % len(fields)]
    if isinstance(condition, In):
        return In(field, condition.values)
    if isinstance(condition, Contains):
        return Contains(field, condition.value)
    return Compare(field, condition.op, condition.value)


@given(CONDITIONS, METADATA)
@settings(max_examples=250, deadline=None)
def test_sql_equals_the_reference(condition: Condition, metadata: dict[str, MetadataValue]) -> None:
    assert sql_says(condition, metadata) == int(matches(condition, metadata))
    if metadata:
        near = same_fields(condition, sorted(metadata))
        assert sql_says(near, metadata) == int(matches(near, metadata))


@given(FIELDS, SCALARS, SCALARS)
@settings(max_examples=250, deadline=None)
def test_sql_equals_the_reference_on_every_operator(field: str, stored: Scalar, value: Scalar) -> None:
    candidates: list[Condition] = [
        Compare(field, "=", value),
        Compare(field, "=", stored),
        In(field, (value, stored)),
        Contains(field, value),
        Contains(field, stored),
    ]
    if value is not None and not isinstance(value, bool):
        candidates += [Compare(field, op, value) for op in ("<", "<=", ">", ">=")]  # type: ignore[arg-type]
    if stored is not None and not isinstance(stored, bool):
        candidates += [Compare(field, op, stored) for op in ("<", "<=", ">", ">=")]  # type: ignore[arg-type]
    for condition in candidates:
        held: list[dict[str, MetadataValue]] = [{field: stored}, {field: [stored]}, {field: [value, stored]}, {}]
        for metadata in held:
            assert sql_says(condition, metadata) == int(matches(condition, metadata)), condition


@given(CONDITIONS, METADATA)
@settings(max_examples=120, deadline=None)
def test_a_filter_written_as_text_means_the_same(condition: Condition, metadata: dict[str, MetadataValue]) -> None:
    text = text_of(condition)
    if "()" in text.replace("in ()", ""):
        return  # an empty and/or can't be written
    if not text:
        return
    assert matches(parse(text), metadata) == matches(condition, metadata)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused_as_a_filter(text: str) -> None:
    with suppress(FilterError):
        check(parse(text))


def test_the_widest_filter_that_is_allowed_runs() -> None:
    wide: Condition = Or(tuple(Compare(f"f{number}", "=", number) for number in range(4999)))
    assert sql_says(wide, {"f4998": 4998}) == 1
    assert sql_says(wide, {"f4998": 0}) == 0
    assert sql_says(In("a", tuple(range(200_000))), {"a": 199_999}) == 1


def test_the_deepest_filter_that_is_allowed_runs() -> None:
    leaf: Condition = Compare("a", "=", 1)
    deep = leaf
    for turn in range(60):
        side = tuple(Compare(f"b{n}", "=", n) for n in range(70))
        deep = And((deep, Not(Or(side)))) if turn % 2 and turn < 40 else Not(deep)
    assert sql_says(check(deep), {"a": 1}) == int(matches(deep, {"a": 1}))
