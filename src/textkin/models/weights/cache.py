"""Textkin's own cache of models: one folder a revision, published whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from textkin._places import cache_folder
from textkin.errors import ModelError, ReadOnlyError, StorageFullError, WeightsError
from textkin.models.settings import read_json, read_regular

RECORD_NAME = "textkin-model.json"
_WORK_PREFIX = ".fetching-"
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is known of a folder of the cache and of a bundle.

    Attributes:
        name: as messages call the model.
        repository: on the hub.
        revision: the commit.
        asked: the branch or tag that stood for this commit when it was fetched, or the commit.
        files: the digest of each file that textkin reads.
    """

    name: str
    repository: str
    revision: str
    asked: str
    files: Mapping[str, str]

    def to_json(self) -> str:
        facts = {"name": self.name, "repository": self.repository, "revision": self.revision, "asked": self.asked}
        return json.dumps({"format": 1, **facts, "files": dict(self.files)}, indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> ModelRecord | None:
        """None when the bytes are not such a record."""
        try:
            facts = json.loads(data)
            files = {str(path): str(digest) for path, digest in facts["files"].items()}
            texts = (facts["name"], facts["repository"], facts["revision"], facts["asked"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if facts.get("format") != 1 or not all(isinstance(text, str) for text in texts):
            return None
        return cls(*texts, files=files)


def models_folder() -> Path:
    """Where fetched models lie."""
    return cache_folder() / "models"


def repository_folder(repository: str) -> Path:
    """Where all revisions of one repository lie."""
    return models_folder() / repository.replace("/", "--")


def fetched() -> list[Path]:
    """The folders of every model in textkin's cache, in the order of their names."""
    found = models_folder().glob("*/*") if models_folder().is_dir() else iter(())
    return sorted(folder for folder in found if (folder / RECORD_NAME).is_file() and folder.name[0] != ".")


def read_record(folder: Path) -> ModelRecord | None:
    """The record that a fetch left in a folder; None when there is none."""
    try:
        return ModelRecord.from_json(read_regular(folder / RECORD_NAME))
    except OSError:
        return None


def pinned_commit(repository: str, revision: str) -> str | None:
    """The commit that this branch or tag meant when it was first fetched; None before that."""
    try:
        commit = read_json(repository_folder(repository) / "pins.json").get(revision)
    except (OSError, WeightsError, AttributeError):
        return None
    return commit if isinstance(commit, str) else None


def pin_commit(repository: str, revision: str, commit: str) -> None:
    """Remember what a branch or tag meant; the caller holds the repository's lock."""
    file = repository_folder(repository) / "pins.json"
    try:
        pins = read_json(file)
    except (OSError, WeightsError):
        pins = {}
    if not isinstance(pins, dict):
        pins = {}
    temporary = file.with_name("pins.json.new")
    temporary.write_text(json.dumps({**pins, revision: commit}, indent=1), encoding="utf-8")
    temporary.replace(file)


@contextmanager
def writing(
    repository: str, needed: int, on_wait: Callable[[], None] | None = None, patience: float = 1800.0
) -> Iterator[Path]:
    """Hold the one writer's place for a repository, with an empty folder to work in.

    The folder goes when the block ends; folders that a killed process left are removed at the start.

    Args:
        needed: bytes that the work may take.
        on_wait: called when another process is at it, before waiting.
        patience: seconds to wait for it.

    Raises:
        ModelError: the other process did not finish in time.
        ReadOnlyError: the cache can't be written.
        StorageFullError: too little room, found before or while writing.
    """
    import filelock

    home = repository_folder(repository)
    with _disk_errors(needed):
        home.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(home.with_name(f"{home.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if on_wait is not None:
                on_wait()
            try:
                lock.acquire(timeout=patience)
            except filelock.Timeout as error:
                raise ModelError(
                    f"another process has been fetching {repository} for {patience:.0f} s; "
                    f"wait for it or end it (it holds {lock.lock_file})"
                ) from error
        home.mkdir(exist_ok=True)
        try:
            for item in home.iterdir():
                if item.name.startswith(_WORK_PREFIX):
                    shutil.rmtree(item, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=home))
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
                if not any(home.iterdir()):
                    home.rmdir()
        finally:
            lock.release()


def require_room(needed: int) -> None:
    """Raise StorageFullError unless the cache's disk has ``needed`` bytes free."""
    place = models_folder()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise _full(needed, free)


def publish(ready: Path, record: ModelRecord) -> Path:
    """Make a verified folder the cache's copy of its revision, in one step that survives a power cut.

    A copy that is there already goes to ``replaced`` beside the verified folder.
    """
    target = repository_folder(record.repository) / record.revision
    (ready / RECORD_NAME).write_text(record.to_json(), encoding="utf-8")
    for folder, _, names in os.walk(ready):
        for name in names:
            _sync(Path(folder) / name)
        _sync(Path(folder))
    if target.exists():
        target.rename(ready.with_name("replaced"))
    ready.rename(target)
    _sync(target.parent)
    return target


@contextmanager
def _disk_errors(needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full(needed, None) from error
        if error.errno in _FORBIDDEN:
            raise ReadOnlyError(
                f"textkin's cache {cache_folder()} can't be written ({error.strerror}: {error.filename}); "
                "set TEXTKIN_CACHE to a folder that can"
            ) from error
        raise ModelError(
            f"textkin's cache {cache_folder()} failed ({error}); set TEXTKIN_CACHE to another folder"
        ) from error


def _full(needed: int, free: int | None) -> StorageFullError:
    there = "" if free is None else f", {free:,} are free"
    return StorageFullError(
        f"no room for the model in {models_folder()}: up to {needed:,} bytes are needed{there}; "
        "make room, or set TEXTKIN_CACHE to a folder on a larger disk"
    )


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
