"""A model carried in one file to a machine without a network."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from model_sources import COMMIT, REPOSITORY, Hub, contents, serving, tiny_entry, write_folder
from textkin.errors import FileReadError, InputError, ModelNotFoundError, WeightsError
from textkin.models import weights
from textkin.models.catalog import CatalogEntry
from textkin.models.weights.cache import ModelRecord, publish, repository_folder


@pytest.fixture
def entry(tmp_path: Path) -> CatalogEntry:
    return tiny_entry(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle made on one machine; the test goes on on another one, which has nothing."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    made = _bundle_of(tmp_path, entry)
    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "other machine"))
    return made


def _bundle_of(tmp_path: Path, entry: CatalogEntry) -> Path:
    ready = write_folder(repository_folder(REPOSITORY) / "ready", contents())
    publish(ready, ModelRecord("tiny-model", REPOSITORY, COMMIT, COMMIT, weights.digests(ready)))
    return weights.bundle("tiny-model", tmp_path / "tiny.zip", catalog=[entry])


def test_there_and_back(bundle: Path, entry: CatalogEntry) -> None:
    assert weights.locate("tiny-model", catalog=[entry]) is None
    steps: list[tuple[str, int, int | None]] = []

    name, folder = weights.install(bundle, lambda *step: steps.append(step), catalog=[entry])

    assert name == "tiny-model"
    assert folder == repository_folder(REPOSITORY) / COMMIT
    assert {path: (folder / path).read_bytes() for path in contents()} == contents()
    assert weights.locate("tiny-model", catalog=[entry]) == folder
    assert steps[-1][1] == steps[-1][2] == sum(map(len, contents().values()))
    assert weights.install(bundle, catalog=[entry]) == (name, folder)


def test_weights_are_stored_not_compressed(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.getinfo("model/model.safetensors").file_size == 200_000


def test_a_model_outside_the_catalog_keeps_its_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with serving(Hub(contents())) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        file = weights.bundle(f"{REPOSITORY}@v1", tmp_path / "tiny.zip", catalog=[])
    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "other"))

    _, folder = weights.install(file, catalog=[])

    assert weights.locate(f"{REPOSITORY}@v1", catalog=[]) == folder
    assert weights.locate(f"{REPOSITORY}@{COMMIT}", catalog=[]) == folder
    assert weights.locate(REPOSITORY, catalog=[]) is None


def test_what_can_not_be_bundled(tmp_path: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(InputError, match="is a folder already"):
        weights.bundle(str(write_folder(tmp_path / "own", contents())), tmp_path / "x.zip")
    with pytest.raises(ModelNotFoundError):
        weights.bundle("tiny-model", tmp_path / "x.zip", catalog=[entry])
    _bundle_of(tmp_path, entry)
    with pytest.raises(InputError, match="can't be written"):
        weights.bundle("tiny-model", tmp_path / "none" / "x.zip", catalog=[entry])
    assert not list(tmp_path.glob(".x.zip*"))


def test_a_damaged_copy_is_not_bundled(tmp_path: Path, entry: CatalogEntry) -> None:
    _bundle_of(tmp_path, entry)
    (repository_folder(REPOSITORY) / COMMIT / "model.safetensors").write_bytes(b"0" * 200_000)

    with pytest.raises(WeightsError, match=r"model\.safetensors of tiny-model differs"):
        weights.bundle("tiny-model", tmp_path / "again.zip", catalog=[entry])
    assert not (tmp_path / "again.zip").exists()


@pytest.mark.parametrize("catalogued", [True, False])
def test_a_changed_byte_in_a_bundle_is_refused(
    tmp_path: Path, bundle: Path, entry: CatalogEntry, catalogued: bool
) -> None:
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, data[::-1] if item.filename.endswith("model.safetensors") else data)

    with pytest.raises(WeightsError, match=r"model\.safetensors of tiny-model differs"):
        weights.install(changed, catalog=[entry] if catalogued else [])
    assert not list(repository_folder(REPOSITORY).glob("*"))


def test_a_truncated_bundle_and_other_files(tmp_path: Path, bundle: Path) -> None:
    short = tmp_path / "short.zip"
    short.write_bytes(bundle.read_bytes()[:-3000])
    with pytest.raises(FileReadError, match="damaged or not a bundle"):
        weights.install(short)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(FileReadError, match="is not a bundle of textkin"):
        weights.install(tmp_path / "other.zip")
    with pytest.raises(FileReadError, match="can't be read"):
        weights.install(tmp_path / "none.zip")
