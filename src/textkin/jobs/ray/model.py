"""The model on a cluster's workers: a `Model` like any other, for as many threads as keep them busy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textkin.errors import EngineError, TextkinError
from textkin.jobs.ray.pool import DEPTH, Pool
from textkin.jobs.ray.problems import in_task
from textkin.jobs.ray.worker import Loaded, Recipe
from textkin.models.spending import current_spend
from textkin.types import Embedded, ModelInfo, Progress, Role

START_TIMEOUT = 300.0
"""Seconds for which no worker at all may find a place, unless told otherwise."""

TRIES = 5
"""Times that a block is sent, each time after a worker died with it."""


class RayModel:
    """Sends each block to the least busy worker and waits for it; `Cluster.model` makes one.

    A block whose worker dies is sent to another. Nothing is kept here: what is embedded is the ledger's.

    Attributes:
        workers: that are used, where there is room for so many.
        guessed: whether that is what someone else's cluster had room for when the model was made: it stays so when
            the cluster grows. False: it was asked for, or the cluster is our own.
        in_flight: threads that keep all of them busy.
    """

    def __init__(
        self,
        ray: Any,
        recipe: Recipe,
        workers: int,
        gpus: float,
        *,
        fingerprint: str | None = None,
        start_timeout: float = START_TIMEOUT,
        guessed: bool = False,
    ) -> None:
        self._ray = ray
        self._pool = Pool(ray, recipe, workers, gpus, fingerprint, start_timeout)
        self.workers = workers
        self.guessed = guessed
        self.in_flight = DEPTH * workers

    def start(self) -> None:
        """Wait for the first worker; the others follow while it works.

        Raises:
            EngineError: none finds a place, or each one dies.
            ModelError: the model can't be loaded there.
        """
        self._loaded()

    @property
    def info(self) -> ModelInfo:
        """What the first worker said of its model."""
        return self._loaded().info

    @property
    def ready(self) -> int:
        """Workers that take blocks now; the others wait for a place, load, or died and are being replaced."""
        return self._pool.ready

    @property
    def cores(self) -> int:
        """Cores that its workers take, or wait for."""
        return self._pool.cores

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """Embed one block; its vectors may be read-only.

        Raises:
            EngineError: workers died with it `TRIES` times, or none is left.
            ModelMismatchError: a worker has another model than the first.
        """
        answer: Embedded = self._ask("embed", list(texts), role)
        if progress is not None and texts:
            progress(len(texts), len(texts))
        return answer

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """As a worker counts them."""
        counts: list[int] = self._ask("count_tokens", list(texts), role)
        return counts

    def close(self) -> None:
        """End the workers; threads that wait for one get an `EngineError`."""
        self._pool.close()

    def _loaded(self) -> Loaded:
        while self._pool.first is None:
            with self._pool.worker():
                pass  # whoever gets one has seen the first
        return self._pool.first

    def _ask(self, method: str, texts: list[str], role: Role) -> Any:
        from ray.exceptions import RayError, RayTaskError

        tries = 0
        while True:
            # Alone, once a worker died with it: whose fault that was shows by who is there when the next one dies.
            with self._pool.worker(alone=tries > 0) as (worker, actor):
                host = worker.host
                try:
                    answer = self._ray.get(getattr(actor, method).remote(texts, role))
                except RayTaskError as error:
                    if isinstance(error.cause, MemoryError):
                        raise EngineError(f"{host} has too little memory for a block: {error.cause}") from error
                    raise EngineError(f"{host} could not embed a block: {in_task(error)}") from error
                except RayError as error:
                    self._pool.lost(worker, actor)
                    tries += 1
                    if tries == TRIES:
                        raise EngineError(_given_up(texts, host, error)) from error
                    current_spend().retry()
                    continue
            if isinstance(answer, TextkinError):
                raise answer
            return answer


def _given_up(texts: list[str], host: str, error: Exception) -> str:
    first = texts[0] if texts else ""
    first = first if len(first) <= 60 else first[:60]
    return (
        f"{TRIES} workers died, one after the other (the last on {host}), with the same {len(texts):,} texts, the "
        f"first of which begins with {first!r}: {' '.join(str(error).split())[:300]}. Most often a worker has too "
        "little memory: use fewer workers a machine. Or one of these texts brings the model down. What was "
        "embedded before is kept"
    )
