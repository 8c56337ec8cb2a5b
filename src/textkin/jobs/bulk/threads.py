"""The two ends of the pipeline: a thread that reads shards ahead, and one that writes what is done."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Final

from textkin._stages import StageClock, stage
from textkin.jobs.bulk.shards import Shard
from textkin.jobs.bulk.sinks import Finished, Sink

GLANCE: Final = 0.2
"""Seconds after which a thread that waits looks whether the work was stopped."""
_PATIENCE: Final = 2.0


class Reader:
    """Shards, one read ahead in a thread of its own."""

    def __init__(self, shards: Iterator[Shard], clock: StageClock, ended: threading.Event) -> None:
        self._shards = shards
        self._clock = clock
        self._ended = ended
        self._ready: queue.Queue[Shard | BaseException | None] = queue.Queue(1)
        self._ahead: Shard | None = None
        self.finished = False
        self._thread = threading.Thread(target=self._work, name="textkin-read", daemon=True)
        self._thread.start()

    def next(self) -> Shard | None:
        """The next shard if it is there already."""
        if self.finished:
            return None
        shard, self._ahead = self._ahead, None
        if shard is None:
            try:
                return self._taken(self._ready.get_nowait())
            except queue.Empty:
                return None
        return shard

    def wait(self, seconds: float) -> None:
        """Return when a shard is there, or after some time."""
        if self.finished or self._ahead is not None:
            return
        try:
            self._ahead = self._taken(self._ready.get(timeout=seconds))
        except queue.Empty:
            return

    def join(self) -> None:
        """Return when it has ended, or soon: it may wait for an input that never comes."""
        self._thread.join(_PATIENCE)

    def _taken(self, item: Shard | BaseException | None) -> Shard | None:
        if isinstance(item, BaseException):
            raise item
        if item is None:
            self.finished = True
        return item

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            with self._clock.counting():
                while not self._ended.is_set():
                    with stage("reading"):
                        shard = next(self._shards, None)
                    if shard is None:
                        break
                    self._put(shard)
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that asked
            last = error
        self._put(last)

    def _put(self, item: Shard | BaseException | None) -> None:
        while not self._ended.is_set():
            try:
                self._ready.put(item, timeout=GLANCE)
            except queue.Full:
                continue
            return


class Writer:
    """Writes shards in a thread of its own; one waits while another is written, then whoever makes more waits."""

    def __init__(self, sink: Sink, clock: StageClock, ended: threading.Event) -> None:
        self._sink = sink
        self._clock = clock
        self._ended = ended
        self._waiting: queue.Queue[Finished | None] = queue.Queue(1)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="textkin-write", daemon=True)
        self._thread.start()

    def put(self, finished: Finished | None) -> None:
        """Hand on a shard; None: the last was handed on."""
        while True:
            self.check()
            try:
                self._waiting.put(finished, timeout=GLANCE)
            except queue.Full:
                continue
            return

    def check(self) -> None:
        """Raise what ended the writing."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Return when all is written."""
        self.put(None)
        self._thread.join()
        self.check()

    def join(self) -> None:
        self._thread.join()

    def _work(self) -> None:
        try:
            with self._clock.counting(), self._sink.holding():
                while True:
                    try:
                        finished = self._waiting.get(timeout=GLANCE)
                    except queue.Empty:
                        if self._ended.is_set():
                            return
                        continue
                    if finished is None:
                        return
                    with stage("writing"):
                        self._sink.write(finished)
                    del finished  # or it would be held until the next one comes
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that asked
            self._error = error
