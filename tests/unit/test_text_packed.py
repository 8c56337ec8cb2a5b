"""gzip and zstd: read as if they were not compressed; a damaged file is named, never taken for a whole one."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from textkin.errors import FileReadError
from textkin.text.kinds import Kind, Packing, kind_of
from textkin.text.options import ReadOptions, Skipped
from textkin.text.packed import unpacked
from textkin.text.read import read_inputs

zstandard = pytest.importorskip("zstandard")

ROWS = b"".join(b'{"text": "words of row %d", "n": %d}\n' % (n, n) for n in range(5000))
PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.compress}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def texts(path: str, told: list[Skipped] | None = None) -> list[str]:
    on_skip = (told if told is not None else []).append
    return [record.text for record in read_inputs([path], on_skip=on_skip)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl.zst", (Kind.JSONL, Packing.ZSTD)),
        ("A.NDJSON.ZST", (Kind.JSONL, Packing.ZSTD)),
        ("a.csv.gz", (Kind.CSV, Packing.GZIP)),
        ("a.zst", (Kind.UNKNOWN, None)),
        ("a.txt.zst", (Kind.UNKNOWN, None)),
        ("a.parquet", (Kind.PARQUET, None)),
    ],
)
def test_names(name: str, kind: tuple[Kind, Packing | None]) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_every_kind_of_table(suffix: str) -> None:
    for name, content in {
        "a.jsonl": b'{"text": "x"}\n{"text": "y"}\n',
        "a.ndjson": b'"x"\n"y"\n',
        "a.json": b'["x", "y"]',
        "a.csv": b"text,n\nx,1\ny,2\n",
        "a.tsv": b"text\tn\nx, 1\t1\ny\t2\n",
    }.items():
        path = f"{name}.{suffix}"
        Path(path).write_bytes(PACK[suffix](content))
        assert [text[0] for text in texts(path)] == ["x", "y"], path


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_several_parts_are_one_file(suffix: str) -> None:
    pack = PACK[suffix]
    Path(f"a.jsonl.{suffix}").write_bytes(pack(ROWS[:1001]) + pack(b"") + pack(ROWS[1001:]))
    assert len(texts(f"a.jsonl.{suffix}")) == 5000


def test_a_large_window_and_a_frame_without_size() -> None:
    options = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=options).compressobj()
    Path("a.jsonl.zst").write_bytes(packer.compress(ROWS) + packer.flush())
    assert len(texts("a.jsonl.zst")) == 5000


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_off_file_is_named_after_the_rows_it_gave(suffix: str, keep: float) -> None:
    content = PACK[suffix](ROWS)
    Path("d").mkdir()
    Path(f"d/a.jsonl.{suffix}").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FileReadError, match=r"a\.jsonl.*not a whole"):
        texts(f"d/a.jsonl.{suffix}")
    told: list[Skipped] = []
    assert len(texts("d", told)) < 5000
    assert [(item.kind, item.path) for item in told if item.row is None] == [("failed", f"d/a.jsonl.{suffix}")]


@pytest.mark.parametrize("content", [b"plain text", b"\x28\xb5\x2f\xfd", b"", zstandard.compress(ROWS) + b"junk"])
def test_what_is_no_zstd_is_named(content: bytes) -> None:
    Path("a.jsonl.zst").write_bytes(content)
    if content:
        with pytest.raises(FileReadError, match=r"a\.jsonl\.zst is not a whole zstd file"):
            texts("a.jsonl.zst")
    else:
        with pytest.raises(ValueError, match="no JSON objects"):
            texts("a.jsonl.zst")


def test_a_flipped_bit_is_found() -> None:
    content = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(ROWS))
    content[len(content) // 2] ^= 1
    Path("a.jsonl.zst").write_bytes(bytes(content))
    with pytest.raises(FileReadError, match="not a whole zstd file"):
        texts("a.jsonl.zst")


def test_a_broken_line_in_it_is_one_bad_row() -> None:
    lines = b'{"id": 1, "text": "x"}\n{"id": 2, "text": "\xff"}\n{"id": 3, "text": "y"}\n'
    for suffix, pack in PACK.items():
        Path(f"a.jsonl.{suffix}").write_bytes(pack(lines))
        told: list[Skipped] = []
        assert texts(f"a.jsonl.{suffix}", told) == ["x", "y"]
        assert [(item.row, "not UTF-8" in item.reason) for item in told] == [(2, True)]


def test_the_bytes_are_the_same_whatever_is_asked_for() -> None:
    for packing, suffix in ((Packing.GZIP, "gz"), (Packing.ZSTD, "zst")):
        file = io.BytesIO(PACK[suffix](ROWS))
        content = unpacked(file, packing)
        assert b"".join([content.read(size) for size in (1, 7, 100, 4096, -1)]) == ROWS
        content.close()
        assert not file.closed


def test_a_long_line_of_zeros_is_not_held() -> None:
    """8 MB in a few hundred bytes: it is said how long it was, and the rest goes on."""
    Path("a.jsonl.zst").write_bytes(zstandard.compress(b'"' + b"0" * 8_000_000 + b'"\n"x"\n'))
    told: list[Skipped] = []
    records = list(read_inputs(["a.jsonl.zst"], options=ReadOptions(max_text=1000), on_skip=told.append))
    assert [record.text for record in records] == ["x"]
    assert [item.row for item in told] == [1]
    assert "line 1 is over-long: 8,000,003 " in told[0].reason
    assert "--max-text" in told[0].reason
