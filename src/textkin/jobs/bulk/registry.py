"""The bulk jobs that this user has run, so that ``textkin jobs`` finds them again."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import filelock

from textkin._places import data_folder
from textkin.errors import InputError, ModelMismatchError, StoreError, StoreLockedError
from textkin.jobs.bulk.place import LocalPlace, Place
from textkin.stores.problems import from_system
from textkin.stores.resolve import is_database, without_password
from textkin.text.urls import is_url, parse_url
from textkin.vectors.own_files import PRIVATE, own_file, remove_abandoned

_ENTRY: Final = "entry"
_PROGRESS: Final = "progress"
_LOCK: Final = "lock"
_PATIENCE: Final = 1.0
"""Seconds to wait for a lock that may only be held by somebody who looks whether the job runs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as it was begun last.

    Attributes:
        place: the output folder or collection, as `named`.
        inputs: as the user named them.
        model: its name.
        started: ISO 8601, UTC.
        ended: ``complete``, ``stopped`` or the error that ended it; None: it runs, or it was killed.
        process: its number on ``host``.
        host: the machine.
        rank: of the processes that share the job.
        finished: ISO 8601, UTC; None where ``ended`` is None.
        progress: what it told last, as JSON.
        told: when that was, ISO 8601, UTC.
        running: whether a process is seen at it. On another machine that shares this user's data folder one may be
            at it unseen.
    """

    place: str
    inputs: tuple[str, ...]
    model: str
    started: str
    ended: str | None
    process: int
    host: str
    rank: int = 0
    finished: str | None = None
    progress: Mapping[str, Any] | None = None
    told: str | None = None
    running: bool = False

    @property
    def state(self) -> str:
        """``running``, ``complete``, ``stopped``, ``waiting`` (for other ranks), ``failed`` or ``killed``.

        ``unknown`` where that can't be seen from this machine.
        """
        if self.running:
            return "running"
        if self.ended is None:
            return "killed" if self.host == socket.gethostname() else "unknown"
        if self.ended in ("complete", "stopped"):
            return self.ended
        return "waiting" if self.ended.startswith("other ranks") else "failed"


def named(place: Place | str) -> str:
    """How the list names an output: a folder by its absolute path, all else without what is secret in it."""
    if isinstance(place, LocalPlace):
        return str(place.folder)
    name = place if isinstance(place, str) else place.name
    if is_database(name):
        return without_password(name)
    return parse_url(name).shown.rstrip("/") if is_url(name) else str(Path(name).absolute())


def folder_of(place: str) -> Path:
    """The folder of the user's data that belongs to a job; made when it isn't there.

    Raises:
        StoreError: it can't be made.
    """
    folder = _folder(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = from_system(error, folder)
        raise type(problem)(f"{problem}. Set TEXTKIN_DATA to a folder that can be written") from error
    return folder


class Registered:
    """A job that runs: what it tells about itself.

    Telling never ends a job: where the user's data folder can't be written, nobody is told.
    """

    def __init__(self, folder: Path | None, entry: Entry) -> None:
        self._folder = folder
        self.entry = entry
        self.told = False
        self._before = self._read_before()
        self.ended: str | None = None
        self._keep(_ENTRY, asdict(entry))
        # What an earlier run told last says nothing about this one.
        self._keep(_PROGRESS, {})

    def tell(self, progress: Mapping[str, Any]) -> None:
        """How far it is."""
        self.told = True
        self._keep(_PROGRESS, progress)

    def end(self, how: str | None) -> None:
        """It is over."""
        self._keep(_ENTRY, asdict(replace(self.entry, ended=how, finished=_now())))

    def take_back(self) -> None:
        """It was refused before it did anything: the list is as it was."""
        if self._folder is None:
            return
        for path, data in self._before.items():
            with contextlib.suppress(OSError):
                if data is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(data)

    def _read_before(self) -> dict[Path, bytes | None]:
        if self._folder is None:
            return {}
        found: dict[Path, bytes | None] = {}
        for kind in (_ENTRY, _PROGRESS):
            path = self._folder / _file(kind, self.entry.rank)
            try:
                found[path] = path.read_bytes()
            except OSError:
                found[path] = None
        return found

    def _keep(self, kind: str, facts: Mapping[str, Any]) -> None:
        if self._folder is None:
            return
        path = self._folder / _file(kind, self.entry.rank)
        remove_abandoned(path)
        with contextlib.suppress(OSError), own_file(path, mode=PRIVATE, durable=False) as file:
            file.write(json.dumps(facts, ensure_ascii=True, default=dict).encode("ascii"))


@contextmanager
def registered(place: Place | str, inputs: Sequence[str], model: str, rank: int = 0) -> Iterator[Registered]:
    """Register a job while the block runs; how it ended is kept.

    Args:
        place: the output folder, or the URL of a collection.
        inputs: as they are shown.
        model: its name.
        rank: of several processes that share the job; each has an entry of its own.
    """
    entry = Entry(
        place=named(place),
        inputs=tuple(inputs),
        model=model,
        started=_now(),
        ended=None,
        process=os.getpid(),
        host=socket.gethostname(),
        rank=rank,
    )
    try:
        folder: Path | None = folder_of(entry.place)
    except StoreError:
        folder = None
    with _lock(folder, rank):
        job = Registered(folder, entry)
        try:
            yield job
        except (KeyboardInterrupt, SystemExit):
            job.end("stopped")
            raise
        except (InputError, ModelMismatchError) as error:
            if job.told:
                job.end(f"{type(error).__name__}: {error}")
            else:
                job.take_back()
            raise
        except BaseException as error:
            job.end(f"{type(error).__name__}: {error}")
            raise
        job.end(job.ended)


def entries() -> list[Entry]:
    """All jobs of this user, the last begun first; several ranks of one have an entry each."""
    try:
        paths = list(_home().glob(f"*/{_ENTRY}*.json"))
    except PermissionError as error:
        raise StoreError(
            f"{_home()} can't be read ({error.strerror}); set TEXTKIN_DATA to your own folder"
        ) from error
    found = (_entry(path) for path in paths)
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.started, reverse=True)


def forget(place: str) -> int:
    """Remove a job from the list, with all that is kept about it in the user's data; its output stays.

    Args:
        place: as `named`.

    Returns:
        How many entries went: one a rank.

    Raises:
        StoreLockedError: it runs.
        StoreError: it can't be removed.
    """
    folder = _folder(place)
    there = [entry for entry in map(_entry, folder.glob(f"{_ENTRY}*.json")) if entry is not None]
    for entry in there:
        if entry.running:
            raise StoreLockedError(
                f"{place}: the job runs (process {entry.process} on {entry.host}); stop it first"
            )
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise from_system(error, folder) from error
    return len(there)


@contextmanager
def _lock(folder: Path | None, rank: int) -> Iterator[None]:
    """Held by a job while it runs, where that can be; on some network drives nothing can be locked."""
    if folder is None:
        yield
        return
    lock = filelock.FileLock(folder / _file(_LOCK, rank, ""), thread_local=False)
    with contextlib.suppress(filelock.Timeout, OSError, NotImplementedError):
        lock.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.release()


def _entry(path: Path) -> Entry | None:
    """An entry; None for what another version wrote, or a crash left."""
    facts = _read(path)
    if facts is None:
        return None
    known = {field.name for field in dataclasses.fields(Entry)} - {"progress", "told", "running"}
    try:
        entry = Entry(**{name: value for name, value in facts.items() if name in known})
        progress = path.with_name(_file(_PROGRESS, int(entry.rank)))
        return replace(
            entry,
            place=str(entry.place),
            inputs=tuple(map(str, entry.inputs)),
            started=str(entry.started),
            ended=None if entry.ended is None else str(entry.ended),
            progress=_read(progress),
            told=_changed(progress),
            running=_held(path.with_name(_file(_LOCK, int(entry.rank), ""))),
        )
    except (TypeError, ValueError):
        return None


def _held(lock: Path) -> bool:
    try:
        with filelock.FileLock(lock, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


def _changed(path: Path) -> str | None:
    try:
        return _text(datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC))
    except OSError:
        return None


def _now() -> str:
    return _text(datetime.datetime.now(datetime.UTC))


def _text(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _file(kind: str, rank: int, ending: str = ".json") -> str:
    return f"{kind}-{rank}{ending}" if rank else f"{kind}{ending}"


def _folder(place: str) -> Path:
    return _home() / hashlib.sha256(named(place).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _home() -> Path:
    return data_folder() / "jobs"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
