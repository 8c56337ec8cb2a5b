"""URLs as inputs: files, folders and globs behind http, memory and file; faults; no secret in any word."""

from __future__ import annotations

import base64
import gzip
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from file_server import FileServer, serving
from textkin.errors import FileReadError, InputError, MissingDependencyError
from textkin.text import failures
from textkin.text.files import parse_argument, source_of
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs
from textkin.text.urls import is_url, parse_url

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(failures, "_WAITS", (0.001, 0.001))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    for path in list(system.store):
        del system.store[path]
    system.pseudo_dirs[:] = [""]


def texts(*paths: str, told: list[Skipped] | None = None, **options: Any) -> dict[str, str]:
    on_skip = (told if told is not None else []).append
    records = read_inputs(paths, options=ReadOptions(**options), on_skip=on_skip)
    return {record.id: record.text for record in records}


def parquet(rows: int, **columns: Any) -> bytes:
    file = io.BytesIO()
    table = {"text": [f"row {n} has some words of its own" for n in range(rows)], **columns}
    pq.write_table(pa.table(table), file, row_group_size=max(1, rows // 5), compression="none")
    return file.getvalue()


def test_what_is_a_url() -> None:
    for given in ("s3://b/k", "HTTP://h/x", "memory://a", "file:///a", "gs://b/*.csv"):
        assert is_url(given)
    for given in ("C:/notes.txt", "c://notes", "a:b.txt", "docs/s3://x", "mail:someone", Path("s3://b/k"), "-"):
        assert not is_url(given)


def test_names_with_colons_are_files(tmp_path: Path) -> None:
    Path("a:b.txt").write_text("colon")
    assert texts("a:b.txt") == {"a:b.txt": "colon"}


@pytest.mark.parametrize(
    ("given", "shown", "pattern"),
    [
        ("s3://b/x/y.csv", "s3://b/x/y.csv", ()),
        ("S3://b/x/*.csv", "s3://b/x/*.csv", ("*.csv",)),
        ("s3://b/part-?.csv", "s3://b/part-?.csv", ("part-?.csv",)),
        ("s3://b/year=20?4/m=1/x.csv", "s3://b/year=20?4/m=1/x.csv", ("year=20?4", "m=1", "x.csv")),
        (f"s3://b/x.csv?X-Amz-Signature={SECRET}/1", "s3://b/x.csv", ()),
        (f"https://me:{SECRET}@h:80/x.csv?a=1#part", "https://h:80/x.csv", ()),
        (f"https://h/x.csv?{SECRET}", "https://h/x.csv", ()),
        ("http://h", "http://h/", ()),
        ("http://h/d/[ab].csv", "http://h/d/[ab].csv", ("[ab].csv",)),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x", ()),
        (f"ftp://me:{SECRET}@h/x.csv", "ftp://h/x.csv", ()),
    ],
)
def test_how_a_url_is_shown(given: str, shown: str, pattern: tuple[str, ...]) -> None:
    url = parse_url(given)
    assert (url.shown, url.pattern) == (shown, pattern)
    assert SECRET not in repr(url)
    quoted = given.replace("X-Amz", "x-amz")  # others may write it in another way
    assert SECRET not in url.scrub(f"failed: {given} or {quoted} with {' and '.join(url.secrets)}")
    assert source_of(given) == shown.rstrip("/")


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("s3://", "names no place"),
        ("http:///", "names no place"),
        ("s3://b*/x", "wildcard"),
        (f"zip://x.csv::http://me:{SECRET}@h/x.zip", "inside a URL"),
        (f"s3://me:{SECRET}@b/x", "AWS_ACCESS_KEY_ID"),
        (f"http://h/d/?token={SECRET}", "can't have a query"),
        ("nonsense://h/x", "nothing is known that reads nonsense://"),
    ],
)
def test_urls_that_cannot_be(given: str, part: str) -> None:
    with pytest.raises(InputError, match=part) as caught:
        read_inputs([given])
    assert SECRET not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(scheme: str) -> None:
        raise ImportError("Install adlfs to access Azure")

    monkeypatch.setattr(fsspec, "get_filesystem_class", gone)
    for given, cure in (("s3://b/x", r"textkin\[s3\]"), ("gs://b/x", r"textkin\[gs\]"), ("abfs://c@a/x", "adlfs")):
        with pytest.raises(MissingDependencyError, match=cure):
            read_inputs([given])


