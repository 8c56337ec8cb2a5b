"""Whatever is done to a store, it equals a plain dictionary; exact search equals float64 brute force."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.stores.local import LocalStore
from textkin.stores.local.exact import best_records
from textkin.stores.local.matrix import PassageMatrix
from textkin.stores.resolve import open_store
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader

D = 3
# Few directions, so that equal scores are common.
DIRECTIONS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0), (0.6, 0, 0.8), (-1, 0, 0)]
VECTORS = st.sampled_from(DIRECTIONS)
CHANGES = st.one_of(
    st.tuples(
        st.just("upsert"),
        st.lists(
            st.tuples(st.integers(0, 5), st.lists(VECTORS, min_size=1, max_size=3)),
            max_size=4,
            unique_by=lambda item: item[0],
        ),
    ),
    st.tuples(st.just("delete"), st.lists(st.integers(0, 5), max_size=3)),
    st.tuples(st.just("reopen"), st.just([])),
)


def expected_hits(model: dict[str, list[tuple[float, ...]]], query: tuple[float, ...], k: int) -> list[str]:
    wide = np.array(query, dtype=np.float32).astype(np.float64)
    scored = []
    for rank, (name, vectors) in enumerate(model.items()):
        rows = np.array(vectors, dtype=np.float32).astype(np.float64)
        scored.append((-max((row * wide).sum() for row in rows), rank, name))
    return [name for _, _, name in sorted(scored)[:k]]


@pytest.mark.parametrize("name", ["notes.kin", "notes.npy"])
@given(st.lists(CHANGES, max_size=8), VECTORS, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_store_equals_a_dictionary(
    name: str, changes: list[tuple[str, list[Any]]], query: tuple[float, ...], k: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / name)
        store.write_header(StoreHeader(ModelInfo("toy", D, None, "f" * 64), np.zeros((0, D), dtype=np.float32)))
        model: dict[str, list[tuple[float, ...]]] = {}
        for kind, items in changes:
            if kind == "upsert":
                records = [
                    Record(
                        f"id{number}", "abc", {"n": number}, None, tuple(Span(0, n) for n in range(len(vectors)))
                    )
                    for number, vectors in items
                ]
                rows = [vector for _, vectors in items for vector in vectors]
                store.upsert(records, np.array(rows, dtype=np.float32).reshape(-1, D))
                model.update({f"id{number}": vectors for number, vectors in items})
            elif kind == "delete":
                gone = {f"id{number}" for number in items} & model.keys()
                assert store.delete([f"id{number}" for number in items]) == len(gone)
                for gone_id in gone:
                    del model[gone_id]
            else:
                store.close()
                store = open_store(Path(folder) / name)
            hits = store.search(np.array([query], dtype=np.float32), k)[0]
            assert [hit.id for hit in hits] == expected_hits(model, query, k)
            assert list(store.ids()) == list(model)
        for own, vectors in zip(model, store.vectors(list(model)), strict=True):
            assert np.array_equal(vectors, np.array(model[own], dtype=np.float32))
        if isinstance(store, LocalStore):
            store.check()
        elif model:
            assert np.array_equal(np.load(Path(folder) / name), np.concatenate(store.vectors(list(model))))
        store.close()


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_exact_search_equals_brute_force(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    counts = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=60))
    k = data.draw(st.integers(1, 12))
    width = data.draw(st.sampled_from([1, 2, 8, 33]))
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(sum(counts), width))
    rows[rng.random(len(rows)) < 0.3] = rows[0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix: Matrix = np.ascontiguousarray(rows, dtype=np.float32)
    queries = np.ascontiguousarray(
        rows[rng.integers(0, len(rows), size=data.draw(st.integers(1, 5)))], dtype=np.float32
    )
    firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    passages = PassageMatrix(b"", matrix, np.arange(len(rows)), np.arange(len(counts)), firsts)
    chosen = None
    if data.draw(st.booleans()):
        chosen = np.flatnonzero(rng.random(len(counts)) < data.draw(st.sampled_from([0.1, 0.5, 0.9])))
    found = best_records(passages, queries, k, chosen)
    scores = (matrix[None].astype(np.float64) * queries[:, None].astype(np.float64)).sum(axis=2)
    for query, hits in zip(scores, found, strict=True):
        best = np.maximum.reduceat(query, firsts[:-1])
        allowed = range(len(counts)) if chosen is None else chosen.tolist()
        order = sorted(allowed, key=lambda place: (-best[place], place))[:k]
        assert [int(np.searchsorted(firsts, row, side="right")) - 1 for row, _ in hits] == order
        assert [score for _, score in hits] == [min(1.0, max(-1.0, best[place])) for place in order]
