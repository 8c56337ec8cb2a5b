"""The manifest of a finished job, read without trust."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from textkin.errors import CorruptStoreError, NewerVersionError, StoreError, StoreNotFoundError
from textkin.jobs.bulk.manifest import FORMAT, VERSION
from textkin.stores.problems import from_system
from textkin.types import Matrix, ModelInfo
from textkin.vectors.outputs import MANIFEST, holds_output, is_finished, not_a_collection
from textkin.vectors.quantize import Kind, check_kind
from textkin.vectors.sealed import unsealed

CURE: Final = "run the same textkin embed command again with --resume: what is whole is kept"


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file of the output.

    Attributes:
        file: its name.
        rows: in it.
        bytes: of it.
        sha256: of it, hex digits.
    """

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """What a job says of its output.

    Attributes:
        model: that made the vectors.
        canaries: ``(16, model.dimensions)``.
        dimensions: of the vectors as they are stored; fewer than the model's where they were cut.
        dtype: of the stored numbers.
        encoding: the stated error and the recall that was measured; None for float32.
        columns: that were kept beside id and text.
        text: whether texts were kept.
        rows: with a vector.
        duplicate_ids: rows whose id another row has.
        shards: the files, in order.
        facts: all of it, as JSON values.
    """

    model: ModelInfo
    canaries: Matrix
    dimensions: int
    dtype: Kind
    encoding: Mapping[str, Any] | None
    columns: tuple[str, ...]
    text: bool
    rows: int
    duplicate_ids: int
    shards: tuple[ShardFile, ...]
    facts: Mapping[str, Any]


def read_result(place: Path) -> Manifest:
    """The manifest of a finished job.

    Raises:
        StoreNotFoundError: no job wrote to this folder.
        StoreError: the job is not finished.
        NewerVersionError: a newer textkin wrote it.
        CorruptStoreError: it can't be read, or contradicts itself.
    """
    if not is_finished(place):
        if holds_output(place):
            raise StoreError(not_a_collection(place))
        raise StoreNotFoundError(
            f"{place} is not the output of an embedding job (it has no {MANIFEST}); make one: "
            f"textkin embed INPUT -o {place}"
        )
    name = f"{place}/{MANIFEST}"
    try:
        facts = unsealed((place / MANIFEST).read_bytes())
    except OSError as error:
        raise from_system(error, place / MANIFEST) from error
    except (ValueError, RecursionError) as error:
        raise CorruptStoreError(f"{name} is damaged ({error}); {CURE}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or type(facts.get("version")) is not int:
        raise CorruptStoreError(f"{name} was not written by textkin, or is damaged; {CURE}")
    if facts["version"] > VERSION:
        raise NewerVersionError(
            f"{name} has version {facts['version']}, and this textkin reads up to {VERSION}; update textkin"
        )
    try:
        return _understood(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStoreError(f"{name} is damaged ({type(error).__name__}: {error}); {CURE}") from error


def _understood(facts: Mapping[str, Any]) -> Manifest:
    model = ModelInfo(**facts["model"])
    canaries = np.frombuffer(base64.b64decode(facts["canaries"]), dtype="<f4").reshape(-1, model.dimensions)
    check_kind(facts["dtype"])
    shards = tuple(
        ShardFile(_plain_name(told["file"]), int(told["rows"]), int(told["bytes"]), str(told["sha256"]))
        for told in facts["shards"]
        if told["file"] is not None
    )
    if model.fingerprint != facts["fingerprint"]:
        raise ValueError("two fingerprints")
    if not 1 <= facts["dimensions"] <= model.dimensions:
        raise ValueError(f"{facts['dimensions']} dimensions of a model with {model.dimensions}")
    if sum(shard.rows for shard in shards) != facts["rows"]:
        raise ValueError("its shards have another number of rows than it says")
    return Manifest(
        model=model,
        canaries=canaries,
        dimensions=facts["dimensions"],
        dtype=facts["dtype"],
        encoding=facts.get("encoding"),
        columns=tuple(column["name"] for column in facts["columns"]),
        text=bool(facts["text"]),
        rows=facts["rows"],
        duplicate_ids=int(facts.get("duplicate_ids") or 0),
        shards=shards,
        facts=facts,
    )


def _plain_name(name: str) -> str:
    if Path(name).name != name or "\\" in name or not name.endswith(".parquet"):
        raise ValueError(f"{name!r} is no name of a shard")
    return name
