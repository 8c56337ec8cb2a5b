"""Vectors in a file: an .npy with the numbers and a .json beside it that says what they belong to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from textkin.errors import (
    FileReadError,
    InputError,
    ModelMismatchError,
    NewerVersionError,
    ReadOnlyError,
    StorageFullError,
)
from textkin.types import Matrix, ModelInfo
from textkin.vectors.npy import as_matrix, check_finite, read_npy

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class VectorFile:
    """What `load_vectors` found.

    Attributes:
        vectors: ``(n, dimension)`` float32, C order; read-only when memory-mapped.
        texts: one a row, or None.
        ids: one a row, or None.
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
    numbers, description = _pair(path)
    matrix = as_matrix(vectors, "vectors")
    facts: dict[str, Any] = {
        "format": FORMAT,
        "model": model.name if isinstance(model, ModelInfo) else model,
        "fingerprint": model.fingerprint if isinstance(model, ModelInfo) else None,
        "dimension": int(matrix.shape[1]),
        "count": len(matrix),
        "dtype": "float32",
    }
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
    if description.exists() and not _is_ours(description):
        raise InputError(
            f"{description} is in the way: it would be replaced by the description of {numbers.name}, but it is "
            "something else; choose another name for the vectors"
        )
    parts = (_beside(numbers), _beside(description))
    try:
        with parts[0].open("xb") as file:
            hashing = _HashingWriter(file)
            np.lib.format.write_array(cast(BinaryIO, hashing), matrix, version=(1, 0), allow_pickle=False)
            _flush(file)
        facts["sha256"] = hashing.digest.hexdigest()
        with parts[1].open("xb") as file:
            file.write(_encode(facts))
            _flush(file)
        # The description last: whatever happens between the two, an old one doesn't agree with new numbers.
        parts[0].replace(numbers)
        parts[1].replace(description)
        _flush_folder(numbers.parent)
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
    numbers, description = _pair(path)
    facts = _read_description(description, numbers) if description.exists() else None
    matrix = read_npy(numbers, mmap)
    if facts is None:
        check_finite(matrix, str(numbers), FileReadError)
        return VectorFile(matrix, None, None, None, None, int(matrix.shape[1]))
    for name, found in (("count", len(matrix)), ("dimension", int(matrix.shape[1]))):
        if facts[name] != found:
            raise FileReadError(
                f"{numbers} and {description} are not of the same run: the {name} is {found} in the first and "
                f"{facts[name]} in the second; write them again"
            )
    if _sha256(numbers) != facts["sha256"]:
        raise FileReadError(
            f"{numbers} and {description} are not of the same run, or the first was changed: its SHA-256 is not "
            "the one in the second; write them again"
        )
    check_finite(matrix, str(numbers), FileReadError)
    texts, ids = facts.get("texts"), facts.get("ids")
    return VectorFile(
        vectors=matrix,
        texts=None if texts is None else tuple(texts),
        ids=None if ids is None else tuple(ids),
        model=facts.get("model"),
        fingerprint=facts.get("fingerprint"),
        dimension=facts["dimension"],
    )


def _pair(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    given = Path(path)
    if not given.name:
        raise InputError(f"{str(path)!r} names no file; expected something like vectors.npy")
    stem = given.name[:-4] if given.name.lower().endswith(".npy") and len(given.name) > 4 else given.name
    numbers = given if stem != given.name else given.with_name(f"{stem}.npy")
    return numbers, given.with_name(f"{stem}.json")


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


def _read_description(path: Path, numbers: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FileReadError(f"{path}, which describes {numbers}, is not valid JSON: {error}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int) or "sha256" not in facts:
        raise FileReadError(
            f"{path} does not describe the vectors in {numbers}; move it away to load them without texts and model"
        )
    if facts["format"] > FORMAT:
        raise NewerVersionError(
            f"{path} has format {facts['format']}; this textkin reads up to {FORMAT}: update it"
        )
    for name in ("count", "dimension"):
        if type(facts.get(name)) is not int:
            raise FileReadError(f"{path}: {name!r} must be a whole number")
    for name in ("texts", "ids"):
        values = facts.get(name)
        if values is None:
            continue
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise FileReadError(f"{path}: {name!r} must be a list of strings")
        if len(values) != facts["count"]:
            raise FileReadError(f"{path}: {len(values)} {name} for {facts['count']} vectors in {numbers}")
    for name in ("model", "fingerprint"):
        if not isinstance(facts.get(name), str | None):
            raise FileReadError(f"{path}: {name!r} must be a string or null")
    return facts


def _is_ours(path: Path) -> bool:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and {"format", "dimension", "count", "sha256"} <= facts.keys()


def _encode(facts: dict[str, Any]) -> bytes:
    try:
        return json.dumps(facts, ensure_ascii=False, indent=1).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: only escapes can carry it
        return json.dumps(facts, ensure_ascii=True, indent=1).encode("ascii")


class _HashingWriter:
    """A file to write to that also takes the SHA-256 of what passes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_error(error: OSError, path: Path) -> ReadOnlyError | StorageFullError | InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"no room left to write {path}; nothing was replaced")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReadOnlyError(f"{path.parent} can't be written ({error.strerror}); choose another folder")
    return InputError(f"{path} can't be written: {error.strerror or error}")