def test_a_file_of_each_kind(server: FileServer) -> None:
    server.files = {
        "/a.jsonl": b'{"text": "a"}\n',
        "/b.csv.gz": gzip.compress(b"text,n\nb,1\n"),
        "/c.txt": b"c",
        "/d.parquet": parquet(2),
        "/e f.html": b"<p>e",
    }
    url = server.url
    assert texts(*(url + path.replace(" ", "%20") for path in server.files)) == {
        f"{url}/a.jsonl:1": "a",
        f"{url}/b.csv.gz:1": "b",
        f"{url}/c.txt": "c",
        f"{url}/d.parquet:1": "row 0 has some words of its own",
        f"{url}/d.parquet:2": "row 1 has some words of its own",
        f"{url}/e%20f.html": "e",
    }
    record = next(read_inputs([f"{url}/c.txt"]))
    assert record.source == f"{url}/c.txt"


@pytest.mark.parametrize(("ranges", "sized"), [(True, True), (False, True), (True, False), (False, False)])
def test_parquet_whatever_the_server_can_do(server: FileServer, ranges: bool, sized: bool) -> None:
    server.files = {"/t.parquet": parquet(200_000, n=list(range(200_000)))}
    server.ranges, server.sized = ranges, sized
    found = texts(f"{server.url}/t.parquet")
    assert len(found) == 200_000
    assert found[f"{server.url}/t.parquet:200000"] == "row 199999 has some words of its own"
    whole = [path for method, path, part in server.requests if method == "GET" and part is None]
    assert len(whole) <= (0 if ranges and sized else 3)


def test_only_the_chosen_columns_travel(server: FileServer) -> None:
    server.files = {"/t.parquet": parquet(20, wide=["x" * 3_000_000] * 20)}
    list(read_inputs([f"{server.url}/t.parquet"], options=ReadOptions(columns=())))
    spans = [span[6:].split("-") for _, _, span in server.requests if span]
    assert 0 < sum(int(last) - int(first) for first, last in spans) < 200_000 < len(server.files["/t.parquet"])


@pytest.mark.parametrize("ranges", [True, False])
def test_a_fault_that_passes_is_not_seen(server: FileServer, ranges: bool) -> None:
    server.files = {"/t.parquet": parquet(200_000), "/a.jsonl": b'"x"\n'}
    server.ranges = ranges
    server.failing = {"/t.parquet": [200, 503, 200, 429, 200], "/a.jsonl": [500, 200]}
    assert len(texts(f"{server.url}/t.parquet", f"{server.url}/a.jsonl")) == 200_001


def test_a_fault_that_stays_is_named(server: FileServer) -> None:
    server.files = {"/d/t.parquet": parquet(300_000), "/d/z.txt": b"z"}
    server.failing = {"/d/t.parquet": [200, 200, 503]}
    gave: list[str] = []
    with pytest.raises(FileReadError, match=r"t\.parquet: the server answers 503") as caught:
        gave.extend(record.id for record in read_inputs([f"{server.url}/d/t.parquet?sig={SECRET}"]))
    assert 0 < len(gave) < 300_000
    assert SECRET not in f"{caught.value}{gave[-1]}"
    assert caught.value.__suppress_context__
    server.failing = {"/d/t.parquet": [503]}
    told: list[Skipped] = []
    assert texts(f"{server.url}/d/", told=told) == {f"{server.url}/d/z.txt": "z"}
    assert [(item.path, item.kind, item.row) for item in told] == [(f"{server.url}/d/t.parquet", "failed", None)]


def test_a_connection_that_breaks_off_is_named(server: FileServer) -> None:
    server.files = {"/a.jsonl": b'"x"\n' * 100_000}
    server.ranges, server.drop_after = False, 1000
    with pytest.raises(FileReadError, match=r"a\.jsonl"):
        texts(f"{server.url}/a.jsonl")


