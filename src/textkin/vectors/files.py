"""Vectors in a file: an .npy with the numbers and a .json beside it that says what they belong to."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from textkin.errors import (
    FileReadError,
    InputError,
    ModelMismatchError,
    StoreError,
)
from textkin.types import Matrix, ModelInfo
from textkin.vectors.description import (
    COLLECTION_FORMAT,
    FORMAT,
    encode,
    format_of,
    journal,
    pair,
    pending,
    read_description,
    rows_of,
)
from textkin.vectors.npy import as_matrix, check_finite, read_npy
from textkin.vectors.writing import (
    HashingWriter,
    Replacement,
    Target,
    flush_folder,
    put_in_place,
    target_of,
    write_error,
)


@dataclass(frozen=True, slots=True, eq=False)
class VectorFile:
    """What `load_vectors` found.

    Attributes:
        vectors: ``(n, dimension)`` float32, C order; read-only when memory-mapped.
        texts: one a row, or None.
        ids: one a row, or None; in a collection's file the passages of one record have the same.
        model: name of the model, or None when it is not known.
        fingerprint: of the model, or None when it is not known.
        dimension: length of a row.
    """

    vectors: Matrix
    texts: tuple[str, ...] | None
    ids: tuple[str, ...] | None
    model: str | None
    fingerprint: str | None
    dimension: int

    def require_model(self, info: ModelInfo) -> None:
        """Make sure that vectors of this model (``model.info``) may be compared with these.

        Raises:
            ModelMismatchError: another model made these, or it is not known which one did.
        """
        if self.fingerprint == info.fingerprint:
            return
        if self.fingerprint is None:
            raise ModelMismatchError(
                f"it is not known which model made these vectors, so they can't be compared with "
                f"{info.name}'s; embed the texts again and save them with model=model.info"
            )
        raise ModelMismatchError(
            f"these vectors were made with {self.model} (fingerprint {self.fingerprint[:8]}…), not "
            f"{info.name} ({info.short_fingerprint}…); embed the texts again, or load that model"
        )


def save_vectors(
    path: str | os.PathLike[str],
    vectors: Any,
    *,
    texts: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    model: ModelInfo | str | None = None,
) -> Path:
    """Write ``name.npy`` and ``name.json``, together: a reader sees both old or both new, also after a kill.

    The new description lies beside the old one, as ``name.json.new``, until the new numbers have their name: that
    is the one step in which old becomes new. What else holds of outputs is in `textkin.vectors.writing`.

    Args:
        path: with or without ``.npy``; its folder must exist.
        vectors: ``(n, d)`` numbers; written as float32, C order.
        texts: one a row.
        ids: one a row, all different.
        model: the model's facts (``model.info``), or just its name.

    Returns:
        The path of the ``.npy``.

    Raises:
        InputError: not a matrix of finite numbers (names the first bad row), texts or ids that don't fit, no
            such folder, a device or a pipe, or a ``.json`` in the way that is not a description of vectors.
        ReadOnlyError: the folder or a file can't be written.
        StorageFullError: no room left; what was there is there as it was.
    """
    places = check_place(path)
    matrix = as_matrix(vectors, "vectors")
    facts: dict[str, Any] = {
        "format": FORMAT,
        "model": model.name if isinstance(model, ModelInfo) else model,
        "fingerprint": model.fingerprint if isinstance(model, ModelInfo) else None,
        "dimension": int(matrix.shape[1]),
        "count": len(matrix),
        "dtype": "float32",
    }
    if isinstance(model, ModelInfo):
        facts["model_info"] = asdict(model)
    if isinstance(model, ModelInfo) and len(matrix) and model.dimensions != matrix.shape[1]:
        raise InputError(
            f"{model.name} makes vectors of {model.dimensions} numbers, but these have {matrix.shape[1]}"
        )
    for name, values in (("texts", texts), ("ids", ids)):
        if values is not None:
            facts[name] = _labels(values, name, len(matrix))
    if ids is not None and len(set(facts["ids"])) < len(facts["ids"]):
        raise InputError("ids must all be different; at least one comes twice")
    try:
        with Replacement(places.target) as new:
            hashing = HashingWriter(new.file)
            np.lib.format.write_array(cast(BinaryIO, hashing), matrix, version=(1, 0), allow_pickle=False)
            new.seal()
            facts["sha256"] = hashing.digest.hexdigest()
            with _alone(places.pending.parent):
                _finish(places)
                try:
                    with Replacement(target_of(places.pending), places.described) as described:
                        described.file.write(encode(facts))
                        described.put_in_place()
                    new.put_in_place()
                finally:
                    if new.in_place:
                        _name_description(places)
                    else:
                        # Of a disk that fails, the first error is the one to tell; readers pass this file over.
                        with contextlib.suppress(OSError):
                            places.pending.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, places.target) from error
    return places.numbers


@dataclass(frozen=True, slots=True)
class VectorPlaces:
    """The names of a pair, free to be written or replaced; made by `check_place`.

    Attributes:
        numbers: the .npy, as the user named it.
        description: the .json, beside that name.
        pending: the description's name until the numbers have theirs.
        target: what the .npy is, links followed.
        described: what the .json is.
    """

    numbers: Path
    description: Path
    pending: Path
    target: Target
    described: Target


def check_place(path: str | os.PathLike[str]) -> VectorPlaces:
    """Refuse a place that can't hold vectors before any work is done; nothing is changed.

    Raises:
        InputError, ReadOnlyError: as `save_vectors`.
    """
    numbers, description = pair(path)
    target, described = target_of(numbers), target_of(description)
    for one in (target, described):
        if one.streamed:
            raise InputError(
                f"{one.name} is a device or a pipe, and vectors are a pair of files, {numbers.name} and "
                f"{description.name}; choose another name for them"
            )
    for name in (description, pending(description)):
        try:
            found = format_of(name.read_bytes()) if name.exists() else FORMAT
        except OSError:
            found = None
        if found is None:
            raise InputError(
                f"{name} is in the way: it would be replaced by the description of {numbers.name}, but it is "
                "something else; choose another name for the vectors"
            )
        if found >= COLLECTION_FORMAT or journal(numbers).exists():
            raise InputError(
                f"{numbers} is a collection, which would be replaced; choose another name for the vectors, or "
                f"remove {numbers.name} and {description.name} first"
            )
    return VectorPlaces(numbers, description, pending(description), target, described)


def load_vectors(path: str | os.PathLike[str], *, mmap: bool = False) -> VectorFile:
    """Read an ``.npy`` with its ``.json``, if there is one, and check that they belong together.

    Nothing is unpickled. The whole file is read once to compare its checksum, also with ``mmap``.

    Args:
        path: with or without ``.npy``.
        mmap: map the file (float32, C order) instead of loading it.

    Raises:
        FileReadError: a missing, cut or foreign file, numbers that are not finite (names the first bad row), or
            two files that are not of the same run.
        NewerVersionError: written by a newer textkin.
    """
    numbers, description = pair(path)
    for one in (numbers, description, pending(description)):
        if one.exists() and not one.is_file():
            what = "folder" if one.is_dir() else "device or a pipe"
            raise FileReadError(f"{one} is a {what}; vectors are a pair of files")
    while True:
        before = _marks(numbers, description)
        try:
            found = _read(numbers, description, mmap)
        except FileReadError:
            if _marks(numbers, description) == before:
                raise
        else:
            if _marks(numbers, description) == before:
                return found


def _read(numbers: Path, description: Path, mmap: bool) -> VectorFile:
    facts = read_description(description, numbers) if description.exists() else None
    matrix = read_npy(numbers, mmap)
    newer = read_description(pending(description), numbers) if pending(description).exists() else None
    digest = None if facts is None and newer is None else _sha256(numbers)
    if newer is not None and newer["sha256"] == digest:
        facts = newer
    if facts is None:
        check_finite(matrix, str(numbers), FileReadError)
        return VectorFile(matrix, None, None, None, None, int(matrix.shape[1]))
    for name, found in (("count", len(matrix)), ("dimension", int(matrix.shape[1]))):
        if facts[name] != found:
            raise FileReadError(
                f"{numbers} and {description} are not of the same run: the {name} is {found} in the first and "
                f"{facts[name]} in the second; write them again"
            )
    if digest != facts["sha256"]:
        raise FileReadError(
            f"{numbers} and {description} are not of the same run, or the first was changed: its SHA-256 is not "
            "the one in the second; write them again"
        )
    check_finite(matrix, str(numbers), FileReadError)
    texts, ids = rows_of(facts)
    return VectorFile(
        vectors=matrix,
        texts=texts,
        ids=ids,
        model=facts.get("model"),
        fingerprint=facts.get("fingerprint"),
        dimension=facts["dimension"],
    )


def _labels(values: Sequence[str], name: str, count: int) -> list[str]:
    if isinstance(values, str):
        raise InputError(f"{name} must be a sequence of strings, one a row, not one string")
    labels = list(values)
    if len(labels) != count:
        raise InputError(f"{name} has {len(labels)} items for {count} vectors; there must be one a row")
    for row, label in enumerate(labels):
        if not isinstance(label, str):
            raise InputError(f"{name}: item {row} must be a string, not {type(label).__name__}")
    return labels


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error


def _marks(*paths: Path) -> list[tuple[int, int, int] | None]:
    """Others where a file was replaced meanwhile."""
    marks: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            marks.append(None)
        else:
            marks.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return marks


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from replacing a pair in this folder meanwhile, where the system can."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _finish(places: VectorPlaces) -> None:
    """Do what a killed writer didn't come to: the pair may need the description that it left."""
    if not places.pending.exists():
        return
    left = read_description(places.pending, places.numbers)
    if places.numbers.exists() and left["sha256"] == _sha256(places.numbers):
        _name_description(places)
    else:
        places.pending.unlink(missing_ok=True)


def _name_description(places: VectorPlaces) -> None:
    """Give the pending description its name; the pair opens before as well as after."""
    try:
        if places.described.place.parent == target_of(places.pending).place.parent:
            put_in_place(places.pending, places.described.place)
            flush_folder(places.pending.parent)
        else:  # a link, to another folder and perhaps another disk
            with Replacement(places.described) as new:
                new.file.write(places.pending.read_bytes())
                new.put_in_place()
            places.pending.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{places.numbers} is written, and opens, but its description could not be named {places.description} "
            f"({error.strerror or error}) and is {places.pending} until it is written again"
        ) from error
