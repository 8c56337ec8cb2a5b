"""Workers killed with -9, a node that goes, drivers that end in every way: the same vectors, and nothing left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ray_nodes
from textkin.duplicates.join import near_pairs
from textkin.jobs import ray as on_ray
from textkin.jobs.ray import Recipe
from textkin.ledger import Ledger, embed
from textkin.models.hashing import HashingModel

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
        timeout=100,
        check=False,
    )


JOIN = """
import sys
from textkin.jobs import ray
with ray.connect(sys.argv[1], workers=2) as cluster:
    print(cluster.owned, cluster.total("CPU"), cluster.model(ray.Recipe("hashing:64")).info.name)
"""


def test_a_cluster_is_joined_with_its_token_only(nodes: ray_nodes.Nodes, tmp_path: Path) -> None:
    good = run_driver(JOIN, nodes.address)
    assert (good.returncode, good.stdout, good.stderr) == (0, "False 2.0 hashing:64\n", "")
    kept = tmp_path / "token"
    kept.write_text(ray_nodes.TOKEN)
    by_file = run_driver(JOIN, nodes.address, RAY_AUTH_TOKEN="", RAY_AUTH_TOKEN_PATH=str(kept))
    assert by_file.stdout == good.stdout, by_file.stderr
    wrong = run_driver(JOIN, nodes.address, RAY_AUTH_TOKEN="0" * 64)
    assert (
        f"EngineError: the Ray cluster at {nodes.address} refuses this process's token: set RAY_" in wrong.stderr
    )
    none = run_driver(JOIN, nodes.address, RAY_AUTH_TOKEN="", HOME=str(tmp_path))
    assert "EngineError: RAY_AUTH_MODE is token, and there is no token: set RAY_" in none.stderr
    off = run_driver(JOIN, nodes.address, RAY_AUTH_MODE="disabled")
    assert "refuses this process's token" in off.stderr


def test_killed_workers_cost_time_and_nothing_else(
    nodes: ray_nodes.Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(1)
    stop = threading.Event()
    killed = 0

    def kill(model: on_ray.RayModel) -> None:
        nonlocal killed
        while not stop.wait(dice.uniform(0.2, 0.8)):
            if alive := worker_processes(model):
                os.kill(dice.choice(alive), signal.SIGKILL)
                killed += 1

    with on_ray.connect(nodes.address, workers=2) as cluster:
        model = cluster.model(Recipe("hashing:64"))
        killer = threading.Thread(target=kill, args=(model,))
        killer.start()
        try:
            with Ledger(tmp_path / "ledger.db") as ledger, ThreadPoolExecutor(model.in_flight) as pool:
                results = list(pool.map(lambda block: embed(model, block, "document", ledger), BLOCKS))
                assert ledger.stats()[0].texts == len(TEXTS)
        finally:
            stop.set()
            killer.join()
        retries = model.retries
    assert np.array_equal(np.concatenate([one.vectors for one in results]), HashingModel(64).embed(TEXTS).vectors)
    assert sum(one.embedded for one in results) == len(TEXTS)
    assert killed >= 3
    assert 1 <= retries <= 2 * killed
    assert capfd.readouterr() == ("", "")


def test_drivers_that_end_leave_the_cluster_as_it_was(nodes: ray_nodes.Nodes) -> None:
    before = len(ray_nodes.session_processes(nodes.second.pid))
    code = JOIN.replace(
        "    print", "    cluster.model(ray.Recipe('hashing:64'))\n    print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, nodes.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"up\n"
        driver.kill()
    until = time.monotonic() + 20
    with on_ray.connect(nodes.address) as cluster:
        while cluster.ray.available_resources().get("CPU", 0) < 2 and time.monotonic() < until:
            time.sleep(0.2)
        assert cluster.ray.available_resources()["CPU"] == 2
    assert len(ray_nodes.session_processes(nodes.second.pid)) <= before + 2


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


def test_a_node_that_goes_takes_no_block_with_it(nodes: ray_nodes.Nodes) -> None:
    with on_ray.connect(nodes.address, workers=2) as cluster:
        model = cluster.model(Recipe("hashing:64"))
        while model.ready < 2:
            model.embed(["x"])
        done = threading.Event()

        def one(number: int) -> np.ndarray:
            if number == 8:
                nodes.kill_second()
                done.set()
            return model.embed(BLOCKS[number]).vectors

        with ThreadPoolExecutor(model.in_flight) as pool:
            vectors = np.concatenate(list(pool.map(one, range(len(BLOCKS)))))
        assert done.is_set()
        assert model.retries >= 1
    assert np.array_equal(vectors, HashingModel(64).embed(TEXTS).vectors)


LOCAL = """
import sys, time, threading
from textkin.jobs import ray
with ray.connect("local", workers=2) as cluster:
    model = cluster.model(ray.Recipe("hashing:64"))
    print(model.info.name, flush=True)
    threading.Thread(target=lambda: [model.embed(["x"] * 1000) for _ in range(10**6)], daemon=True).start()
    if sys.argv[1:] == ["fails"]:
        raise SystemExit(3)
    time.sleep(100)
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL), (None, 3)],
)
def test_a_cluster_of_our_own_ends_with_the_process(number: int | None, code: int, tmp_path: Path) -> None:
    arguments = ["fails"] if number is None else []
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", LOCAL, *arguments],
        env={**os.environ, "TMPDIR": "/tmp", "HOME": str(tmp_path), "RAY_AUTH_MODE": ""},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "hashing:64\n"
        if number is not None:
            os.killpg(driver.pid, number) if number == signal.SIGINT else os.kill(driver.pid, number)
        assert driver.wait(30) == code
    if number == signal.SIGKILL:
        # Two small agents of Ray's try for a minute to tell their head, which is dead.
        until = time.monotonic() + 10
        while (left := ray_nodes.session_processes(driver.pid)) and time.monotonic() < until:
            if set(left.values()) <= {"ray::DashboardA", "ray::RuntimeEnv"}:
                ray_nodes.kill_session(driver.pid)
    assert not ray_nodes.gone(driver.pid)
    assert list(tmp_path.iterdir()) == []
