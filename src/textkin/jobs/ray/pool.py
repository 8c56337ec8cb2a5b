"""Workers on a cluster: placed, loaded, checked, and replaced when they die."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from textkin._version import __version__
from textkin.errors import EngineError, ModelMismatchError, TextkinError
from textkin.jobs.ray.problems import in_task, last_line
from textkin.jobs.ray.worker import Encoder, Loaded, Recipe
from textkin.models.fingerprint import same_vectors

DEPTH = 2
"""Blocks that a worker has at a time: one that it encodes, and the next, so that it never waits for the driver."""

_START_TRIES = 5
_LOOK_SECONDS = 0.2
_LONGEST_PAUSE = 60.0


@dataclass(slots=True, eq=False)
class Worker:
    """One place in the pool and the process that fills it now.

    Attributes:
        actor: Ray's handle; None between a death and the next start.
        pending: the answer that it still owes: where it is, then that its model is loaded.
        host: its machine, once it has a place.
        process: its number there.
        ready: whether blocks may be sent.
        busy: blocks that it has.
        kept: whether a block waits to have it alone, so that nobody else may send one.
        failed: starts in a row that came to nothing.
        resting: until when (monotonic) nothing is started, after such a start.
    """

    actor: Any = None
    pending: Any = None
    host: str = ""
    process: int = 0
    ready: bool = False
    busy: int = 0
    kept: bool = False
    failed: int = 0
    resting: float = 0.0


class Pool:
    """Some workers of the same recipe; safe to use from many threads.

    Attributes:
        first: what the first worker that was ready said; all others must agree with it.
    """

    def __init__(
        self, ray: Any, recipe: Recipe, count: int, gpus: float, fingerprint: str | None, start_timeout: float
    ) -> None:
        self._ray = ray
        self._recipe = recipe
        self._gpus = gpus
        self._fingerprint = fingerprint
        self._start_timeout = start_timeout
        self._workers = [Worker() for _ in range(count)]
        self._changed = threading.Condition()
        self._homeless_since = time.monotonic()
        self._closed = False
        self._broken: TextkinError | None = None
        self.first: Loaded | None = None
        # Restarts are ours: a process that takes another's place is checked as the first one was.
        self._encoder = ray.remote(Encoder).options(
            num_cpus=recipe.threads, num_gpus=gpus, max_restarts=0, max_task_retries=0
        )

    @property
    def count(self) -> int:
        """Workers that were asked for."""
        return len(self._workers)

    @property
    def ready(self) -> int:
        """Workers that take blocks now."""
        return sum(worker.ready for worker in self._workers)

    @property
    def cores(self) -> int:
        """Cores that the workers take, or wait for; none once it is closed."""
        return 0 if self._closed else self._recipe.threads * len(self._workers)

    @contextmanager
    def worker(self, *, alone: bool = False) -> Iterator[tuple[Worker, Any]]:
        """The least busy worker, and its actor, for one block; waits until one is free.

        Args:
            alone: nobody else's block may be there.

        Raises:
            EngineError: none finds a place, or each one dies while it starts.
            ModelMismatchError: a worker has another model.
        """
        chosen, actor = self._take(alone)
        try:
            yield chosen, actor
        finally:
            with self._changed:
                if chosen.actor is actor:
                    chosen.busy -= DEPTH if alone else 1
                self._changed.notify_all()

    def lost(self, worker: Worker, actor: Any) -> None:
        """This actor died, or can't be reached, with a block: another takes its place."""
        with self._changed:
            if worker.actor is actor and not self._closed:
                self._stop(worker)
            self._changed.notify_all()

    def close(self) -> None:
        """End all workers; whoever waits for one gets an error."""
        with self._changed:
            self._closed = True
            for worker in self._workers:
                self._stop(worker)
            self._changed.notify_all()

    def _take(self, alone: bool) -> tuple[Worker, Any]:
        room = DEPTH if alone else 1
        mine: Worker | None = None
        with self._changed:
            try:
                while True:
                    if self._closed:
                        raise EngineError("the cluster was left while work was still to be done")
                    self._look()
                    if self._broken is not None:
                        raise self._broken
                    if mine is not None and not mine.ready:
                        mine.kept, mine = False, None
                    open_ones = [one for one in self._workers if one.ready and (one is mine or not one.kept)]
                    if open_ones:
                        chosen = min(open_ones, key=lambda worker: worker.busy)
                        if chosen.busy + room <= DEPTH:
                            chosen.busy += room
                            return chosen, chosen.actor
                        if alone and mine is None:
                            # It gets nothing new until it is empty, or others' blocks would always be first.
                            chosen.kept, mine = True, chosen
                    self._changed.wait(_LOOK_SECONDS)
            finally:
                if mine is not None:
                    mine.kept = False

    def _look(self) -> None:
        """Start whoever is missing, take note of who has answered."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.actor is None and now >= worker.resting:
                worker.actor = self._encoder.remote()
                worker.pending = worker.actor.place.remote()
        owing = {worker.pending: worker for worker in self._workers if worker.pending is not None}
        if owing:
            answered, _ = self._ray.wait(list(owing), num_returns=len(owing), timeout=0, fetch_local=False)
            for reference in answered:
                self._hear(owing[reference], reference)
        if any(worker.host for worker in self._workers):
            self._homeless_since = now
        elif now - self._homeless_since > self._start_timeout:
            self._broken = EngineError(self._no_place())

    def _hear(self, worker: Worker, reference: Any) -> None:
        from ray.exceptions import RayError, RayTaskError

        try:
            answer = self._ray.get(reference)
        except RayTaskError as error:
            # Not one of textkin's errors: onnxruntime's, CUDA's …
            self._failed(worker, EngineError(f"the model can't be loaded: {in_task(error)}"))
            return
        except RayError as error:
            self._failed(worker, error)
            return
        if isinstance(answer, TextkinError):
            self._failed(worker, answer)
        elif isinstance(answer, Loaded):
            self._check(worker, answer)
        else:
            host, process, version = answer
            if version != __version__:
                self._broken = EngineError(
                    f"{host} has textkin {version}, and this process {__version__}; both must be the same"
                )
                return
            worker.host, worker.process = host, process
            options = {"threads": self._recipe.threads, **self._recipe.options}
            worker.pending = worker.actor.load.remote(self._recipe.model, options)

    def _check(self, worker: Worker, loaded: Loaded) -> None:
        info = loaded.info
        wanted = self._fingerprint or (self.first.info.fingerprint if self.first else info.fingerprint)
        if info.fingerprint != wanted:
            self._broken = ModelMismatchError(
                f"{worker.host} has loaded {info.name} with fingerprint {info.short_fingerprint}…, and this "
                f"job's is {wanted[:8]}…: the machines have different weights, or versions of what runs them"
            )
        elif self.first is not None and not same_vectors(self.first.canaries, loaded.canaries):
            self._broken = ModelMismatchError(
                f"{info.name} gives other vectors on {worker.host} than on the worker that was ready first, from "
                "the same weights: use machines of one kind (int8 can differ between processors), or float32"
            )
        else:
            self.first = self.first or loaded
            worker.pending, worker.ready, worker.failed = None, True, 0

    def _failed(self, worker: Worker, error: Exception) -> None:
        """A start that came to nothing: again, later; an error once it is clear that it won't do."""
        worker.failed += 1
        host = worker.host
        self._stop(worker)
        worker.resting = time.monotonic() + min(_LONGEST_PAUSE, 2.0 ** (worker.failed - 1))
        if isinstance(error, TextkinError):
            # The same everywhere, most likely; one machine that lost its network ends no job at once.
            if worker.failed >= _START_TRIES or not any(one.ready for one in self._workers):
                self._broken = type(error)(f"on {host}: {error}")
        elif "ModuleNotFoundError" in str(error) or "RuntimeEnv" in type(error).__name__:
            self._broken = EngineError(
                f"a worker can't import what it needs ({last_line(error)}): install textkin {__version__} on "
                "every machine of the cluster, or name it in the job's runtime environment, "
                f'{{"pip": ["textkin=={__version__}"]}}'
            )
        elif "creation task" in str(error):
            self._broken = EngineError(
                f"a worker can't be made ({last_line(error)}): most likely that machine has another textkin than "
                f"this process's {__version__}; both must be the same"
            )
        elif worker.failed >= _START_TRIES and not any(one.ready for one in self._workers):
            self._broken = EngineError(
                f"workers die while they start, {worker.failed} times in a row, the last on "
                f"{host or 'an unknown machine'}: {last_line(error)}. Most often there is too little memory "
                "for so many copies of the model: use fewer workers"
            )

    def _stop(self, worker: Worker) -> None:
        if worker.actor is not None:
            self._ray.kill(worker.actor)
        worker.actor, worker.pending, worker.ready, worker.busy = None, None, False, 0
        worker.host, worker.process = "", 0

    def _no_place(self) -> str:
        asked = f"{self._recipe.threads} CPU" + (f" and {self._gpus:g} GPU" if self._gpus else "")
        has, free = self._ray.cluster_resources(), self._ray.available_resources()
        said = ", ".join(
            f"{has.get(kind, 0.0):g} {kind}s ({free.get(kind, 0.0):g} free)"
            for kind in ("CPU", *(("GPU",) if self._gpus else ()))
        )
        return (
            f"no worker found a place within {self._start_timeout:g} seconds: asked {len(self._workers)} workers, "
            f"{asked} each, and the cluster has {said}. Ask for less, or wait until others are done"
        )
