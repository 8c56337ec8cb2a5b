"""The .json beside an .npy, which says what its rows are: its name, its two formats, reading it without trust."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from textkin.errors import FileReadError, InputError, NewerVersionError
from textkin.vectors.sealed import DIGEST, SealError, check_seal, sealed

FORMAT: Final = 1
"""What `save_vectors` writes: texts and ids, one a row."""
COLLECTION_FORMAT: Final = 2
"""What a collection in a file writes: records, whose passages have a row each, and the model's header."""


def pair(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The .npy and its .json, from a name with or without ``.npy``.

    Raises:
        InputError: it names no file.
    """
    given = Path(path)
    if not given.name:
        raise InputError(f"{str(path)!r} names no file; expected something like vectors.npy")
    stem = given.name[:-4] if given.name.lower().endswith(".npy") and len(given.name) > 4 else given.name
    numbers = given if stem != given.name else given.with_name(f"{stem}.npy")
    return numbers, given.with_name(f"{stem}.json")


def pending(description: Path) -> Path:
    """The name that a collection's new description has until its numbers are in place.

    Where the one that stands doesn't fit the numbers, a writer was killed between two renames, and this one does.
    """
    return description.with_name(f"{description.name}.new")


def journal(numbers: Path) -> Path:
    """Where a collection keeps changes that are not in its two files yet."""
    return numbers.with_name(f"{numbers.name}.journal")


def format_of(data: bytes) -> int | None:
    """The format of a description; None for anything else."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or not {"format", "dimension", "count", "sha256"} <= facts.keys():
        return None
    version = facts["format"]
    return version if type(version) is int else None


def read_description(path: Path, numbers: Path) -> dict[str, Any]:
    """As `parse_description`, from a file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error
    return parse_description(data, path, numbers)


def parse_description(data: bytes, path: Path, numbers: Path) -> dict[str, Any]:
    """The facts, each of the type that its format says.

    Args:
        data: the file's content.
        path: for messages.
        numbers: the .npy that it describes, for messages.

    Raises:
        FileReadError: not a description, or a damaged one.
        NewerVersionError: written by a newer textkin.
    """
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileReadError(f"{path}, which describes {numbers}, is not valid JSON: {error}") from error
    if not isinstance(facts, dict) or type(facts.get("format")) is not int or "sha256" not in facts:
        raise FileReadError(
            f"{path} does not describe the vectors in {numbers}; move it away to load them without texts and model"
        )
    if facts["format"] > COLLECTION_FORMAT:
        raise NewerVersionError(
            f"{path} has format {facts['format']}; this textkin reads up to {COLLECTION_FORMAT}: update it"
        )
    try:
        check_seal(data, facts)
    except SealError as error:
        raise FileReadError(
            f"{path} is damaged, or another program changed it: {error}. Write it again; or, to accept what it "
            f"says now, remove its last entry, {DIGEST!r}"
        ) from error
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
    if facts["format"] == COLLECTION_FORMAT:
        _check_records(facts, path, numbers)
    return facts


def rows_of(facts: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The text and the id of each row; of a record of several passages each has the same id."""
    if facts["format"] == COLLECTION_FORMAT:
        records = facts["records"]
        texts = tuple(item["text"][start:stop] for item in records for start, stop in item["spans"])
        return texts, tuple(item["id"] for item in records for _ in item["spans"])
    plain = [facts.get(name) for name in ("texts", "ids")]
    listed = [None if values is None else tuple(values) for values in plain]
    return listed[0], listed[1]


def encode(facts: dict[str, Any]) -> bytes:
    """A description of format 1 as JSON that people can read, with its digest."""
    try:
        data = json.dumps(facts, ensure_ascii=False, indent=1, default=dict).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: only escapes can carry it
        data = json.dumps(facts, ensure_ascii=True, indent=1, default=dict).encode("ascii")
    return sealed(data)


def _check_records(facts: Mapping[str, Any], path: Path, numbers: Path) -> None:
    records = facts.get("records")
    if not isinstance(records, list):
        raise FileReadError(f"{path}: 'records' must be a list")
    rows = 0
    for place, item in enumerate(records):
        if not isinstance(item, dict) or not all(isinstance(item.get(name), str) for name in ("id", "text")):
            raise FileReadError(
                f"{path}: record {place} (counted from 0) needs an 'id' and a 'text', both strings"
            )
        spans = item.get("spans")
        if not isinstance(spans, list) or not all(_is_span(span) for span in spans):
            raise FileReadError(f"{path}: record {place} (counted from 0) needs 'spans', pairs of whole numbers")
        rows += len(spans)
    if rows != facts["count"]:
        raise FileReadError(f"{path}: {rows} passages for {facts['count']} vectors in {numbers}")


def _is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(edge) is int for edge in value)
