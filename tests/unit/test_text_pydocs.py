"""The running Python's documentation as records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from textkin.text.pydocs import python_documentation
from textkin.types import Record


@pytest.fixture(scope="module")
def docs() -> dict[str, Record]:
    records = list(python_documentation())
    found = {record.id: record for record in records}
    assert len(found) == len(records)
    return found


def test_several_thousand_texts(docs: dict[str, Record]) -> None:
    assert len(docs) > 4000
    assert all(record.text.strip() and record.text.startswith(record.id) for record in docs.values())
    assert {record.metadata["kind"] for record in docs.values()} == {"module", "class", "function", "method"}
    assert {frozenset(record.metadata) for record in docs.values()} == {frozenset({"kind", "module"})}


@pytest.mark.parametrize(
    ("name", "kind", "module"),
    [
        ("csv", "module", "csv"),
        ("csv.reader", "function", "csv"),
        ("csv.Sniffer.sniff", "method", "csv"),
        ("len", "function", "builtins"),
        ("str.split", "method", "builtins"),
        ("os.path.join", "function", "os.path"),
        ("os.mkdir", "function", "os"),
        ("json.JSONDecoder", "class", "json"),
        ("socket.socket", "class", "socket"),
        ("sqlite3.connect", "function", "sqlite3"),
        ("concurrent.futures.Executor", "class", "concurrent.futures"),
        ("threading.Lock", None, "threading"),
        ("collections.OrderedDict", "class", "collections"),
    ],
)
def test_names_that_people_know(docs: dict[str, Record], name: str, kind: str | None, module: str) -> None:
    record = docs[name]
    assert record.metadata["module"] == module
    assert kind is None or record.metadata["kind"] == kind


def test_the_csv_module_explains_itself(docs: dict[str, Record]) -> None:
    assert "Comma Separated" in docs["csv"].text or "read/write" in docs["csv"].text


def test_no_private_or_second_names(docs: dict[str, Record]) -> None:
    parts = {part for name in docs for part in name.split(".")}
    assert not [part for part in parts if part.startswith("_")]
    for second in ("json.decoder.JSONDecoder", "posix.mkdir", "posixpath.join", "socket.error", "IOError", "exit"):
        assert second not in docs
    assert not {name.partition(".")[0] for name in docs} & {"test", "idlelib", "lib2to3", "antigravity", "this"}


@pytest.mark.slow
def test_sources_are_not_run_and_a_users_module_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "zlib.py").write_text("raise SystemExit('ran')")
    (tmp_path / "csv.py").write_text("raise SystemExit('ran')")
    code = (
        "import sys\n"
        "from textkin.text.pydocs import python_documentation\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "for name in ('zlib', 'csv', 'turtle', 'tkinter', 'pdb'): sys.modules.pop(name, None)\n"
        "records = list(python_documentation())\n"
        "assert not {'turtle', 'tkinter', 'pdb', 'antigravity', 'readline'} & set(sys.modules)\n"
        "sys.stdout.write(str('csv.reader' in {record.id for record in records}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("True", "", 0)
