"""One shard as a Parquet file: its schema, writing it, and the facts that travel in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from textkin._optional import require
from textkin.jobs.bulk.columns import Columns
from textkin.jobs.bulk.shards import Row
from textkin.types import ModelInfo

ID, TEXT, TRUNCATED, VECTOR = "id", "text", "truncated", "vector"
OWN: Final = (ID, TEXT, TRUNCATED, VECTOR)
"""The names that the output uses itself."""
FACTS: Final = b"textkin"
"""The key of a file's metadata under which the model stands."""
_GROUP_ROWS: Final = 8192
_ITEM: Final = "element"


class ShardSchema:
    """How the rows of a job look in Parquet.

    Args:
        columns: to keep beside the text.
        text: whether the text is kept.
        model: that made the vectors.
        dimensions: of the vectors as they are written; of binary ones the bits.
        kind: ``float32``, ``float16``, ``int8`` or ``binary``.
    """

    def __init__(self, columns: Columns, *, text: bool, model: ModelInfo, dimensions: int, kind: str) -> None:
        arrow = require("pyarrow", extra="bulk")
        self._arrow = arrow
        self._parquet = require("pyarrow.parquet", extra="bulk")
        self.errors: tuple[type[Exception], ...] = (arrow.ArrowException, OverflowError)
        """What pyarrow raises where a value does not fit."""
        self._columns = columns
        self._text = text
        types = {
            "float32": (arrow.float32(), dimensions),
            "float16": (arrow.float16(), dimensions),
            "int8": (arrow.int8(), dimensions),
            "binary": (arrow.uint8(), dimensions // 8),
        }
        self._number, self._width = types[kind]
        # Parquet keeps numbers of 8 bits as 32: a dictionary of the 256 that there are saves what they promise.
        self._dictionary = kind in ("int8", "binary")
        facts = {
            "model": model.name,
            "fingerprint": model.fingerprint,
            "dimensions": dimensions,
            "dtype": kind,
        }
        fields = [arrow.field(ID, arrow.string(), nullable=False)]
        if text:
            fields.append(arrow.field(TEXT, arrow.string(), nullable=False))
        fields += [*columns.schema, arrow.field(TRUNCATED, arrow.bool_(), nullable=False)]
        item = arrow.field(_ITEM, self._number, nullable=False)
        fields.append(arrow.field(VECTOR, arrow.list_(item, self._width), nullable=False))
        self.schema = arrow.schema(fields, metadata={FACTS: json.dumps(facts).encode()})

    def write(
        self,
        file: BinaryIO,
        rows: Sequence[Row],
        truncated: Sequence[bool],
        stored: npt.NDArray[np.generic],
    ) -> None:
        """Write one shard.

        Args:
            file: that takes the bytes in order.
            rows: in the order of the output.
            truncated: for each, whether the model read only its beginning.
            stored: ``(len(rows), width)`` numbers as they are kept.
        """
        arrow = self._arrow
        arrays = [arrow.array([row.id for row in rows], arrow.string())]
        if self._text:
            arrays.append(arrow.array([row.text for row in rows], arrow.string()))
        for place, field in enumerate(self._columns.schema):
            arrays.append(arrow.array([row.values[place] for row in rows], field.type))
        arrays.append(arrow.array(truncated, arrow.bool_()))
        flat = arrow.array(np.ascontiguousarray(stored).reshape(-1), self._number)
        arrays.append(arrow.FixedSizeListArray.from_arrays(flat, type=self.schema.field(VECTOR).type))
        table = arrow.Table.from_arrays(arrays, schema=self.schema)
        plain = [name for name in self.schema.names if name != VECTOR]
        numbers = f"{VECTOR}.list.{_ITEM}"
        sink = arrow.PythonFile(file, mode="w")
        with self._parquet.ParquetWriter(
            sink,
            self.schema,
            # Numbers that look random gain nothing from either, and are read faster without.
            compression={**dict.fromkeys(plain, "zstd"), numbers: "none"},
            use_dictionary=[*plain, numbers] if self._dictionary else plain,
            write_statistics=plain,
        ) as writer:
            writer.write_table(table, row_group_size=_GROUP_ROWS)


def facts_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any] | None:
    """What `ShardSchema` says of the vectors in a file's metadata; None where it isn't one of ours."""
    data = (metadata or {}).get(FACTS)
    if data is None:
        return None
    facts = json.loads(data)
    return facts if isinstance(facts, dict) else None
