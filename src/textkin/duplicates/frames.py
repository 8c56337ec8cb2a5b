"""Rows of a report as tables of other libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from textkin._optional import require

COLUMNS: Final = ("id", "kept", "score", "reason", "via", "rule")


def arrow_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A ``pyarrow.Table`` with the columns of a report's rows, also when there are none.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    arrow = require("pyarrow", extra="parquet")
    kinds = arrow.schema([(name, arrow.float64() if name == "score" else arrow.string()) for name in COLUMNS])
    return arrow.Table.from_pylist([dict(row) for row in rows], schema=kinds)


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A ``pandas.DataFrame`` with the columns of a report's rows, also when there are none.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    pandas = require("pandas", extra="pandas")
    return pandas.DataFrame([dict(row) for row in rows], columns=list(COLUMNS)).astype({"score": "float64"})
