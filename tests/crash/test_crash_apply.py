"""kill -9 at steps of --apply and --undo: all or nothing, and undo restores exactly."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import kill_points
import textkin
from textkin.stores.local import LocalStore
from textkin.types import Matrix, Record

RECORDS = 1200
KILLS = 5
WORKER = """
import textkin
with textkin.Collection(sys.argv[2]) as notes:
    report = notes.duplicates(0.99)
    arm()
    say("applying")
    assert notes.apply(report) == 600
    say("applied")
    assert notes.undo() == 600
    say("undone")
    say("end")
"""


def everything(place: Path) -> tuple[list[Record], Matrix]:
    with LocalStore(place, timeout=0) as store:
        store.check()
        batches = list(store.scan_vectors())
    return [record for batch, _ in batches for record in batch], np.concatenate([rows for _, rows in batches])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_a_killed_apply_is_all_or_nothing(tmp_path: Path) -> None:
    place = tmp_path / "n.kin"
    with textkin.Collection(place, "hashing:64") as notes:
        texts = [f"text {n} with words {n * 7} and {n * n}" for n in range(RECORDS // 2)]
        ids = [f"r{n}" for n in range(RECORDS)]
        notes.add([*texts, *(f" {text}" for text in texts)], ids=ids, metadata=[{"n": n} for n in range(RECORDS)])
        report = notes.duplicates(0.99)
        assert len(report.dropped) == RECORDS // 2
    records, vectors = everything(place)
    kept = set(report.kept)
    seen: set[str] = set()
    calm = dict(kill_points.run(WORKER, str(place)).said)
    applying = kill_points.spread(1, calm["applied"], KILLS)
    undoing = kill_points.spread(calm["applied"] + 1, calm["undone"], KILLS)
    for step in (*applying, *undoing):
        worker = kill_points.run(WORKER, str(place), at=step)
        assert worker.killed
        last = worker.said[-1][0]
        found, rows = everything(place)
        if len(found) == RECORDS:
            seen.add("all")
            assert last in ("applying", "applied")
        else:
            seen.add("half")
            assert last in ("applying", "applied")
            assert {record.id for record in found} == kept
            with textkin.Collection(place) as notes:
                assert notes.undo() == RECORDS // 2
            found, rows = everything(place)
        assert found == records
        assert np.array_equal(rows, vectors)
    assert seen == {"all", "half"}
