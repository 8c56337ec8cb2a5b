"""Digests are cheap on repeat and never stale; a changed byte is refused by name."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from model_sources import contents, tiny_entry, write_folder
from textkin import _places
from textkin.errors import ModelNotFoundError, WeightsError
from textkin.models import weights
from textkin.models.catalog import CatalogEntry
from textkin.models.weights import verifying


@pytest.fixture
def entry(tmp_path: Path) -> CatalogEntry:
    return tiny_entry(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy old enough to be stamped: its times are trusted only after two seconds, so they are set back."""
    made = write_folder(tmp_path / "copy", contents())
    return _age(made)


def _age(folder: Path) -> Path:
    past = time.time() - 3600
    for file in folder.rglob("*"):
        os.utime(file, (past, past))
    return folder


def test_an_intact_folder_verifies(folder: Path, entry: CatalogEntry) -> None:
    found = weights.verify(folder, entry)

    assert sorted(found) == sorted(contents())
    assert found["model.safetensors"] == hashlib.sha256(contents()["model.safetensors"]).hexdigest()
    assert found == weights.digests(folder)


@pytest.mark.parametrize("path", ["model.safetensors", "tokenizer.json"])
def test_one_changed_byte_is_refused_by_name(folder: Path, entry: CatalogEntry, path: str) -> None:
    data = bytearray((folder / path).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / path).write_bytes(data)

    with pytest.raises(WeightsError) as caught:
        weights.verify(folder, entry)

    message = str(caught.value)
    assert message.startswith(f"{path} of tiny-model differs from what was published: expected sha256 ")
    assert hashlib.sha256(data).hexdigest() in message
    assert f"delete {folder} and run: textkin models fetch tiny-model" in message


def test_a_changed_setting_is_refused_and_changed_spaces_are_not(folder: Path, entry: CatalogEntry) -> None:
    settings = folder / "config.json"
    settings.write_bytes(settings.read_bytes().replace(b"\n", b"\r\n"))
    weights.verify(folder, entry)

    settings.write_bytes(settings.read_bytes().replace(b'"hidden_size": 8', b'"hidden_size": 9'))
    with pytest.raises(WeightsError, match=r"config\.json of tiny-model differs"):
        weights.verify(folder, entry)


def test_missing_and_truncated_files_are_refused(folder: Path, entry: CatalogEntry) -> None:
    os.truncate(folder / "model.safetensors", 1000)
    with pytest.raises(WeightsError, match=r"model\.safetensors of tiny-model differs"):
        weights.verify(folder, entry)

    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"1_Pooling/config\.json of tiny-model is missing"):
        weights.verify(folder, entry)


def test_a_second_look_reads_no_weights(
    folder: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "YOUNG", -(10**18))  # ctime can't be set back; trust it at once
    first = weights.verify(folder, entry)
    read: list[str] = []
    real = verifying.file_digest

    def counting(file: Path, path: str) -> str:
        read.append(path)
        return real(file, path)

    monkeypatch.setattr(verifying, "file_digest", counting)
    assert weights.verify(folder, entry) == first
    assert read == []
    assert weights.verify(folder, entry, rehash=True) == first
    assert sorted(read) == sorted(contents())


def test_a_change_that_keeps_size_and_mtime_is_seen(
    folder: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "YOUNG", -(10**18))
    weights.verify(folder, entry)
    file = folder / "model.safetensors"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    data = bytearray(file.read_bytes())
    data[0] ^= 255
    file.write_bytes(data)
    os.utime(file, ns=times)

    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        weights.verify(folder, entry)


def test_a_file_that_has_just_changed_is_not_stamped(folder: Path) -> None:
    weights.digests(folder)

    assert not list((_places.cache_folder() / "digests").glob("*"))


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"folder": 3}', b'{"folder": "X", "files": {"a": 1}}'])
def test_broken_stamps_are_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch, junk: bytes) -> None:
    monkeypatch.setattr(verifying, "YOUNG", -(10**18))
    first = weights.digests(folder)
    (stamp,) = (_places.cache_folder() / "digests").glob("*")
    stamp.write_bytes(junk.replace(b"X", str(folder).encode()))

    assert weights.digests(folder) == first


def test_a_cache_that_can_not_be_written_only_costs_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = folder / "config.json" / "cache"
    monkeypatch.setenv("TEXTKIN_CACHE", str(blocked))
    monkeypatch.setattr(verifying, "YOUNG", -(10**18))

    assert "model.safetensors" in weights.digests(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="can't be read"):
        weights.digests(tmp_path / "none")
