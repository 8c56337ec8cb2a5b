"""Bulk jobs through the Python entry: what is written, what is kept, what is refused, how it goes on."""

from __future__ import annotations

import datetime
import json
import random
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import textkin
from textkin.errors import BudgetError, InputError, ModelMismatchError, StoreError, StoreLockedError
from textkin.jobs.bulk.collection import embed_to_store
from textkin.jobs.bulk.folder import embed_to_folder
from textkin.jobs.bulk.report import BulkOptions, BulkReport, Status
from textkin.models.hashing import HashingModel
from textkin.models.spending import Budget, Spend
from textkin.stores.resolve import open_store
from textkin.text.options import ReadOptions
from textkin.text.read import read_inputs
from textkin.types import Embedded, Progress, Role

IDS = ReadOptions(id_column="id")


class Asked(HashingModel):
    """Remembers the texts that it was asked for."""

    def __init__(self, dimensions: int = 16, before: Callable[[Sequence[str]], None] | None = None) -> None:
        super().__init__(dimensions)
        self.texts: list[str] = []
        self._before = before
        self._guard = threading.Lock()

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        if self._before is not None:
            self._before(texts)
        with self._guard:
            self.texts += texts
        return super().embed(texts, role, progress)

    def asked(self) -> list[str]:
        """Without the canary texts."""
        return [text for text in self.texts if text.startswith("text ")]


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "text": f"text {n}", "n": n, "half": n / 2} for n in range(start, start + count)]


def write(path: Path, items: Sequence[Any]) -> Path:
    path.write_text("".join((i if isinstance(i, str) else json.dumps(i)) + "\n" for i in items), encoding="utf-8")
    return path


