"""Broken, foreign and malicious vector files: each refused by name, none run, none half-read."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textkin.errors import FileReadError, NewerVersionError
from textkin.vectors.files import load_vectors, save_vectors

ROWS = np.ones((4, 3), np.float32)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    trapped = io.BytesIO()
    np.save(trapped, np.array([[Trap(mark)]], dtype=object), allow_pickle=True)
    for content in (
        trapped.getvalue(),
        pickle.dumps(Trap(mark)),
        header("(1, 1)", "'|O'") + pickle.dumps(Trap(mark)),
    ):
        (tmp_path / "v.npy").write_bytes(content)
        for mmap in (False, True):
            with pytest.raises(FileReadError, match=r"v\.npy"):
                load_vectors(tmp_path / "v", mmap=mmap)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUM",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00" + b" " * 100,
        header("(4, 3)") + b"\0" * 47,
        header("(4, 3)") + b"\0" * 49,
        header("(1000000000000, 1000000)"),
        header("(-1, 3)"),
        header("(12,)") + b"\0" * 48,
        header("()") + b"\0" * 4,
        header("(4, 3)", "'<c8'") + b"\0" * 96,
        header("(4, 3)", "'<U1'") + b"\0" * 48,
        header("(4, 3)", "[('a', '<f4')]") + b"\0" * 48,
        header("__import__('os').getcwd()"),
        header("(4, 3"),
        b"PK\x03\x04 an npz",
        b"[[1, 2, 3]]",
    ],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_broken_numbers(tmp_path: Path, content: bytes, mmap: bool) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(FileReadError, match=r"v\.npy"):
        load_vectors(tmp_path / "v", mmap=mmap)


def test_an_npz_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", ROWS)
    (tmp_path / "v.npz").rename(tmp_path / "v.npy")
    with pytest.raises(FileReadError, match=r"v\.npy"):
        load_vectors(tmp_path / "v.npy")


@pytest.mark.parametrize("name", ["missing", "missing.npy", "folder"])
def test_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(FileReadError, match=name):
        load_vectors(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "7",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": "1", "sha256": ""}',
        '{"texts": ["a"], "model": "m"}',
        "\udcff",
    ],
)
def test_broken_description(tmp_path: Path, content: str) -> None:
    save_vectors(tmp_path / "v", ROWS)
    (tmp_path / "v.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileReadError, match=r"v\.json"):
        load_vectors(tmp_path / "v")


@pytest.mark.parametrize(
    "change",
    [
        {"count": "4"},
        {"count": True},
        {"dimension": None},
        {"texts": "abcd"},
        {"texts": [1, 2, 3, 4]},
        {"texts": ["a"]},
        {"ids": {"a": 1}},
        {"model": 3},
        {"fingerprint": []},
        {"sha256": None},
        {"sha256": "0" * 64},
    ],
)
def test_changed_description(tmp_path: Path, change: dict[str, Any]) -> None:
    save_vectors(tmp_path / "v", ROWS, texts=list("abcd"))
    facts = json.loads((tmp_path / "v.json").read_text())
    (tmp_path / "v.json").write_text(json.dumps(facts | change))
    with pytest.raises(FileReadError, match=r"v\.json"):
        load_vectors(tmp_path / "v")


def test_one_changed_bit(tmp_path: Path) -> None:
    path = save_vectors(tmp_path / "v", ROWS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileReadError, match="SHA-256"):
        load_vectors(path)


def test_newer_format(tmp_path: Path) -> None:
    save_vectors(tmp_path / "v", ROWS)
    facts = json.loads((tmp_path / "v.json").read_text())
    (tmp_path / "v.json").write_text(json.dumps(facts | {"format": 3}))
    with pytest.raises(NewerVersionError, match="update"):
        load_vectors(tmp_path / "v")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file size")
def test_a_write_that_fails_halfway_leaves_the_old_pair(tmp_path: Path) -> None:
    save_vectors(tmp_path / "v", ROWS, texts=list("abcd"))
    code = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from textkin.errors import TextkinError\n"
        "from textkin.vectors.files import save_vectors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    save_vectors(sys.argv[1], np.ones((1000, 64)))\n"
        "except TextkinError as error:\n"
        "    sys.stdout.write(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "v")], capture_output=True, text=True, check=True
    )
    assert "v.npy (disk, quota or file size limit); nothing was replaced" in done.stdout
    assert sorted(item.name for item in tmp_path.iterdir()) == ["v.json", "v.npy"]
    found = load_vectors(tmp_path / "v")
    assert found.texts == tuple("abcd")
    np.testing.assert_array_equal(found.vectors, ROWS)
