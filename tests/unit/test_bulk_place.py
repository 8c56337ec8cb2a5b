"""Places that jobs write to: folders and object stores, what fails for a moment, and what is said of the rest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from textkin.errors import (
    CorruptStoreError,
    InputError,
    MissingDependencyError,
    ReadOnlyError,
    StorageFullError,
    StoreError,
    StoreLockedError,
    TextkinError,
)
from textkin.jobs.bulk.folder import embed_to_folder
from textkin.jobs.bulk.ids import seen_ids
from textkin.jobs.bulk.place import LocalPlace, place_of, read_json
from textkin.jobs.bulk.remote_place import RemotePlace
from textkin.jobs.bulk.report import BulkOptions, BulkReport
from textkin.jobs.bulk.verifying import verify_files
from textkin.models.hashing import HashingModel
from textkin.text import failures
from textkin.text.options import ReadOptions
from textkin.vectors import writing

fsspec = pytest.importorskip("fsspec")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(failures, "_WAITS", (0.001, 0.001))


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def filled(data: bytes) -> Callable[[BinaryIO], None]:
    def fill(file: BinaryIO) -> None:
        file.write(data)

    return fill


def failing(monkeypatch: pytest.MonkeyPatch, system: Any, name: str, *errors: BaseException) -> list[Any]:
    """Let a method raise these errors, then work; what it was called with comes back."""
    works, left, calls = getattr(type(system), name), list(errors), []

    def method(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(args)
        if left:
            raise left.pop(0)
        return works(self, *args, **options)

    monkeypatch.setattr(type(system), name, method)
    return calls


def busy() -> OSError:
    """What s3fs makes of a 503."""
    return OSError(errno.EBUSY, "Please reduce your request rate.")


def behind(status: int) -> OSError:
    """What s3fs makes of an answer that it has no word for: the server's status is in the cause."""
    error = OSError(errno.EIO, "An error occurred")
    cause = RuntimeError()
    cause.response = {"ResponseMetadata": {"HTTPStatusCode": status}}  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error", [busy(), behind(503), behind(429), TimeoutError(), ConnectionResetError(104, "x")]
)
def test_what_passes_does_not_end_a_job(memory: Any, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    place = place_of("memory://out")
    calls = {
        name: failing(monkeypatch, memory, name, error, error)
        for name in ("pipe_file", "cat_file", "ls", "rm_file")
    }
    written = place.write("_textkin/a.json", filled(b"{}"))
    assert (written.bytes, written.sha256) == (2, hashlib.sha256(b"{}").hexdigest())
    assert place.read("_textkin/a.json") == b"{}"
    assert place.sizes("_textkin") == {"a.json": 2}
    place.remove("_textkin/a.json")
    assert place.read("_textkin/a.json") is None
    assert {name: len(found) for name, found in calls.items()} == {
        "pipe_file": 3,
        "cat_file": 4,
        "ls": 3,
        "rm_file": 3,
    }


def test_what_stays_is_named_with_its_place_and_what_may_not_be_is_not_tried_again(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of("memory://out")
    failing(monkeypatch, memory, "pipe_file", *[behind(503)] * 3)
    with pytest.raises(StoreError, match=r"memory://out/a: the server answers 503.*try again later"):
        place.write("a", filled(b""))
    calls = failing(monkeypatch, memory, "pipe_file", PermissionError("Access Denied"))
    with pytest.raises(ReadOnlyError, match=r"memory://out/a: access denied; check the credentials"):
        place.write("a", filled(b""))
    assert len(calls) == 1
    failing(monkeypatch, memory, "pipe_file", OSError(errno.ENOSPC, "no space"))
    with pytest.raises(StorageFullError):
        place.write("a", filled(b""))
    failing(monkeypatch, memory, "pipe_file", FileNotFoundError("The specified bucket does not exist"))
    with pytest.raises(StoreError, match="no such bucket or folder; make it first"):
        place.write("a", filled(b""))
    failing(monkeypatch, memory, "pipe_file", NotImplementedError())
    with pytest.raises(InputError, match="memory:// URLs can't be written to"):
        place.write("a", filled(b""))
    failing(monkeypatch, memory, "cat_file", PermissionError("Access Denied"))
    with pytest.raises(StoreError, match="access denied"):
        place.read("a")


def test_errors_that_are_no_system_errors(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    answer = aiohttp.ClientResponseError(None, (), status=502, message="Bad Gateway")
    place = place_of("memory://out")
    failing(monkeypatch, memory, "ls", answer)
    assert place.sizes() == {}
    failing(monkeypatch, memory, "ls", answer, answer, answer)
    with pytest.raises(StoreError, match=r"memory://out: the server answers 502 Bad Gateway; try again"):
        place.sizes()

    class NoCredentialsError(Exception):
        """As botocore's."""

    monkeypatch.setattr(failures, "_KINDS", ((__name__, "NoCredentials"),))
    monkeypatch.setattr("test_bulk_place.NoCredentials", NoCredentialsError, raising=False)
    failing(monkeypatch, memory, "pipe_file", NoCredentialsError("Unable to locate credentials"))
    with pytest.raises(
        ReadOnlyError, match=r"access denied \(Unable to locate credentials\); check the credentials"
    ):
        place.write("a", filled(b""))


@pytest.mark.parametrize(
    ("url", "said", "kind"),
    [
        ("https://user:geheim@host/out", "web servers are only read from", InputError),
        ("http://host/out?sig=geheim", "web servers are only read from", InputError),
        ("memory://out/*", "can't have a wildcard", InputError),
        ("memory://out?sig=geheim", "can't have a query", InputError),
        ("nonsense://out", "nothing is known that", InputError),
        ("simplecache::memory://out", "URL inside a URL", InputError),
        ("s3://geheim:geheim@bucket/out", "keys don't belong in a URL", InputError),
    ],
)
def test_where_nothing_can_be_written(memory: Any, url: str, said: str, kind: type[TextkinError]) -> None:
    with pytest.raises(kind, match=said) as caught:
        place_of(url)
    assert "geheim" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(scheme: str) -> None:
        raise ImportError("Install s3fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", gone)
    with pytest.raises(MissingDependencyError, match=r"textkin\[s3\]"):
        place_of("s3://bucket/out")


def test_what_is_secret_in_a_url_is_never_said(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = "memory://user:geheim@out"
    place = place_of(raw)
    assert place.name == "memory://out"
    failing(monkeypatch, memory, "pipe_file", OSError(f"can't reach {raw} with geheim"))
    with pytest.raises(StoreError) as caught:
        place.write("a", filled(b""))
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_many_files_are_read_at_once(memory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remote = place_of("memory://out")
    for place in (remote, place_of(tmp_path / "out")):
        names = [f"_textkin/shards/{number:06d}.json" for number in range(300)]
        for name in names:
            place.write(name, filled(name.encode()))
        expected: dict[str, bytes | None] = {name: name.encode() for name in names}
        assert place.read_many([*names, "none"]) == expected | {"none": None}
        assert place.read_many([]) == {}
    calls = failing(monkeypatch, memory, "cat")
    failing(monkeypatch, memory, "cat_file", busy())
    assert remote.read_many(names) == expected
    assert len(calls) == 2


def test_folders_are_asked_for_once_and_buckets_never(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(monkeypatch, memory, "makedirs")
    place = place_of("memory://out")
    place.write("x/a", filled(b""))
    assert calls == []
    monkeypatch.setattr("textkin.jobs.bulk.remote_place._FLAT", frozenset())
    for name in ("x/a", "x/b", "y/a"):
        place.write(name, filled(b""))
    assert calls == [("/out/x",), ("/out/y",)]


def test_a_file_is_read_at_any_place(memory: Any) -> None:
    place = place_of("memory://out")
    place.write("a.parquet", filled(b"0123456789"))
    with place.open("a.parquet") as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == b"789"
    with pytest.raises(StoreError, match="memory://out/none: no such file"):
        place.open("none")


def test_urls_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "zwei Wörter"
    for url in (
        folder.as_uri(),
        folder.as_uri().replace("file://", "file://localhost"),
        "FILE" + folder.as_uri()[4:],
    ):
        place = place_of(url)
        assert isinstance(place, LocalPlace)
        assert place.folder == folder
    drive = place_of("file:///C:/x")
    assert isinstance(drive, LocalPlace)
    assert drive.name == ("C:\\x" if os.name == "nt" else "/C:/x")
    if os.name != "nt":
        with pytest.raises(InputError, match="file:///out/x"):
            place_of("file://out/x")


def test_an_error_of_the_block_is_not_the_locks(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "out")
    with pytest.raises(ConnectionResetError), place.holding("lock-0"):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    with place.holding("lock-0"), pytest.raises(StoreLockedError), place.holding("lock-0"):
        pass
    work = place.folder / "_textkin"
    with pytest.raises(ConnectionResetError), seen_ids(work):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    assert list((work / "tmp").iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x", encoding="utf-8")
    place = LocalPlace(tmp_path / "out")
    for use in (
        lambda: place.read("_textkin/job.json") if os.name != "nt" else place.sizes(),
        place.sizes,
        lambda: place.write("a", filled(b"")),
        lambda: place.holding("lock").__enter__(),
    ):
        with pytest.raises(InputError, match="out is a file; the output of a bulk job is a folder"):
            use()


def test_a_reader_may_hold_a_file_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, denied = Path.replace, [PermissionError(errno.EACCES, "in use")] * 3

    def held(self: Path, target: Path) -> Path:
        if denied:
            raise denied.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", held)
    place = LocalPlace(tmp_path / "out")
    monkeypatch.setattr(writing, "_WINDOWS", False)
    with pytest.raises(ReadOnlyError):
        place.write("a", filled(b"1"))
    monkeypatch.setattr(writing, "_WINDOWS", True)
    place.write("a", filled(b"2"))
    assert place.read("a") == b"2"
    denied.extend([PermissionError(errno.EACCES, "in use")] * 1000)
    monkeypatch.setattr(writing, "_PATIENCE", 0.05)
    with pytest.raises(ReadOnlyError):
        place.write("a", filled(b"3"))


def test_what_a_kill_leaves_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "out", "3")
    above = place.folder / "_textkin" / "tmp"
    with seen_ids(place.folder / "_textkin", place.owner) as seen:
        seen.add(["a"])
        assert seen.repeated() == (0, set())
        (left,) = above.iterdir()
        assert left.name.startswith("3-ids-")
    (above / "3-ids-left").mkdir()
    (above / "3-ids-left" / "00").write_bytes(b"x")
    (above / "3-part.parquet").write_bytes(b"x")
    (above / "30-ids-other").mkdir()
    place.tidy()
    assert [path.name for path in above.iterdir()] == ["30-ids-other"]
    LocalPlace(tmp_path / "none").tidy()


def embed(source: Path, out: str | Path, model: HashingModel | None = None, **options: Any) -> BulkReport:
    options = {"read": ReadOptions(id_column="id"), "shard_rows": 100} | options
    return embed_to_folder([source], out, model or HashingModel(16), BulkOptions(**options))


def source_of(path: Path, count: int) -> Path:
    lines = (json.dumps({"id": f"r{n}", "text": f"text {n}"}) + "\n" for n in range(count))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_a_job_in_an_object_store_from_its_begin_to_its_end(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(tmp_path / "a.jsonl", 250)
    url = "memory://bucket/out/"
    for name in ("pipe_file", "cat_file", "ls"):
        failing(monkeypatch, memory, name, busy())
    assert embed(source, url).complete
    with pytest.raises(InputError, match="memory://bucket/out holds the output of a job that is complete"):
        embed(source, url)
    source_of(source, 260)
    report = embed(source, url, resume=True)
    assert (report.rows, report.kept, report.embedded, report.place) == (260, 200, 10, "memory://bucket/out")
    place = place_of(url)
    assert isinstance(place, RemotePlace)
    facts = read_json(place, "_manifest.json")
    assert facts is not None
    ids: list[str] = []
    for shard in facts["shards"]:
        with place.open(shard["file"]) as file:
            ids += pq.read_table(file)["id"].to_pylist()
    assert ids == [f"r{n}" for n in range(260)]
    assert len([name for name in place.sizes() if name.endswith(".parquet")]) == 3
    verify_files(place)
    changed = facts["shards"][1]
    place.write(changed["file"], filled(bytes(changed["bytes"])))
    with pytest.raises(CorruptStoreError, match=f"{changed['file']} was changed"):
        verify_files(place)
    place.remove(changed["file"])
    with pytest.raises(CorruptStoreError, match=f"{changed['file']} is missing"):
        verify_files(place)
    embed(source, url, resume=True)
    verify_files(place)


@pytest.mark.parametrize("name", ["_manifest.json", "_textkin/fidelity.json"])
@pytest.mark.parametrize("damage", [b"{", b"[]", b"\xff"])
def test_the_cure_for_a_damaged_file_is_true(tmp_path: Path, name: str, damage: bytes) -> None:
    source = source_of(tmp_path / "a.jsonl", 50)
    embed(source, tmp_path / "out", dtype="int8")
    (tmp_path / "out" / name).write_bytes(damage)
    with pytest.raises(CorruptStoreError, match=rf"{name} is damaged.*remove it and run .* --resume"):
        read_json(LocalPlace(tmp_path / "out"), name)
    (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / "_manifest.json").unlink(missing_ok=True)
    (next((tmp_path / "out").glob("*.parquet"))).unlink()
    assert embed(source, tmp_path / "out", dtype="int8", resume=True).complete
    assert json.loads((tmp_path / "out" / name).read_bytes())


def test_damaged_settings_name_another_folder(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.jsonl", 50)
    embed(source, tmp_path / "out")
    (tmp_path / "out" / "_textkin" / "job.json").write_bytes(b"{")
    with pytest.raises(CorruptStoreError, match=r"job.json is damaged.*remove it and run .* --resume"):
        embed(source, tmp_path / "out", resume=True)
    assert embed(source, tmp_path / "other").embedded == 0
