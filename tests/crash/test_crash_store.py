"""kill -9 at any step: what was acknowledged is there, the database is whole, search is right."""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

import numpy as np
import pytest

import kill_points
from textkin.ledger import Ledger
from textkin.stores.local import LocalStore
from textkin.types import Matrix

D = 32
KILLS = 8
BATCHES = 6
STORE_WORKER = """
from pathlib import Path
import numpy as np
from textkin.stores.local import LocalStore
from textkin.types import ModelInfo, Record, Span, StoreHeader

place, first, batches = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
store = LocalStore(place)
if store.header is None:
    store.write_header(StoreHeader(ModelInfo("toy", 32, None, "ab" * 32), np.ones((1, 32), np.float32)))
def vector(n, m):
    row = np.random.default_rng([n, m]).normal(size=32)
    return row / np.linalg.norm(row)
arm()
for _ in range(batches):
    numbers = range(first, first + 20)
    spans = (Span(0, 7), Span(8, 16))
    records = [Record(f"id{n}", f"first {n}. second {n}.", {"n": n}, None, spans) for n in numbers]
    store.upsert(records, np.array([vector(n, m) for n in numbers for m in range(2)], np.float32))
    say("upsert", first)
    if first % 60 == 0:
        store.search(np.array([vector(first, 0)], np.float32), 1)
        store.delete([f"id{first}"])
        say("delete", first)
    first += 20
say("end")
"""
LEDGER_WORKER = """
import hashlib
from pathlib import Path
import numpy as np
from textkin.ledger import Ledger
ledger, first, batches = Ledger(Path(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
arm()
for _ in range(batches):
    keys = [hashlib.sha256(str(n).encode()).digest() for n in range(first, first + 50)]
    rows = np.array([np.random.default_rng(n).normal(size=32) for n in range(first, first + 50)], np.float32)
    ledger.put("ab" * 32, "", keys, rows)
    say("put", first)
    first += 50
say("end")
"""


def vector(number: int, passage: int) -> Matrix:
    row = np.random.default_rng([number, passage]).normal(size=D)
    return (row / np.linalg.norm(row)).astype(np.float32)


def steps_of(worker: str, place: Path, first: int, batches: int = BATCHES) -> int:
    """How many steps a worker takes that nobody kills."""
    return kill_points.run(worker, str(place), str(first), str(batches)).steps


def killed_at(step: int, worker: str, place: Path, first: int, batches: int = BATCHES) -> list[tuple[str, int]]:
    """Run a worker that is killed at this step, and return all that it acknowledged."""
    done = kill_points.run(worker, str(place), str(first), str(batches), at=step)
    assert done.killed
    return [(kind, int(number)) for kind, number in (words.split() for words, _ in done.said)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_a_killed_store_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    dice = random.Random(1)
    present: set[int] = set()
    first = 0
    fewest = steps_of(STORE_WORKER, tmp_path / "calm.kin", first) * 9 // 10
    for step in kill_points.spread(1, fewest, KILLS):
        for kind, number in killed_at(step, STORE_WORKER, place, first):
            if kind == "upsert":
                present.update(range(number, number + 20))
                first = number + 20
            else:
                present.discard(number)
        with LocalStore(place, timeout=0) as store:  # the dead one's lock is free at once
            store.check()
            stored = {int(name[2:]) for name in store.ids()}
            # A batch that was not acknowledged may be there as a whole, and an unacknowledged deletion be done.
            unsure = set(range(first, first + 20))
            deleting = {first - 20} if (first - 20) % 60 == 0 else set()
            assert present - deleting <= stored <= present | unsure
            assert len(stored & unsure) in (0, 19, 20)
            assert store.count() == len(stored)
            sample = dice.sample(sorted(stored), min(5, len(stored)))
            for number in sample:
                for passage, text in enumerate((f"first {number}"[:7], f"first {number}. second {number}."[8:16])):
                    hit = store.search(vector(number, passage)[None], 1)[0][0]
                    assert (hit.id, hit.text) == (f"id{number}", text)
                    assert hit.score == pytest.approx(1, abs=1e-6)
            names = [f"id{number}" for number in sorted(stored)]
            expected = [np.stack([vector(n, 0), vector(n, 1)]) for n in sorted(stored)]
            for found, rows in zip(store.vectors(names), expected, strict=True):
                assert np.allclose(found, rows, atol=1e-7)
        present = stored
        first = max(first, max(stored, default=-1) + 1)
        first += -first % 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_a_killed_ledger_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    dice = random.Random(2)
    first = 0
    fewest = steps_of(LEDGER_WORKER, tmp_path / "calm.db", first) * 9 // 10
    for step in kill_points.spread(1, fewest, KILLS):
        acknowledged = killed_at(step, LEDGER_WORKER, path, first)
        first = acknowledged[-1][1] + 50 if acknowledged else first
        keys = {hashlib.sha256(str(n).encode()).digest(): n for n in range(first + 50)}
        with Ledger(path) as ledger:
            found = ledger.recall("ab" * 32, "", list(keys))
            assert len(found) in (first, first + 50)
            assert {keys[key] for key in found} == set(range(len(found)))
            assert sum(use.texts for use in ledger.stats()) == len(found)
            for key in dice.sample(sorted(found), min(20, len(found))):
                expected = np.random.default_rng(keys[key]).normal(size=D).astype(np.float32)
                assert np.array_equal(found[key].vector, expected)
