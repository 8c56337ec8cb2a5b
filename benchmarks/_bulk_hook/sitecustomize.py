"""Loaded by each Python that has this folder in PYTHONPATH: writes down what is embedded, breaks calls as told.

TEXTKIN_WATCH_LOG names a file. Every order to a model becomes a line ``O process digest...`` before it is
answered, and all that a ledger has on the disk a line ``K process digest...`` once it is there, whichever process
it is: the command, or a worker of Ray.

TEXTKIN_WATCH_TRAP is JSON: ``call`` (one of `_CALLS`; ``parquet``: a part of a Parquet file was written;
``upsert``: a batch was stored in a collection), ``below`` (only on files in that folder), ``nth``, and ``do``:
``kill before``, ``kill after`` (SIGKILL to this process), ``hold`` (once it was made, make ``file`` and wait until
that is gone), ``signal N after`` (to this process) or the number of an error, which this call and all that follow
it fail with. The command itself is the one that users run.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_CALLS = ("fsync", "replace", "rename", "unlink", "remove")


class _Log:
    """One line at once; lines of all processes are in the order in which things happened."""

    def __init__(self, path: str) -> None:
        self._path = path

    def line(self, kind: str, digests: Sequence[str]) -> None:
        # Opened each time: an idle worker of Ray may be older than the file.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, (" ".join([kind, str(os.getpid()), *digests]) + "\n").encode("ascii"))
        finally:
            os.close(file)

    def watch_model(self, model: Any) -> None:
        answer = model.embed

        def embed(this: Any, texts: Sequence[str], *more: Any, **named: Any) -> Any:
            whole = [text.encode("utf-8", "surrogatepass") for text in texts]
            self.line("O", [hashlib.sha256(text).hexdigest()[:16] for text in whole])
            return answer(this, texts, *more, **named)

        model.embed = embed

    def watch_ledger(self, ledger: Any) -> None:
        keep = ledger.put

        def put(this: Any, fingerprint: str, role: str, digests: Sequence[bytes], *more: Any, **named: Any) -> Any:
            kept = keep(this, fingerprint, role, digests, *more, **named)
            self.line("K", [digest.hex()[:16] for digest in digests])
            return kept

        ledger.put = put


class _Trap:
    """The n-th call of a kind on files of a folder ends the process, or fails from then on."""

    def __init__(self, call: str, below: str, nth: int, do: str | int, file: str = "") -> None:
        self._call, self._below, self._left, self._do = call, os.path.realpath(below), nth, do
        self._file = Path(file)
        self._lock = threading.Lock()

    def set(self) -> None:
        if self._call in _CALLS:
            setattr(os, self._call, self._watched(getattr(os, self._call)))

    def watch_parquet(self, module: ModuleType) -> None:
        if self._call == "parquet":
            for name in ("write_table", "write_batch", "write_row_group"):
                if hasattr(module.ParquetWriter, name):
                    setattr(module.ParquetWriter, name, self._watched(getattr(module.ParquetWriter, name), True))

    def watch_store(self, module: ModuleType) -> None:
        if self._call == "upsert":
            module.LocalStore.upsert = self._watched(module.LocalStore.upsert, True)

    def _watched(self, call: Callable[..., Any], anywhere: bool = False) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            if not (anywhere or self._meant(given)):
                return call(*given, **named)
            with self._lock:
                self._left -= 1
                now, due = self._left == 0, self._left <= 0
            if isinstance(self._do, int) and due:
                raise OSError(self._do, os.strerror(self._do), self._below)
            if now and self._do == "kill before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(*given, **named)
            if now:
                self._after()
            return answer

        return watched

    def _after(self) -> None:
        if self._do == "kill after":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._do == "hold":
            self._file.touch()
            while self._file.exists():
                time.sleep(0.01)
        elif isinstance(self._do, str) and self._do.startswith("signal "):
            os.kill(os.getpid(), int(self._do.split()[1]))

    def _meant(self, given: tuple[Any, ...]) -> bool:
        for one in given[:2]:
            place = Path(f"/proc/self/fd/{one}") if isinstance(one, int) else one
            if isinstance(place, (str, os.PathLike)) and os.path.realpath(place).startswith(self._below):
                return True
        return False


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as always; some are changed once they are loaded."""

    def __init__(self, changes: dict[str, Callable[[ModuleType], None]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        change = self._changes.get(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if change else None
        if spec is None or spec.loader is None or change is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _begin() -> None:
    changes: dict[str, Callable[[ModuleType], None]] = {}
    log_file, trap = os.environ.get("TEXTKIN_WATCH_LOG"), os.environ.get("TEXTKIN_WATCH_TRAP")
    if log_file:
        log = _Log(log_file)
        changes["textkin.models.hashing"] = lambda module: log.watch_model(module.HashingModel)
        changes["textkin.models.local"] = lambda module: log.watch_model(module.LocalModel)
        changes["textkin.ledger.database"] = lambda module: log.watch_ledger(module.Ledger)
    if trap:
        sprung = _Trap(**json.loads(trap))
        sprung.set()
        changes["pyarrow.parquet.core"] = sprung.watch_parquet
        changes["textkin.stores.local.store"] = sprung.watch_store
    if changes:
        sys.meta_path.insert(0, _Finder(changes))


_begin()
