"""One file that carries a model to a machine without a network, and its installation there."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textkin.errors import FileReadError, InputError, WeightsError
from textkin.models import catalog as known
from textkin.models.catalog import CatalogEntry
from textkin.models.weights.cache import (
    RECORD_NAME,
    ModelRecord,
    pin_commit,
    publish,
    read_record,
    repository_folder,
    require_room,
    writing,
)
from textkin.models.weights.fetching import FetchProgress, fetch
from textkin.models.weights.files import file_digest, has_weights, is_safe, readable
from textkin.models.weights.find import BUNDLE, bundle_label, bundle_repository, is_revision, understand
from textkin.models.weights.verifying import verify
from textkin.vectors.writing import replacing, target_of

_BLOCK = 1 << 20
_LARGEST_RECORD = 1 << 20
_LARGEST_MODEL = 64 << 30


def bundle(
    name: str,
    file: Path,
    progress: FetchProgress | None = None,
    *,
    catalog: Sequence[CatalogEntry] | None = None,
) -> Path:
    """Write a model (fetched if it is not here) with its digests to one zip file; returns the file.

    Raises:
        InputError: the name is a folder's.
        InputError, StoreError: the file can't be written; as `replacing`.
        ModelNotFoundError, WeightsError: as ``fetch``.
    """
    target_of(file)
    wanted = understand(name, catalog)
    if wanted.folder is not None:
        raise InputError(f"{name} is a folder already; copy it and give its path as the model's name")
    folder = fetch(name, progress, catalog=catalog)
    found = verify(folder, wanted.entry, rehash=True)
    record = read_record(folder)
    commit = wanted.commit or (record.revision if record is not None else folder.name)
    label = wanted.entry.name if wanted.entry is not None else wanted.name
    record = ModelRecord(label, wanted.repository, commit, wanted.revision, found)
    with replacing(file) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(RECORD_NAME, record.to_json())
        for path in found:
            archive.write(folder / path, f"model/{path}")
    return file


def install(
    file: Path, progress: FetchProgress | None = None, *, catalog: Sequence[CatalogEntry] | None = None
) -> tuple[str, Path]:
    """Put a bundle's model into textkin's cache.

    A bundle says itself what it is, so its word counts only where the catalog's pinned digests bear it out. Any
    other model gets a name of its own, ``bundle:NAME@DIGEST``: never that of a model on the hub.

    Returns:
        The model's name and its folder. A model that is here already is left as it is, a damaged copy is replaced.

    Raises:
        FileReadError: the file is not a bundle.
        WeightsError: a file in it differs from what was published, or from its own record.
        StorageFullError, ReadOnlyError: as ``fetch``.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            record = _record(archive, file)
            entry = known.find(record.repository, catalog)
            if entry is None or not entry.files or entry.revision != record.revision:
                record, pins = _own_name(record, entry), None
            else:
                # Only what is pinned is taken: a file more would make it another model.
                pins = entry
                files = {pin.path: pin.digest for pin in entry.files}
                record = replace(record, name=entry.name, repository=entry.repository, files=files)
            return record.name, _install(archive, record, pins, progress)
    except OSError as error:
        raise FileReadError(f"{file} can't be read ({error.strerror})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise FileReadError(f"{file} is damaged or not a bundle of textkin ({error}); copy it again") from error


def _own_name(record: ModelRecord, entry: CatalogEntry | None) -> ModelRecord:
    """The record under a name that only this content has."""
    claimed = bundle_label(record.repository if entry is None else entry.name)
    content = json.dumps([claimed, sorted(record.files.items())], separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()[:40]
    short = digest[:12]
    return replace(
        record,
        name=f"{BUNDLE}{claimed}@{short}",
        repository=bundle_repository(claimed),
        revision=digest,
        asked=short,
    )


def _record(archive: zipfile.ZipFile, file: Path) -> ModelRecord:
    members = [item for item in archive.infolist() if item.filename == RECORD_NAME]
    record = None
    if len(members) == 1 and members[0].file_size <= _LARGEST_RECORD:
        record = ModelRecord.from_json(archive.read(members[0]))
    if record is None:
        raise FileReadError(
            f"{file} is not a bundle of textkin; make one with: textkin models bundle NAME -o FILE"
        )
    unsafe = [path for path in record.files if not is_safe(path)]
    if unsafe or not is_revision(record.repository, record.revision):
        raise FileReadError(
            f"{file} names a file or a revision that no model has "
            f"({(unsafe or [record.repository + '@' + record.revision])[0]!r:.200})"
        )
    if sorted(record.files) != readable(record.files) or not has_weights(record.files):
        raise FileReadError(f"{file} holds other files than those of a model; make it with: textkin models bundle")
    return record


def _install(
    archive: zipfile.ZipFile, record: ModelRecord, entry: CatalogEntry | None, progress: FetchProgress | None
) -> Path:
    members = {item.filename: item for item in archive.infolist()}
    needed = sum(members[f"model/{path}"].file_size for path in record.files if f"model/{path}" in members)
    target = repository_folder(record.repository) / record.revision
    with writing(record.repository, needed) as work:
        if target.is_dir():
            try:
                verify(target, entry)
            except WeightsError:
                pass  # replaced below by what the bundle holds
            else:
                if record.asked != record.revision:
                    pin_commit(record.repository, record.asked, record.revision)
                return target
        require_room(needed)
        folder, done = work / "model", 0
        for path in record.files:
            member = members.get(f"model/{path}")
            if member is None or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise WeightsError(f"{path} of {record.name} is missing in the bundle; make the bundle again")
            done += _copy(archive, member, folder / path, record, path)
            if progress is not None:
                progress(f"installing {record.name}", done, needed)
        found = _check(folder, record, entry)
        published = publish(folder, replace(record, files=found))
        if record.asked != record.revision:
            pin_commit(record.repository, record.asked, record.revision)
        return published


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, record: ModelRecord, path: str) -> int:
    """Copy a member, at most the size that the archive states for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    limit, written = min(member.file_size, _LARGEST_MODEL), 0
    with archive.open(member) as source, target.open("xb") as stream:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > limit:
                raise WeightsError(
                    f"{path} of {record.name} is larger than its bundle states; make the bundle again"
                )
            stream.write(block)
    return written


def _check(folder: Path, record: ModelRecord, entry: CatalogEntry | None) -> dict[str, str]:
    if entry is not None and entry.files:
        return verify(folder, entry, rehash=True)
    for path, expected in record.files.items():
        found = file_digest(folder / path, path)
        if found != expected:
            raise WeightsError(
                f"{path} of {record.name} differs from the bundle's record: "
                f"expected sha256 {expected}, found {found}; copy or make the bundle again"
            )
    return dict(record.files)
