"""The one rule of outputs: what is replaced, what is written into, what is refused, and what stays as it was."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rights import without_rights
from textkin.errors import InputError, ReadOnlyError, StorageFullError, StoreError, TextkinError
from textkin.vectors import writing
from textkin.vectors.files import load_vectors, save_vectors
from textkin.vectors.writing import replacing, target_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="devices, pipes and modes of POSIX")
needs_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root makes devices")


def write(path: Path | str, content: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o666])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    before = path.stat()
    write(path)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.stat().st_ino != before.st_ino
    assert (path.stat().st_uid, path.stat().st_gid) == (before.st_uid, before.st_gid)


@needs_root
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    path.chmod(0o660)
    write(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o660)


def test_nobody_else_reads_it_before_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o600)
    with replacing(path):
        (part,) = (item for item in tmp_path.iterdir() if item != path)
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.parametrize("exists", [True, False])
def test_links_are_followed(tmp_path: Path, hops: int, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "real"
    if exists:
        real.write_text("old")
        real.chmod(0o600)
    to = Path("far/real")  # relative to the folder of the link
    for hop in range(hops):
        (tmp_path / f"link{hop}").symlink_to(to)
        to = Path(f"link{hop}")
    write(tmp_path / to)
    assert real.read_bytes() == b"new"
    assert all((tmp_path / f"link{hop}").is_symlink() for hop in range(hops))
    assert names(tmp_path / "far") == ["real"]
    if exists:
        assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_a_failure_and_an_interrupt_leave_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), replacing(path) as file:  # noqa: PT012
            file.write(b"half")
            raise error
    assert names(tmp_path) == ["a"]
    assert path.read_text() == "old"


def test_what_a_killed_writer_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    (tmp_path / ".textkin-0123456789ab.part").write_text("dead")
    with replacing(tmp_path / "a") as file:
        file.write(b"a")
        assert len(names(tmp_path)) == 1
        write(tmp_path / "b")
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == ["a", "b"]


@needs_root
def test_a_device_is_written_into(tmp_path: Path) -> None:
    null, full = tmp_path / "nul", tmp_path / "full"
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    (tmp_path / "link").symlink_to("nul")
    write(null)
    write(tmp_path / "link")
    with pytest.raises(StorageFullError, match="incomplete"):
        write(full)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert stat.S_ISCHR(full.stat().st_mode)
    assert names(tmp_path) == ["full", "link", "nul"]


def test_a_pipe_is_written_into_and_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"x" * 200_000)
    reader.join()
    assert got == [b"x" * 200_000]
    assert pipe.is_fifo()


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(writing, "_READER_SECONDS", 0.0)
    with pytest.raises(InputError, match="nobody reads it"):
        write(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(StoreError, match="reader has gone"), replacing(pipe) as file:  # noqa: PT012
        os.close(reader)
        file.write(b"x")
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}"])
def test_a_descriptor_goes_on_where_it_is(tmp_path: Path, name: str) -> None:
    if not Path(name.format(1, pid=os.getpid())).exists():
        pytest.skip(f"this system has no {name}")
    path = tmp_path / "a"
    with path.open("wb", buffering=0) as file:
        file.write(b"first ")
        write(name.format(file.fileno(), pid=os.getpid()), b"second ")
        file.write(b"third")
    assert path.read_bytes() == b"first second third"
    assert names(tmp_path) == ["a"]


def test_standard_output_gets_rows_in_order(tmp_path: Path) -> None:
    script = "\n".join(
        (
            "from textkin.vectors.writing import replacing",
            "print('before')",
            "with replacing('/dev/stdout') as file:",
            "    file.write(b'rows\\n')",
            "print('after')",
        )
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nrows\nafter\n"
    piped = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert piped.stdout == b"before\nrows\nafter\n"


def folder(path: Path) -> None:
    path.mkdir()


def closed_socket(path: Path) -> None:
    where = Path.cwd()
    os.chdir(path.parent)  # a socket's name has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(where)


def hard_link(path: Path) -> None:
    path.write_text("old")
    path.with_name("other").hardlink_to(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "part"),
    [(folder, "it is a folder"), (closed_socket, "a socket"), (hard_link, "hard links"), (loop, "symbolic links")],
)
def test_what_can_not_be_replaced_is_refused(tmp_path: Path, make: Callable[[Path], None], part: str) -> None:
    path = tmp_path / "a"
    make(path)
    before = names(tmp_path), path.lstat()
    with pytest.raises(InputError, match=part) as caught:
        write(path)
    assert str(path) in str(caught.value)
    assert (names(tmp_path), path.lstat()) == before


@needs_root
def test_a_disk_is_refused(tmp_path: Path) -> None:
    os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    with pytest.raises(InputError, match="a disk"):
        write(tmp_path / "disk")


@pytest.mark.parametrize("name", ["", ".", "no/such", "a\0b", "a/b"])
def test_names_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("a file, not a folder")
    with pytest.raises(InputError):
        target_of(name)


def test_a_name_as_long_as_names_get(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 255))
    write(tmp_path / ("n" * 255))
    assert names(tmp_path) == ["n" * 255]
    with pytest.raises(TextkinError, match="nnn"):
        write(tmp_path / ("n" * 256))


def test_who_may_not_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o444)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "a").write_text("old")
    (tmp_path / "shut" / "a").chmod(0o666)
    (tmp_path / "shut").chmod(0o555)

    def refused() -> None:
        for path, part in (("a", "read-only"), ("shut/a", "shut can't be written"), ("shut/new", "shut can't")):
            with pytest.raises(ReadOnlyError, match=part):
                write(tmp_path / path)

    without_rights(refused)
    assert (tmp_path / "a").read_text() == (tmp_path / "shut" / "a").read_text() == "old"


ROWS = np.eye(3, dtype=np.float32)


def test_a_pair_of_links_is_written_through(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "v.npy").symlink_to("one/numbers")
    (tmp_path / "v.json").symlink_to("two/facts")
    for rows in (ROWS, ROWS[:2], ROWS[1:]):
        save_vectors(tmp_path / "v", rows, texts=[f"{len(rows)}"] * len(rows))
        found = load_vectors(tmp_path / "v")
        np.testing.assert_array_equal(found.vectors, rows)
        assert found.texts == (f"{len(rows)}",) * len(rows)
        (tmp_path / "two" / "facts").chmod(0o600)
    assert names(tmp_path) == ["one", "two", "v.json", "v.npy"]
    assert (tmp_path / "v.npy").is_symlink()
    assert (tmp_path / "v.json").is_symlink()
    assert stat.S_IMODE((tmp_path / "two" / "facts").stat().st_mode) == 0o600


def test_a_pair_keeps_its_modes(tmp_path: Path) -> None:
    save_vectors(tmp_path / "v", ROWS)
    (tmp_path / "v.npy").chmod(0o600)
    (tmp_path / "v.json").chmod(0o640)
    save_vectors(tmp_path / "v", ROWS[:1])
    assert stat.S_IMODE((tmp_path / "v.npy").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "v.json").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["v.npy", "v.json"])
def test_a_pair_is_no_pipe(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="pair of files"):
        save_vectors(tmp_path / "v", ROWS)
    assert (tmp_path / name).is_fifo()
    assert names(tmp_path) == [name]


def test_a_file_of_the_pending_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "v.json.new").write_text("mine")
    with pytest.raises(InputError, match="in the way"):
        save_vectors(tmp_path / "v", ROWS)
    assert (tmp_path / "v.json.new").read_text() == "mine"


# A kill, or an error of the disk, before the n-th call that changes a file, for each n, in a child of its own.
STEPS = """
import json, os, signal, sys
import numpy as np
from textkin.errors import StoreError
from textkin.vectors.files import load_vectors, save_vectors

