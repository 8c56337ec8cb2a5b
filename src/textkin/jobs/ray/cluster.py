"""A Ray cluster for the time of a job: one of our own, always shut down, or one that is there already."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from textkin._optional import require
from textkin.errors import InputError
from textkin.jobs.ray.model import START_TIMEOUT, RayModel
from textkin.jobs.ray.others import check_token_file, knock
from textkin.jobs.ray.own import own_cluster, read_token_anew, sigterm_ends
from textkin.jobs.ray.problems import connecting
from textkin.jobs.ray.worker import Recipe
from textkin.models.batching import usable_cores

_log = logging.getLogger(__name__)


class Cluster:
    """A connected cluster; see `connect`.

    Attributes:
        ray: Ray's module, connected.
        address: where its head is.
        owned: whether it was started for this job.
        workers: how many were asked for; None: as many as there is room for.
    """

    def __init__(self, ray: Any, address: str, owned: bool, workers: int | None) -> None:
        self.ray = ray
        self.address = address
        self.owned = owned
        self.workers = workers
        self._models: list[RayModel] = []

    def total(self, resource: str) -> float:
        """How much the cluster has now of ``CPU`` or ``GPU``."""
        return float(self.ray.cluster_resources().get(resource, 0.0))

    def model(
        self, recipe: Recipe, *, fingerprint: str | None = None, start_timeout: float = START_TIMEOUT
    ) -> RayModel:
        """The recipe's model on the cluster's workers; returns when the first of them is ready.

        Args:
            recipe: how a worker loads it.
            fingerprint: that every worker's model must have; None: that of the first.
            start_timeout: seconds for which no worker at all may find a place; nodes may have to be started.

        Raises:
            EngineError: no worker finds a place, or each one dies.
            ModelMismatchError: the workers' models differ from each other or from ``fingerprint``.
            ModelError: it can't be loaded there.
        """
        gpus = recipe.gpus
        if gpus is None:
            wanted = recipe.device == "cuda" or (recipe.device == "auto" and self.total("GPU") > 0)
            gpus = 1.0 if wanted else 0.0
        model = RayModel(
            self.ray,
            recipe,
            self.workers or self._room(recipe.threads, gpus),
            gpus,
            fingerprint=fingerprint,
            start_timeout=start_timeout,
            guessed=self.workers is None and not self.owned,
        )
        self._models.append(model)
        model.start()
        return model

    def held(self) -> int:
        """Cores that the workers of this process's models take."""
        return sum(model.cores for model in self._models)

    def close(self) -> None:
        """Let go of all workers."""
        for model in self._models:
            model.close()

    def _room(self, threads: int, gpus: float) -> int:
        room = self.total("CPU") / threads
        if gpus:
            room = min(room, self.total("GPU") / gpus)
        return max(1, int(room))


@contextlib.contextmanager
def connect(
    address: str | None = None, workers: int | None = None, *, cores: int | None = None
) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine; disconnected, or shut down, whatever happens.

    While it lasts SIGTERM ends the process as Ctrl-C does, unless the process has a handler of its own. Only a
    process that is killed (``kill -9``) leaves it to Ray's own watchdog to end the local cluster, within a minute.

    Args:
        address: None: the cluster that RAY_ADDRESS names (Ray sets it in a submitted job), else one of our own;
            ``local``: one of our own; ``auto``: the one that runs on this machine; ``HOST:PORT`` of a head node.
        workers: how many; None: as many as there is room for.
        cores: of a cluster of our own; None: all, or more where the workers need them.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: ``ray://``, which can't be used.
        EngineError: no cluster there, a token that it refuses, or other versions of Ray or Python.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, not {workers}")
    if address is None:
        address = os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise InputError(
            f"{address}: a job can't run through Ray's client, which sends each block twice and ends with the "
            "connection. Run the command on the cluster: ray job submit --address http://HEAD:8265 -- textkin …, "
            "or on its head node with --address auto"
        )
    ray = _ray()
    if ray.is_initialized():
        # The caller's own connection: used as it is, and left as it is.
        cluster = Cluster(ray, ray.get_runtime_context().gcs_address, False, workers)
        try:
            yield cluster
        finally:
            cluster.close()
        return
    check_token_file()
    with contextlib.ExitStack() as stack:
        stack.enter_context(sigterm_ends())
        stack.enter_context(_quiet(ray))
        if address == "local":
            options = stack.enter_context(own_cluster(max(cores or usable_cores(), workers or 1)))
        else:
            read_token_anew()
            knock(ray, address)
            options = {"address": address}
        ours = signal.getsignal(signal.SIGTERM)
        stack.callback(_disconnect, ray)
        # Ray takes SIGTERM for itself while it starts, and would end the process with a code of its own.
        with connecting(address), _instead(ray, "utils", "set_sigterm_handler", lambda _: None):
            context = ray.init(log_to_driver=False, logging_level="ERROR", **options)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)
        cluster = Cluster(ray, context.address_info["gcs_address"], address == "local", workers)
        stack.callback(cluster.close)
        yield cluster


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it, Ray advises on stderr about what becomes of CUDA_VISIBLE_DEVICES.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    return require("ray", extra="ray")


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray prints each worker's death on stdout, which is for data, and has no switch for it; we count them.

    A Ray that does it elsewhere stays as loud as it is.
    """
    with _instead(ray, "worker", "print_to_stdstream", lambda data, *_, **__: _log.debug("%s", data["lines"])):
        yield


@contextlib.contextmanager
def _instead(ray: Any, module: str, name: str, function: Callable[..., None]) -> Iterator[None]:
    """Another function in one of Ray's own modules; nothing where this Ray has no such place."""
    inside = getattr(getattr(ray, "_private", None), module, None)
    before = getattr(inside, name, None)
    if inside is None or before is None:
        yield
        return
    setattr(inside, name, function)
    try:
        yield
    finally:
        setattr(inside, name, before)


def _disconnect(ray: Any) -> None:
    """Ends our own cluster's processes and waits for them, where Ray can; leaves others' clusters alone."""
    if "wait_for_processes" in inspect.signature(ray.shutdown).parameters:
        ray.shutdown(wait_for_processes=True)
    else:
        ray.shutdown()
