"""The bulk jobs that this user has run, so that ``textkin jobs`` finds them again."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import filelock

from textkin._places import data_folder
from textkin.jobs.bulk.place import LocalPlace, Place
from textkin.stores.problems import from_system

_ENTRY: Final = "entry.json"
_PROGRESS: Final = "progress.json"
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as it was begun last.

    Attributes:
        place: the output folder or collection; a local folder as an absolute path.
        inputs: as the user named them.
        model: its name.
        started: ISO 8601, UTC.
        ended: ``complete``, ``stopped`` or the error that ended it; None: it runs, or it was killed.
        process: its number on ``host``.
        host: the machine.
        progress: what it told last, as JSON.
        running: whether a process of this machine is at it.
    """

    place: str
    inputs: tuple[str, ...]
    model: str
    started: str
    ended: str | None
    process: int
    host: str
    progress: Mapping[str, Any] | None = None
    running: bool = False


def folder_of(place: str) -> Path:
    """The folder of the user's data that belongs to a job; made when it isn't there."""
    folder = _home() / hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_system(error, folder) from error
    return folder


class Registered:
    """A job that runs: what it tells about itself.

    Telling never ends a job: where the user's data folder can't be written, nobody is told.
    """

    def __init__(self, folder: Path, entry: Entry) -> None:
        self._folder = folder
        self.entry = entry
        self.ended: str | None = None
        _keep(folder / _ENTRY, asdict(entry))

    def tell(self, progress: Mapping[str, Any]) -> None:
        """How far it is."""
        _keep(self._folder / _PROGRESS, progress)


@contextmanager
def registered(place: Place | str, inputs: Sequence[str], model: str) -> Iterator[Registered]:
    """Register a job while the block runs; how it ended is kept.

    Args:
        place: the output folder, or the URL of a collection.
        inputs: as they are shown.
        model: its name.
    """
    name = place if isinstance(place, str) else str(place.folder) if isinstance(place, LocalPlace) else place.name
    entry = Entry(
        place=name,
        inputs=tuple(inputs),
        model=model,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        ended=None,
        process=os.getpid(),
        host=socket.gethostname(),
    )
    folder = folder_of(name)
    # Several ranks may run the same job: each that has the lock, or can't have it, keeps it held.
    lock = filelock.FileLock(folder / _LOCK, thread_local=False)
    with contextlib.suppress(filelock.Timeout):
        lock.acquire(timeout=0)
    try:
        job = Registered(folder, entry)
        try:
            yield job
        except BaseException as error:
            _keep(folder / _ENTRY, asdict(replace(entry, ended=f"{type(error).__name__}: {error}")))
            raise
        _keep(folder / _ENTRY, asdict(replace(entry, ended=job.ended)))
    finally:
        lock.release()


def entries() -> list[Entry]:
    """All jobs of this user, the last begun first."""
    found = []
    for path in _home().glob(f"*/{_ENTRY}"):
        facts = _read(path)
        if facts is not None:
            progress = _read(path.with_name(_PROGRESS))
            facts["inputs"] = tuple(facts.get("inputs", ()))
            with contextlib.suppress(TypeError):  # written by another version
                found.append(Entry(**{**facts, "progress": progress, "running": _held(path.with_name(_LOCK))}))
    return sorted(found, key=lambda entry: entry.started, reverse=True)


def _held(lock: Path) -> bool:
    try:
        with filelock.FileLock(lock, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def _home() -> Path:
    return data_folder() / "jobs"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _keep(path: Path, facts: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(facts, ensure_ascii=True, default=dict), encoding="ascii")
        part.replace(path)
