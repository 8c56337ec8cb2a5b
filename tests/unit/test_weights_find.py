"""Names, folders and caches: what is found here without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_sources import COMMIT, REPOSITORY, contents, tiny_entry, write_folder
from textkin.errors import InputError, ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.models import weights
from textkin.models.weights.cache import pin_commit, repository_folder
from textkin.models.weights.find import understand

OTHER = "f" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / "models--testers--tiny-model"


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name(name: str) -> None:
    with pytest.raises(InputError, match="empty"):
        understand(name)


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "openai:text-embedding-3-small",
        "a/b/c",
        "org/..",
        "../none/x",
        "a--b/c",
        "org/na me",
        "/none/x",
        "~/none-x",
        "~no-such-user-x/m",
        "x" * 5000,
        "a\x00b",
    ],
)
def test_names_that_can_not_be_a_model(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        understand(name)


def test_a_bare_name_belongs_to_sentence_transformers() -> None:
    wanted = understand("multi-qa-mpnet-base-dot-v1")

    assert wanted.repository == "sentence-transformers/multi-qa-mpnet-base-dot-v1"
    assert wanted.revision == "main"
    assert wanted.entry is None


def test_a_revision_of_a_catalog_model_is_another_model() -> None:
    assert understand("all-MiniLM-L6-v2@main").entry is None
    assert understand("all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41").entry is not None


def test_a_users_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "mine", contents())

    assert weights.locate(str(folder)) == folder
    assert weights.fetch(str(folder), offline=True) == folder
    monkeypatch.chdir(tmp_path)
    assert weights.locate("mine") == folder
    assert weights.locate("./mine") == folder


def test_a_catalog_name_is_never_taken_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "tiny-model", contents())
    monkeypatch.chdir(tmp_path)

    assert weights.locate("tiny-model", catalog=[tiny_entry(tmp_path)]) is None
    with pytest.raises(ModelNotFoundError, match=r"write \./tiny-model"):
        weights.fetch("tiny-model", offline=True, catalog=[tiny_entry(tmp_path)])


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match="holds no model"):
        weights.locate(str(tmp_path / "empty"))
    files = {**contents(), "pytorch_model.bin": b"pickle"}
    del files["model.safetensors"]
    with pytest.raises(UnsupportedModelError, match=r"pytorch_model\.bin, a pickle"):
        weights.locate(str(write_folder(tmp_path / "pickles", files)))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelNotFoundError, match="is a file"):
        weights.locate(str(tmp_path / "file"))


def test_nothing_here_is_none(tmp_path: Path, hub_cache: Path) -> None:
    assert weights.locate("tiny-model", catalog=[tiny_entry(tmp_path)]) is None
    assert weights.locate("some/thing") is None


def test_the_hugging_face_cache_is_used_when_it_has_the_pinned_files(tmp_path: Path, hub_cache: Path) -> None:
    entry = tiny_entry(tmp_path)
    folder = write_folder(hub_cache / "snapshots" / COMMIT, contents())

    assert weights.locate("tiny-model", catalog=[entry]) == folder
    assert weights.locate(REPOSITORY, catalog=[entry]) == folder


def test_a_later_commit_with_the_pinned_files_is_as_good(tmp_path: Path, hub_cache: Path) -> None:
    folder = write_folder(hub_cache / "snapshots" / OTHER, {**contents(), "README.md": b"new"})

    assert weights.locate("tiny-model", catalog=[tiny_entry(tmp_path)]) == folder


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_a_changed_copy_in_the_hugging_face_cache_is_not_used(tmp_path: Path, hub_cache: Path, path: str) -> None:
    files = contents()
    files[path] = files[path].replace(b"8", b"9", 1)
    write_folder(hub_cache / "snapshots" / COMMIT, files)

    assert weights.locate("tiny-model", catalog=[tiny_entry(tmp_path)]) is None
    with pytest.raises(ModelNotFoundError, match=f"Hugging Face cache .*{path}"):
        weights.fetch("tiny-model", offline=True, catalog=[tiny_entry(tmp_path)])


def test_a_partial_copy_of_an_unpinned_model_is_not_used(hub_cache: Path) -> None:
    """transformers caches no modules.json: run from such a copy, the model would pool in the wrong way."""
    (hub_cache / "refs").mkdir(parents=True)
    (hub_cache / "refs" / "main").write_text(OTHER)
    files = contents()
    for missing in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json"):
        folder = write_folder(hub_cache / "snapshots" / OTHER, files)
        (folder / missing).unlink()
        assert weights.locate(REPOSITORY) is None
        (folder / missing).write_bytes(files[missing])
        assert weights.locate(REPOSITORY) == folder


def test_a_recorded_commit_wins_over_a_newer_one(hub_cache: Path) -> None:
    repository_folder(REPOSITORY).mkdir(parents=True)
    pin_commit(REPOSITORY, "main", COMMIT)
    (hub_cache / "refs").mkdir(parents=True)
    (hub_cache / "refs" / "main").write_text(OTHER)
    write_folder(hub_cache / "snapshots" / OTHER, contents())

    assert weights.locate(REPOSITORY) is None
    old = write_folder(hub_cache / "snapshots" / COMMIT, contents())
    assert weights.locate(REPOSITORY) == old


def test_a_damaged_copy_in_our_cache_is_refused_not_replaced(tmp_path: Path) -> None:
    entry = tiny_entry(tmp_path)
    folder = write_folder(repository_folder(REPOSITORY) / COMMIT, contents())
    assert weights.locate("tiny-model", catalog=[entry]) == folder
    (folder / "model.safetensors").write_bytes(b"x" * 200_000)

    with pytest.raises(WeightsError, match=r"model\.safetensors of tiny-model differs"):
        weights.locate("tiny-model", catalog=[entry])


@pytest.mark.parametrize("junk", ["", "[]", "{", json.dumps({"main": 3})])
def test_a_broken_record_of_commits_is_ignored(junk: str) -> None:
    repository_folder(REPOSITORY).mkdir(parents=True)
    (repository_folder(REPOSITORY) / "pins.json").write_text(junk)

    assert understand(REPOSITORY, ()).commit is None
    pin_commit(REPOSITORY, "main", COMMIT)
    assert understand(REPOSITORY, ()).commit == COMMIT


def test_the_hub_cache_is_found_by_the_clients_own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert weights.hub_cache() == Path.home() / ".cache/huggingface/hub"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert weights.hub_cache() == Path("/x/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "/h")
    assert weights.hub_cache() == Path("/h/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "~/c")
    assert weights.hub_cache() == Path.home() / "c"
