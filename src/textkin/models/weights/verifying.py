"""Digests of a model's files, cheap on repeat, and the refusal of a file that is not what was published."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from textkin._places import cache_folder
from textkin.errors import ModelNotFoundError, WeightsError
from textkin.models.catalog import CatalogEntry
from textkin.models.settings import read_json
from textkin.models.weights.cache import models_folder, read_record
from textkin.models.weights.files import file_digest, listing, readable

_Stat = list[int]
YOUNG = 2_000_000_000
"""A file changed less than this many nanoseconds ago may change again within one tick of its clock."""


def digests(folder: Path, *, rehash: bool = False) -> dict[str, str]:
    """The digest (see ``file_digest``) of each file of a model's folder that textkin reads, by relative path.

    A file is hashed again only when its size, times or inode changed since it was last hashed; the
    stamps lie in textkin's cache. Equal copies from different sources have equal digests.

    Args:
        rehash: read every byte; stamps are neither read nor written.
    """
    return _digests(folder, read_of(folder), rehash)


def read_of(folder: Path) -> list[str]:
    """The relative paths of the files of a model's folder that textkin reads.

    Raises:
        ModelNotFoundError: it can't be read.
    """
    try:
        return readable(listing(folder))
    except OSError as error:
        raise ModelNotFoundError(f"{folder}: the model's folder can't be read ({error.strerror})") from error


def verify(folder: Path, entry: CatalogEntry | None = None, *, rehash: bool = False) -> dict[str, str]:
    """Check a model's folder against what was published, or against what was recorded when it was fetched.

    Args:
        folder: the model's files.
        entry: whose pins to hold it to; without pins the record that the fetch left in the folder counts.
        rehash: read every byte; stamps are neither read nor written.

    Returns:
        The digest of each checked file; of every file textkin reads where nothing is known to compare with.

    Raises:
        WeightsError: a file is missing, differs, or is one too many; names the file and the cure.
    """
    if entry is not None and entry.files:
        expected: Mapping[str, str] = {file.path: file.digest for file in entry.files}
        name, source = entry.name, "was published"
    else:
        record = read_record(folder)
        if record is None:
            return digests(folder, rehash=rehash)
        expected, source = record.files, "was recorded when it was fetched"
        name = entry.name if entry is not None else record.name
    cure = f"run: textkin models fetch {name}"
    if not folder.absolute().is_relative_to(models_folder().absolute()):
        cure = f"delete {folder} and {cure}"
    for path in expected:
        if not (folder / path).is_file():
            raise WeightsError(f"{path} of {name} is missing in {folder}; {cure}")
    try:
        found = _digests(folder, list(expected), rehash)
    except OSError as error:
        raise WeightsError(f"{name} in {folder} can't be read ({error.strerror}); {cure}") from error
    # Whatever else lies there that a model is made of would make it another one.
    more = next((path for path in readable(listing(folder)) if path not in expected), None)
    if more is not None:
        raise WeightsError(f"{more} in {folder} is no part of {name} as it {source}; {cure}")
    for path, digest in expected.items():
        if found[path] != digest:
            raise WeightsError(
                f"{path} of {name} differs from what {source}: "
                f"expected sha256 {digest}, found {found[path]}; {cure}"
            )
    return found


def is_recorded(folder: Path) -> bool:
    """Whether textkin fetched this folder, and so knows what its files were."""
    return read_record(folder) is not None


def is_copy_of(folder: Path, entry: CatalogEntry | None) -> bool:
    """Whether a folder claims to be the pinned revision of this entry (and not another one of the repository)."""
    record = read_record(folder)
    return entry is not None and bool(entry.files) and (record is None or record.revision == entry.revision)


def _digests(folder: Path, paths: list[str], rehash: bool) -> dict[str, str]:
    home = folder.resolve()
    stamp_file = cache_folder() / "digests" / f"{hashlib.sha256(os.fsencode(home)).hexdigest()[:32]}.json"
    stamps = {} if rehash else _read_stamps(stamp_file, home)
    found: dict[str, str] = {}
    kept = dict(stamps)
    for path in paths:
        file = home / path
        before = _stat(file)
        stamp = stamps.get(path)
        if stamp is not None and stamp[0] == before:
            found[path] = stamp[1]
            continue
        started = time.time_ns()
        found[path] = file_digest(file, path)
        kept.pop(path, None)
        if _stat(file) == before and started - max(before[1], before[2]) > YOUNG:
            kept[path] = (before, found[path])
    if kept != stamps and not rehash:
        _write_stamps(stamp_file, home, kept)
    return found


def _stat(file: Path) -> _Stat:
    facts = file.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]


def _read_stamps(stamp_file: Path, home: Path) -> dict[str, tuple[_Stat, str]]:
    try:
        content = read_json(stamp_file)
        if content["folder"] != str(home):
            return {}
        return {path: (list(stat), str(digest)) for path, (stat, digest) in content["files"].items()}
    except (OSError, WeightsError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_stamps(stamp_file: Path, home: Path, stamps: Mapping[str, tuple[_Stat, str]]) -> None:
    """Keep the stamps; a cache that can't be written only costs time."""
    temporary = stamp_file.with_name(f"{stamp_file.name}.{os.getpid()}")
    try:
        stamp_file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"folder": str(home), "files": stamps}), encoding="utf-8")
        temporary.replace(stamp_file)
    except OSError:
        return
