"""The two files: read as one state while others replace them, and replaced so that a kill leaves old or new.

The new description first gets the name ``vectors.json.new``, then the new numbers get theirs, then the description
gets its own. A reader takes the description that has the numbers' SHA-256, under whichever of its two names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np

from textkin.errors import CorruptStoreError, FileReadError, ForeignFileError
from textkin.stores.arrays.encoding import header_facts, record_facts
from textkin.stores.arrays.state import Kept
from textkin.types import Matrix, StoreHeader
from textkin.vectors import description as described
from textkin.vectors.npy import read_npy
from textkin.vectors.own_files import create_file, mode_of
from textkin.vectors.sealed import seal
from textkin.vectors.writing import HashingWriter, flush, flush_folder

_AT_A_TIME: Final = 1000
Mark: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""Tells whether files were replaced: inode, size and time of each."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where everything lies; made by `files_of`.

    Attributes:
        numbers: the .npy.
        description: the .json.
        pending: the description's name until the numbers are in place.
        unfinished: new numbers while they are written.
        journal: changes since.
    """

    numbers: Path
    description: Path
    pending: Path
    unfinished: Path
    journal: Path

    def mark(self) -> Mark:
        """Another one after each replacement by whomever."""
        return _mark(self.numbers), _mark(self.description)

    def size(self) -> int:
        """Bytes of all that is there."""
        paths = (self.numbers, self.description, self.pending, self.unfinished, self.journal)
        return sum(path.stat().st_size for path in paths if path.is_file())


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A description with the numbers it describes.

    Attributes:
        state: SHA-256 of the description, which has that of the numbers: names this state.
        facts: of the description.
        place: which of its names it has.
        rows: ``(n, dimensions)`` float32, mapped.
    """

    state: str
    facts: dict[str, Any]
    place: Path
    rows: Matrix


def files_of(path: Path) -> Files:
    """The names that belong to an .npy."""
    numbers, description = described.pair(path)
    if numbers.is_symlink() or description.is_symlink():
        numbers, description = _linked(numbers, description)
    return Files(
        numbers,
        description,
        described.pending(description),
        numbers.with_name(f"{numbers.name}.new"),
        described.journal(numbers),
    )


def _linked(numbers: Path, description: Path) -> tuple[Path, Path]:
    """The pair that a link leads to: it is that which is read and replaced, and the link stays.

    Raises:
        ForeignFileError: the two names lead to files that are no pair.
    """
    found = numbers.resolve()
    pair = found, found.with_suffix(".json")
    if found.suffix.lower() != ".npy" or (description.exists() and description.resolve() != pair[1]):
        raise ForeignFileError(
            f"{numbers} and {description.name} are links to files that are no pair of one name; name the files "
            "themselves"
        )
    return pair


def read_pair(files: Files) -> Pair | None:
    """The state of the files; None where there are none.

    Raises:
        ForeignFileError: a file that is not textkin's, or that has no description.
        CorruptStoreError: damaged, or two files that don't belong together.
        NewerVersionError: written by a newer textkin.
        OSError: can't be read.
    """
    if files.numbers.is_dir():
        raise ForeignFileError(f"{files.numbers} is a folder; a collection of this name is a file")
    for path in (files.numbers, files.description, files.pending):
        if path.exists() and not path.is_file():
            raise ForeignFileError(f"{path} is a device or a pipe; a collection is a pair of files")
    if not files.numbers.exists():
        if not files.description.exists():
            return None
        if described.format_of(files.description.read_bytes()) is None:
            raise ForeignFileError(
                f"{files.description} is in the way: the records of {files.numbers.name} would be kept there, but "
                "it is something else; choose another name"
            )
        raise CorruptStoreError(
            f"{files.numbers} is missing, whose records are in {files.description}; restore it from a backup, or "
            "move the second away to begin anew"
        )
    with files.numbers.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    others = []
    for place in (files.description, files.pending):
        if place.exists():
            found = _described(place, files, digest)
            if found is not None:
                return found
            others.append(place)
    if not others:
        raise ForeignFileError(
            f"{files.numbers} has no {files.description.name} beside it, which says whose vectors these are"
        )
    raise CorruptStoreError(
        f"{files.numbers} and {others[0]} are not of the same run, or one was changed or is damaged: the SHA-256 "
        "of the first is not the one in the second; restore both from a backup"
    )


def write_pair(files: Files, header: StoreHeader, kept: Sequence[Kept]) -> str:
    """Write new files beside the old ones, for `put_in_place`.

    Returns:
        The new `Pair.state`.

    Raises:
        OSError: no room, or not allowed; the old ones are untouched.
    """
    count = sum(len(one.record.spans) for one in kept)
    mode = mode_of(files.numbers)
    remove_unfinished(files)
    try:
        with os.fdopen(create_file(files.unfinished, mode), "wb") as file:
            hashing = HashingWriter(file)
            _write_numbers(cast(BinaryIO, hashing), kept, count, header.model.dimensions)
            flush(file)
        digest = hashing.digest.hexdigest()
        with os.fdopen(create_file(files.pending, mode), "wb") as file:
            hashing = HashingWriter(file)
            for line in _description(header, kept, count, digest):
                hashing.write(line)
            hashing.write(seal(hashing.digest.hexdigest()))
            flush(file)
    except OSError:
        remove_unfinished(files)
        raise
    return hashing.digest.hexdigest()


def put_in_place(files: Files) -> None:
    """Let the new files be the collection; what the journal holds is in them."""
    flush_folder(files.numbers.parent)
    files.unfinished.replace(files.numbers)
    flush_folder(files.numbers.parent)
    files.pending.replace(files.description)
    flush_folder(files.numbers.parent)
    files.journal.unlink(missing_ok=True)


def finish(files: Files, pair: Pair | None) -> None:
    """Do what a killed writer didn't come to; only for who holds the writer's place, and has read the pair."""
    if pair is not None and pair.place == files.pending and files.pending.exists():
        files.pending.replace(files.description)
        flush_folder(files.numbers.parent)
    remove_unfinished(files)


def remove_unfinished(files: Files) -> None:
    """Remove files that are not in place; never a description that the numbers need."""
    for path in (files.unfinished, files.pending):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def map_numbers(files: Files) -> Matrix:
    """The numbers, mapped."""
    try:
        return np.asarray(read_npy(files.numbers, mmap=True))
    except FileReadError as error:
        raise CorruptStoreError(f"{error}; restore it from a backup") from error


def _described(place: Path, files: Files, digest: str) -> Pair | None:
    data = place.read_bytes()
    if place == files.description and _is_other(data):
        raise ForeignFileError(
            f"{place} does not describe the vectors in {files.numbers}, but is something else; choose another "
            "name for the collection, or move it away"
        )
    try:
        facts = described.parse_description(data, place, files.numbers)
    except FileReadError as error:
        raise CorruptStoreError(f"{error}; restore both files from a backup") from error
    if facts["sha256"] != digest:
        return None
    rows = map_numbers(files)
    if rows.shape != (facts["count"], facts["dimension"]):
        raise CorruptStoreError(
            f"{files.numbers} has the shape {rows.shape}, and {place} says ({facts['count']}, "
            f"{facts['dimension']}); restore both from a backup"
        )
    return Pair(hashlib.sha256(data).hexdigest(), facts, place, rows)


def _is_other(data: bytes) -> bool:
    """Whether this is whole JSON of some other kind, rather than a damaged description."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return not isinstance(facts, dict) or "sha256" not in facts


def _write_numbers(file: BinaryIO, kept: Sequence[Kept], count: int, dimensions: int) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (count, dimensions)}
    )
    rest = iter(kept)
    while some := list(islice(rest, _AT_A_TIME)):
        file.write(np.concatenate([one.vectors for one in some]).astype("<f4", copy=False).tobytes())


def _description(header: StoreHeader, kept: Sequence[Kept], count: int, digest: str) -> Iterator[bytes]:
    """One record a line; without its end."""
    facts = {
        "format": described.COLLECTION_FORMAT,
        "model": header.model.name,
        "fingerprint": header.model.fingerprint,
        "dimension": header.model.dimensions,
        "count": count,
        "dtype": "float32",
        "sha256": digest,
        "header": header_facts(header),
    }
    yield b"{\n"
    for name, value in facts.items():
        yield f"{json.dumps(name)}: {json.dumps(value)},\n".encode()
    yield b'"records": ['
    for place, one in enumerate(kept):
        told = json.dumps(record_facts(one.record), ensure_ascii=False, allow_nan=False)
        yield (",\n" if place else "\n").encode() + told.encode("utf-8")
    yield b"\n],\n"


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
