"""A model carried in one file to a machine without a network."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from model_sources import COMMIT, REPOSITORY, Hub, contents, serving, tiny_entry, write_folder
from textkin.errors import FileReadError, InputError, ModelNotFoundError, WeightsError
from textkin.models import weights
from textkin.models.catalog import CatalogEntry
from textkin.models.weights.cache import ModelRecord, publish, repository_folder
from textkin.models.weights.find import bundle_label


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


def test_a_model_outside_the_catalog_gets_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with serving(Hub(contents())) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        file = weights.bundle(f"{REPOSITORY}@v1", tmp_path / "tiny.zip", catalog=[])
    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "other"))

    name, folder = weights.install(file, catalog=[])

    assert name.startswith("bundle:tiny-model@")
    assert weights.locate(name, catalog=[]) == folder
    for other in (f"{REPOSITORY}@v1", f"{REPOSITORY}@{COMMIT}", REPOSITORY):
        assert weights.locate(other, catalog=[]) is None
    again = weights.bundle(name, tmp_path / "again.zip", catalog=[])
    assert weights.install(again, catalog=[]) == (name, folder)
    weights.verify(folder, None, rehash=True)


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

    with pytest.raises(WeightsError, match=r"model\.safetensors of (bundle:tiny-model@\w+|tiny-model) differs"):
        weights.install(changed, catalog=[entry] if catalogued else [])
    assert not [folder for folder in weights.models_folder().rglob("*") if folder.is_dir()]


def forged(file: Path, record: ModelRecord, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("textkin-model.json", record.to_json())
        for path, data in files.items():
            archive.writestr(f"model/{path}", data)
    return file


def record_of(folder: Path, repository: str, revision: str, asked: str, name: str = "x") -> ModelRecord:
    return ModelRecord(name, repository, revision, asked, weights.digests(folder))


@pytest.mark.parametrize("repository", [REPOSITORY, REPOSITORY.upper(), "sentence-transformers/tiny-model"])
@pytest.mark.parametrize("pinned", ["nothing", "another revision"])
def test_a_bundle_never_takes_the_name_of_a_model_that_no_pin_vouches_for(
    tmp_path: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, repository: str, pinned: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    known = replace(
        entry, revision=None, files=(), prompts={"query": "q: "}, aliases=("sentence-transformers/tiny-model",)
    )
    revision = "f" * 40
    if pinned != "nothing":
        known = replace(entry, aliases=known.aliases, prompts=known.prompts)
    folder = write_folder(tmp_path / "evil", contents())
    file = forged(tmp_path / "evil.zip", record_of(folder, repository, revision, "main"), contents())

    name, placed = weights.install(file, catalog=[known])

    assert name.startswith("bundle:tiny-model@")
    for wanted in ("tiny-model", REPOSITORY, f"{REPOSITORY}@main", f"{REPOSITORY}@{revision}"):
        assert weights.locate(wanted, catalog=[known]) is None
    assert weights.locate(name, catalog=[known]) == placed
    found = weights.entry_of(name, [known])
    assert found is not None
    assert found.prompts == {"query": "q: "}  # its publisher's rule for queries holds for the same model elsewhere


def test_other_content_has_another_name(tmp_path: Path, entry: CatalogEntry) -> None:
    names = set()
    for number in range(2):
        files = {**contents(), "config.json": b'{"number": %d}' % number}
        folder = write_folder(tmp_path / str(number), files)
        names.add(
            weights.install(forged(tmp_path / "x.zip", record_of(folder, "a/b", "f" * 40, "main"), files))[0]
        )
    assert len(names) == 2
    assert all(name.startswith("bundle:b@") for name in names)


def test_a_file_more_than_is_pinned_is_left_behind(tmp_path: Path, entry: CatalogEntry) -> None:
    """It would change what the pinned model is, and no pin would see it."""
    extra = {**contents(), "config_sentence_transformers.json": b'{"truncate_dim": 2}'}
    folder = write_folder(tmp_path / "evil", extra)
    file = forged(tmp_path / "evil.zip", record_of(folder, REPOSITORY, COMMIT, COMMIT, "\x1b[2J"), extra)

    name, placed = weights.install(file, catalog=[entry])

    assert name == "tiny-model"
    assert not (placed / "config_sentence_transformers.json").exists()
    (placed / "config_sentence_transformers.json").write_bytes(b'{"truncate_dim": 2}')
    with pytest.raises(WeightsError, match=r"config_sentence_transformers\.json in .* is no part of tiny-model"):
        weights.locate("tiny-model", catalog=[entry])


def test_a_bundle_of_a_pinned_model_with_a_file_less(tmp_path: Path, entry: CatalogEntry) -> None:
    files = contents()
    del files["1_Pooling/config.json"]
    folder = write_folder(tmp_path / "evil", files)
    file = forged(tmp_path / "evil.zip", record_of(folder, REPOSITORY, COMMIT, COMMIT), files)
    with pytest.raises(WeightsError, match=r"1_Pooling/config\.json of tiny-model is missing"):
        weights.install(file, catalog=[entry])


@pytest.mark.parametrize(
    "name", ["bundle:", "bundle:x", "bundle:x@1", "bundle:../x@0123456789ab", "bundle:\x1b@0123456789ab"]
)
def test_names_that_no_bundle_has(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="expected bundle:NAME@DIGEST"):
        weights.locate(name)


def test_a_model_of_a_bundle_comes_from_no_network() -> None:
    with pytest.raises(ModelNotFoundError, match="comes from no network; get the file"):
        weights.fetch("bundle:tiny@0123456789ab")


@pytest.mark.parametrize("name", ["a/мodel", "a/..", "a/-x", "a/a--b", "a/\x1b[2Jm"])
def test_names_that_bundles_claim_are_made_safe(name: str) -> None:
    label = bundle_label(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", label)
    assert bundle_label(label) == label


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
