"""Other files are another model wherever vectors meet; objects are held to the collection's own texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from changed_models import CHANGES, copy_of
from textkin.errors import ModelMismatchError
from textkin.jobs.bulk.collection import embed_to_store
from textkin.jobs.bulk.folder import embed_to_folder
from textkin.jobs.bulk.report import BulkOptions
from textkin.jobs.copying import copy_collection
from textkin.jobs.own_canaries import OwnCanaries
from textkin.ledger import Ledger, embed
from textkin.models.hashing import HashingModel
from textkin.models.local import LocalModel
from textkin.stores.resolve import open_store
from textkin.types import StoreHeader

TEXTS = ["he said a word", "some stone", "the night", "go to kubernetes", "ส for us"]
Change = Callable[[Path], None]


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[Change], tuple[Path, Path]]:
    def make(change: Change) -> tuple[Path, Path]:
        first, second = copy_of(tmp_path / "first"), copy_of(tmp_path / "second")
        change(second)
        return first, second

    return make


@pytest.fixture(params=CHANGES, ids=lambda change: change.__name__)
def pair(request: pytest.FixtureRequest, folders: Callable[[Change], tuple[Path, Path]]) -> tuple[Path, Path]:
    """A model's folder, and one of another model that no canary text tells from it."""
    return folders(request.param)


