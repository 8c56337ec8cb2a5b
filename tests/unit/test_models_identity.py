"""A model's files: other files are another model, and files that change under a running process are refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import textkin
from changed_models import CHANGES, change_weights, changed_rows, copy_of, exchanged_words
from textkin._places import cache_folder
from textkin.errors import WeightsError
from textkin.jobs.bulk.folder import embed_to_folder
from textkin.ledger import Ledger, embed
from textkin.models.fingerprint import canary_vectors, same_vectors
from textkin.models.local import LocalModel
from textkin.models.weights import identity, verifying
from textkin.models.weights.identity import ModelFiles
from textkin.types import Embedded, Role


def _other_bytes(folder: Path) -> None:
    """Other weights of the same size in the same file, with its old time of change."""
    file = folder / "model.safetensors"
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[-4000:] = bytes(byte ^ 1 for byte in data[-4000:])
    with file.open("r+b") as target:
        target.write(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced_tokenizer(folder: Path) -> None:
    new = copy_of(folder.with_name("new"), folder)
    exchanged_words(new)
    (new / "tokenizer.json").replace(folder / "tokenizer.json")


def _gone(folder: Path) -> None:
    (folder / "config.json").unlink()


UNDER_WAY = (changed_rows, _other_bytes, _replaced_tokenizer, exchanged_words, _gone)


def test_both_digests_tell_what_the_canaries_do_not(tmp_path: Path) -> None:
    first = LocalModel(copy_of(tmp_path / "first"), "first")
    for change in CHANGES:
        folder = copy_of(tmp_path / change.__name__)
        change(folder)
        other = LocalModel(folder, "other")
        assert same_vectors(canary_vectors(first), canary_vectors(other)), (
            "the change has to be one they can't see"
        )
        digests = [(model.info.weights_digest, model.info.tokenizer_digest) for model in (first, other)]
        assert digests[0] != digests[1]
        assert (digests[0][0] == digests[1][0]) == (change is not changed_rows)


def test_digests_are_those_of_the_files_whatever_the_precision_and_the_place(tmp_path: Path) -> None:
    models = [LocalModel(copy_of(tmp_path / "a"), "a"), LocalModel(copy_of(tmp_path / "b"), "b", precision="int8")]
    assert len({(model.info.weights_digest, model.info.tokenizer_digest) for model in models}) == 1
    assert len({model.info.fingerprint for model in models}) == 2


def test_old_places_of_the_transformer_give_the_same_digests(tmp_path: Path) -> None:
    root = {"model.safetensors": "1", "2_Dense/model.safetensors": "2", "tokenizer.json": "3"}
    other_way = root | {"model.safetensors": "2", "2_Dense/model.safetensors": "1"}
    inside = {path if "/" in path else f"0_Transformer/{path}": digest for path, digest in root.items()}
    assert identity.weights_digest(root) == identity.weights_digest(inside) != identity.weights_digest(other_way)
    assert identity.tokenizer_digest(root) == identity.tokenizer_digest(inside)
    assert identity.tokenizer_digest(root) != identity.tokenizer_digest(root | {"added_tokens.json": "4"})


@pytest.mark.parametrize("change", UNDER_WAY)
@pytest.mark.parametrize("old", [False, True])
def test_a_model_whose_files_change_under_it_gives_no_more_vectors(
    tmp_path: Path, change: Callable[[Path], None], old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old:  # as if the files had been there for long: their times alone have to tell
        monkeypatch.setattr(identity, "YOUNG", 0)
    folder = copy_of(tmp_path / "tiny")
    model = textkin.load_model(folder)
    before = model.encode("some word")
    np.testing.assert_array_equal(model.encode("some word"), before)
    change(folder)
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"(?s)tiny/\S+\.(json|safetensors).*Load the model again"):
            model.encode("some word")


def test_other_links_rights_and_equal_copies_are_no_other_files(tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    model = LocalModel(folder, "tiny")
    (folder / "model.safetensors").chmod(0o400)
    os.link(folder / "model.safetensors", tmp_path / "backup")
    copy = copy_of(tmp_path / "copy", folder)
    for name in ("tokenizer.json", "model.safetensors"):
        (copy / name).replace(folder / name)
    (folder / "README.md").write_text("new", encoding="utf-8")
    assert model.embed(["some word"]).vectors.shape == (1, 32)


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of(tmp_path / "tiny")
    frozen = {path: identity.state_of(path) for path in folder.iterdir()}
    monkeypatch.setattr(identity, "state_of", lambda path: frozen.get(path) or frozen[folder / "config.json"])
    files = ModelFiles(folder)
    files.check("tiny")
    changed_rows(folder)
    with pytest.raises(WeightsError, match=r"model\.safetensors was written over after tiny was loaded"):
        files.check("tiny")


def test_what_changes_while_the_model_is_loaded_is_refused(tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    files = ModelFiles(folder)
    changed_rows(folder)
    with pytest.raises(WeightsError, match=r"model\.safetensors was written over"):
        LocalModel(folder, "tiny", files=files)


def test_shards_of_any_name_are_watched(tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    (folder / "model.safetensors").rename(folder / "all-of-it.safetensors")
    index = '{"weight_map": {"embeddings.word_embeddings.weight": "all-of-it.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    model = LocalModel(folder, "tiny")
    assert model.info.weights_digest == LocalModel(copy_of(tmp_path / "other"), "other").info.weights_digest
    file = folder / "all-of-it.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"all-of-it\.safetensors was written over"):
        model.embed(["a"])


def test_the_cache_of_eight_bit_weights_is_watched_but_may_go(tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    LocalModel(folder, "tiny", precision="int8")
    model = LocalModel(folder, "tiny", precision="int8")
    (kept,) = (cache_folder() / "graphs").glob("*.safetensors")
    again = kept.with_name("again")
    again.write_bytes(kept.read_bytes())
    again.replace(kept)
    model.embed(["a"])
    model = LocalModel(folder, "tiny", precision="int8")
    kept.unlink()
    model.embed(["a"])
    LocalModel(folder, "tiny", precision="int8")
    model = LocalModel(folder, "tiny", precision="int8")
    with kept.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"other")
    with pytest.raises(WeightsError, match=r"graphs/\S+ was written over"):
        model.embed(["a"])


class _ChangesMeanwhile:
    """A loaded model whose weights are written over when it has embedded so many texts."""

    def __init__(self, folder: Path, after: int) -> None:
        self._inner = LocalModel(folder, str(folder))
        self._folder, self._left = folder, after
        self.info = self._inner.info
        self.count_tokens = self._inner.count_tokens

    def embed(self, texts: list[str], role: Role = "document", progress: object = None) -> Embedded:
        if any("word" in text for text in texts):
            self._left -= len(texts)
            if self._left < 0:
                change_weights(
                    self._folder, lambda tensors: tensors.update({k: v + 1 for k, v in tensors.items()})
                )
        return self._inner.embed(texts, role)


def test_nothing_of_the_block_comes_into_the_ledger(tmp_path: Path) -> None:
    model = _ChangesMeanwhile(copy_of(tmp_path / "tiny"), after=6)
    texts = [f"word {number}" for number in range(12)]
    good = LocalModel(copy_of(tmp_path / "good"), "good").embed(texts).vectors
    with Ledger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(WeightsError, match="was written over"):
            embed(model, texts, "document", ledger, block=4, first_block=4)
        counted = [use.texts for use in ledger.stats()]
        assert counted == [4]
        known = embed(LocalModel(copy_of(tmp_path / "same"), "same"), texts, "document", ledger)
        assert known.from_ledger == 4
        np.testing.assert_allclose(known.vectors, good, atol=1e-6)


def test_nothing_of_the_block_comes_into_a_collection(tmp_path: Path) -> None:
    model = _ChangesMeanwhile(copy_of(tmp_path / "tiny"), after=4)
    with textkin.Collection(tmp_path / "notes.kin", model) as notes:
        notes.add([f"word {number}" for number in range(4)])
        with pytest.raises(WeightsError, match="was written over"):
            notes.add(["another word"])
        with pytest.raises(WeightsError, match="was written over"):
            notes.search("said")
        assert notes.count() == 4


def test_nothing_of_the_block_comes_into_a_bulk_job(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = copy_of(tmp_path / "tiny")
    source = tmp_path / "texts.csv"
    source.write_text("text\n" + "".join(f"word {number}\n" for number in range(40)), encoding="utf-8")
    model = _ChangesMeanwhile(folder, after=0)
    with pytest.raises(WeightsError, match="was written over"):
        embed_to_folder([source], tmp_path / "out", model)
    assert not list((tmp_path / "out").rglob("*.parquet"))
    with Ledger() as ledger:
        assert [use.texts for use in ledger.stats()] == [0]


def test_stamps_of_old_files_are_trusted_and_their_check_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "YOUNG", 0)
    monkeypatch.setattr(verifying, "YOUNG", -(10**18))
    folder = copy_of(tmp_path / "tiny")
    ModelFiles(folder)

    def never(path: Path, name: str) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(identity, "file_digest", never)
    monkeypatch.setattr(verifying, "file_digest", never)
    ModelFiles(folder).check("tiny")