@pytest.mark.parametrize(("status", "part"), [(403, "access denied"), (401, "signed URL"), (418, "answers 418")])
def test_what_the_server_refuses(server: FileServer, status: int, part: str) -> None:
    server.files = {"/a.jsonl": b'"x"\n'}
    server.failing = {"/a.jsonl": [status]}
    with pytest.raises(FileReadError, match=part) as caught:
        texts(f"{server.url}/a.jsonl?X-Amz-Signature={SECRET}")
    assert SECRET not in str(caught.value)


def test_what_is_not_there(server: FileServer) -> None:
    with pytest.raises(InputError, match=r"can't read http://.*/none\.jsonl: no such file or folder") as caught:
        read_inputs([f"{server.url}/none.jsonl?token={SECRET}"])
    assert SECRET not in str(caught.value)
    with pytest.raises(InputError, match="matches no file"):
        read_inputs([f"{server.url}/d/*.jsonl"])
    with pytest.raises(InputError, match="no such file"):
        read_inputs(["memory://none/x.jsonl"])
    server.files["/x.pdf"] = b"%PDF"
    with pytest.raises(InputError, match="PDF"):
        read_inputs([f"{server.url}/x.pdf"])


def test_a_server_that_is_not_there(server: FileServer) -> None:
    with serving() as other:
        url = other.url
    with pytest.raises(FileReadError, match="the connection fails: Cannot connect") as caught:
        read_inputs([f"{url.replace('//', f'//me:{SECRET}@')}/a.jsonl?sig={SECRET}"])
    assert SECRET not in str(caught.value)


def test_user_and_query_are_sent_and_never_shown(
    server: FileServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    server.files = {"/d/a.jsonl": b'{"text": "a"}\nbroken\n'}
    told: list[Skipped] = []
    secret_url = f"{server.url.replace('//', f'//me:{SECRET}@')}/d/a.jsonl?sig={SECRET}"
    found = texts(secret_url, told=told)
    assert found == {f"{server.url}/d/a.jsonl:1": "a"}
    sent = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert set(server.authorizations) == {f"Basic {sent}"}
    assert all(path.endswith(f"?sig={SECRET}") for _, path, _ in server.requests)
    argument = parse_argument(secret_url)
    seen = capfd.readouterr()
    assert SECRET not in f"{found}{told}{argument.name}{argument.source}{caplog.text}{seen.out}{seen.err}"


def test_two_inputs_of_one_name(server: FileServer) -> None:
    server.files = {"/d/a.jsonl": b'"x"\n'}
    url = f"{server.url}/d/a.jsonl"
    assert texts(url, url) == {f"{url}:1": "x"}
    with pytest.raises(InputError, match="two inputs are called") as caught:
        read_inputs([f"{url}?page={SECRET}", f"{url}?page=2"])
    assert SECRET not in str(caught.value)
    with pytest.raises(InputError, match="two inputs are called"):
        texts(f"{server.url}/d/", f"{url}?page=1")


def test_a_page_of_links_is_a_folder(server: FileServer) -> None:
    server.files = {
        "/d/b.txt": b"b",
        "/d/a.txt": b"a",
        "/d/.hidden.txt": b"h",
        "/d/sub/c.txt": b"c",
        "/other.txt": b"no",
    }
    url = server.url
    assert texts(f"{url}/d/") == {f"{url}/d/a.txt": "a", f"{url}/d/b.txt": "b", f"{url}/d/sub/c.txt": "c"}
    assert list(texts(f"{url}/d/*.txt")) == [f"{url}/d/a.txt", f"{url}/d/b.txt"]
    assert list(texts(f"{url}/**/c.txt")) == [f"{url}/d/sub/c.txt"]


TREE = {
    **{f"d/{name}": name for name in ("b.md", "a.txt", "sub/c.md", "sub/deep/e.md", "z/1.md", ".dot.md")},
    **{f"d/{name}": name for name in (".hidden/h.md", ".git/config.txt", "node_modules/n.md", "notes.kin/x.md")},
    **{f"d/{name}": name for name in ("env/pyvenv.cfg", "env/v.md", "old/collection.db", "old/o.md", "x.weird")},
    **{f"d/{name}": name for name in ("job/_textkin/tmp/1", "job/part-0.md", "job/sub/p.md", "done/part-0.md")},
    "d/done/_manifest.json": '{"format":"textkin-vectors","version":1}',
    "d/theirs/_manifest.json": '{"text": "of another tool"}',
    "d2/no.md": "no",
    "d/v.npy": "0",
    "d/v.json": '{"format": 1, "model": 1, "fingerprint": 1, "dimension": 1, "count": 1}',
    "d/rows.jsonl": '"r"\n',
}


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("", {}),
        ("/", {}),
        ("", {"hidden": True}),
        ("", {"include": ("*.md",)}),
        ("", {"include": ("sub/**", "*.weird")}),
        ("", {"exclude": ("*.md",)}),
        ("", {"exclude": ("sub/deep",)}),
        ("/*.md", {}),
        ("/**/*.md", {}),
        ("/*/*.md", {"exclude": ("z",)}),
        ("/**", {}),
        ("/.hidden/*.md", {}),
        ("/[ab].*", {}),
        ("/?.md", {}),
    ],
)
@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_folders_are_walked_as_on_this_machine(
    memory: Any, tmp_path: Path, scheme: str, pattern: str, options: dict[str, Any]
) -> None:
    for name, content in TREE.items():
        memory.pipe_file(f"/{name}", content.encode())
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    root = "memory://" if scheme == "memory" else f"file://{tmp_path.as_posix()}/"
    local_told: list[Skipped] = []
    told: list[Skipped] = []
    expected = texts(f"d{pattern}", told=local_told, **options)
    assert texts(f"{root}d{pattern}", told=told, **options) == {
        root + name: text for name, text in expected.items()
    }
    assert list(texts(f"{root}d{pattern}", **options)) == [root + name for name in expected]
    assert {(item.path, item.reason) for item in told} == {(root + item.path, item.reason) for item in local_told}


