"""A collection moves between stores whole, goes on after a kill, and what arrived wrong is noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.errors import InputError, ModelMismatchError, StoreError, StoreNotFoundError
from textkin.jobs.copying import copy_collection, copy_store
from textkin.stores.local import LocalStore
from textkin.stores.resolve import open_store
from textkin.types import Matrix, Record


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with textkin.Collection("notes.kin", model="hashing") as made:
        made.add(
            [f"text number {n} about {'cats' if n % 2 else 'dogs'}" for n in range(1200)],
            ids=[f"id{n}" for n in range(1200)],
            metadata=[{"n": n, "half": n / 2, "even": n % 2 == 0} for n in range(1200)],
        )
        made.add([". ".join(f"a long story part {n}" for n in range(600))], ids=["long"])
    return tmp_path


def everything(place: str) -> tuple[list[Record], Matrix]:
    store = open_store(place, create=False)
    batches = list(store.scan_vectors())
    store.close()
    return [record for found, _ in batches for record in found], np.concatenate([rows for _, rows in batches])


@pytest.mark.parametrize("kind", ["arrays", "chroma", "lancedb", "postgresql", "qdrant"])
def test_there_and_back_again(notes: Path, kind: str, request: pytest.FixtureRequest) -> None:
    place = "db.npy" if kind == "arrays" else f"{kind}:db"
    if kind == "postgresql":
        place = f"{request.getfixturevalue('postgresql_url')}?collection=moved"
    there = copy_collection("notes.kin", place)
    assert (there.records, there.copied, there.unchanged, there.compared) == (1201, 1201, 0, 100)
    back = copy_collection(place, "again.kin")
    assert back.copied == 1201
    assert "only-for-tests" not in json.dumps(back.row())
    before, after = everything("notes.kin"), everything("again.kin")
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
    with textkin.Collection("again.kin") as one, textkin.Collection("notes.kin") as other:
        assert one.search("cats number 7", k=5) == other.search("cats number 7", k=5)
        assert one.info().model == other.info().model


@pytest.mark.parametrize("kind", ["chroma", "qdrant"])
def test_around_by_files_and_a_database(notes: Path, kind: str) -> None:
    with textkin.Collection("notes.kin") as made:
        made.remove([f"id{n}" for n in range(200, 1200)])
    for source, target in (("notes.kin", "a.npy"), ("a.npy", f"{kind}:db"), (f"{kind}:db", "b.npy")):
        assert copy_collection(source, target).copied == 201
    assert copy_collection("b.npy", "again.kin").largest_difference == 0
    before, after = everything("notes.kin"), everything("again.kin")
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
    assert np.array_equal(np.load("b.npy"), before[1])
    assert Path("a.npy").read_bytes() == Path("b.npy").read_bytes()
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    with textkin.Collection("again.kin") as one, textkin.Collection("b.npy") as other:
        assert one.search("cats number 7", k=5) == other.search("cats number 7", k=5)
        assert one.similar("long", k=5) == other.similar("long", k=5)
        assert one.duplicates(0.9).rows() == other.duplicates(0.9).rows()
        assert one.info().model == other.info().model


def test_a_second_run_sends_only_what_is_new(notes: Path) -> None:
    copy_collection("notes.kin", "b.kin")
    with textkin.Collection("notes.kin") as made:
        made.add(["one more"], ids=["more"])
    report = copy_collection("notes.kin", "b.kin")
    assert (report.copied, report.unchanged) == (1, 1201)


def test_another_record_of_the_same_id_is_replaced_only_when_asked_for(notes: Path) -> None:
    copy_collection("notes.kin", "b.kin")
    with textkin.Collection("notes.kin") as made:
        made.add(["another text"], ids=["id7"])
    with pytest.raises(InputError, match=r"another record 'id7'.*--merge"):
        copy_collection("notes.kin", "b.kin")
    report = copy_collection("notes.kin", "b.kin", merge=True)
    assert (report.copied, report.unchanged) == (1, 1200)
    with textkin.Collection("b.kin") as copied:
        assert copied.get("id7").text == "another text"


def test_other_records_and_other_models_are_refused_before_anything_is_written(notes: Path) -> None:
    with textkin.Collection("b.kin", model="hashing") as other:
        other.add(["mine"], ids=["mine"])
    with pytest.raises(InputError, match=r"'mine'.*--merge"):
        copy_collection("notes.kin", "b.kin")
    with textkin.Collection("b.kin") as other:
        assert other.count() == 1
    assert copy_collection("notes.kin", "b.kin", merge=True).copied == 1201
    with textkin.Collection("b.kin") as other:
        assert other.count() == 1202
    with textkin.Collection("c.kin", model="hashing:64") as other:
        other.add(["mine"], ids=["mine"])
    with pytest.raises(ModelMismatchError, match="hashing:64"):
        copy_collection("notes.kin", "c.kin", merge=True)
    with pytest.raises(StoreNotFoundError):
        copy_collection("nowhere.kin", "d.kin")
    with pytest.raises(InputError, match="itself"):
        copy_collection("notes.kin", "notes.kin")


class Losing(LocalStore):
    """A store that spoils what it is given."""

    how = ""

    def upsert(self, records: Sequence[Record], vectors: Matrix) -> None:
        if self.how == "loses":
            kept = [record for record in records if record.id != "id3"]
            rows = [row for record, row in zip(records, vectors, strict=False) if record.id != "id3"]
            super().upsert(kept, np.stack(rows))
        elif self.how == "changes a text":
            super().upsert([Record(r.id, r.text.upper(), r.metadata, r.source, r.spans) for r in records], vectors)
        else:
            super().upsert(records, vectors[::-1])


@pytest.mark.parametrize(
    ("how", "told"),
    [("loses", r"holds 9 records after 10"), ("changes a text", r"'id\d' is not what"), ("swaps", r"differs by")],
)
def test_what_arrived_wrong_is_noticed(
    tmp_path: Path, how: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkin.jobs.copying._TRIES", 2)
    with textkin.Collection(tmp_path / "a.kin", model="hashing") as made:
        made.add([f"text {n}" for n in range(10)], ids=[f"id{n}" for n in range(10)])
    spoiled = Losing(tmp_path / "b.kin")
    spoiled.how = how
    with LocalStore(tmp_path / "a.kin") as source, spoiled, pytest.raises(StoreError, match=told):
        copy_store(source, spoiled)


def test_a_killed_export_goes_on(notes: Path) -> None:
    slow = (
        "import time, textkin.stores.points.store as s\n"
        "old = s.PointStore.upsert\n"
        "def upsert(*a):\n    old(*a); print('sent', flush=True); time.sleep(600)\n"
        "s.PointStore.upsert = upsert\n"
        "from textkin.jobs.copying import copy_collection\n"
        "copy_collection('notes.kin', 'lancedb:db')\n"
    )
    with subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        os.kill(process.pid, signal.SIGKILL)
    report = copy_collection("notes.kin", "lancedb:db")
    assert report.unchanged >= 500
    assert report.copied + report.unchanged == 1201
    assert everything("lancedb:db")[0] == everything("notes.kin")[0]


def test_the_commands(notes: Path, capfd: Any) -> None:
    from textkin.cli.main import main

    for words, told in (
        (["export", "notes.kin", "chroma:db"], "1,201 records copied, 0 there already; chroma:db holds 1,201"),
        (["export", "notes.kin", "chroma:db"], "0 records copied, 1,201 there already"),
        (["import", "chroma:db", "new.kin"], "1,201 records copied"),
        (["export", "notes.kin", "vectors.npy"], "1,201 records copied, 0 there already; vectors.npy holds 1,201"),
        (["import", "vectors.npy", "other.kin"], "1,201 records copied"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        assert told in capfd.readouterr().out
