"""Whether the files of a finished job are what it wrote, on a disk or in an object store."""

from __future__ import annotations

import hashlib
from typing import Final

from textkin.errors import CorruptStoreError, StoreError
from textkin.jobs.bulk.finish import read_manifest
from textkin.jobs.bulk.manifest import REJECTS, marker_of
from textkin.jobs.bulk.place import LocalPlace, Place
from textkin.jobs.bulk.result import CURE
from textkin.vectors.outputs import MANIFEST

_PIECE: Final = 1 << 20


def verify_files(place: Place) -> None:
    """Read every byte.

    Raises:
        CorruptStoreError: a file that is missing, or not what the job wrote; names it.
        StoreError: no job is complete there.
    """
    facts = read_manifest(place)
    if facts is None:
        raise StoreError(f"{place.name}: no job is complete there; there is nothing to compare with")
    try:
        markers = [marker_of(told) for told in facts["shards"]]
        rejects = facts.get("rejects_sha256")  # an older job has none
    except (KeyError, TypeError) as error:
        raise CorruptStoreError(f"{place.name}/{MANIFEST} is damaged ({error!r}); {CURE}") from error
    sizes = place.sizes()
    if rejects is not None and (REJECTS not in sizes or _digest(place, REJECTS) != rejects):
        raise CorruptStoreError(f"{place.name}/{REJECTS} is missing, or was changed since it was written; {CURE}")
    for marker in markers:
        if marker.file is None:
            continue
        size = sizes.get(marker.file)
        if size != marker.bytes:
            there = "is missing" if size is None else f"has {size:,} bytes instead of {marker.bytes:,}"
            raise CorruptStoreError(f"{place.name}: the shard {marker.file} {there}; {CURE}")
        found = _digest(place, marker.file)
        if found != marker.sha256:
            raise CorruptStoreError(
                f"{place.name}: the shard {marker.file} was changed since it was written (its SHA-256 is "
                f"{found[:12]}… instead of {marker.sha256[:12]}…); {_cure(place)}"
            )


def _cure(place: Place) -> str:
    """On a disk a job compares checksums itself before it keeps a file."""
    return CURE if isinstance(place, LocalPlace) else f"remove it and {CURE}"


def _digest(place: Place, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with place.open(name) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise StoreError(f"{place.name}/{name}: {error.strerror or error}") from error
    return digest.hexdigest()
