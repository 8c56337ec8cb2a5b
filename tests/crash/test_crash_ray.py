"""Workers killed with -9, a node that goes, drivers that end in every way: the same vectors, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
import pytest

import ray_nodes
from held import wait_until
from textkin.duplicates.join import near_pairs
from textkin.jobs import ray as on_ray
from textkin.jobs.ray import Recipe
from textkin.jobs.ray.own import own_cluster
from textkin.ledger import Ledger, embed
from textkin.ledger.embedding import LedgerResult
from textkin.models.hashing import HashingModel
from textkin.models.spending import Spend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc"),
]

TEXTS = [f"text {n} with words {n % 7} and {n * n} " + "and so on " * (n % 40) for n in range(9000)]
BLOCKS = [TEXTS[start : start + 150] for start in range(0, len(TEXTS), 150)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[ray_nodes.Nodes]:
    with ray_nodes.two_nodes() as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", ray_nodes.TOKEN)
        yield started
    assert not ray_nodes.gone(started.head.pid)
    assert not ray_nodes.gone(started.second.pid)


def worker_processes(model: on_ray.RayModel) -> list[int]:
    """Of those that take blocks now; all nodes are on this machine."""
    return [worker.process for worker in model._pool._workers if worker.ready]


def run_driver(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


JOIN = """
import sys
from textkin.jobs import ray
with ray.connect(sys.argv[1]) as cluster:
    model = cluster.model(ray.Recipe("hashing:64"))
    print(cluster.owned, model.guessed, cluster.total("CPU"), model.info.name)
"""


def test_a_cluster_is_joined_with_its_token_only(nodes: ray_nodes.Nodes, tmp_path: Path) -> None:
    kept = tmp_path / "token"
    kept.write_text(ray_nodes.TOKEN)
    environments: tuple[dict[str, str], ...] = (
        {},
        {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": str(kept)},
        {"RAY_AUTH_TOKEN": "0" * 64},
        {"RAY_AUTH_TOKEN": "", "HOME": str(tmp_path)},
        {"RAY_AUTH_MODE": "disabled"},
    )
    with ThreadPoolExecutor(3) as pool:
        good, by_file, wrong, none, off = pool.map(
            lambda environment: run_driver(JOIN, nodes.address, **environment), environments
        )
    assert (good.returncode, good.stdout, good.stderr) == (0, "False True 2.0 hashing:64\n", "")
    assert by_file.stdout == good.stdout, by_file.stderr
    assert (
        f"EngineError: the Ray cluster at {nodes.address} refuses this process's token: set RAY_" in wrong.stderr
    )
    assert "EngineError: RAY_AUTH_MODE is token, and there is no token: set RAY_" in none.stderr
    assert "refuses this process's token" in off.stderr


def test_killed_workers_cost_time_and_nothing_else(
    nodes: ray_nodes.Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed = 0

    with on_ray.connect(nodes.address, workers=2) as cluster:
        model = cluster.model(Recipe("hashing:64"))
        assert not model.guessed
        spend = Spend()

        def one(number: int) -> LedgerResult:
            nonlocal killed
            if number in (10, 25, 40):
                wait_until(lambda: worker_processes(model), "a worker")
                os.kill(worker_processes(model)[0], signal.SIGKILL)
                killed += 1
            with spend.counting():
                return embed(model, BLOCKS[number], "document", ledger)

        with Ledger(tmp_path / "ledger.db") as ledger, ThreadPoolExecutor(model.in_flight) as pool:
            results = list(pool.map(one, range(len(BLOCKS))))
            assert ledger.stats()[0].texts == len(TEXTS)
        retries = spend.spent().retries
    assert np.array_equal(np.concatenate([one.vectors for one in results]), HashingModel(64).embed(TEXTS).vectors)
    assert sum(one.embedded for one in results) == len(TEXTS)
    assert killed == 3
    assert 1 <= retries <= 2 * killed
    assert capfd.readouterr() == ("", "")


def test_drivers_that_end_leave_the_cluster_as_it_was(nodes: ray_nodes.Nodes) -> None:
    before = len(ray_nodes.session_processes(nodes.second.pid))
    code = f"{JOIN}    print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, nodes.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline().startswith(b"False")
        assert driver.stdout.readline() == b"up\n"
        driver.kill()
    until = time.monotonic() + 120
    with on_ray.connect(nodes.address) as cluster:
        while cluster.ray.available_resources().get("CPU", 0) < 2 and time.monotonic() < until:
            time.sleep(0.2)
        assert cluster.ray.available_resources()["CPU"] == 2
    assert len(ray_nodes.session_processes(nodes.second.pid)) <= before + 2


@pytest.mark.soak
def test_the_join_survives_its_workers(nodes: ray_nodes.Nodes) -> None:
    rng = np.random.default_rng(2)
    vectors = np.repeat(rng.standard_normal((3000, 64)), 2, axis=0) + 0.01 * rng.standard_normal((6000, 64))
    with on_ray.connect(nodes.address) as cluster:
        told: list[int] = []

        def progress(done: int, total: int | None) -> None:
            told.append(done)
            if len(told) in (2, 5):
                for leader in (nodes.head.pid, nodes.second.pid):
                    ray_nodes.kill_session(leader, "ray::_compare")

        there = on_ray.near_pairs_on_ray(cluster, vectors, 0.98, block_rows=1000, progress=progress)
    here = near_pairs(vectors, 0.98)
    assert len(here.i) == 3000
    assert np.array_equal(there.i, here.i)
    assert np.array_equal(there.j, here.j)


@pytest.mark.soak
def test_a_node_that_goes_takes_no_block_with_it(nodes: ray_nodes.Nodes) -> None:
    with on_ray.connect(nodes.address, workers=2) as cluster:
        model = cluster.model(Recipe("hashing:64"))
        while model.ready < 2:
            model.embed(["x"])
        done = threading.Event()
        spend = Spend()

        def one(number: int) -> np.ndarray:
            if number == 8:
                nodes.kill_second()
                done.set()
            with spend.counting():
                return model.embed(BLOCKS[number]).vectors

        with ThreadPoolExecutor(model.in_flight) as pool:
            vectors = np.concatenate(list(pool.map(one, range(len(BLOCKS)))))
        assert done.is_set()
        assert spend.spent().retries >= 1
    assert np.array_equal(vectors, HashingModel(64).embed(TEXTS).vectors)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets don't fit into pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="kt", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


LOCAL = """
import os, signal, sys, time, threading
from textkin.jobs import ray