place, kind, links = sys.argv[1], sys.argv[2], sys.argv[3] == "links"
old, new = np.eye(3, dtype=np.float32), np.ones((2, 3), np.float32)
if kind == "same":
    new = old
if links:
    os.mkdir(os.path.dirname(place) + "/far")
    os.symlink("far/v.npy", place)
    os.symlink("far/v.json", place[:-4] + ".json")

def run(step):
    taken = 0
    def before(event, arguments):
        nonlocal taken
        opened = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if opened or event in ("os.rename", "os.remove"):
            taken += 1
            if taken == step:
                if kind != "error":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(5, "the disk failed")
    sys.addaudithook(before)
    try:
        save_vectors(place, new, texts=["new"] * len(new))
    except StoreError as error:
        return 4 if "nothing was replaced" in str(error) else 3
    return 2 if taken >= step else 0

step, code = 0, None
while code != 0:
    step += 1
    save_vectors(place, old, texts=["old"] * len(old))
    child = os.fork()
    if child == 0:
        os._exit(run(step))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = load_vectors(place)
    print(json.dumps([code, found.texts, found.vectors.tolist()]))
"""


@pytest.mark.parametrize("links", ["", "links"])
@pytest.mark.parametrize("kind", ["kill", "same", "error"])
def test_a_pair_opens_after_an_end_at_any_step(tmp_path: Path, kind: str, links: str) -> None:
    place = tmp_path / "v.npy"
    told = subprocess.run(
        [sys.executable, "-c", STEPS, place, kind, links], stdout=subprocess.PIPE, text=True, check=True
    )
    ends = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(ends) > 4
    rows = {"old": np.eye(3), "new": np.eye(3) if kind == "same" else np.ones((2, 3))}
    for code, texts, vectors in ends:
        assert code in (0, 2, 3, 4) if kind == "error" else code in (0, -9)
        np.testing.assert_array_equal(vectors, rows[texts[0]])
        assert texts == texts[:1] * len(vectors)
        assert texts[0] == "old" or code != 4
    assert {texts[0] for _, texts, _ in ends[:-1]} == {"old", "new"}
    assert ends[-1][:2] == [0, ["new"] * len(rows["new"])]
    assert set(names(tmp_path)) == {"v.npy", "v.json"} | ({"far"} if links else set())
    if links:
        assert names(tmp_path / "far") == ["v.json", "v.npy"]