def table_of(out: Path) -> pa.Table:
    """All rows in the order of the shards."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))])


def vectors_of(table: pa.Table) -> np.ndarray[Any, Any]:
    return np.array(table["vector"].to_pylist(), dtype=np.float32)


def embed(source: Path, out: Path, model: HashingModel | None = None, **options: Any) -> BulkReport:
    options = {"read": IDS, "shard_rows": 100} | options
    return embed_to_folder([source], out, model or Asked(), BulkOptions(**options))


def test_all_columns_are_kept_also_those_named_like_the_output_s_own(tmp_path: Path) -> None:
    items = [
        {"key": f"k{n}", "body": f"text {n}", "id": n, "text": f"other {n}", "vector": [0.5, n], "truncated": "no",
         "input_id": f"i{n}"}
        for n in range(30)
    ]  # fmt: skip
    source = write(tmp_path / "a.jsonl", items)
    read = ReadOptions(id_column="key", text_column="body")
    report = embed(source, tmp_path / "out", columns=("*",), read=read, shard_rows=10)
    assert report.rows == 30
    found = table_of(tmp_path / "out")
    assert found["id"].to_pylist() == [item["key"] for item in items]
    assert found["text"].to_pylist() == [item["body"] for item in items]
    assert found["input_input_id"].to_pylist() == [item["id"] for item in items]
    assert found["input_text"].to_pylist() == [item["text"] for item in items]
    assert [json.loads(vector) for vector in found["input_vector"].to_pylist()] == [
        item["vector"] for item in items
    ]
    assert found["input_truncated"].to_pylist() == ["no"] * 30
    assert found["input_id"].to_pylist() == [item["input_id"] for item in items]
    # Going on finds the same columns under the same names.
    next((tmp_path / "out").glob("*.parquet")).unlink()
    embed(source, tmp_path / "out", columns=("*",), read=read, shard_rows=10, resume=True)
    assert table_of(tmp_path / "out").equals(found)
    with pytest.raises(InputError, match=r"'vector'.*input_vector"):
        embed(source, tmp_path / "no", columns=("vector",), read=read)
    pq.write_table(pa.table({"text": ["a"], "vector": [[1.0, 2.0]], "truncated": [7]}), tmp_path / "b.parquet")
    embed(tmp_path / "b.parquet", tmp_path / "own", columns=("*",), read=ReadOptions())
    own = table_of(tmp_path / "own")
    assert (own["input_vector"].to_pylist(), own["input_truncated"].to_pylist()) == ([[1.0, 2.0]], [7])


def test_lists_reach_a_collection_as_lists(tmp_path: Path) -> None:
    items = [{"id": 5, "text": "a", "tags": ["x", 1]}, {"id": 6, "text": "b", "tags": None}]
    source = write(tmp_path / "a.jsonl", items)
    options = BulkOptions(columns=("*",), shard_rows=10)
    assert embed_to_store([source], tmp_path / "n.kin", Asked(), options).rows == 2
    store = open_store(tmp_path / "n.kin", create=False)
    records = [record for batch in store.scan() for record in batch]
    store.close()
    assert [record.metadata for record in records] == [{"id": 5, "tags": ["x", 1]}, {"id": 6, "tags": None}]


def _metadata(place: Path) -> list[Any]:
    store = open_store(place, create=False)
    found = [dict(record.metadata) for batch in store.scan() for record in batch]
    store.close()
    return sorted(found, key=str)


def test_a_collection_gets_the_metadata_that_index_makes_of_parquet(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    columns = {
        "text": pa.array(["text 0", "text 1", "text 2"]),
        "day": pa.array([day.date(), None, day.date()]),
        "at": pa.array([day, day, None], pa.timestamp("ns", "UTC")),
        "hour": pa.array([day.time(), None, day.time()]),
        "took": pa.array([5, None, 6], pa.duration("s")),
        "large": pa.array([1, 2**63 + 5, 2**64 - 1], pa.uint64()),
        "small": pa.array([1, None, 3], pa.int8()),
        "half": pa.array([0.1, 2.0, float("nan")], pa.float32()),
        "sure": pa.array([True, None, False]),
        "price": pa.array([Decimal("1.50"), None, Decimal("2.25")]),
        "raw": pa.array([b"a", b"\xff", None]),
        "days": pa.array([[day.date()], [], None]),
        "sizes": pa.array([[1, 2], [2**63 + 1], None], pa.list_(pa.uint64())),
        "nested": pa.array([{"a": 1}, None, {"a": 2}]),
        "kind": pa.array(["x", "y", None]).dictionary_encode(),
        "nothing": pa.array([None, None, None]),
    }
    source = tmp_path / "when.parquet"
    pq.write_table(pa.table(columns), source)
    read = ReadOptions(text_column="text")
    with textkin.Collection(tmp_path / "index.kin", "hashing") as notes:
        notes.index(read_inputs([source], options=read))
    report = embed_to_store([source], tmp_path / "to.kin", "hashing", BulkOptions(columns=("*",), read=read))
    assert (report.rows, report.rejected) == (3, 0)
    expected = _metadata(tmp_path / "index.kin")
    assert len(expected) == 3
    assert _metadata(tmp_path / "to.kin") == expected


def test_a_collection_takes_numbers_of_one_column_whatever_their_width(tmp_path: Path) -> None:
    for name, kind in (("a", pa.int32()), ("b", pa.int64()), ("c", pa.uint16())):
        pq.write_table(pa.table({"text": [name], "n": pa.array([7], kind)}), tmp_path / f"{name}.parquet")
    options = BulkOptions(columns=("n",), read=ReadOptions(text_column="text"))
    assert embed_to_store(sorted(tmp_path.glob("*.parquet")), tmp_path / "n.kin", Asked(), options).rows == 3
    assert _metadata(tmp_path / "n.kin") == [{"n": 7}] * 3


def test_rows_columns_and_vectors_are_those_of_the_input(tmp_path: Path) -> None:
    items = rows(250)
    report = embed(write(tmp_path / "a.jsonl", items), tmp_path / "out", columns=("n", "half"))
    found = table_of(tmp_path / "out")
    assert found["id"].to_pylist() == [item["id"] for item in items]
    assert found["text"].to_pylist() == [item["text"] for item in items]
    assert found["n"].to_pylist() == [item["n"] for item in items]
    assert found.schema.field("half").type == pa.float64()
    assert found.schema.field("vector").type.list_size == 16
    expected = HashingModel(16).embed([item["text"] for item in items]).vectors
    np.testing.assert_array_equal(vectors_of(found), expected)
    assert (report.rows, report.embedded, report.complete) == (250, 250, True)
    facts = json.loads((tmp_path / "out" / "_manifest.json").read_text(encoding="utf-8"))
    assert facts["rows"] == 250
    assert [shard["rows"] for shard in facts["shards"]] == [100, 100, 50]
    assert facts["fingerprint"] == HashingModel(16).info.fingerprint


def test_each_different_text_is_embedded_once(tmp_path: Path) -> None:
    items = [{"id": f"r{n}", "text": f"text {n % 70}"} for n in range(1000)]
    model = Asked()
    report = embed(write(tmp_path / "a.jsonl", items), tmp_path / "out", model)
    assert sorted(model.asked()) == sorted({item["text"] for item in items})
    assert report.rows == 1000
    assert report.embedded == 70


def test_a_second_run_keeps_everything(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(250))
    embed(source, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    model = Asked()
    report = embed(source, tmp_path / "out", model, resume=True)
    assert not model.asked()
    assert report.kept == 250
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")} == before


@pytest.mark.parametrize("ledger", [True, False])
def test_an_input_that_grew_keeps_the_shards_before(tmp_path: Path, ledger: bool) -> None:
    source = write(tmp_path / "a.jsonl", rows(250))
    embed(source, tmp_path / "out", ledger=ledger)
    write(source, rows(260))
    model = Asked()
    report = embed(source, tmp_path / "out", model, resume=True, ledger=ledger)
    assert report.kept == 200
    # Without the ledger the shard that changed is embedded again, and only that.
    assert len(model.asked()) == (10 if ledger else 60)
    assert table_of(tmp_path / "out")["id"].to_pylist() == [f"r{n}" for n in range(260)]


def test_an_input_in_another_order_embeds_nothing_again(tmp_path: Path) -> None:
    items = rows(250)
    source = write(tmp_path / "a.jsonl", items)
    embed(source, tmp_path / "out")
    random.Random(1).shuffle(items)
    write(source, items)
    model = Asked()
    embed(source, tmp_path / "out", model, resume=True)
    assert not model.asked()
    found = table_of(tmp_path / "out")
    assert found["id"].to_pylist() == [item["id"] for item in items]
    np.testing.assert_array_equal(
        vectors_of(found), HashingModel(16).embed([item["text"] for item in items]).vectors
    )


def test_an_input_that_shrank_leaves_nothing_behind(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [*rows(250), "not json"])
    embed(source, tmp_path / "out")
    write(source, rows(90))
    report = embed(source, tmp_path / "out", resume=True)
    assert report.rows == 90
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 1
    assert len(list((tmp_path / "out" / "_textkin" / "shards").iterdir())) == 1
    assert not list((tmp_path / "out" / "_textkin" / "rejects").iterdir())
    assert (tmp_path / "out" / "_rejects.jsonl").read_bytes() == b""


def test_bad_rows_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    items = [
        *rows(50),
        {"id": "none", "text": None},
        {"id": "number", "text": 5},
        {"id": "blank", "text": "  "},
        {"text": "no id"},
        "{broken",
        {"id": "long", "text": "x" * 2000},
        {"id": "column", "text": "text 7", "n": "seven"},
        *rows(50, 50),
    ]
    read = ReadOptions(id_column="id", max_text=1000)
    report = embed(write(tmp_path / "a.jsonl", items), tmp_path / "out", columns=("n:int",), read=read)
    lines = (tmp_path / "out" / "_rejects.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert report.rejected == 7
    assert [line["id"] for line in found] == ["none", "number", "blank", None, None, "long", "column"]
    assert [line["row"] for line in found][:6] == [51, 52, 53, 54, 55, 56]
    for line, word in zip(found, ["no text", "number", "no text", "id", "JSON", "2,000", "int64"], strict=True):
        assert word in line["reason"], line
    assert table_of(tmp_path / "out")["id"].to_pylist() == [f"r{n}" for n in range(100)]


def test_strict_ends_at_the_first_bad_row(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [*rows(150), {"id": "none", "text": None}, *rows(50, 150)])
    with pytest.raises(InputError, match=r"row 151 \(id 'none'\).*--strict"):
        embed(source, tmp_path / "out", strict=True)
    model = Asked()
    assert embed(source, tmp_path / "out", model, resume=True).rows == 200
    assert len(model.asked()) <= 100


def test_broken_utf8_in_parquet_is_one_bad_row(tmp_path: Path) -> None:
    texts = pa.array([b"text 1", b"\xff\xfe", b"text 2"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts, "id": ["a", "b", "c"]}), tmp_path / "a.parquet")
    report = embed(tmp_path / "a.parquet", tmp_path / "out")
    assert (report.rows, report.rejected) == (2, 1)


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["text 1", "text 2", "text 3"],
            "when": pa.array([1, None, 3], pa.timestamp("ns", tz="UTC")),
            "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
            "small": pa.array([1, 2, 3], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    embed(tmp_path / "a.parquet", tmp_path / "out", columns=("*",), read=ReadOptions())
    found = table_of(tmp_path / "out")
    for name in ("when", "tags", "small"):
        assert found[name].combine_chunks() == table[name].combine_chunks()


def test_a_second_run_keeps_columns_of_all_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": [f"text {n}" for n in range(50)],
            "day": pa.array(range(50), pa.date32()),
            "when": pa.array(range(50), pa.timestamp("us")),
            "price": pa.array([Decimal(n) for n in range(50)], pa.decimal128(9, 2)),
            "tags": pa.array([["a"]] * 50, pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    options: dict[str, Any] = {"columns": ("*",), "read": ReadOptions(), "shard_rows": 20}
    embed(tmp_path / "a.parquet", tmp_path / "out", **options)
    report = embed(tmp_path / "a.parquet", tmp_path / "out", resume=True, **options)
    assert (report.rows, report.kept, report.rejected) == (50, 50, 0)
    found = table_of(tmp_path / "out")
    for name in ("day", "when", "price", "tags"):
        assert found[name].combine_chunks() == table[name].combine_chunks()


def test_rows_that_all_turn_bad_replace_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(100))
    embed(source, tmp_path / "out", shard_rows=30)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet")}
    (tmp_path / "out" / "_manifest.json").unlink()
    write(source, [{"id": f"r{n}", "text": None} for n in range(100)])
    with pytest.raises(InputError, match="stays as it is"):
        embed(source, tmp_path / "out", shard_rows=30, resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet")} == before


def test_ranks_one_after_the_other_follow_an_input_that_has_grown(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(500))
    for count in (500, 800):
        write(source, rows(count))
        done = [embed(source, tmp_path / "out", rank=rank, world=2, resume=True).complete for rank in range(2)]
        assert done == [False, True]
    assert table_of(tmp_path / "out").num_rows == 800


def test_csv_columns_are_typed_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,n,code\n1,text 1,,007\n2,text 2,5,12\n", encoding="utf-8")
    embed(tmp_path / "a.csv", tmp_path / "out", columns=("n", "code"))
    found = table_of(tmp_path / "out")
    assert found["n"].to_pylist() == [None, 5]
    assert found["code"].to_pylist() == ["007", "12"]


def test_a_column_that_is_not_there_or_taken_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [item | {"vector": 1} for item in rows(5)])
    with pytest.raises(InputError, match="no column 'nope'"):
        embed(source, tmp_path / "out", columns=("nope",))
    with pytest.raises(InputError, match="'vector' can't be kept"):
        embed(source, tmp_path / "out", columns=("vector",))
    assert embed(source, tmp_path / "out").rows == 5


def test_ids_that_come_twice_are_counted_and_named(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [*rows(150), {"id": "r7", "text": "text again"}])
    report = embed(source, tmp_path / "out")
    assert report.duplicate_ids == 1
    assert report.duplicate_ids_first == ("r7",)


def test_an_output_is_not_written_over(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(5))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt is there"):
        embed(source, tmp_path / "other")
    embed(source, tmp_path / "out")
    with pytest.raises(InputError, match="--resume"):
        embed(source, tmp_path / "out")
    with pytest.raises(ModelMismatchError, match="hashing:16"):
        embed(source, tmp_path / "out", HashingModel(24), resume=True)
    with pytest.raises(InputError, match=r"--dtype \(float32, not int8\)"):
        embed(source, tmp_path / "out", resume=True, dtype="int8")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(300))
    errors: list[Exception] = []

    def second(texts: Sequence[str]) -> None:
        if not errors:
            try:
                embed(source, tmp_path / "out", resume=True)
            except StoreLockedError as error:
                errors.append(error)

    embed(source, tmp_path / "out", Asked(before=second))
    assert "another process is writing" in str(errors[0])


def test_a_stop_keeps_what_was_made(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(2000))
    stop = threading.Event()
    model = Asked(before=lambda texts: stop.set() if len(model.asked()) > 300 else None)
    report = embed_to_folder([source], tmp_path / "out", model, BulkOptions(read=IDS, shard_rows=100), stop=stop)
    assert report.stopped
    assert not report.complete
    again = Asked()
    assert embed(source, tmp_path / "out", again, resume=True).rows == 2000
    assert sorted([*model.asked(), *again.asked()]) == sorted(f"text {n}" for n in range(2000))


def test_an_error_of_the_model_keeps_what_was_made(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(2000))

    def fail(texts: Sequence[str]) -> None:
        if len(model.asked()) > 500:
            raise MemoryError("no more")

    model = Asked(before=fail)
    with pytest.raises(MemoryError):
        embed(source, tmp_path / "out", model)
    again = Asked()
    embed(source, tmp_path / "out", again, resume=True)
    assert sorted([*model.asked(), *again.asked()]) == sorted(f"text {n}" for n in range(2000))


def test_the_budget_ends_it_and_the_rest_follows(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(500))
    model = Asked()
    with Spend(Budget(max_tokens=600)).counting(), pytest.raises(BudgetError):
        embed(source, tmp_path / "out", model)
    assert 0 < len(model.asked()) <= 300
    again = Asked()
    embed(source, tmp_path / "out", again, resume=True)
    assert sorted([*model.asked(), *again.asked()]) == sorted(f"text {n}" for n in range(500))


def test_ranks_share_the_shards_and_the_last_completes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(950))
    models = [Asked() for _ in range(3)]
    reports = [
        embed(source, tmp_path / "out", models[rank], rank=rank, world=3, resume=True, ledger=False)
        for rank in range(3)
    ]
    assert [report.complete for report in reports] == [False, False, True]
    assert [len(model.asked()) for model in models] == [350, 300, 300]
    embed(source, tmp_path / "one")
    assert table_of(tmp_path / "out") == table_of(tmp_path / "one")


def test_progress_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[Status] = []
    source = write(tmp_path / "a.jsonl", rows(3000))
    embed_to_folder(
        [source], tmp_path / "out", Asked(), BulkOptions(read=IDS, shard_rows=1000), progress=told.append
    )
    assert told[-1].tally.rows == 3000
    assert told[-1].share == pytest.approx(1, abs=0.01)
    assert {"reading", "encoding", "ledger", "writing"} <= told[-1].to_dict()["stages"].keys()


def test_numbers_in_fewer_bytes_say_what_they_cost(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(300))
    found: list[str] = []
    report = embed_to_folder(
        [source],
        tmp_path / "out",
        HashingModel(64),
        BulkOptions(read=IDS, dtype="int8", shard_rows=100),
        on_fidelity=lambda one: found.append(
            f"{one.kind} {len(list((tmp_path / 'out').glob('*.parquet')))} {one.recall.value > 0.5}"
        ),
    )
    assert found == ["int8 0 True"]
    assert report.fidelity is not None
    facts = json.loads((tmp_path / "out" / "_manifest.json").read_text(encoding="utf-8"))
    assert facts["encoding"]["recall_at_10"]["value"] == report.fidelity["recall_at_10"]["value"]
    stored = table_of(tmp_path / "out")
    assert stored.schema.field("vector").type.value_type == pa.int8()
    expected = HashingModel(64).embed([f"text {n}" for n in range(300)]).vectors
    raw = np.array(stored["vector"].to_pylist(), dtype=np.float32)
    cosines = np.einsum("ij,ij->i", raw, expected) / np.linalg.norm(raw, axis=1)
    assert cosines.min() > 0.999


def test_into_a_collection_only_what_is_missing_goes(tmp_path: Path) -> None:
    items = rows(250)
    source = write(tmp_path / "a.jsonl", items)
    options = BulkOptions(read=IDS, columns=("n",), shard_rows=100)
    report = embed_to_store([source], tmp_path / "notes.kin", Asked(), options)
    assert (report.rows, report.embedded, report.complete) == (250, 250, True)
    items[30]["text"] = "text changed"
    write(source, items)
    model = Asked()
    report = embed_to_store([source], tmp_path / "notes.kin", model, options)
    assert model.asked() == ["text changed"]
    store = open_store(tmp_path / "notes.kin")
    try:
        assert store.count() == 250
        record = store.get(["r30"])[0]
        assert record.text == "text changed"
        assert record.metadata == {"n": 30}
        np.testing.assert_allclose(
            store.vectors(["r30"])[0], HashingModel(16).embed(["text changed"]).vectors, atol=1e-7
        )
    finally:
        store.close()


def test_a_collection_keeps_the_first_of_two_rows_with_one_id_and_names_the_other(tmp_path: Path) -> None:
    items = [
        *rows(150),
        {"id": "r7", "text": "text again"},
        {"id": "x", "text": "text a"},
        {"id": "x", "text": "b"},
    ]
    source = write(tmp_path / "a.jsonl", items)
    for _ in range(3):
        report = embed_to_store([source], tmp_path / "notes.kin", Asked(), BulkOptions(read=IDS, shard_rows=100))
        assert (report.rows, report.rejected) == (151, 2)
        assert report.rejects is not None
        named = [json.loads(line)["id"] for line in Path(report.rejects).read_text(encoding="utf-8").splitlines()]
        assert named == ["r7", "x"]
        store = open_store(tmp_path / "notes.kin")
        try:
            assert store.count() == 151
            assert [record.text for record in store.get(["r7", "x"])] == ["text 7", "text a"]
        finally:
            store.close()


def test_other_columns_are_refused_rather_than_emptied(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(150))
    embed(source, tmp_path / "out", columns=("n",))
    for other in ((), ("half",), ("n:string",), ("n", "half"), ("*",)):
        with pytest.raises(InputError, match="--column"):
            embed(source, tmp_path / "out", columns=other, resume=True)
    embed(source, tmp_path / "out", columns=("n",), resume=True)
    assert table_of(tmp_path / "out")["n"].to_pylist() == list(range(150))


def test_an_input_without_a_text_empties_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(150))
    embed(source, tmp_path / "out")
    for left in ([], [{"id": "a", "text": None}]):
        write(source, [*left, " "])
        with pytest.raises(InputError, match=r"stays as it is|no JSON objects"):
            embed(source, tmp_path / "out", resume=True)
        assert table_of(tmp_path / "out").num_rows == 150
    with pytest.raises(InputError, match="no text was found"):
        embed_to_folder([], tmp_path / "none", HashingModel(16))


def test_the_cost_of_one_form_is_not_told_for_another(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(150))
    facts = {"text": "binary: 32x smaller", "dtype": "binary", "dimensions": 64}
    (tmp_path / "out" / "_textkin").mkdir(parents=True)
    (tmp_path / "out" / "_textkin" / "fidelity.json").write_text(json.dumps(facts), encoding="utf-8")
    report = embed(source, tmp_path / "out", HashingModel(64), dtype="int8")
    assert report.fidelity is not None
    assert report.fidelity["text"].startswith("int8")


def test_readers_see_one_whole_result_while_a_changed_input_is_done_again(tmp_path: Path) -> None:
    items = rows(300)
    source = write(tmp_path / "a.jsonl", items)
    embed(source, tmp_path / "out")
    write(source, [{"id": "new", "text": "text new"}, *items])
    seen: list[int] = []
    stop = threading.Event()

    def look(texts: Sequence[str]) -> None:
        seen.append(table_of(tmp_path / "out").num_rows)
        stop.set()

    options = BulkOptions(read=IDS, shard_rows=100, resume=True)
    embed_to_folder([source], tmp_path / "out", Asked(before=look), options, stop=stop)
    assert table_of(tmp_path / "out").num_rows == 300
    assert embed(source, tmp_path / "out", resume=True).rows == 301
    assert table_of(tmp_path / "out").num_rows == 301
    assert set(seen) == {300}
    assert not list((tmp_path / "out" / "_textkin" / "new").iterdir())


def test_what_was_spent_is_the_sum_over_all_runs(tmp_path: Path) -> None:
    items = rows(300)
    source = write(tmp_path / "a.jsonl", items)
    embed(source, tmp_path / "out")
    first = json.loads((tmp_path / "out" / "_manifest.json").read_text(encoding="utf-8"))
    write(source, [{"id": "new", "text": "text new"}, *items])
    embed(source, tmp_path / "out", resume=True)
    second = json.loads((tmp_path / "out" / "_manifest.json").read_text(encoding="utf-8"))
    assert (first["embedded"], second["embedded"]) == (300, 301)
    assert second["spend"]["tokens"] == first["spend"]["tokens"] + 2
    assert (first["spend"]["runs"], second["spend"]["runs"]) == (1, 2)


def test_ranks_that_read_different_inputs_complete_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(300))
    embed(source, tmp_path / "out", rank=1, world=2, resume=True)
    write(source, rows(290))
    with pytest.raises(StoreError, match="rank 1"):
        embed(source, tmp_path / "out", rank=0, world=2, resume=True)
    assert not (tmp_path / "out" / "_manifest.json").exists()
    assert embed(source, tmp_path / "out", rank=1, world=2, resume=True).complete
    assert table_of(tmp_path / "out").num_rows == 290


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(300))
    embed(source, tmp_path / "out")
    damaged = sorted((tmp_path / "out").glob("*.parquet"))[1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    report = embed(source, tmp_path / "out", resume=True)
    assert report.kept == 200
    np.testing.assert_array_equal(
        vectors_of(table_of(tmp_path / "out")), HashingModel(16).embed([f"text {n}" for n in range(300)]).vectors
    )


@pytest.mark.parametrize("name", ["job.json", "fidelity.json"])
def test_a_lost_settings_file_costs_nothing(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "a.jsonl", rows(300))
    embed(source, tmp_path / "out", HashingModel(64), dtype="int8")
    (tmp_path / "out" / "_textkin" / name).unlink()
    assert embed(source, tmp_path / "out", HashingModel(64), dtype="int8", resume=True).kept == 300
    (tmp_path / "out" / "_textkin" / "job.json").unlink()
    report = embed(source, tmp_path / "out", HashingModel(64), dtype="float16", resume=True)
    assert report.kept == 0
    assert table_of(tmp_path / "out").schema.field("vector").type.value_type == pa.float16()


def test_any_number_of_bad_rows_in_a_row_is_named(tmp_path: Path) -> None:
    items: list[Any] = [*rows(10), *({"id": f"b{n}", "text": None} for n in range(25_000)), *rows(10, 10)]
    report = embed(write(tmp_path / "a.jsonl", items), tmp_path / "out", shard_rows=1000)
    assert (report.rows, report.rejected) == (20, 25_000)
    lines = (tmp_path / "out" / "_rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"b{n}" for n in range(25_000)]


def test_a_value_that_only_parquet_could_hold_is_a_bad_row_of_another_file(tmp_path: Path) -> None:
    when = pa.array([1, 2], pa.timestamp("ms"))
    pq.write_table(
        pa.table({"id": ["a", "b"], "text": ["text 1", "text 2"], "when": when}), tmp_path / "a.parquet"
    )
    other = write(tmp_path / "b.jsonl", [{"id": "c", "text": "text 3", "when": "2020-01-01"}])
    options = BulkOptions(read=IDS, columns=("when",))
    report = embed_to_folder([tmp_path / "a.parquet", other], tmp_path / "out", HashingModel(16), options)
    assert (report.rows, report.rejected) == (2, 1)


def test_fewer_bytes_are_fewer_bytes_in_the_files(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"text": f"text {n}"} for n in range(4000)])
    sizes = {}
    for kind in ("float32", "float16", "int8", "binary"):
        options = BulkOptions(dtype=kind, text=False)
        embed_to_folder([source], tmp_path / kind, HashingModel(256), options)
        (file,) = (tmp_path / kind).glob("*.parquet")
        sizes[kind] = pq.ParquetFile(file).metadata.row_group(0).column(2).total_compressed_size / 4000
    assert sizes["float16"] < 1.05 * 512
    assert sizes["int8"] < 1.2 * 256
    assert sizes["binary"] < 1.5 * 32


def test_refused_texts_are_asked_for_again_on_request(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(200))

    class Refusing(Asked):
        def embed(
            self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None
        ) -> Embedded:
            answer = super().embed(texts, role, progress)
            bad = {row: "refused" for row, text in enumerate(texts) if text == "text 7"}
            answer.vectors[list(bad)] = 0
            return Embedded(answer.vectors, answer.tokens, answer.truncated, bad)

    report = embed(source, tmp_path / "out", Refusing())
    assert (report.rows, report.failed) == (199, 1)
    (line,) = (tmp_path / "out" / "_rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"path": str(source), "row": 8, "id": "r7", "reason": "refused"}
    model = Asked()
    assert embed(source, tmp_path / "out", model, resume=True).failed == 1
    assert embed(source, tmp_path / "out", model, resume=True, retry_refused=True).rows == 200
    assert model.asked() == ["text 7"]
