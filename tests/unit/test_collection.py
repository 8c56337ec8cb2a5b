"""The façade, with the hashing model."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.collection import LedgerWarning
from textkin.errors import (
    BadVectorsError,
    FilterError,
    InputError,
    ModelMismatchError,
    RecordNotFoundError,
    StoreError,
    StoreNotFoundError,
)
from textkin.ledger import Ledger
from textkin.models.embedding_model import TruncationWarning
from textkin.models.hashing import HashingModel
from textkin.types import Embedded, ModelInfo, Progress, Role

TEXTS = ["refunds take five days", "the cat sleeps", "a dog barks at night", "how refunds are paid"]


class Counting:
    """The hashing model, counting what it is really asked for."""

    def __init__(self) -> None:
        self.inner = HashingModel()
        self.texts: list[str] = []

    @property
    def info(self) -> ModelInfo:
        return self.inner.info

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        self.texts += texts
        return self.inner.embed(texts, role, progress)

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        return self.inner.count_tokens(texts, role)


@pytest.fixture
def notes(tmp_path: Path) -> textkin.Collection:
    collection = textkin.Collection(tmp_path / "notes.kin", "hashing")
    collection.add(TEXTS, ids=["r1", "c", "d", "r2"], metadata=[{"n": n, "pet": n in (1, 2)} for n in range(4)])
    return collection


def test_search_gives_the_nearest_first_with_true_cosines(notes: textkin.Collection) -> None:
    hits = notes.search("refunds", k=4)
    assert {hits[0].id, hits[1].id} == {"r1", "r2"}
    model = HashingModel()
    query = model.embed(["refunds"]).vectors[0]
    expected = sorted(model.embed(TEXTS).vectors @ query, reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(expected, abs=1e-5)


def test_search_takes_where_threshold_and_k(notes: textkin.Collection) -> None:
    assert [hit.id for hit in notes.search("refunds", k=4, where={"pet": True})] in (["c", "d"], ["d", "c"])
    assert {hit.id for hit in notes.search("refunds", k=4, where="n >= 2 and not pet = true")} == {"r2"}
    assert notes.search("refunds", k=4, threshold=0.999) == []
    assert len(notes.search("refunds", k=2)) == 2
    with pytest.raises(FilterError):
        notes.search("refunds", where="n >")
    with pytest.raises(InputError, match="k must be"):
        notes.search("refunds", k=0)
    with pytest.raises(InputError, match="query is empty"):
        notes.search("  ")
    with pytest.raises(InputError, match="nothing to search for"):
        notes.search()


def test_like_and_unlike_add_and_take_away(notes: textkin.Collection) -> None:
    vectors = notes.vectors(["r1", "c", "d", "r2"]).astype(np.float64)
    wanted = vectors[0] - vectors[1]
    wanted /= np.linalg.norm(wanted)
    hits = notes.search(like="r1", unlike=["c"], k=5)
    assert {hit.id for hit in hits} == {"d", "r2"}
    by_id = {hit.id: hit.score for hit in hits}
    assert by_id["r2"] == pytest.approx(vectors[3] @ wanted, abs=1e-5)
    assert by_id["d"] == pytest.approx(vectors[2] @ wanted, abs=1e-5)
    with pytest.raises(RecordNotFoundError):
        notes.search(like="nope")


def test_similar_leaves_itself_out_and_takes_a_text(notes: textkin.Collection) -> None:
    assert notes.similar("r1", k=1)[0].id == "r2"
    assert "r1" not in {hit.id for hit in notes.similar("r1", k=10)}
    assert notes.similar("the cat sleeps", k=1)[0].id == "c"
    assert notes.similar("the cat sleeps", k=1)[0].score == pytest.approx(1.0, abs=1e-6)


def test_get_count_contains_iterate_and_remove(notes: textkin.Collection) -> None:
    assert len(notes) == 4
    assert "c" in notes
    assert "x" not in notes
    assert notes.get("c").text == TEXTS[1]
    assert [record.id for record in notes] == ["r1", "c", "d", "r2"]
    assert notes.count({"pet": True}) == 2
    with pytest.raises(RecordNotFoundError, match="'x'"):
        notes.remove(["c", "x"])
    assert notes.count() == 4
    assert notes.remove(["c", "c"]) == 1
    with pytest.raises(RecordNotFoundError, match="'c'"):
        notes.get("c")


def test_adding_again_changes_nothing_and_asks_the_model_for_nothing(tmp_path: Path) -> None:
    model = Counting()
    with textkin.Collection(tmp_path / "a.kin", model) as notes:
        first = notes.add(TEXTS)
        assert (first.added, first.embedded) == (4, 4)
        model.texts.clear()
        again = notes.add(TEXTS)
        assert (again.added, again.changed, again.unchanged, again.embedded) == (0, 0, 4, 0)
    with textkin.Collection(tmp_path / "b.kin", model) as other:
        elsewhere = other.add(reversed(TEXTS))
        assert (elsewhere.added, elsewhere.embedded, elsewhere.from_ledger) == (4, 0, 4)
    # What the second collection asked for are its canaries, never a user's text.
    assert set(model.texts).isdisjoint(TEXTS)


def test_equal_texts_without_ids_are_records_of_their_own(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        assert notes.add(["same", "same", "other"]).added == 3
        assert notes.add(["same", "same", "other"]).unchanged == 3
        groups = list(notes.duplicates())
        assert len(groups) == 1
        assert len(notes) == 3


def test_changed_metadata_changes_the_record_without_embedding(tmp_path: Path) -> None:
    model = Counting()
    with textkin.Collection(tmp_path / "a.kin", model) as notes:
        notes.add("text", ids="a", metadata={"n": 1})
        report = notes.add("text", ids="a", metadata={"n": 2})
        assert (report.changed, report.embedded) == (1, 0)
        assert notes.get("a").metadata == {"n": 2}


def test_without_a_ledger_everything_is_embedded(tmp_path: Path) -> None:
    model = Counting()
    for name in ("a.kin", "b.kin"):
        with textkin.Collection(tmp_path / name, model, ledger=False) as notes:
            assert notes.add(TEXTS).embedded == 4


def test_a_ledger_of_ones_own(tmp_path: Path) -> None:
    own = Ledger(tmp_path / "own.db")
    with textkin.Collection(tmp_path / "a.kin", "hashing", ledger=own) as notes:
        notes.add(TEXTS)
    info = HashingModel().info
    with textkin.Collection(tmp_path / "b.kin", "hashing", ledger=own) as notes:
        assert notes.add(TEXTS).from_ledger == 4
    assert info.fingerprint
    own.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["a", 3]}, "text number 1 is a int"),
        ({"texts": ["a", "b"], "ids": ["x"]}, "2 texts but 1 ids"),
        ({"texts": ["a", "b"], "ids": ["x", "x"]}, "'x' came twice"),
        ({"texts": ["a"], "ids": [""]}, "empty id"),
        ({"texts": ["a"], "ids": [7]}, "id number 0 is a int"),
        ({"texts": ["a"], "metadata": [{"x": [[1]]}]}, "x, item 0 is a list"),
        ({"texts": ["a"], "metadata": [{"x": float("nan")}]}, "x is nan"),
        ({"texts": ["a"], "metadata": [{"x": 2**63}]}, "64 bits"),
        ({"texts": ["a"], "metadata": [{3: 1}]}, "field names"),
        ({"texts": ["a"], "metadata": ["x"]}, "must be a mapping"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes, pytest.raises(InputError, match=message):
        notes.add(**arguments)


def test_numpy_scalars_are_kept_as_numbers(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        notes.add("a", ids="a", metadata={"i": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True)})
        assert notes.get("a").metadata == {"i": 3, "f": 0.5, "b": True}


def test_lone_surrogates_are_stored_as_replacement_characters(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        notes.add("broken \ud83d text", ids="a\udc80", metadata={"m": "\ud800"})
        record = notes.get("a\ufffd")
        assert record.text == "broken \ufffd text"
        assert record.metadata == {"m": "\ufffd"}


def test_a_long_text_is_split_and_found_by_its_end(tmp_path: Path) -> None:
    long = "\n\n".join(f"paragraph {number} about nothing much at all" for number in range(300))
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        report = notes.add([long + "\n\nzebras like quantum physics", "short"], ids=["long", "short"])
        assert report.split == 1
        assert report.truncated == []
        hit = notes.search("zebras quantum physics", k=1)[0]
        assert hit.id == "long"
        assert "zebras" in hit.text
        assert notes.get("long").text[hit.span.start : hit.span.end] == hit.text
        assert notes.vectors(["long"]).shape == (1, 256)
        np.testing.assert_allclose(np.linalg.norm(notes.vectors(["long", "short"]), axis=1), 1, atol=1e-6)


# -- models ------------------------------------------------------------------------------------------------


def test_another_model_is_refused_by_name_and_fingerprint(notes: textkin.Collection, tmp_path: Path) -> None:
    notes.close()
    with pytest.raises(ModelMismatchError, match=r"built with hashing .* not hashing:64"):
        textkin.Collection(tmp_path / "notes.kin", "hashing:64")
    with pytest.raises(ModelMismatchError, match="other files"):
        textkin.Collection(tmp_path / "notes.kin", HashingModel(max_tokens=100))
    with pytest.raises(ModelMismatchError, match="float32"):
        textkin.Collection(tmp_path / "notes.kin", precision="int8")
    with textkin.Collection(tmp_path / "notes.kin") as again:
        assert again.search("refunds", k=1)[0].id in ("r1", "r2")


class Letters:
    """Counts letters."""

    def encode(self, texts: list[str]) -> Any:
        rows = np.zeros((len(texts), 32))
        for row, text in zip(rows, texts, strict=True):
            row[0] = 1
            for letter in text:
                row[ord(letter) % 31 + 1] += 1
        return rows


class Encoder:
    """The hashing model behind another face, as another engine would be."""

    name = "my-encoder"

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def encode(self, texts: list[str]) -> Any:
        rows = HashingModel().embed(texts).vectors
        return rows + np.random.default_rng(len(texts)).normal(scale=self.noise, size=rows.shape)


def test_another_engine_with_the_same_vectors_is_accepted_and_remembered(
    notes: textkin.Collection, tmp_path: Path
) -> None:
    notes.close()
    # Without the ledger, which would know the vectors by their canaries and give them one fingerprint.
    with textkin.Collection(tmp_path / "notes.kin", Encoder(noise=1e-6), ledger=False) as other:
        assert other.search("refunds", k=1)[0].id in ("r1", "r2")
        assert other.add("refunds again").added == 1
        header = other._store.header
        assert header is not None
        assert len(header.accepted) == 1
    with pytest.raises(ModelMismatchError):
        textkin.Collection(tmp_path / "notes.kin", Encoder(noise=0.01))


def test_a_cut_query_is_warned_of(notes: textkin.Collection) -> None:
    with pytest.warns(TruncationWarning, match="the query is longer than the 512 tokens"):
        notes.search("refunds " * 600, k=1)


def test_an_object_keeps_its_fingerprint_in_spite_of_noise(tmp_path: Path) -> None:
    for number in range(3):
        with textkin.Collection(tmp_path / f"{number}.kin", Encoder(noise=10.0 ** (number - 9))) as notes:
            report = notes.add(TEXTS)
            assert report.embedded == (4 if number == 0 else 0)


def test_a_collection_built_with_an_object_asks_for_it(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", Encoder()) as notes:
        notes.add(TEXTS)
    with textkin.Collection(tmp_path / "a.kin") as notes:
        assert notes.similar("x" if "x" in notes else next(iter(notes)).id, k=1)
        with pytest.raises(InputError, match="built with an object"):
            notes.search("refunds")


# -- opening -----------------------------------------------------------------------------------------------


def test_opening_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        textkin.Collection(tmp_path / "none.kin", create=False)
    with pytest.raises(InputError, match="nosuch"):
        textkin.Collection("nosuch://somewhere")


def test_an_empty_collection_says_so(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        assert notes.count() == 0
        assert list(notes) == []
        assert notes.info().model is None
        with pytest.raises(InputError, match="is empty"):
            notes.search("x")


def test_a_collection_opened_read_only_answers_and_refuses_to_write(
    notes: textkin.Collection, tmp_path: Path
) -> None:
    notes.close()
    with textkin.Collection(tmp_path / "notes.kin", read_only=True) as reader:
        assert reader.search("refunds", k=1)
        with pytest.raises(textkin.errors.ReadOnlyError):
            reader.add("more")


# -- files -------------------------------------------------------------------------------------------------


def test_indexing_files_again_does_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a", "b", "c"):
        (docs / f"{name}.txt").write_text(f"file {name}")
    (docs / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    model = Counting()
    with textkin.Collection("notes.kin", model) as notes:
        first = notes.add_files("docs")
        assert (first.added, len(first.skipped)) == (3, 1)
        assert first.skipped[0].path == "docs/picture.png"
        assert {record.id for record in notes} == {"docs/a.txt", "docs/b.txt", "docs/c.txt"}
        (docs / "a.txt").unlink()
        (docs / "b.txt").write_text("file b, changed")
        (docs / "d.txt").write_text("file d")
        model.texts.clear()
        kept = notes.add_files("docs", keep_missing=True)
        assert (kept.added, kept.changed, kept.unchanged, kept.removed, kept.missing) == (1, 1, 1, 0, 1)
        assert sorted(model.texts) == ["file b, changed", "file d"]
        dropped = notes.add_files("docs")
        assert (dropped.unchanged, dropped.removed, dropped.embedded) == (3, 1, 0)
        assert "docs/a.txt" not in notes


def test_records_of_a_file_that_can_not_be_read_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "good.txt").write_text("good")
    (docs / "rows.csv").write_text("text,n\none,1\ntwo,2\n")
    with textkin.Collection("notes.kin", "hashing") as notes:
        assert notes.add_files("docs").added == 3
        (docs / "good.txt").unlink()
        (docs / "rows.csv").unlink()
        (docs / "rows.csv").symlink_to(docs / "gone elsewhere.csv")
        report = notes.add_files("docs")
        assert (report.removed, report.missing) == (1, 2)
        assert [one.kind for one in report.skipped] == ["failed"]
        assert notes.count() == 2


def test_indexing_a_folder_inside_another_does_not_hide_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sub = tmp_path / "docs" / "sub"
    sub.mkdir(parents=True)
    (tmp_path / "docs" / "a.txt").write_text("a")
    (sub / "b.txt").write_text("b")
    with textkin.Collection("notes.kin", "hashing") as notes:
        for first, second in (("docs", "docs/sub"), ("docs/sub", "docs")):
            notes.add_files(first)
            notes.add_files(second)
            assert notes.add_files("docs").unchanged == 2
        (sub / "b.txt").unlink()
        report = notes.add_files("docs")
        assert (report.removed, notes.count()) == (1, 1)


def test_one_id_from_two_inputs_is_refused_while_both_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "x.txt").write_text(name)
    with textkin.Collection(tmp_path / "notes.kin", "hashing") as notes:
        monkeypatch.chdir(tmp_path / "one")
        notes.add_files("docs")
        monkeypatch.chdir(tmp_path / "two")
        with pytest.raises(InputError, match="one would hide the other"):
            notes.add_files("docs")
        assert notes.get("docs/x.txt").text == "one"
        # Moved, not doubled: then the new place takes over.
        (tmp_path / "one").rename(tmp_path / "elsewhere")
        assert notes.add_files("docs").changed == 1
        assert notes.get("docs/x.txt").text == "two"


def test_a_model_loaded_before_another_took_the_place_is_refused(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", Encoder()) as first:
        first._model.get()
        with textkin.Collection(tmp_path / "a.kin", "hashing:64") as second:
            second.add("b", ids="b")
        with pytest.raises(ModelMismatchError):
            first.add("a", ids="a")
        with pytest.raises(ModelMismatchError):
            first.search("b")


def test_an_empty_collection_takes_any_model(tmp_path: Path) -> None:
    class Broken(Letters):
        def encode(self, texts: list[str]) -> Any:
            rows = super().encode(texts)
            return [row * np.nan if text == "bad" else row for row, text in zip(rows, texts, strict=True)]

    with (
        textkin.Collection(tmp_path / "a.kin", Broken()) as notes,
        pytest.raises(BadVectorsError, match="for the text 'bad'"),
    ):
        notes.add(["fine", "bad"], ids=["y", "x"])
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        assert notes.info().model is None
        notes.add("text", ids="t")
        notes.remove("t")
    with textkin.Collection(tmp_path / "a.kin", "hashing:64") as notes:
        notes.add("text", ids="t")
        assert notes.info().model == HashingModel(64).info


def test_an_object_of_textkins_protocol_is_asked_for_again(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", Counting()) as notes:
        notes.add(TEXTS)
    with textkin.Collection(tmp_path / "a.kin") as notes, pytest.raises(InputError, match="built with an object"):
        notes.search("refunds")


def test_an_equal_object_searches_while_another_process_writes(notes: textkin.Collection, tmp_path: Path) -> None:
    with (
        notes.writing("a long job"),
        textkin.Collection(tmp_path / "notes.kin", Encoder(noise=1e-6), ledger=False, timeout=0.1) as reader,
    ):
        assert reader.search("refunds", k=1)


def test_search_needs_no_ledger(
    notes: textkin.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes.close()
    broken = tmp_path / "data"
    broken.mkdir()
    (broken / "ledger.db").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    monkeypatch.setenv("TEXTKIN_DATA", str(broken))
    with textkin.Collection(tmp_path / "notes.kin") as reader:
        with pytest.warns(LedgerWarning, match="embedded without the ledger"):
            assert reader.search("refunds", k=1)[0].id in ("r1", "r2")
        assert reader.add(TEXTS[0], ids="r1", metadata={"n": 0, "pet": False}).unchanged == 1
        with pytest.raises(StoreError):
            reader.add("something new")


def test_like_and_unlike_of_one_record_cancel_out(notes: textkin.Collection) -> None:
    with pytest.raises(InputError, match="cancels out"):
        notes.search(like="c", unlike="c")


def test_newest_needs_a_field_that_is_there(notes: textkin.Collection) -> None:
    notes.add(TEXTS[0], ids="copy", metadata={"n": 9})
    assert notes.duplicates(keep="newest", date_field="n").dropped == ("r1",)
    with pytest.raises(InputError, match=r"no record has the field 'dtae'; their fields: n, pet"):
        notes.duplicates(keep="newest", date_field="dtae")
    with pytest.raises(InputError, match="keep='newest'"):
        notes.duplicates(date_field="n")


def test_ids_are_made_well_formed_wherever_they_are_given(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        notes.add(["one", "two"], ids=["x\udc80", "y"])
        assert "x\udc80" in notes
        assert notes.get("x\udc80").text == "one"
        assert notes.similar("x\udc80", k=1)[0].id == "y"
        assert notes.vectors("x\udc80").shape == (1, 256)
        assert notes.remove("x\udc80") == 1


def test_similar_compares_whole_records_as_duplicates_does(tmp_path: Path) -> None:
    long = "\n\n".join(
        f"chapter {number} tells of {word}" for number, word in enumerate(["cats", "ships", "tax"] * 90)
    )
    with textkin.Collection(tmp_path / "a.kin", "hashing:64") as notes:
        notes.add([long, long + " ", "cats and ships"], ids=["one", "copy", "short"])
        best = notes.similar("one", k=2)
        assert best[0].id == "copy"
        assert best[0].score == pytest.approx(1.0, abs=1e-6)
        vectors = notes.vectors(["one", "short"]).astype(np.float64)
        assert best[1].score == pytest.approx(vectors[0] @ vectors[1], abs=1e-6)
        assert notes.similar(long, k=1)[0].score == pytest.approx(1.0, abs=1e-6)
        assert notes.similar("one", k=1, where={"missing": 1}) == []


def test_removing_a_source_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "u.csv").write_text("text\none\ntwo\n")
    with textkin.Collection("notes.kin", "hashing") as notes:
        notes.add_files("u.csv")
        notes.add("by hand", ids="h")
        (tmp_path / "u.csv").unlink()
        assert notes.remove_source("u.csv") == 2
        assert notes.remove_source("u.csv") == 0
        assert [record.id for record in notes] == ["h"]


def test_a_mistyped_column_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "t.csv").write_text("id,text\na,one\nb,two\n")
    (docs / "l.jsonl").write_text('{"text": "three"}\n{"text": "four"}\n')
    options = textkin.ReadOptions(id_column="id", include=("t.csv",))
    with textkin.Collection("notes.kin", "hashing") as notes:
        assert notes.add_files("docs", options).added == 2
        assert notes.add_files("docs", textkin.ReadOptions(include=("l.jsonl",)), keep_missing=True).added == 2
        wrong = notes.add_files("docs", textkin.ReadOptions(text_column="Komentar", id_column="id"))
        assert (wrong.removed, wrong.missing, notes.count()) == (0, 4, 4)
        # A file that is half written keeps what it gave before.
        (docs / "l.jsonl").write_text('{"text": "three"}\n{"te')
        half = notes.add_files("docs", textkin.ReadOptions(include=("l.jsonl",)), keep_missing=False)
        assert "docs/l.jsonl:2" in notes
        assert half.missing >= 1


def test_empty_standard_input_wipes_nothing(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", "hashing") as notes:
        notes.add_files("-", stdin=io.BytesIO(b"one\ntwo\n"))
        with pytest.raises(InputError, match="nothing came through"):
            notes.add_files("-", stdin=io.BytesIO(b"\n"))
        assert notes.count() == 2


def test_arguments_of_a_wrong_kind_are_named(tmp_path: Path) -> None:
    class Table:
        columns = ("text",)

        def __iter__(self) -> Iterator[str]:
            return iter(self.columns)

    with textkin.Collection(tmp_path / "n.kin", model="hashing") as notes:
        with pytest.raises(InputError, match=r"a table.*give one of its columns"):
            notes.add(Table())
        notes.add(["a"])
        with pytest.raises(InputError, match=r"whole number.*2\.5"):
            notes.search("a", k=2.5)
    with pytest.raises(InputError, match="not a NoneType"):
        textkin.load_model("hashing").encode(None)
