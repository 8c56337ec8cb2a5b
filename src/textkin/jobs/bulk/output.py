"""A finished job's folder read again: its manifest, and its rows with their vectors, in constant memory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from textkin._optional import require
from textkin.errors import CorruptStoreError, NewerVersionError, StoreError, StoreNotFoundError
from textkin.jobs.bulk.manifest import FORMAT, VERSION
from textkin.jobs.bulk.parquet import facts_of
from textkin.stores.problems import from_system
from textkin.text.parquet_table import column_scalars
from textkin.types import Matrix, Metadata, ModelInfo
from textkin.vectors.mapped import mapped_matrix
from textkin.vectors.outputs import MANIFEST, holds_output, is_finished, not_a_collection
from textkin.vectors.quantize import Kind, check_kind, dequantize, stored_type, stored_width

_CURE: Final = "run the same textkin embed command again with --resume: what is whole is kept"


@dataclass(frozen=True, slots=True)
class Shard:
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
    shards: tuple[Shard, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some rows of an output.

    Attributes:
        ids: one a row.
        texts: None where the output has none, or they were not asked for.
        metadata: the kept columns of each row; dates and times as ISO texts.
        vectors: ``(n, dimensions)`` float32 unit rows; ``(n, 0)`` where they were not asked for.
    """

    ids: list[str]
    texts: list[str] | None
    metadata: Sequence[Metadata]
    vectors: Matrix