def test_names_with_wildcards_and_dedupe(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/m/w [1].txt", b"brackets")
    assert texts("memory://m/w [1].txt", "memory://m") == {"memory://m/w [1].txt": "brackets"}
    Path("x.txt").write_text("x")
    assert list(texts("x.txt", f"file://{tmp_path.as_posix()}/x.txt")) == ["x.txt"]


def test_a_collection_is_no_input(memory: Any) -> None:
    memory.pipe_file("/notes/collection.db", b"")
    with pytest.raises(InputError, match="is a collection"):
        texts("memory://notes")


def test_what_a_job_wrote_is_no_input(memory: Any) -> None:
    memory.pipe_file("/out/_textkin/lock-0", b"{}")
    memory.pipe_file("/out/part-0.txt", b"one")
    memory.pipe_file("/done/_manifest.json", b'{"format":"textkin-vectors"}')
    for given in ("memory://out", "memory://done"):
        with pytest.raises(InputError, match=f"textkin import {given} .*textkin duplicates {given}"):
            texts(given)
    assert list(texts("memory://out/part-*.txt")) == ["memory://out/part-0.txt"]


def test_position_with_known_and_unknown_sizes(server: FileServer, memory: Any) -> None:
    memory.pipe_file("/m/a.jsonl", b'"some words"\n' * 3000)
    server.files = {"/a.jsonl": b'"some words"\n' * 3000}
    told: list[tuple[int, int | None]] = []
    list(read_inputs(["memory://m", f"{server.url}/a.jsonl"], on_position=lambda *at: told.append(at)))
    assert told[-1] == (78_000, 78_000)
    told.clear()
    list(read_inputs(["memory://m", f"{server.url}/"], on_position=lambda *at: told.append(at)))
    assert told[-1] == (78_000, None)
    assert [read for read, _ in told] == sorted(read for read, _ in told)


def test_no_room_for_a_copy(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("textkin.text.remote_file.tempfile.TemporaryFile", Full)
    server.files = {"/a.jsonl": b'"x"\n'}
    server.sized = False
    with pytest.raises(FileReadError, match="there is no room for it in"):
        texts(f"{server.url}/a.jsonl")
