"""kill -9 in the middle of --apply and --undo: all or nothing, and undo restores exactly."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import textkin
from textkin.stores.local import LocalStore
from textkin.types import Matrix, Record

RECORDS = 1200
WORKER = """
import sys
import textkin
with textkin.Collection(sys.argv[1]) as notes:
    report = notes.duplicates(0.99)
    while True:
        print("applying", flush=True)
        assert notes.apply(report) == 600
        print("applied", flush=True)
        print("undoing", flush=True)
        assert notes.undo() == 600
        print("undone", flush=True)
"""


def everything(place: Path) -> tuple[list[Record], Matrix]:
    with LocalStore(place, timeout=0) as store:
        store.check()
        batches = list(store.scan_vectors())
    return [record for batch, _ in batches for record in batch], np.concatenate([rows for _, rows in batches])


def killed(place: Path, seconds: float) -> list[str]:
    """What a worker said until it was killed, some seconds after its first word."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        time.sleep(seconds)
        process.kill()
        said += process.stdout.readlines()
    assert process.returncode == -9
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_a_killed_apply_is_all_or_nothing(tmp_path: Path) -> None:
    place = tmp_path / "n.kin"
    dice = random.Random(3)
    with textkin.Collection(place, "hashing:64") as notes:
        texts = [f"text {n} with words {n * 7} and {n * n}" for n in range(RECORDS // 2)]
        ids = [f"r{n}" for n in range(RECORDS)]
        notes.add([*texts, *(f" {text}" for text in texts)], ids=ids, metadata=[{"n": n} for n in range(RECORDS)])
        report = notes.duplicates(0.99)
        assert len(report.dropped) == RECORDS // 2
    records, vectors = everything(place)
    kept = set(report.kept)
    seen: set[str] = set()
    for _ in range(14):
        last = killed(place, dice.uniform(0, 0.25))[-1]
        found, rows = everything(place)
        if len(found) == RECORDS:
            seen.add("all")
            assert last in ("applying", "undoing", "undone")
        else:
            seen.add("half")
            assert last in ("applying", "applied", "undoing")
            assert {record.id for record in found} == kept
            with textkin.Collection(place) as notes:
                assert notes.undo() == RECORDS // 2
            found, rows = everything(place)
        assert found == records
        assert np.array_equal(rows, vectors)
    assert seen == {"all", "half"}