def read_manifest(place: Path) -> Manifest:
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
        facts = json.loads((place / MANIFEST).read_bytes())
    except OSError as error:
        raise from_system(error, place / MANIFEST) from error
    except (ValueError, RecursionError) as error:
        raise CorruptStoreError(f"{name} is damaged ({error}); {_CURE}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or type(facts.get("version")) is not int:
        raise CorruptStoreError(f"{name} was not written by textkin, or is damaged; {_CURE}")
    if facts["version"] > VERSION:
        raise NewerVersionError(
            f"{name} has version {facts['version']}, and this textkin reads up to {VERSION}; update textkin"
        )
    try:
        return _understood(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStoreError(f"{name} is damaged ({type(error).__name__}: {error}); {_CURE}") from error


def _understood(facts: Mapping[str, Any]) -> Manifest:
    model = ModelInfo(**facts["model"])
    canaries = np.frombuffer(base64.b64decode(facts["canaries"]), dtype="<f4").reshape(-1, model.dimensions)
    check_kind(facts["dtype"])
    shards = tuple(
        Shard(_plain_name(told["file"]), int(told["rows"]), int(told["bytes"]), str(told["sha256"]))
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


class VectorOutput:
    """The output of a finished job. Nothing of it is ever changed, and it may be read by many at once.

    Args:
        path: the folder.

    Attributes:
        path: the same.
        manifest: what the job says of it.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        CorruptStoreError: a shard is missing or of another size; names it. Its checksum is compared before the
            first row of it is given.
        StoreError: as `read_manifest`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self._arrow = require("pyarrow", extra="parquet")
        self._compute = require("pyarrow.compute", extra="parquet")
        self._parquet = require("pyarrow.parquet", extra="parquet")
        self._verified: set[str] = set()
        for shard in self.manifest.shards:
            try:
                size = (self.path / shard.file).stat().st_size
            except OSError:
                size = -1
            if size != shard.bytes:
                there = "is missing" if size < 0 else f"has {size:,} bytes instead of {shard.bytes:,}"
                raise CorruptStoreError(f"{self.path}: the shard {shard.file} {there}; {_CURE}")

    def __repr__(self) -> str:
        return f"<VectorOutput {self.path}: {self.count:,} x {self.dimensions} {self.dtype}>"

    @property
    def model(self) -> ModelInfo:
        """The model that made the vectors."""
        return self.manifest.model

    @property
    def canaries(self) -> Matrix:
        """Its vectors of the canary texts."""
        return self.manifest.canaries

    @property
    def count(self) -> int:
        """Rows, each with a vector."""
        return self.manifest.rows

    @property
    def dimensions(self) -> int:
        """Of the vectors as they are stored."""
        return self.manifest.dimensions

    @property
    def dtype(self) -> Kind:
        """Of the stored numbers."""
        return self.manifest.dtype

    def verify(self) -> None:
        """Read every byte.

        Raises:
            CorruptStoreError: a shard is not what the job wrote; names it.
        """
        for shard in self.manifest.shards:
            self._verify(shard)

    def batches(self, size: int = 1000, *, texts: bool = True, vectors: bool = True) -> Iterator[Batch]:
        """All rows in order; memory is that of a row group of one shard.

        Args:
            size: rows of a batch at most.
            texts: whether to read the texts, where there are any.
            vectors: whether to read the vectors.

        Raises:
            CorruptStoreError: a shard that can't be read, or holds something else; names it.
        """
        names = self._names(texts, vectors)
        for shard in self.manifest.shards:
            with self._opened(shard) as file:
                for rows in file.iter_batches(batch_size=size, columns=names):
                    yield self._batch(rows, shard, texts, vectors)

    def find(self, ids: Sequence[str]) -> Iterator[Batch]:
        """The rows with these ids, in the order of the output; of all others only the ids are read."""
        names = self._names(True, True)
        for shard, table in self._chosen(ids, names):
            for rows in table.to_batches():
                yield self._batch(rows, shard, True, True)

    def tables(self, ids: Sequence[str]) -> Iterator[Any]:
        """As `find`, each part as a ``pyarrow.Table`` with all columns as they are stored."""
        for _, table in self._chosen(ids, None):
            yield table

    def matrix(self) -> AbstractContextManager[Matrix]:
        """All vectors as one mapped ``(count, dimensions)`` float32 matrix in a temporary file.

        Raises:
            StorageFullError: no room for it; says where to make some.
        """
        blocks = (batch.vectors for batch in self.batches(8192, texts=False))
        return mapped_matrix(self.count, self.dimensions, blocks)

    def _chosen(self, ids: Sequence[str], names: list[str] | None) -> Iterator[tuple[Shard, Any]]:
        wanted = self._arrow.array(list(ids), self._arrow.string())
        for shard in self.manifest.shards:
            with self._opened(shard) as file:
                for group in range(file.num_row_groups):
                    here = file.read_row_group(group, columns=["id"]).column("id")
                    chosen = self._compute.is_in(here, value_set=wanted)
                    if self._compute.any(chosen).as_py():
                        yield shard, file.read_row_group(group, columns=names).filter(chosen)

    def _names(self, texts: bool, vectors: bool) -> list[str]:
        own = ["id"] + ["text"] * (texts and self.manifest.text) + ["vector"] * vectors
        return [*own, *self.manifest.columns]

    def _verify(self, shard: Shard) -> None:
        try:
            with (self.path / shard.file).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise from_system(error, self.path / shard.file) from error
        if found != shard.sha256:
            raise CorruptStoreError(
                f"{self.path}: the shard {shard.file} was changed since it was written (its SHA-256 is "
                f"{found[:12]}… instead of {shard.sha256[:12]}…); {_CURE}"
            )
        self._verified.add(shard.file)

    @contextmanager
    def _opened(self, shard: Shard) -> Iterator[Any]:
        """One shard, checked against the manifest; what goes wrong in the block is its damage."""
        if shard.file not in self._verified:
            self._verify(shard)
        try:
            with self._parquet.ParquetFile(self.path / shard.file, pre_buffer=False) as file:
                self._check(file, shard)
                yield file
        except (self._arrow.ArrowException, OSError) as error:
            raise CorruptStoreError(
                f"{self.path}: the shard {shard.file} can't be read ({str(error).splitlines()[0]}); {_CURE}"
            ) from error

    def _check(self, file: Any, shard: Shard) -> None:
        schema = file.schema_arrow
        told = facts_of(schema.metadata) or {}
        lacking = [name for name in self._names(True, True) if name not in schema.names]
        if told.get("fingerprint") != self.model.fingerprint:
            problem = "holds vectors of another model"
        elif lacking:
            problem = f"lacks the column {lacking[0]!r}"
        elif file.metadata.num_rows != shard.rows:
            problem = f"has {file.metadata.num_rows:,} rows instead of {shard.rows:,}"
        elif schema.field("vector").type != self._vector_type(schema.field("vector").type):
            problem = f"has vectors of the type {schema.field('vector').type}"
        else:
            return
        raise CorruptStoreError(f"{self.path}: the shard {shard.file} {problem}; {_CURE}")

    def _vector_type(self, like: Any) -> Any:
        arrow = self._arrow
        number = arrow.from_numpy_dtype(stored_type(self.dtype))
        item = like.value_field if arrow.types.is_fixed_size_list(like) else arrow.field("element", number)
        return arrow.list_(item.with_type(number), stored_width(self.dtype, self.dimensions))

    def _batch(self, rows: Any, shard: Shard, texts: bool, vectors: bool) -> Batch:
        ids = rows.column("id").to_pylist()
        columns = [column_scalars(rows.column(name)) for name in self.manifest.columns]
        metadata = [
            dict(zip(self.manifest.columns, values, strict=True)) for values in zip(*columns, strict=True)
        ] or [{} for _ in ids]
        unit = np.zeros((len(ids), 0), dtype=np.float32)
        if vectors:
            column = rows.column("vector")
            width = stored_width(self.dtype, self.dimensions)
            numbers = column.flatten().to_numpy(zero_copy_only=False)
            if column.null_count or len(numbers) != len(ids) * width:
                raise CorruptStoreError(f"{self.path}: the shard {shard.file} has rows without a vector; {_CURE}")
            unit = dequantize(numbers.reshape(-1, width), self.dtype)
            if not np.isfinite(unit).all():
                raise CorruptStoreError(
                    f"{self.path}: the shard {shard.file} has vectors with NaN or infinity; {_CURE}"
                )
        kept = rows.column("text").to_pylist() if texts and self.manifest.text else None
        return Batch(ids, kept, metadata, unit)
