"""Other tools open the output without textkin: the same ids, the same numbers, nulls and times as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import lancedb
import numpy as np
import numpy.typing as npt
import pandas
import polars
import pyarrow.dataset
import pytest

import bulk_outputs
from textkin.vectors.quantize import KINDS, Kind, dequantize, quantize, stored_type

Rows = tuple[list[str], list[str], list[Any], list[Any], npt.NDArray[Any]]
"""Ids, texts, the column with nulls, times and stored vectors, as a tool gives them."""
IDS = [f"note-{n}" for n in range(len(bulk_outputs.TEXTS))]
CITIES = [None if n % 3 == 1 else f"Zürich {n}" for n in range(len(IDS))]


def by_pandas(place: str) -> Rows:
    frame = pandas.read_parquet(place)
    cities = [None if pandas.isna(one) else one for one in frame.city]
    return list(frame.id), list(frame.text), cities, list(frame.when), np.stack(list(frame.vector))


def by_polars(place: str) -> Rows:
    frame = polars.scan_parquet(f"{place}/*.parquet").collect()
    ids, texts, cities, times = (frame[name].to_list() for name in ("id", "text", "city", "when"))
    return ids, texts, cities, times, frame["vector"].to_numpy()


def by_duckdb(place: str) -> Rows:
    rows = f"read_parquet('{place}/*.parquet', file_row_number = true)"
    found = duckdb.sql(f"from {rows} order by filename, file_row_number")
    return _of_arrow(found.to_arrow_table())


def by_duckdb_folder(place: str) -> Rows:
    return _of_arrow(duckdb.sql(f"select * from read_parquet('{place}')").to_arrow_table())


def by_pyarrow(place: str) -> Rows:
    return _of_arrow(pyarrow.dataset.dataset(place).to_table())


def by_lancedb(place: str) -> Rows:
    rows = pyarrow.dataset.dataset(place)
    table = lancedb.connect(f"{place}-lance").create_table("notes", rows.to_batches(), schema=rows.schema)
    return _of_arrow(table.to_arrow())


def by_datasets(place: str) -> Rows:
    cache = f"{place}-cache"
    rows = datasets.load_dataset("parquet", data_files=f"{place}/*.parquet", split="train", cache_dir=cache)
    return _of_arrow(rows.with_format("arrow")[:])


def by_datasets_folder(place: str) -> Rows:
    rows = datasets.load_dataset(place, split="train", cache_dir=f"{place}-cache")
    return _of_arrow(rows.with_format("arrow")[:])


TOOLS = (
    *(by_pandas, by_polars, by_duckdb, by_duckdb_folder, by_pyarrow, by_lancedb),
    *(by_datasets, by_datasets_folder),
)


def _of_arrow(table: Any) -> Rows:
    vectors = np.array(table["vector"].to_pylist())
    return (*(table[name].to_pylist() for name in ("id", "text", "city", "when")), vectors)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", TOOLS)
def test_the_same_rows(tmp_path: Path, kind: Kind, tool: Callable[[str], Rows]) -> None:
    vectors = bulk_outputs.write_output(tmp_path / "OUT", dtype=kind)
    ids, texts, cities, times, stored = tool(str(tmp_path / "OUT"))
    assert ids == IDS
    assert texts == list(bulk_outputs.TEXTS)
    assert cities == CITIES
    assert [time.isoformat()[:19] for time in times] == [f"2026-11-24T{12 + n}:00:00" for n in range(len(ids))]
    assert {str(time.utcoffset()) for time in times} == {"0:00:00"}
    expected = quantize(vectors, kind)
    # The same numbers, whatever type the tool gives them.
    assert stored.astype(np.float64).tolist() == expected.astype(np.float64).tolist()
    back = dequantize(np.asarray(stored, dtype=stored_type(kind)), kind)
    assert np.array_equal(back, dequantize(expected, kind))


def test_polars_needs_the_pattern(tmp_path: Path) -> None:
    """A folder with any other file below it is refused; when this fails, the page can be simpler."""
    bulk_outputs.write_output(tmp_path / "OUT")
    with pytest.raises(polars.exceptions.InvalidOperationError, match="different file extensions"):
        polars.scan_parquet(tmp_path / "OUT").collect()


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_duckdb_finds_the_nearest(tmp_path: Path, kind: Kind) -> None:
    vectors = bulk_outputs.write_output(tmp_path / "OUT", dtype=kind)
    found = duckdb.sql(
        f"""
        with notes as (select id, vector::FLOAT[256] as vector from read_parquet('{tmp_path}/OUT/*.parquet'))
        select other.id, array_cosine_similarity(other.vector, asked.vector) as score
        from notes as other, notes as asked where asked.id = 'note-7' and other.id <> 'note-7'
        order by score desc limit 1
        """
    ).fetchall()
    assert found[0][0] == "note-8"
    assert found[0][1] == pytest.approx(float(vectors[7] @ vectors[8]), abs=0.01 if kind == "int8" else 1e-3)


def test_duckdb_counts_bits(tmp_path: Path) -> None:
    vectors = bulk_outputs.write_output(tmp_path / "OUT", dtype="binary")
    found = duckdb.sql(
        f"""
        with notes as (from read_parquet('{tmp_path}/OUT/*.parquet')),
        asked as (select vector from notes where id = 'note-7')
        select id, list_sum([bit_count(xor(pair[1], pair[2])) for pair in list_zip(notes.vector, asked.vector)])
        from notes, asked order by 2, 1 limit 2
        """
    ).fetchall()
    distance = int(((vectors[7] > 0) != (vectors[8] > 0)).sum())
    assert found == [("note-7", 0), ("note-8", distance)]


@pytest.mark.parametrize("kind", ["float32", "float16", "binary"])
def test_lancedb_finds_the_nearest(tmp_path: Path, kind: Kind) -> None:
    vectors = bulk_outputs.write_output(tmp_path / "OUT", dtype=kind)
    rows = pyarrow.dataset.dataset(tmp_path / "OUT")
    table = lancedb.connect(tmp_path / "db").create_table("notes", rows.to_batches(), schema=rows.schema)
    asked = quantize(vectors[7:8], kind)[0]
    search = table.search(asked).distance_type("hamming" if kind == "binary" else "cosine")
    assert [row["id"] for row in search.limit(2).to_list()] == ["note-7", "note-8"]


def test_lancedb_keeps_whole_numbers_but_does_not_search_them(tmp_path: Path) -> None:
    bulk_outputs.write_output(tmp_path / "OUT", dtype="int8")
    rows = pyarrow.dataset.dataset(tmp_path / "OUT")
    table = lancedb.connect(tmp_path / "db").create_table("notes", rows.to_batches(), schema=rows.schema)
    with pytest.raises(ValueError, match="Int8"):
        table.search(np.ones(256, dtype=np.float32), vector_column_name="vector").limit(2).to_list()


def test_the_model_travels_in_every_file(tmp_path: Path) -> None:
    import json

    from textkin.models.hashing import HashingModel

    bulk_outputs.write_output(tmp_path / "OUT", dtype="int8")
    for path in (tmp_path / "OUT").glob("*.parquet"):
        told = json.loads(pyarrow.parquet.read_schema(path).metadata[b"textkin"])
        assert told["fingerprint"] == HashingModel().info.fingerprint
        assert (told["dtype"], told["dimensions"]) == ("int8", 256)
