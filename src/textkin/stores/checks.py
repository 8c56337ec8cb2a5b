"""What may enter a store: whole records, and vectors that are vectors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from textkin.errors import BadVectorsError, InputError, ModelMismatchError
from textkin.types import Matrix, Metadata, ModelInfo, Record

MAX_PASSAGES: Final = 1 << 20
"""Passages that one record may have."""
UNIT_TOLERANCE: Final = 1e-3
"""How far from 1 a row's length may be."""


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch of nothing.

    Raises:
        InputError: under 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")


def checked_records(records: Sequence[Record]) -> list[str]:
    """Refuse records that can't be kept as they are.

    Returns:
        The metadata of each as JSON.

    Raises:
        InputError: naming the record.
    """
    seen: set[str] = set()
    metadata = []
    for record in records:
        if not isinstance(record.id, str) or not record.id:
            raise InputError(f"a record's id is a text that is not empty, not {record.id!r}")
        if record.id in seen:
            raise InputError(f"record {record.id!r} comes twice in one call; ids are unique")
        seen.add(record.id)
        for name, text in (("id", record.id), ("text", record.text), ("source", record.source)):
            if not (isinstance(text, str) or (text is None and name == "source")):
                raise InputError(f"record {record.id!r}: its {name} is a {type(text).__name__}, not a text")
            _check_whole(text or "", f"record {record.id!r}: its {name}")
        _check_spans(record)
        metadata.append(_metadata_json(record.id, record.metadata))
    return metadata


def checked_vectors(records: Sequence[Record], vectors: Matrix, model: ModelInfo) -> Matrix:
    """The vectors as little-endian float32 in C order: one unit row a span, of the model's length.

    Raises:
        InputError: their number differs from the spans'.
        ModelMismatchError: their length differs from the model's.
        BadVectorsError: NaN, infinity or a row that is not of unit length; naming the record.
    """
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    spans = [len(record.spans) for record in records]
    if rows.ndim != 2 or len(rows) != sum(spans):
        raise InputError(
            f"{sum(spans)} passages in {len(records)} records need as many vectors, one row each; "
            f"the shape given is {rows.shape}"
        )
    if rows.shape[1] != model.dimensions and len(rows):
        raise ModelMismatchError(
            f"the vectors have {rows.shape[1]} dimensions, but the collection holds those of {model.name} with "
            f"{model.dimensions}"
        )
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(np.abs(np.sqrt(squares) - 1) <= UNIT_TOLERANCE))
    if len(bad):
        row = int(bad[0])
        owner = int(np.searchsorted(np.cumsum(spans), row, side="right"))
        problem = (
            f"has length {math.sqrt(squares[row]):.6g} instead of 1; normalise it"
            if np.isfinite(squares[row])
            else "holds NaN or infinity"
        )
        raise BadVectorsError(f"record {records[owner].id!r}: a vector of it {problem}. Nothing was stored")
    return rows


def checked_queries(queries: Matrix, model: ModelInfo) -> Matrix:
    """The queries as float32 in C order.

    Raises:
        InputError: not a matrix of finite unit rows.
        ModelMismatchError: their length differs from the model's.
    """
    rows = np.ascontiguousarray(queries, dtype=np.float32)
    if rows.ndim != 2:
        raise InputError(f"queries are a matrix, one row each, not of shape {rows.shape}")
    if rows.shape[1] != model.dimensions and len(rows):
        raise ModelMismatchError(
            f"the query has {rows.shape[1]} dimensions, but the collection holds vectors of {model.name} with "
            f"{model.dimensions}"
        )
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if len(bad):
        raise InputError(f"query number {bad[0]} has length {lengths[bad[0]]:.6g} instead of 1; normalise it")
    return rows


def _check_spans(record: Record) -> None:
    if not record.spans:
        raise InputError(f"record {record.id!r} has no passage; split it first (one span over the whole text)")
    if len(record.spans) > MAX_PASSAGES:
        raise InputError(f"record {record.id!r} has {len(record.spans)} passages; at most {MAX_PASSAGES}")
    for span in record.spans:
        if not 0 <= span.start <= span.end <= len(record.text):
            raise InputError(
                f"record {record.id!r}: passage {span.start} to {span.end} lies outside of its "
                f"{len(record.text)} characters"
            )


def _metadata_json(id: str, metadata: Metadata) -> str:
    for key, value in metadata.items():
        if not isinstance(key, str):
            raise InputError(f"record {id!r}: a metadata key is a text, not {key!r}")
        _check_whole(key, f"record {id!r}: the metadata key {key!r}")
        if "\0" in key:
            raise InputError(f"record {id!r}: the metadata key {key!r} holds a zero byte; name it otherwise")
        for item in value if isinstance(value, list | tuple) else (value,):
            _check_scalar(item, f"record {id!r}: metadata {key!r}")
    return json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)


def _check_scalar(value: object, what: str) -> None:
    if isinstance(value, str):
        _check_whole(value, what)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{what} does not fit in 64 bits; keep it as a text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{what} is {value}; use a finite number or None")
    else:
        raise InputError(
            f"{what} is a {type(value).__name__}; "
            "a value is a text, a number, true, false or None, or a list of these"
        )


def _check_whole(text: str, what: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} holds half a character (a lone surrogate), which no file can keep; "
            "replace it first (textkin.text.digest.well_formed)"
        ) from error
