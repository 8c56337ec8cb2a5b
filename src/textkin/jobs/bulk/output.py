"""A finished job's folder read again: its rows with their vectors, in constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textkin._optional import require
from textkin._places import absolute
from textkin.errors import CorruptStoreError
from textkin.jobs.bulk.parquet import facts_of
from textkin.jobs.bulk.result import CURE, ShardFile, read_result
from textkin.stores.problems import from_system
from textkin.text.parquet_table import column_values
from textkin.types import Matrix, Metadata, ModelInfo
from textkin.vectors.mapped import mapped_matrix
from textkin.vectors.quantize import Kind, dequantize, stored_type, stored_width


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
        StoreError: as `read_result`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._folder = absolute(path)
        self.manifest = read_result(self.path)
        self._arrow = require("pyarrow", extra="parquet")
        self._compute = require("pyarrow.compute", extra="parquet")
        self._parquet = require("pyarrow.parquet", extra="parquet")
        self._verified: set[str] = set()
        for shard in self.manifest.shards:
            try:
                size = (self._folder / shard.file).stat().st_size
            except OSError:
                size = -1
            if size != shard.bytes:
                there = "is missing" if size < 0 else f"has {size:,} bytes instead of {shard.bytes:,}"
                raise CorruptStoreError(f"{self.path}: the shard {shard.file} {there}; {CURE}")

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

    def _chosen(self, ids: Sequence[str], names: list[str] | None) -> Iterator[tuple[ShardFile, Any]]:
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

    def _verify(self, shard: ShardFile) -> None:
        try:
            with (self._folder / shard.file).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise from_system(error, self.path / shard.file) from error
        if found != shard.sha256:
            raise CorruptStoreError(
                f"{self.path}: the shard {shard.file} was changed since it was written (its SHA-256 is "
                f"{found[:12]}… instead of {shard.sha256[:12]}…); {CURE}"
            )
        self._verified.add(shard.file)

    @contextmanager
    def _opened(self, shard: ShardFile) -> Iterator[Any]:
        """One shard, checked against the manifest; what goes wrong in the block is its damage."""
        if shard.file not in self._verified:
            self._verify(shard)
        try:
            with self._parquet.ParquetFile(self._folder / shard.file, pre_buffer=False) as file:
                self._check(file, shard)
                yield file
        except (self._arrow.ArrowException, OSError) as error:
            raise CorruptStoreError(
                f"{self.path}: the shard {shard.file} can't be read ({str(error).splitlines()[0]}); {CURE}"
            ) from error

    def _check(self, file: Any, shard: ShardFile) -> None:
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
        raise CorruptStoreError(f"{self.path}: the shard {shard.file} {problem}; {CURE}")

    def _vector_type(self, like: Any) -> Any:
        arrow = self._arrow
        number = arrow.from_numpy_dtype(stored_type(self.dtype))
        item = like.value_field if arrow.types.is_fixed_size_list(like) else arrow.field("element", number)
        return arrow.list_(item.with_type(number), stored_width(self.dtype, self.dimensions))

    def _batch(self, rows: Any, shard: ShardFile, texts: bool, vectors: bool) -> Batch:
        ids = rows.column("id").to_pylist()
        columns = [column_values(rows.column(name)) for name in self.manifest.columns]
        metadata = [
            dict(zip(self.manifest.columns, values, strict=True)) for values in zip(*columns, strict=True)
        ] or [{} for _ in ids]
        unit = np.zeros((len(ids), 0), dtype=np.float32)
        if vectors:
            column = rows.column("vector")
            width = stored_width(self.dtype, self.dimensions)
            numbers = column.flatten().to_numpy(zero_copy_only=False)
            if column.null_count or len(numbers) != len(ids) * width:
                raise CorruptStoreError(f"{self.path}: the shard {shard.file} has rows without a vector; {CURE}")
            unit = dequantize(numbers.reshape(-1, width), self.dtype)
            if not np.isfinite(unit).all():
                raise CorruptStoreError(
                    f"{self.path}: the shard {shard.file} has vectors with NaN or infinity; {CURE}"
                )
        kept = rows.column("text").to_pylist() if texts and self.manifest.text else None
        return Batch(ids, kept, metadata, unit)
