"""Whatever is done to a store, it equals a plain dictionary; exact search equals float64 brute force."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.stores.local import LocalStore
from textkin.stores.local.exact import best_records
from textkin.stores.local.matrix import PassageMatrix
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


@given(st.lists(CHANGES, max_size=8), VECTORS, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_store_equals_a_dictionary(changes: list[tuple[str, list]], query: tuple[float, ...], k: int) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "notes.kin")
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
                for name in gone:
                    del model[name]
            else:
                store.close()
                store = LocalStore(Path(folder) / "notes.kin")
            hits = store.search(np.array([query], dtype=np.float32), k)[0]
            assert [hit.id for hit in hits] == expected_hits(model, query, k)
            assert list(store.ids()) == list(model)
        for name, vectors in zip(model, store.vectors(list(model)), strict=True):
            assert np.array_equal(vectors, np.array(model[name], dtype=np.float32))
        store.check()
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
