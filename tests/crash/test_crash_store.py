"""kill -9 at random moments: what was acknowledged is there, the database is whole, search is right."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from textkin.ledger import Ledger
from textkin.stores.local import LocalStore
from textkin.types import Matrix

D = 32
KILLS = 15
STORE_WORKER = """
import sys
from pathlib import Path
import numpy as np
from textkin.stores.local import LocalStore
from textkin.types import ModelInfo, Record, Span, StoreHeader

place, first = Path(sys.argv[1]), int(sys.argv[2])
store = LocalStore(place)
if store.header is None:
    store.write_header(StoreHeader(ModelInfo("toy", 32, None, "ab" * 32), np.ones((1, 32), np.float32)))
def vector(n, m):
    row = np.random.default_rng([n, m]).normal(size=32)
    return row / np.linalg.norm(row)
while True:
    numbers = range(first, first + 20)
    spans = (Span(0, 7), Span(8, 16))
    records = [Record(f"id{n}", f"first {n}. second {n}.", {"n": n}, None, spans) for n in numbers]
    store.upsert(records, np.array([vector(n, m) for n in numbers for m in range(2)], np.float32))
    print("upsert", first, flush=True)
    if first % 60 == 0:
        store.search(np.array([vector(first, 0)], np.float32), 1)
        store.delete([f"id{first}"])
        print("delete", first, flush=True)
    first += 20
"""
LEDGER_WORKER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from textkin.ledger import Ledger
ledger, first = Ledger(Path(sys.argv[1])), int(sys.argv[2])
while True:
    keys = [hashlib.sha256(str(n).encode()).digest() for n in range(first, first + 50)]
    rows = np.array([np.random.default_rng(n).normal(size=32) for n in range(first, first + 50)], np.float32)
    ledger.put("ab" * 32, "", keys, rows)
    print("put", first, flush=True)
    first += 50
"""


def vector(number: int, passage: int) -> Matrix:
    row = np.random.default_rng([number, passage]).normal(size=D)
    return (row / np.linalg.norm(row)).astype(np.float32)


def killed_after(worker: str, place: Path, first: int, seconds: float) -> list[tuple[str, int]]:
    """Run a worker, kill it some seconds after its first acknowledgement, and return all it acknowledged."""
    command = [sys.executable, "-c", worker, str(place), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(seconds)
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -9
    return [(kind, int(number)) for kind, number in (line.split() for line in lines if line.endswith("\n"))]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_a_killed_store_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    dice = random.Random(1)
    present: set[int] = set()
    first = 0
    for _ in range(KILLS):
        for kind, number in killed_after(STORE_WORKER, place, first, dice.uniform(0, 0.3)):
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
            sample = dice.sample(sorted(stored), 5)
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
    for _ in range(KILLS):
        acknowledged = killed_after(LEDGER_WORKER, path, first, dice.uniform(0, 0.2))
        first = acknowledged[-1][1] + 50
        keys = {hashlib.sha256(str(n).encode()).digest(): n for n in range(first + 50)}
        with Ledger(path) as ledger:
            found = ledger.recall("ab" * 32, "", list(keys))
            assert len(found) in (first, first + 50)
            assert {keys[key] for key in found} == set(range(len(found)))
            assert ledger.stats()[0].texts == len(found)
            for key in dice.sample(sorted(found), 20):
                expected = np.random.default_rng(keys[key]).normal(size=D).astype(np.float32)
                assert np.array_equal(found[key].vector, expected)
