"""A Ray cluster of two nodes on one machine, to kill its parts: workers, a node's raylet, and the driver."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from _bulk_cases import Place
from _bulk_checks import BLOCK
from _bulk_victim import Moment, Victim

_TARGETS = ("driver", "worker", "node")
_STORE_BYTES = 100_000_000
_WORKERS = 2


class Cluster:
    """A head and a second node with one processor each; processes that it did not start are never touched.

    Args:
        place: whose environment the workers get: they write into its log.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._second: Any = None

    def __enter__(self) -> Cluster:
        self._place.folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(self._place.environment())
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        head: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        # A short name: Ray's sockets lie in it, and theirs may have 107 characters.
        self._folder = tempfile.mkdtemp(prefix="kin", dir="/tmp")
        head["temp_dir"] = self._folder
        nodes: Any = importlib.import_module("ray.cluster_utils")
        self._nodes: Any = nodes.Cluster(initialize_head=True, head_node_args=head)
        self._add()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nodes.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def options(self) -> list[str]:
        """How the command reaches it."""
        return ["--engine", "ray", "--address", self._nodes.address, "--workers", str(_WORKERS)]

    @property
    def in_flight(self) -> int:
        """Texts that are under way at most: each worker has a block, and one that waits for it."""
        from textkin.jobs.ray.pool import DEPTH

        return DEPTH * _WORKERS * BLOCK

    def target(self, chance: random.Random) -> str:
        """What is to be killed next."""
        return chance.choice(_TARGETS)

    def strike(self, target: str, victim: Victim, moment: Moment) -> list[str]:
        """Kill a part of the cluster while a job runs on it; what was killed, in words."""
        while victim.process.poll() is None and not (
            time.monotonic() > victim.start + moment.delay and self._busy()
        ):
            time.sleep(0.005)
        if victim.process.poll() is not None:
            return []
        if target == "worker":
            workers = self._busy()
            if not workers:
                return []
            os.kill(workers[int(moment.delay * 1e6) % len(workers)], signal.SIGKILL)
            return ["a worker of Ray"]
        raylet = self._second.all_processes["raylet"][0].process
        raylet.kill()
        time.sleep(1.0)
        self._nodes.remove_node(self._second, allow_graceful=False)
        self._add()
        return ["a node of Ray (its raylet)"]

    def _add(self) -> None:
        self._second = self._nodes.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)

    def _busy(self) -> list[int]:
        """Processes of this cluster that hold an actor: children of its raylets that are not idle."""
        nodes = (self._nodes.head_node, self._second)
        raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
        return [pid for pid, parent, name in _processes() if parent in raylets and name.startswith("ray::Encod")]


def _processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent's number and command of each process."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(folder.name), int(status.rpartition(")")[2].split()[1]), name
