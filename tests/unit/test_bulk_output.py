"""A finished job's folder: read again whole, in parts, and never when it is damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import bulk_outputs
import textkin
from textkin.errors import CorruptStoreError, NewerVersionError, StoreError, StoreNotFoundError
from textkin.jobs.bulk.output import VectorOutput
from textkin.models.fingerprint import canary_vectors
from textkin.models.hashing import HashingModel
from textkin.vectors.quantize import KINDS, Kind, score_error

TEXTS = bulk_outputs.TEXTS


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back(tmp_path: Path, kind: Kind) -> None:
    vectors = bulk_outputs.write_output(tmp_path / "OUT", dtype=kind)
    output = VectorOutput(tmp_path / "OUT")
    output.verify()
    assert output.model == HashingModel().info
    assert np.array_equal(output.canaries, canary_vectors(HashingModel()))
    assert (output.count, output.dimensions, output.dtype) == (10, 256, kind)
    batches = list(output.batches(3))
    assert [name for batch in batches for name in batch.ids] == [f"note-{n}" for n in range(10)]
    assert [text for batch in batches for text in batch.texts or ()] == list(TEXTS)
    found = np.concatenate([batch.vectors for batch in batches])
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    assert np.linalg.norm(found - vectors, axis=1).max() <= score_error(kind, 256) + 1e-6
    if kind == "float32":
        assert found.tobytes() == vectors.tobytes()
    metadata = [one for batch in batches for one in batch.metadata]
    assert metadata[1] == {"city": None, "when": "2026-11-24T13:00:00+00:00", "stars": 0.5, "good": False}
    assert metadata[2] == {"city": "Zürich 2", "when": "2026-11-24T14:00:00+00:00", "stars": None, "good": True}


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    bulk_outputs.write_output(tmp_path / "OUT", columns={})
    batch = next(VectorOutput(tmp_path / "OUT").batches(texts=False, vectors=False))
    assert (batch.texts, batch.vectors.shape, list(batch.metadata)) == (None, (4, 0), [{}] * 4)
    bulk_outputs.write_output(tmp_path / "bare", columns={}, text=False)
    assert next(VectorOutput(tmp_path / "bare").batches()).texts is None


def test_rows_are_found_by_id_in_the_order_of_the_output(tmp_path: Path) -> None:
    vectors = bulk_outputs.write_output(tmp_path / "OUT")
    found = list(VectorOutput(tmp_path / "OUT").find(["note-9", "note-1", "nobody", "note-2"]))
    assert [name for batch in found for name in batch.ids] == ["note-1", "note-2", "note-9"]
    assert np.array_equal(np.concatenate([batch.vectors for batch in found]), vectors[[1, 2, 9]])


def test_all_vectors_as_one_mapped_matrix_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    vectors = bulk_outputs.write_output(tmp_path / "OUT")
    with VectorOutput(tmp_path / "OUT").matrix() as matrix:
        assert isinstance(matrix, np.memmap)
        assert np.array_equal(matrix, vectors)
    assert not list((tmp_path / "tmp").iterdir())


def test_an_output_without_rows(tmp_path: Path) -> None:
    bulk_outputs.write_output(tmp_path / "OUT", ())
    output = VectorOutput(tmp_path / "OUT")
    assert list(output.batches()) == []
    with output.matrix() as matrix:
        assert matrix.shape == (0, 256)


def test_memory_is_that_of_a_part(tmp_path: Path) -> None:
    """Python's own memory; what Arrow holds is a row group."""
    texts = [f"text {n}" for n in range(200)] * 100
    bulk_outputs.write_output(tmp_path / "OUT", texts, columns={}, shard_rows=5000)
    output = VectorOutput(tmp_path / "OUT")
    tracemalloc.start()
    count = sum(len(batch.ids) for batch in output.batches(500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 4_000_000  # the vectors alone are 20 MB


def test_a_job_that_is_not_finished(tmp_path: Path) -> None:
    bulk_outputs.write_output(tmp_path / "OUT", finished=False)
    with pytest.raises(StoreError, match="not finished: give the same textkin embed command again with --resume"):
        VectorOutput(tmp_path / "OUT")


@pytest.mark.parametrize("what", ["nothing", "empty folder", "collection"])
def test_something_else(tmp_path: Path, what: str) -> None:
    place = tmp_path / "place"
    if what == "collection":
        with textkin.Collection(place, model="hashing") as made:
            made.add(["one"])
    elif what == "empty folder":
        place.mkdir()
    with pytest.raises(StoreNotFoundError, match="is not the output of an embedding job"):
        VectorOutput(place)


def change(place: Path, **facts: Any) -> None:
    told = json.loads((place / "_manifest.json").read_text(encoding="utf-8"))
    told.update(facts)
    (place / "_manifest.json").write_text(json.dumps(told), encoding="utf-8")


def shard_facts(place: Path, **facts: Any) -> None:
    told = json.loads((place / "_manifest.json").read_text(encoding="utf-8"))
    told["shards"][1].update(facts)
    change(place, shards=told["shards"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda place: (place / "_manifest.json").write_text("{"), "_manifest.json is damaged"),
        (lambda place: (place / "_manifest.json").write_text("[]"), "was not written by textkin"),
        (lambda place: change(place, format="other"), "was not written by textkin"),
        (lambda place: change(place, rows=11), "another number of rows"),
        (lambda place: change(place, dtype="int4"), "damaged"),
        (lambda place: change(place, canaries="AAAA"), "damaged"),
        (lambda place: change(place, fingerprint="0" * 64), "two fingerprints"),
        (lambda place: change(place, dimensions=512), "512 dimensions of a model with 256"),
        (lambda place: change(place, shards=None), "damaged"),
        (lambda place: shard_facts(place, file="../elsewhere.parquet"), "is no name of a shard"),
    ],
)
def test_a_damaged_manifest(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    damage(place)
    with pytest.raises(CorruptStoreError, match=message):
        VectorOutput(place)


def test_a_newer_output(tmp_path: Path) -> None:
    bulk_outputs.write_output(tmp_path / "OUT", version=2)
    with pytest.raises(NewerVersionError, match="version 2, and this textkin reads up to 1; update textkin"):
        VectorOutput(tmp_path / "OUT")


def shard(place: Path) -> Path:
    return sorted(place.glob("part-*.parquet"))[1]


def restamp(place: Path) -> None:
    """Make the manifest say of the second shard what it now is."""
    data = shard(place).read_bytes()
    shard_facts(place, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def rewrite(place: Path, table: pyarrow.Table) -> None:
    """Put a table in the place of the second shard, with its size in the manifest."""
    path = shard(place)
    pyarrow.parquet.write_table(table, path)
    restamp(place)


def test_a_shard_that_is_missing_or_cut_is_named(tmp_path: Path) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    path = shard(place)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptStoreError, match=rf"{path.name} has [\d,]+ bytes instead of [\d,]+; .*--resume"):
        VectorOutput(place)
    path.unlink()
    with pytest.raises(CorruptStoreError, match=f"{path.name} is missing"):
        VectorOutput(place)


def test_a_bit_that_flipped_is_found_by_verify_in_any_place(tmp_path: Path) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    path = shard(place)
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 997):
        data[at] ^= 16
        path.write_bytes(data)
        with pytest.raises(CorruptStoreError, match=f"{path.name} was changed since it was written"):
            VectorOutput(place).verify()
        with pytest.raises(CorruptStoreError, match=f"{path.name} was changed since it was written"):
            list(VectorOutput(place).batches())
        data[at] ^= 16


def test_a_shard_that_is_no_parquet_file(tmp_path: Path) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    path = shard(place)
    path.write_bytes(b"x" * 100)
    restamp(place)
    with pytest.raises(CorruptStoreError, match=f"{path.name} can't be read"):
        list(VectorOutput(place).batches())


def test_a_shard_of_something_else(tmp_path: Path) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    whole = pyarrow.parquet.read_table(shard(place))
    metadata = {b"textkin": b'{"fingerprint": "0000"}'}
    nan = np.full(4 * 256, np.nan, dtype=np.float32)
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(nan), 256)
    cases = [
        (whole.replace_schema_metadata(metadata), "holds vectors of another model"),
        (whole.replace_schema_metadata(None), "holds vectors of another model"),
        (whole.drop_columns(["city"]), "lacks the column 'city'"),
        (whole.slice(0, 3), "has 3 rows instead of 4"),
        (whole.set_column(7, "vector", whole["stars"]), "has vectors of the type double"),
        (whole.set_column(7, "vector", lists), "has vectors with NaN or infinity"),
    ]
    assert whole.schema.names[7] == "vector"
    for table, message in cases:
        rewrite(place, table)
        with pytest.raises(CorruptStoreError, match=message):
            list(VectorOutput(place).batches())


def test_rows_that_lost_their_vector(tmp_path: Path) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    whole = pyarrow.parquet.read_table(shard(place))
    values = [None, *whole["vector"].to_pylist()[1:]]
    column = pyarrow.array(values, pyarrow.list_(pyarrow.float32(), 256))
    rewrite(place, whole.set_column(7, "vector", column))
    with pytest.raises(CorruptStoreError, match="rows without a vector"):
        list(VectorOutput(place).batches())


def test_a_full_disk_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from textkin.errors import StorageFullError
    from textkin.vectors import mapped

    bulk_outputs.write_output(tmp_path / "OUT")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped.np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(StorageFullError, match="TMPDIR"), VectorOutput(tmp_path / "OUT").matrix():
        pass


def test_shards_that_the_manifest_does_not_name_are_not_read(tmp_path: Path) -> None:
    place = tmp_path / "OUT"
    bulk_outputs.write_output(place)
    shutil.copy(shard(place), place / "part-000009-000000000000.parquet")
    assert sum(len(batch.ids) for batch in VectorOutput(place).batches()) == 10