def test_another_model_is_refused_by_name_when_it_opens_a_collection(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = pair
    with textkin.Collection(tmp_path / "notes.kin", first) as notes:
        notes.add(TEXTS)
    for ledger in (True, False):
        with pytest.raises(ModelMismatchError, match=r"first.*not .*second.*: (other weights|another tokenizer)"):
            textkin.Collection(tmp_path / "notes.kin", second, ledger=ledger)
    with pytest.raises(ModelMismatchError):
        textkin.Collection(tmp_path / "notes.kin", LocalModel(second, "a name of its own"))


def test_files_that_changed_between_two_runs_are_refused(tmp_path: Path) -> None:
    for change in CHANGES:
        folder = copy_of(tmp_path / change.__name__)
        place = tmp_path / f"{change.__name__}.kin"
        with textkin.Collection(place, folder) as notes:
            notes.add(TEXTS)
        change(folder)
        with textkin.Collection(place) as notes:
            with pytest.raises(
                ModelMismatchError, match=r"under the same name, other files: (other weights|another tokenizer)"
            ):
                notes.search("said")
            with pytest.raises(ModelMismatchError):
                notes.add(["one more"])
            assert notes.count() == len(TEXTS)


def test_the_ledger_has_nothing_for_it(pair: tuple[Path, Path]) -> None:
    first, second = (LocalModel(folder, folder.name) for folder in pair)
    with Ledger() as ledger:
        embed(first, TEXTS, "document", ledger)
        result = embed(second, TEXTS, "document", ledger)
        assert (result.from_ledger, result.embedded) == (0, len(TEXTS))


def test_bulk_outputs_copies_and_merges_refuse_it(pair: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    first, second = pair
    source = tmp_path / "texts.csv"
    source.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    out = tmp_path / "out"
    embed_to_folder([source], out, first)
    with pytest.raises(ModelMismatchError, match=r"holds vectors of .*first"):
        embed_to_folder([source], out, second, BulkOptions(resume=True))
    embed_to_store([source], tmp_path / "to.kin", first)
    with pytest.raises(ModelMismatchError, match=r"was built with .*first"):
        embed_to_store([source], tmp_path / "to.kin", second)
    copy_collection(out, tmp_path / "copied.kin")
    with pytest.raises(ModelMismatchError):
        textkin.Collection(tmp_path / "copied.kin", second)
    with textkin.Collection(tmp_path / "other.kin", second) as other:
        other.add(["another text"])
    for goal in (tmp_path / "copied.kin", tmp_path / "to.kin"):
        with pytest.raises(ModelMismatchError, match="holds vectors of"):
            copy_collection(tmp_path / "other.kin", goal, merge=True)


def test_engines_over_the_same_files_are_still_joined(tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    model = LocalModel(folder, "tiny")

    class Other:
        """As another engine: another fingerprint over the same files."""

        info = dataclasses.replace(model.info, name="other:tiny", fingerprint="ab" * 32)
        embed, count_tokens = model.embed, model.count_tokens

    with textkin.Collection(tmp_path / "notes.kin", model) as notes:
        notes.add(TEXTS)
    with textkin.Collection(tmp_path / "notes.kin", Other()) as notes:
        assert notes.search("said")
        notes.add(["one more"])
        header = notes._store.header
        assert header is not None
        assert header.accepted == ("ab" * 32,)


def test_a_merge_refuses_other_files_under_one_fingerprint(tmp_path: Path) -> None:
    model = LocalModel(copy_of(tmp_path / "tiny"), "tiny")
    for name in ("one.kin", "two.kin"):
        with textkin.Collection(tmp_path / name, model) as notes:
            notes.add([name])
    store = open_store(tmp_path / "two.kin")
    header = store.header
    assert header is not None
    other = dataclasses.replace(header.model, weights_digest="cd" * 32)
    store.write_header(dataclasses.replace(header, model=other))
    store.close()
    with pytest.raises(ModelMismatchError, match=r"two\.kin.*is of other files.*a new place"):
        copy_collection(tmp_path / "one.kin", tmp_path / "two.kin", merge=True)


def test_a_bulk_job_joins_whatever_opening_joins(tmp_path: Path) -> None:
    folder, source, place = copy_of(tmp_path / "tiny"), tmp_path / "texts.csv", tmp_path / "notes.kin"
    source.write_text("text\none more\n", encoding="utf-8")
    model = LocalModel(folder, "tiny")

    class Other:
        """As another engine: another fingerprint over the same files."""

        info = dataclasses.replace(model.info, name="other:tiny", fingerprint="ab" * 32)
        embed, count_tokens = model.embed, model.count_tokens

    with textkin.Collection(place, model) as notes:
        notes.add(TEXTS)
    for _ in range(2):
        assert embed_to_store([source], place, Other()).rows == 1
    with textkin.Collection(place, model) as notes:
        header = notes._store.header
        assert header is not None
        assert header.model.fingerprint == model.info.fingerprint
        assert header.accepted == ("ab" * 32,)
        assert notes.count() == len(TEXTS) + 1


def _forget_digests(place: Path, accepted: Sequence[str] = ()) -> None:
    """As an older textkin wrote it."""
    store = open_store(place)
    header = store.header
    assert header is not None
    info = dataclasses.replace(header.model, weights_digest=None, tokenizer_digest=None)
    store.write_header(StoreHeader(info, header.canaries, tuple(accepted)))
    store.close()


def test_a_collection_of_an_older_textkin_goes_on_with_its_own_model_only(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = pair
    place = tmp_path / "notes.kin"
    with textkin.Collection(place, first) as notes:
        notes.add(TEXTS)
    # What was accepted by canaries alone may have been another model.
    _forget_digests(place, accepted=[LocalModel(second, "second").info.fingerprint])
    with pytest.raises(ModelMismatchError):
        textkin.Collection(place, second)
    with textkin.Collection(place, first) as notes:
        assert notes.search("said")
        notes.add(["one more"])
        header = notes._store.header
        assert header is not None
        assert header.model.weights_digest == LocalModel(first, "first").info.weights_digest
        assert header.accepted == ()


# -- objects -----------------------------------------------------------------------------------------------


class Words:
    """A user's own encoder; some words may mean others."""

    name = "my-words"

    def __init__(self, **changed: str) -> None:
        self.changed = changed
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> Any:
        self.asked += texts
        said = [" ".join(self.changed.get(word, word) for word in text.split()) for text in texts]
        return HashingModel(64).embed(said).vectors


NOTES = [f"note {number} about topic{number % 7} and thing{number}" for number in range(40)]


def test_an_object_that_changed_in_part_is_refused_by_name(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    for ledger in (True, False):
        with textkin.Collection(place, Words(), ledger=ledger) as notes:
            notes.add(NOTES)
        for changed in (Words(topic3="other"), Words(note="nota"), Words(thing5="thing6", topic5="topic1")):
            with pytest.raises(ModelMismatchError, match=r"my-words did not make the vectors in .*notes\.kin"):
                textkin.Collection(place, changed, ledger=ledger)
    with textkin.Collection(place, Words()) as notes:
        assert notes.search("topic3")


def test_an_object_that_changes_while_the_collection_is_open_writes_nothing_more(tmp_path: Path) -> None:
    encoder = Words()
    with textkin.Collection(tmp_path / "notes.kin", encoder) as notes:
        notes.add(NOTES)
        notes.add(["one more"])
        encoder.changed["topic2"] = "topic4"
        with pytest.raises(ModelMismatchError, match="or was changed since"):
            notes.add(["topic2 again"])
        assert notes.count() == len(NOTES) + 1
    with Ledger() as ledger:
        assert [use.texts for use in ledger.stats()] == [len(NOTES) + 1]


def test_a_changed_object_gets_no_vectors_of_the_ledger_in_a_new_collection(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "one.kin", Words()) as notes:
        notes.add(NOTES)
    with textkin.Collection(tmp_path / "two.kin", Words(topic3="other")) as notes:
        with pytest.raises(ModelMismatchError, match=r"gives another vector for 'note .*ledger prune --model"):
            notes.add(NOTES)
        assert notes.count() == 0
    same = Words()
    with textkin.Collection(tmp_path / "three.kin", same) as notes:
        assert notes.add(NOTES).embedded == 0
    assert len(set(same.asked) & set(NOTES)) <= 32


def test_an_object_joins_a_named_models_collection_only_while_its_texts_agree(tmp_path: Path) -> None:
    place = tmp_path / "notes.kin"
    with textkin.Collection(place, "hashing:64") as notes:
        notes.add(NOTES)
    with textkin.Collection(place, Words()) as notes:
        notes.add(["one more"])
    for _ in range(2):
        with pytest.raises(ModelMismatchError, match="though the canary texts agree"):
            textkin.Collection(place, Words(topic3="other"))
    with textkin.Collection(place, Words(), read_only=True) as notes:
        assert notes.search("more")


def test_a_bulk_job_into_a_collection_refuses_a_changed_object(tmp_path: Path) -> None:
    source = tmp_path / "texts.csv"
    source.write_text("text\n" + "".join(f"{text}\n" for text in NOTES), encoding="utf-8")
    embed_to_store([source], tmp_path / "to.kin", Words())
    with pytest.raises(ModelMismatchError, match="or was changed since"):
        embed_to_store([source], tmp_path / "to.kin", Words(topic3="other"))


def test_a_bulk_job_that_is_gone_on_with_refuses_a_changed_object(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    source, out = tmp_path / "texts.csv", tmp_path / "out"
    source.write_text("text\n" + "".join(f"{text}\n" for text in NOTES), encoding="utf-8")
    options = BulkOptions(shard_rows=25, ledger=False)
    embed_to_folder([source], out, Words(), options)
    with source.open("a", encoding="utf-8") as more:
        more.write("and one more about topic3\n")
    again = dataclasses.replace(options, resume=True)
    with pytest.raises(ModelMismatchError, match=r"my-words did not make the vectors in .*out"):
        embed_to_folder([source], out, Words(topic3="other"), again)
    report = embed_to_folder([source], out, Words(), again)
    assert (report.rows, report.kept) == (41, 25)


class Losing:
    """A store of which another process takes, or replaces, records between two questions."""

    def __init__(self, store: Any, change: Callable[[], object], after: str) -> None:
        self._store, self._change, self._after, self._times = store, change, after, 1

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._store, name)

        def answer(*given: Any) -> Any:
            found = asked(*given)
            if name == "ids":
                found = iter(list(found))
            if name == self._after and self._times:
                self._times -= 1
                self._change()
            return found

        return answer


@pytest.mark.parametrize("after", ["ids", "get", "vectors"])
def test_own_canaries_of_a_collection_from_which_others_delete(tmp_path: Path, after: str) -> None:
    with textkin.Collection(tmp_path / "notes.kin", Words()) as notes:
        notes.add(NOTES)
        ids = list(notes._store.ids())
        some = OwnCanaries.of(Losing(notes._store, lambda: notes._store.delete(ids[:30]), after))
        assert some is not None
        assert set(some.ids) <= set(ids[30:])
        left = ids[30:]
        assert OwnCanaries.of(Losing(notes._store, lambda: notes._store.delete(left), after)) is None


def test_own_canaries_never_pair_a_text_with_a_vector_of_another(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "notes.kin", Words()) as notes:
        notes.add(NOTES)
        ids = list(notes._store.ids())
        some = OwnCanaries.of(Losing(notes._store, lambda: notes.add(["something else"], ids=[ids[0]]), "get"))
        assert some is not None
        np.testing.assert_allclose(some.vectors, Words().encode(list(some.texts)), atol=1e-6)


def test_own_canaries_are_the_same_each_time_and_have_many_words(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "notes.kin", Words()) as notes:
        assert OwnCanaries.of(notes._store) is None
        notes.add(["same words here"] * 30 + NOTES)
        first, second = OwnCanaries.of(notes._store), OwnCanaries.of(notes._store)
        assert first is not None
        assert second is not None
        assert first.texts == second.texts
        assert len(first.texts) == 16
        assert first.texts.count("same words here") == 1
        np.testing.assert_allclose(first.vectors, Words().encode(list(first.texts)), atol=1e-6)
