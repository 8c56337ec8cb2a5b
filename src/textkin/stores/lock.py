"""The one writer's place: taken by a thread, held by the process, freed by the system when it dies."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import filelock

from textkin._places import absolute
from textkin.errors import StoreLockedError
from textkin.stores.problems import from_system

LOCK: Final = "writer.lock"
HOLDER: Final = "writer.json"


class WriterLock:
    """Serialises the writers of one folder, between processes and between threads; re-entrant in a thread.

    Args:
        folder: exists when `hold` is called.
        timeout: seconds to wait.
        file: the name of a file in it, where only that is written; the folder may hold several such.
    """

    def __init__(self, folder: Path, timeout: float, *, file: str | None = None) -> None:
        self._place = folder if file is None else folder / file
        folder = absolute(folder)
        self._lock = folder / (LOCK if file is None else f".{file}.lock")
        self._told = folder / (HOLDER if file is None else f".{file}.writer")
        self._timeout = timeout
        self._threads = threading.RLock()
        self._file = filelock.FileLock(self._lock, timeout=timeout, thread_local=False)
        self._jobs: list[str] = []

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        """Wait for the place and hold it.

        Raises:
            StoreLockedError: naming the process and the job that hold it.
        """
        if not self._threads.acquire(timeout=self._timeout):
            raise self._locked(os.getpid(), self._jobs[0] if self._jobs else "another thread's work")
        try:
            if not self._jobs:
                self._take_file(what)
            self._jobs.append(what)
            try:
                yield
            finally:
                self._jobs.pop()
                if not self._jobs:
                    self._leave_file()
        finally:
            self._threads.release()

    def _take_file(self, what: str) -> None:
        try:
            self._file.acquire(poll_interval=0.02)
        except filelock.Timeout as error:
            raise self._locked(*self._holder()) from error
        except OSError as error:
            raise from_system(error, self._lock) from error
        # Who holds it is only told to those who wait: failing to write it stops nothing.
        with suppress(OSError):
            self._told.write_text(json.dumps({"pid": os.getpid(), "what": what}), encoding="utf-8")

    def _leave_file(self) -> None:
        with suppress(OSError):
            self._told.unlink()
        self._file.release()

    def _holder(self) -> tuple[int | None, str]:
        try:
            told = json.loads(self._told.read_text(encoding="utf-8"))
            return int(told["pid"]), str(told["what"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, "something that left no name"

    def _locked(self, pid: int | None, what: str) -> StoreLockedError:
        who = "another process" if pid is None else f"process {pid}"
        return StoreLockedError(
            f"{self._place} is being written by {who} ({what}) and was not free within {self._timeout:g} s; "
            "wait until it is done, then run this again"
        )
