"""kill -9 of a process that writes an .npy collection, at steps of its work and at each one of a rewrite."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_crash_store import killed_at, steps_of

import kill_points
from textkin.stores.arrays import ArrayStore
from textkin.stores.arrays.pair import files_of
from textkin.types import Matrix

D = 32
KILLS = 10
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
COMMON = """
from pathlib import Path
import numpy as np
from textkin.stores.arrays import ArrayStore
from textkin.types import ModelInfo, Record, Span, StoreHeader

place, first = Path(sys.argv[2]), int(sys.argv[3])
store = ArrayStore(place)
if store.header is None:
    store.write_header(StoreHeader(ModelInfo("toy", 32, None, "ab" * 32), np.ones((1, 32), np.float32)))
def vector(n):
    row = np.random.default_rng(n).normal(size=32)
    return row / np.linalg.norm(row)
def upsert(first):
    numbers = range(first, first + 20)
    records = [Record(f"id{n}", f"text {n}", {"n": n}, None, (Span(0, 4),)) for n in numbers]
    store.upsert(records, np.array([vector(n) for n in numbers], np.float32))
"""
WORKER = (
    COMMON
    + """
arm()
for _ in range(int(sys.argv[4])):
    with store.writing("a job"):  # the files are rewritten after each three batches
        for _ in range(3):
            upsert(first)
            say("upsert", first)
            first += 20
say("end")
"""
)
STEPS = (
    "import os, signal, sys\n"
    + COMMON
    + """
upsert(0)
step = int(sys.argv[1])
import textkin.stores.arrays.pair as pair
taken = -1000  # not yet
def killed_before(call):
    def wrapped(*arguments, **options):
        global taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped
for name in ("flush", "flush_folder"):
    setattr(pair, name, killed_before(getattr(pair, name)))
for name in ("replace", "unlink"):
    setattr(Path, name, killed_before(getattr(Path, name)))
with store.writing("a job"):
    upsert(20)
    store.delete(["id5"])
    taken = 0
    print("acknowledged", flush=True)
print("done", taken, flush=True)
"""
)


def vector(number: int) -> Matrix:
    row = np.random.default_rng(number).normal(size=D)
    return (row / np.linalg.norm(row)).astype(np.float32)


def check(place: Path, stored: list[int]) -> None:
    """What a reader sees is right, and so are the files after the next writer."""
    for read_only in (True, False):
        store = ArrayStore(place, read_only=read_only, timeout=0)  # the dead one's lock is free at once
        names = [f"id{number}" for number in stored]
        assert list(store.ids()) == names
        expected = np.array([vector(number) for number in stored])
        assert np.allclose(np.concatenate(store.vectors(names)), expected, atol=1e-7)
        for number in random.Random(1).sample(stored, min(5, len(stored))):
            hit = store.search(vector(number)[None], 1)[0][0]
            assert (hit.id, hit.metadata) == (f"id{number}", {"n": number})
        if not read_only:
            with store.writing("nothing"):
                pass  # what the dead one left is written into the files
    files = files_of(place)
    assert np.allclose(np.load(files.numbers), expected, atol=1e-7)
    assert not any(path.exists() for path in (files.journal, files.pending, files.unfinished))


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    place = tmp_path / "v.npy"
    first = 0
    steps = steps_of(WORKER, tmp_path / "calm.npy", first, 2)
    for step in kill_points.spread(1, steps, KILLS):
        acknowledged = killed_at(step, WORKER, place, first, 2)
        told = acknowledged[-1][1] + 20 if acknowledged else first
        found = ArrayStore(place, read_only=True).count()
        assert found in (told, told + 20)  # the batch in flight is there as a whole, or not at all
        if found:
            check(place, list(range(found)))
        first = found


def test_a_kill_at_each_step_of_a_rewrite_leaves_the_new_state(tmp_path: Path) -> None:
    expected = [number for number in range(40) if number != 5]
    step, ended = 1, False
    while not ended:
        place = tmp_path / f"{step}.npy"
        command = [sys.executable, "-c", STEPS, str(step), str(place), "0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        ended = done.returncode == 0
        assert ended or done.returncode == -9, done.stderr
        assert done.stdout.startswith("acknowledged\n")
        check(place, expected)
        step += 1
    assert step > 8  # as many steps as a rewrite has, each killed once