def early():
    while signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)

if sys.argv[1] == "0":
    print("hashing:64", flush=True)
    threading.Thread(target=early, daemon=True).start()
with ray.connect("local", workers=2) as cluster:
    model = cluster.model(ray.Recipe("hashing:64"))
    print(model.info.name, flush=True)
    threading.Thread(target=lambda: [model.embed(["x"] * 1000) for _ in range(10**6)], daemon=True).start()
    time.sleep(900)
"""


AGENTS = {"ray::DashboardA", "ray::RuntimeEnv"}
"""Small processes of Ray's that try for a minute and more to tell a head that is dead that they end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a driver and of what it had started.

    Attributes:
        code: that it ended with.
        left: names of its processes, a while after.
        files: names in its temporary folder and its home.
    """

    code: int
    left: set[str]
    files: tuple[set[str], set[str]]


def end_driver(number: int, folder: Path) -> Ended:
    """Start a driver with a cluster of its own, end it, and look; number 0: SIGTERM while the cluster starts."""
    temporary, home = folder / f"{number}", folder / f"{number}h"
    temporary.mkdir()
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", LOCAL, str(int(number))],
        env={**environment, "TMPDIR": str(temporary), "HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "hashing:64\n"
            if number:
                os.killpg(driver.pid, number) if number == signal.SIGINT else os.kill(driver.pid, number)
            code = driver.wait(240)
            spared = AGENTS if number == signal.SIGKILL else set()
            left = set(ray_nodes.gone(driver.pid, 120, but=spared).values())
        finally:
            ray_nodes.kill_session(driver.pid)
    files = {path.name for path in temporary.iterdir()}
    return Ended(code, left - spared, (files, {path.name for path in home.iterdir()}))


@pytest.mark.soak
def test_a_cluster_of_our_own_ends_with_the_process(short_folder: Path) -> None:
    ends = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, 0)
    with ThreadPoolExecutor(len(ends)) as pool:
        term, interrupt, kill, early = pool.map(lambda number: end_driver(number, short_folder), ends)
    # No process, no file; and no token in the home.
    nothing: tuple[set[str], set[str]] = (set(), set())
    assert term == Ended(143, set(), nothing)
    assert interrupt == Ended(-signal.SIGINT, set(), nothing)
    assert (early.code, early.left, early.files[1]) == (143, set(), set())
    # Head, node and workers are gone; the agents are left to the end of their patience, files to the next run.
    assert (kill.code, kill.left, kill.files[1]) == (-signal.SIGKILL, set(), set())


def test_what_a_killed_process_left_on_the_disk_goes_once_it_is_old(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    held, old, new = (short_folder / f"kinray{name}" for name in ("held", "old", "new"))
    for folder in (held, old, new):
        folder.mkdir()
        (folder / "spilled").touch()
    for folder in (held, old):
        os.utime(folder, (1, 1))
    with filelock.FileLock(held / "lock"):
        os.utime(held, (1, 1))
        with own_cluster(1):
            assert set(short_folder.iterdir()) > {held, new}
            assert not old.exists()
    assert set(short_folder.iterdir()) == {held, new}
