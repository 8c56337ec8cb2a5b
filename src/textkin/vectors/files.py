"""Vectors in a file: an .npy with the numbers and a .json beside it that says what they belong to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from textkin.errors import (
    FileReadError,
    InputError,
    ModelMismatchError,
    ReadOnlyError,
    StorageFullError,
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
from textkin.vectors.writing import HashingWriter, flush, flush_folder


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
    """Write ``name.npy`` and ``name.json``; a reader never sees half of a file.

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
            such folder, or a ``.json`` in the way that is not a description of vectors.
        ReadOnlyError: the folder can't be written.
        StorageFullError: no room left.
    """
    numbers, description = pair(path)
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
    if not numbers.parent.is_dir():
        raise InputError(f"there is no folder {numbers.parent} to write {numbers.name} in; make it first")
    _check_replaceable(description, numbers)
    parts = (_beside(numbers), _beside(description))
    try:
        with parts[0].open("xb") as file:
            hashing = HashingWriter(file)
            np.lib.format.write_array(cast(BinaryIO, hashing), matrix, version=(1, 0), allow_pickle=False)
            flush(file)
        facts["sha256"] = hashing.digest.hexdigest()
        with parts[1].open("xb") as file:
            file.write(encode(facts))
            flush(file)
        # The description last: whatever happens between the two, an old one doesn't agree with new numbers.
        parts[0].replace(numbers)
        parts[1].replace(description)
        flush_folder(numbers.parent)
    except OSError as error:
        raise _write_error(error, numbers) from error
    finally:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    return numbers


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


def _check_replaceable(description: Path, numbers: Path) -> None:
    try:
        found = format_of(description.read_bytes()) if description.exists() else FORMAT
    except OSError:
        found = None
    if found is None:
        raise InputError(
            f"{description} is in the way: it would be replaced by the description of {numbers.name}, but it is "
            "something else; choose another name for the vectors"
        )
    if found >= COLLECTION_FORMAT or journal(numbers).exists():
        raise InputError(
            f"{numbers} is a collection, which would be replaced; choose another name for the vectors, or remove "
            f"{numbers.name} and {description.name} first"
        )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")


def _write_error(error: OSError, path: Path) -> ReadOnlyError | StorageFullError | InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"no room left to write {path}; nothing was replaced")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReadOnlyError(f"{path.parent} can't be written ({error.strerror}); choose another folder")
    return InputError(f"{path} can't be written: {error.strerror or error}")
