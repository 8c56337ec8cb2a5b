"""What Python callers give: any form of one meaning is taken, any other refused with the cure."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin._arguments import number, strings, whole_number
from textkin.collection import Collection
from textkin.errors import FilterError, InputError, RecordNotFoundError
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.hashing import HashingModel
from textkin.text.options import ReadOptions
from textkin.types import Record


class Frame:
    """A table as pandas and polars have it."""

    columns = ("text", "n")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


class Column:
    """A column as pandas has it."""

    ndim = 1

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)


@pytest.mark.parametrize(
    "given",
    [
        ["a", "b"],
        ("a", "b"),
        (one for one in "ab"),
        np.array(["a", "b"]),
        Column(["a", "b"]),
        {"k": "a", "l": "b"}.values(),
    ],
)
def test_many_texts_in_any_form(given: Any) -> None:
    assert strings(given) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ({"a": 1}, r"list\(its\.values\(\)\)"),
        (Frame(), r"table\['text'\]\.tolist\(\)"),
        ({"a", "b"}, r"sorted\(it\)"),
        (b"ab", "a list of str"),
        (None, "a list of str"),
        (5, "a list of str"),
        (Path("x"), "a list of str"),
        (np.array("a"), "a list of str"),
        ([["a"]], "flat list"),
        (np.array([["a"]]), "flat list"),
        (["a", None], "leave it out"),
        (["a", float("nan")], "dropna"),
        ([b"a"], r"decode\(\)"),
        ([1], r"str\(\.\.\.\)"),
        ([{"text": "a"}], r"value\['text'\]"),
    ],
)
def test_texts_of_another_meaning_are_refused(given: Any, cure: str) -> None:
    model = EmbeddingModel(HashingModel(8))
    with pytest.raises(InputError, match=cure):
        model.encode(given)
    with pytest.raises(InputError, match=cure):
        model.embed(given)
    with pytest.raises(InputError, match=cure):
        model.count_tokens(given)


def test_one_text_is_not_its_letters() -> None:
    model = EmbeddingModel(HashingModel(8))
    assert model.encode(np.str_("ab")).shape == (8,)
    assert model.encode(np.array(["ab"])).shape == (1, 8)
    for call in (model.embed, model.count_tokens):
        with pytest.raises(InputError, match="one str"):
            call("ab")
    assert ReadOptions(include="*.md", exclude="x", columns="abc") == ReadOptions(
        include=("*.md",), exclude=("x",), columns=("abc",)
    )


def test_numbers_of_numpy_are_numbers() -> None:
    assert whole_number(np.int64(3), "k", 1) == 3
    assert type(whole_number(np.uint8(3), "k")) is int
    assert number(np.float32(0.5), "threshold") == 0.5
    for wrong in (True, 2.0, "2", None, 0, np.float64(2)):
        with pytest.raises(InputError, match="k must be a whole number of at least 1"):
            whole_number(wrong, "k", 1)
    for wrong in (True, "0.5", None, float("nan"), [0.5], np.array([0.5, 0.6])):
        with pytest.raises(InputError, match="threshold must be"):
            number(wrong, "threshold")


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "n.kin", HashingModel(32), ledger=False) as collection:
        collection.add(["red cat", "blue dog", "old fish"], ids=["a", "b", "c"])
        yield collection


def test_lists_in_lists_out(notes: Collection) -> None:
    assert notes.get("a").text == "red cat"
    assert [one.id for one in notes.get(["c", "a", "c"])] == ["c", "a", "c"]
    assert [one.id for one in notes.get(np.array(["b"]))] == ["b"]
    assert notes.get([]) == []
    with pytest.raises(RecordNotFoundError, match="'z'"):
        notes.get(["a", "z"])
    assert notes.search("red cat", np.int64(1), threshold=np.float32(0.9))[0].id == "a"
    both = notes.search(["red cat", "blue dog"], 2)
    assert both == [notes.search("red cat", 2), notes.search("blue dog", 2)]
    assert [hits[0].id for hits in both] == ["a", "b"]
    liked = notes.search(["red cat", "old fish"], 1, like=["b"])
    assert liked == [notes.search("red cat", 1, like="b"), notes.search("old fish", 1, like="b")]
    assert notes.similar(["a", "red cats", "b"], 2) == [
        notes.similar("a", 2), notes.similar("red cats", 2), notes.similar("b", 2)
    ]  # fmt: skip
    assert notes.similar_to_text(["a", "b"], 1) == [notes.similar_to_text("a", 1), notes.similar_to_text("b", 1)]
    assert (notes.search([]), notes.similar([]), notes.similar_to_text([])) == ([], [], [])
    assert notes.vectors(np.array(["a", "b"])).shape == (2, 32)
    assert notes.remove(np.array(["a", "b"])) == 2
    assert notes.remove([]) == 0


def test_numbers_reach_every_answer(notes: Collection) -> None:
    assert len(notes.outliers(np.int64(2), neighbours=np.int16(1))) == 2
    assert notes.recall(np.int64(1), sample=np.int64(2)).k == 1
    assert notes.duplicates(np.float32(0.99)).groups == ()
    for call in (
        lambda: notes.outliers(2.0),  # type: ignore[arg-type]
        lambda: notes.recall("1"),  # type: ignore[arg-type]
        lambda: notes.clusters(2.5),  # type: ignore[arg-type]
        lambda: notes.calibrate(copies=-1),
        lambda: notes.search("x", k=0),
        lambda: notes.search("x", threshold="0.5"),  # type: ignore[call-overload]
        lambda: notes.duplicates(float("nan")),
        lambda: notes.against(["x"], threshold=None),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match="must be"):
            call()


def test_ids_and_texts_are_refused_with_the_cure(notes: Collection) -> None:
    calls: list[Any] = [notes.get, notes.remove, notes.vectors]
    for call in calls:
        with pytest.raises(InputError, match=r"str\("):
            call(1)
        with pytest.raises(InputError, match=r"1 and '1'"):
            call([1])
    with pytest.raises(InputError, match=r"1 and '1'"):
        notes.add(["x"], ids=[1])  # type: ignore[list-item]
    calls = [notes.add, notes.against, notes.search, notes.similar]
    for call in calls:
        with pytest.raises(InputError, match="table"):
            call(Frame())
        with pytest.raises(InputError, match="dict"):
            call({"a": 1})
        with pytest.raises(InputError, match="number 0"):
            call([1])
    assert notes.against(one for one in ["red cat"]).known[0].partner == "a"
    with pytest.raises(InputError, match="not both"):
        notes.against(["x", Record("i", "t")])
    with pytest.raises(InputError, match=r"to_dict\('records'\)"):
        notes.add(["x"], metadata=Frame())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one mapping a text"):
        notes.add(["x", "y"], metadata={"lang": ["en", "de"]})
    assert notes.count() == 3


def test_metadata_of_one_meaning_are_kept_and_found(notes: Collection) -> None:
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    given = {
        "n": np.int64(5),
        "x": np.float32(0.5),
        "yes": np.bool_(True),
        "tags": ("a", np.str_("b")),
        "numbers": np.array([1, 2]),
        "none": [],
        "day": moment.date(),
        "at": moment,
        "np": np.datetime64("2024-01-02T03:04:05.500000000"),
        "who": uuid.UUID(int=1),
    }
    notes.add("all", ids="all", metadata=given)
    assert notes.get("all").metadata == {
        "n": 5, "x": 0.5, "yes": True, "tags": ["a", "b"], "numbers": [1, 2], "none": [], "day": "2024-01-02",
        "at": "2024-01-02T03:04:05", "np": "2024-01-02T03:04:05.5", "who": str(uuid.UUID(int=1)),
    }  # fmt: skip
    for where in (
        {"n": np.int64(5)}, {"day": moment.date()}, {"at": {"$lte": moment}}, {"np": given["np"]},
        {"who": given["who"]}, {"tags": {"$contains": "b"}}, {"numbers": {"$contains": np.int64(2)}},
        {"n": np.array([4, 5])}, "numbers contains 2 and tags not contains 'c'",
    ):  # fmt: skip
        assert [hit.id for hit in notes.search("x", 9, where=where)] == ["all"], where
    assert notes.add("all", ids="all", metadata=given).unchanged == 1


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        ({"a": 1}, "flatten"),
        ([["a"]], "item 0 is a list"),
        ({1}, r"sorted\(value\)"),
        (b"x", r"decode\(\)"),
        (decimal.Decimal(1), r"float\(value\)"),
        (datetime.timedelta(1), r"total_seconds\(\)"),
        (float("nan"), "None for a missing number"),
        ([float("inf")], "None for a missing number"),
        (np.datetime64("NaT"), "None for a missing date"),
        (2**64, "keep it as a string"),
        (object(), r"str\(value\)"),
    ],
)
def test_metadata_without_a_form_are_refused_with_the_cure(notes: Collection, value: Any, cure: str) -> None:
    with pytest.raises(InputError, match=cure):
        notes.add("x", metadata={"field": value})
    assert notes.count() == 3


def test_filters_made_by_hand_hold_plain_values(notes: Collection) -> None:
    from textkin.where import Compare

    with pytest.raises(FilterError, match="Python's own value"):
        notes.count(Compare("n", "=", np.int64(1)))  # type: ignore[arg-type]


def test_rows_of_several_lengths_are_refused() -> None:
    for call in (textkin.cosine_similarity, textkin.normalize, lambda rows: textkin.near_pairs(rows, 0.5)):
        with pytest.raises(InputError, match="differ in length"):
            call([[1.0], [1.0, 2.0]])


def test_jobs_take_one_path_and_numbers_of_numpy(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"text": "a"}\n{"text": "b"}\n')
    options = textkin.BulkOptions(shard_rows=np.int64(1), columns=["text"][:0])  # type: ignore[arg-type]
    assert textkin.embed_to_folder(source, tmp_path / "out", HashingModel(8), options).rows == 2
    assert textkin.embed_to_store(str(source), tmp_path / "n.kin", HashingModel(8)).rows == 2
    with pytest.raises(InputError, match="shard_rows must be a whole number"):
        textkin.BulkOptions(shard_rows=1.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_cost must be a number"):
        textkin.Budget(max_cost="5")  # type: ignore[arg-type]


def test_what_is_no_record_and_no_rule_is_refused(notes: Collection) -> None:
    with pytest.raises(InputError, match="add takes texts"):
        notes.index(["a text"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="keep must be a rule"):
        notes.duplicates(keep=5)  # type: ignore[arg-type]
