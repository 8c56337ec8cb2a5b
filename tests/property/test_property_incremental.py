"""A join that remembers gives what a full join gives, whatever was added, changed or removed between."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.duplicates.incremental import remembering_join
from textkin.duplicates.join import MAX_PAIRS
from textkin.duplicates.remembered import FILE, JoinMemory
from textkin.duplicates.work import exact_join

STEPS = st.lists(
    st.tuples(st.lists(st.integers(0, 39), max_size=25), st.sampled_from([0.3, 0.6, 0.8, 0.95, 1.0])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 20), steps=STEPS)
def test_any_history_gives_the_full_join(seed: int, steps: list[tuple[list[int], float]]) -> None:
    # Few directions, so that many pairs are near, and some rows equal or zero.
    pool = np.round(np.random.default_rng(seed).normal(size=(40, 3)), 0).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        join = remembering_join(JoinMemory(Path(folder) / FILE, "ab" * 32))
        for chosen, threshold in steps:
            rows = pool[np.array(chosen, dtype=np.int64)]
            found = join(rows, threshold, MAX_PAIRS, None)
            full = exact_join(rows, threshold, MAX_PAIRS, None)
            mine = dict(
                zip(zip(found.i.tolist(), found.j.tolist(), strict=True), found.score.tolist(), strict=True)
            )
            theirs = dict(
                zip(zip(full.i.tolist(), full.j.tolist(), strict=True), full.score.tolist(), strict=True)
            )
            assert mine == theirs
            assert found.work.compared <= max(len(rows) * (len(rows) - 1) // 2, 0)
