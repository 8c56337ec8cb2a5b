"""benchmarks/sweep.py and power_cuts.py in small: that they see what is wrong, and find nothing wrong here."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
IN_PLACE = """
with open("out.txt", "w") as file:
    for number in range(20):
        file.write(f"line {number}\\n")
        file.flush()
"""
UNSYNCED = """
import os
with open("out.new", "w") as file:
    file.write("all of it\\n" * 200)
os.replace("out.new", "out.txt")
"""
SYNCED = """
import os
with open("out.new", "w") as file:
    file.write("all of it\\n" * 200)
    file.flush()
    os.fsync(file.fileno())
os.replace("out.new", "out.txt")
folder = os.open(".", os.O_RDONLY)
os.fsync(folder)
os.close(folder)
"""


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks folder is no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    reason = script("_sweep_process").why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    process = script("_sweep_process")
    with process.Server(process.compiled_hook(tmp_path), tmp_path / "server") as running:
        yield running


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def case(code: str) -> Any:
    """A command that is this script, over an older output."""
    cases, checks = script("_sweep_cases"), script("_sweep_checks")

    def write(folder: Path) -> None:
        (folder / "writer.py").write_text(code)
        (folder / "out.txt").write_text("the old one\n")

    return cases.Case("a script", ("writer.py",), (write,), checks.Watched(outputs=("out.txt",)))


@pytest.mark.slow
def test_a_file_that_is_written_in_place_is_found_half_written(server: Any, tmp_path: Path) -> None:
    sweep, runs = script("sweep"), script("_sweep_runs")
    swept = sweep.Sweep(runs.Prepared(case(IN_PLACE), server, tmp_path / "case"))
    for fault in swept.faults(12):
        swept.one(fault)
    assert swept.found.killed >= 4
    assert any("out.txt is there, but neither old nor new" in problem for problem in swept.found.problems)
    assert any("Traceback" in problem for problem in swept.found.problems)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "safe"), [(UNSYNCED, False), (SYNCED, True)])
def test_a_cut_takes_what_was_not_synced_and_nothing_else(
    server: Any, tmp_path: Path, code: str, safe: bool
) -> None:
    cuts, runs = script("power_cuts"), script("_sweep_runs")
    cut = cuts.Cuts(runs.Prepared(case(code), server, tmp_path / "case"), random.Random(2))
    for _ in range(40):
        cut.one()
    found = [problem for problem in cut.found.problems if "out.txt" in problem]
    assert cut.found.acknowledged
    assert (not found) == safe, found


@pytest.mark.soak
@pytest.mark.parametrize("name", ["remove ids", "duplicates --undo"])
def test_a_command_of_ours_is_whole_after_each_fault(server: Any, tmp_path: Path, name: str) -> None:
    sweep, runs, cases = script("sweep"), script("_sweep_runs"), script("_sweep_cases")
    (chosen,) = (one for one in cases.all_cases() if one.name == name)
    swept = sweep.Sweep(runs.Prepared(chosen, server, tmp_path / "case"))
    for fault in swept.faults(12):
        swept.one(fault)
    assert swept.found.problems == []
    assert swept.found.killed >= 4


def test_what_a_disk_may_hold(tmp_path: Path) -> None:
    disk_states, process = script("_disk_states"), script("_sweep_process")
    root = tmp_path / "run"
    base = tmp_path / "base"
    base.mkdir()
    (base / "kept").write_bytes(b"kept")

    def call(op: str, name: str, data: bytes = b"", other: str = "", created: bool = False) -> Any:
        there = str(root / other) if other else ""
        return process.Call(op, str(root / name), there, created, False, False, 0, data)

    calls = [
        call("open", "new", created=True),
        call("write", "new", b"x" * 1500),
        call("sync", "new"),
        call("rename", "new", other="kept"),
        call("sync", ""),
    ]
    disk = disk_states.Disk(base, root, calls)
    assert {name: node.content for name, node in disk.end().entries.items()} == {"kept": b"x" * 1500}
    chance = random.Random(1)
    for names in ("ordered", "reordered"):
        seen = {cut: set() for cut in range(6)}
        for _ in range(200):
            for cut in seen:
                state = disk.state(cut, chance, names)
                seen[cut].add(tuple(sorted((name, node.content) for name, node in state.entries.items())))
        old, new = (("kept", b"kept"),), (("kept", b"x" * 1500),)
        assert seen[0] == {old}
        assert seen[5] == {new}
        # A journal has the new file's name once the file is synced.
        assert seen[4] == {new, (*old, ("new", b"x" * 1500))} | ({old} if names == "reordered" else set())
        assert all(files[0] == old[0] for cut in (1, 2, 3) for files in seen[cut])
        assert len(seen[2]) > 4  # torn, cut, with a size and no data, lost
