"""An output becomes a collection: nothing embedded, nothing held, gone on with after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bulk_outputs
import textkin
from textkin.cli.main import main
from textkin.errors import ForeignFileError, InputError, ModelMismatchError, StoreError
from textkin.jobs.bulk.records import output_records
from textkin.jobs.copying import copy_collection, copy_store
from textkin.stores.local import LocalStore
from textkin.stores.resolve import open_store
from textkin.types import Span
from textkin.vectors.quantize import Kind

TEXTS = bulk_outputs.TEXTS
MANY = [f"text number {n} about {'cats' if n % 2 else 'dogs'}" for n in range(1300)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_record_arrives_as_it_was_embedded(place: Path) -> None:
    vectors = bulk_outputs.write_output(place / "OUT")
    report = copy_collection("OUT", "notes.kin")
    assert (report.records, report.copied, report.unchanged, report.compared) == (10, 10, 0, 10)
    assert (report.largest_difference, report.note) == (0.0, "")
    store = open_store("notes.kin", create=False)
    batches = list(store.scan_vectors())
    records = [record for found, _ in batches for record in found]
    assert [record.id for record in records] == [f"note-{n}" for n in range(10)]
    assert [record.text for record in records] == list(TEXTS)
    assert records[1].metadata["when"] == "2026-11-24T13:00:00+00:00"
    assert records[1].metadata["city"] is None
    assert records[4].spans == (Span(0, 0),)
    assert np.array_equal(np.concatenate([rows for _, rows in batches]), vectors)
    store.close()
    with textkin.Collection("notes.kin", create=False) as notes:
        assert notes.search("a brown fox", k=1)[0].id in ("note-7", "note-8")
        notes.add(["and one more"])
        assert notes.count() == 11


@pytest.mark.parametrize("target", ["chroma:db", "vectors.npy"])
def test_any_store_takes_it(place: Path, target: str) -> None:
    bulk_outputs.write_output(place / "OUT")
    assert copy_collection("OUT", target).copied == 10
    assert copy_collection("OUT", target).unchanged == 10


def test_a_copy_that_was_ended_goes_on(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT", MANY, shard_rows=300)
    source = output_records("OUT")
    store = LocalStore(place / "notes.kin")

    class EndedError(Exception):
        pass

    def end(done: int, total: int | None) -> None:
        assert total == 1300
        if done >= 600:
            raise EndedError

    with pytest.raises(EndedError):
        copy_store(source, store, progress=end)
    store.close()
    report = copy_collection("OUT", "notes.kin")
    assert (report.copied, report.unchanged) == (700, 600)


def test_what_is_at_the_target_is_not_lost_in_silence(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    with textkin.Collection("notes.kin", model="hashing") as notes:
        notes.add(["mine"], ids=["mine"])
    with pytest.raises(InputError, match=r"notes\.kin holds 1 record that OUT does not; .*--merge"):
        copy_collection("OUT", "notes.kin")
    assert copy_collection("OUT", "notes.kin", merge=True).copied == 10
    with textkin.Collection("changed.kin", model="hashing") as notes:
        notes.add(["mine"], ids=["note-3"])
    with pytest.raises(InputError, match="another record 'note-3'"):
        copy_collection("OUT", "changed.kin")
    with textkin.Collection("other.kin", model="hashing:64") as notes:
        notes.add(["mine"], ids=["note-3"])
    with pytest.raises(ModelMismatchError):
        copy_collection("OUT", "other.kin", merge=True)


@pytest.mark.parametrize(
    ("kind", "facts", "message"),
    [
        ("int8", {}, "holds int8 vectors, which are not the model's.*--dtype float32"),
        ("binary", {}, "holds binary vectors"),
        ("float32", {"text": False}, "holds no texts.*without --no-text"),
        ("float32", {"dimensions": 128}, "holds 128 of the 256 dimensions of hashing.*without --dimensions"),
        ("float32", {"ids": ["a", "b"] * 5}, "8 rows with an id that another row has.*--id-column"),
    ],
)
def test_what_cannot_become_a_collection(place: Path, kind: Kind, facts: dict[str, object], message: str) -> None:
    bulk_outputs.write_output(place / "OUT", dtype=kind, **facts)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        copy_collection("OUT", "notes.kin")
    assert not (place / "notes.kin").exists()


def test_half_floats_are_taken_and_told(place: Path) -> None:
    vectors = bulk_outputs.write_output(place / "OUT", dtype="float16")
    report = copy_collection("OUT", "notes.kin")
    assert "stored as float16" in report.note
    store = open_store("notes.kin", create=False)
    kept = np.concatenate([rows for _, rows in store.scan_vectors()])
    store.close()
    assert np.einsum("ij,ij->i", kept, vectors).min() > 0.999999
    with textkin.Collection("notes.kin", create=False) as notes:
        assert notes.search(TEXTS[1], k=1)[0].id == "note-1"


def test_a_model_is_not_to_be_named(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    with pytest.raises(InputError, match="says itself which model"):
        copy_collection("OUT", "notes.kin", model="hashing")


def test_who_takes_it_for_a_collection_is_told_what_to_do(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    for create in (True, False):
        with pytest.raises(ForeignFileError, match=r"textkin import OUT notes\.kin"):
            open_store("OUT", create=create)
    with pytest.raises(ForeignFileError):
        copy_collection("OUT", "OUT")
    bulk_outputs.write_output(place / "half", finished=False)
    with pytest.raises(ForeignFileError, match=r"not finished.*--resume"):
        open_store("half")
    with pytest.raises(StoreError, match=r"not finished.*--resume"):
        copy_collection("half", "notes.kin")


@pytest.mark.parametrize(
    "command",
    [["search", "OUT/", "refunds"], ["info", "OUT/"], ["similar", "OUT/", "note-1"], ["list", "OUT/"]],
)
def test_commands_for_collections_say_it_too(place: Path, command: list[str]) -> None:
    bulk_outputs.write_output(place / "OUT")
    result = CliRunner().invoke(main, command)
    told = result.output + str(result.exception)
    assert "textkin import OUT" in told, told
    assert not (place / "OUT" / "collection.db").exists()


def test_the_command(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT", dtype="float16")
    result = CliRunner().invoke(main, ["import", "OUT/", "notes.kin"])
    assert result.exit_code == 0, result.output
    assert "10 records copied, 0 there already; notes.kin holds 10 of OUT." in result.output
    assert "stored as float16" in result.output
