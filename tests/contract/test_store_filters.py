"""A filter means the same in every store, whatever its database thinks of types and rounding."""

from __future__ import annotations

import random

import pytest
from test_store_contract import pinecone_index, qdrant_url, reopen, store, unit  # noqa: F401 - fixtures

from textkin.types import MetadataValue, Record, Span, Store
from textkin.where import matches
from textkin.where.conditions import And, Compare, Condition, Contains, In, Not, Or, Scalar

VALUES: list[Scalar] = [
    "", "a", "b", "B", "é", "z\U0001f600", "a\x00b", "5", "true", "o'; DROP TABLE x; --", 0, 1, 5, -3,
    2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.0, -0.0, 0.5, 5.0, 1e300, -1e-300, float(2**53), float(2**63),
    True, False, None,
]  # fmt: skip
LISTS: list[MetadataValue] = [[], ["a", 5, None], ["é", "b"], [True, 0.5, 2**63 - 1], ["5", "o'; --"], [None]]
FIELDS = ["lang", "year", "odd name", "a.b", "$x", "textkin_kind", "o'neil", "_f"]


def leaf(rng: random.Random) -> Condition:
    field = rng.choice(FIELDS)
    value = rng.choice(VALUES)
    if rng.random() < 0.2:
        return Contains(field, value)
    if rng.random() < 0.25:
        return In(field, tuple(rng.sample(VALUES, rng.randint(1, 4))))
    ordered = ("=", "<", "<=", ">", ">=") if value is not None and not isinstance(value, bool) else ("=",)
    return Compare(field, rng.choice(ordered), value)  # type: ignore[arg-type]


def tree(rng: random.Random, depth: int) -> Condition:
    if depth == 0 or rng.random() < 0.4:
        return leaf(rng)
    kind = rng.choice((And, Or, Not))
    if kind is Not:
        return Not(tree(rng, depth - 1))
    return kind(tuple(tree(rng, depth - 1) for _ in range(rng.randint(1, 3))))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_filter_finds_what_it_means(store: Store, seed: int) -> None:  # noqa: F811
    rng = random.Random(seed)
    records = []
    for number in range(80):
        metadata = {field: rng.choice((*VALUES, *LISTS)) for field in FIELDS if rng.random() < 0.7}
        records.append(Record(f"id{number}", "text", metadata, rng.choice([None, "/a", "o'b"]), (Span(0, 4),)))
    store.upsert(records, unit(80))
    query = unit(1, 5)
    some = 0
    for _ in range(60):
        where = tree(rng, 3)
        expected = {record.id for record in records if matches(where, record.metadata)}
        some += 0 < len(expected) < 80
        assert {hit.id for hit in store.search(query, 80, where)[0]} == expected, where
        assert len(store.search(query, 3, where)[0]) == min(3, len(expected)), where
        assert store.count(where) == len(expected), where
        assert {record.id for batch in store.scan(where) for record in batch} == expected, where
    assert some > 20
    assert [record.metadata for batch in store.scan() for record in batch] == [one.metadata for one in records]
    for source in ("/a", "o'b"):
        assert list(store.ids(source)) == [record.id for record in records if record.source == source]
