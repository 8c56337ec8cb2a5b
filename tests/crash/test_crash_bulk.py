"""Bulk jobs that are killed, stopped, run out of disk: benchmarks/bulk_kill.py in small, and that it can see."""

from __future__ import annotations

import errno
import importlib
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("kill -9 is of POSIX", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COUNT = 3000


@pytest.fixture(scope="module", autouse=True)
def _path() -> Any:
    """The benchmarks folder is no package."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A job of 3,000 texts in 12 shards, and what it makes undisturbed, of its input and of later states of it."""
    folder = tmp_path_factory.mktemp("bulk")
    cases = script("_bulk_cases")
    way = cases.Way("hashing:64", 256)
    texts, more = cases.lines(COUNT, None), cases.lines(COUNT // 6, None, 2, COUNT)
    return script("bulk_kill").undisturbed(way, texts, more, folder)


@pytest.mark.soak
def test_a_killed_job_ends_as_an_undisturbed_one(job: Any, tmp_path: Path) -> None:
    kill = script("bulk_kill")
    found = kill.Findings()
    chance = random.Random(11)
    job.seconds = 0  # kills at calls, not at times
    while found.kills.total() < 7:
        kill.one_round(job, tmp_path, 7 - found.kills.total(), chance, found, None)
    assert found.problems == []
    assert found.looked_at >= 12


@pytest.mark.slow
@pytest.mark.parametrize("call", ["ENOSPC at fsync", "EIO at rename"])
def test_a_disk_that_fails_is_told_and_the_job_goes_on(job: Any, tmp_path: Path, call: str) -> None:
    disks = script("_bulk_disks")
    number, code = (errno.ENOSPC, 10) if "ENOSPC" in call else (errno.EIO, 8)
    trap = {"call": "replace" if "rename" in call else "fsync", "nth": 6, "do": number}
    case = disks.DiskCase(call, code, trap=trap)
    job.put(-1)
    outcome = disks.broken(case, job.way, job.source, job.wanted[-1], job.repeated, tmp_path)
    assert outcome.problems == []


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "under"), [("SmallDisk", "data"), ("FailingDisk", "out")])
def test_real_disks_that_are_full_or_fail(job: Any, tmp_path: Path, kind: str, under: str) -> None:
    disks = script("_bulk_disks")
    if not disks.can_mount() or (kind == "FailingDisk" and not disks.has_loop_devices()):
        pytest.skip("mounts need root")
    job.put(-1)
    command = ["unshare", "--mount", sys.executable, "-c", IN_MOUNTS, str(BENCHMARKS), kind, under, str(tmp_path)]
    done = subprocess.run([*command, str(job.source)], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


IN_MOUNTS = """
import json, sys
from pathlib import Path
benchmarks, kind, under, folder, source = sys.argv[1:]
sys.path.insert(0, benchmarks)
import _bulk_cases as cases, _bulk_checks as checks, _bulk_disks as disks
from _bulk_victim import Victim
way, source, folder = cases.Way("hashing:64", 256), Path(source), Path(folder)
calm = cases.Place(folder / "calm")
with Victim(calm, way, source) as victim:
    assert victim.finish() == 0, victim.errors()
wanted = checks.read_output(calm.out)
repeated = cases.repeated(source.read_bytes().splitlines())
code = disks.FULL if kind == "SmallDisk" else disks.FAILED
case = disks.DiskCase(kind, code, getattr(disks, kind), under)
print(json.dumps(disks.broken(case, way, source, wanted, repeated, folder).problems))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_job_ends_its_block_and_says_how_to_go_on(
    job: Any, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    cases, checks, victims = script("_bulk_cases"), script("_bulk_checks"), script("_bulk_victim")
    place = cases.Place(tmp_path / "stopped")
    job.put(0)
    trap = {"call": "replace", "below": str(place.out), "nth": 5, "do": f"signal {int(number)} after"}
    with victims.Victim(place, job.way, job.source, trap=trap) as victim:
        assert victim.finish() == code, victim.errors()
        assert "--resume" in victim.errors()
        assert "Traceback" not in victim.errors()
    assert not (place.out / "_manifest.json").exists()
    assert list((place.out / "_textkin" / "tmp").glob("*")) == []
    asked = checks.asked_for(place.log, job.repeated)
    assert (asked.again, asked.problems) == (0, []), "what was under way is in the ledger"
    with victims.Victim(place, job.way, job.source, "--resume") as victim:
        assert victim.finish() == 0, victim.errors()
    assert checks.at_end(place.out, job.wanted[0]) == []
    asked = checks.asked_for(place.log, job.repeated)
    assert (asked.lost, asked.problems) == (0, [])


@pytest.mark.slow
def test_the_checks_see_what_is_wrong(job: Any, tmp_path: Path) -> None:
    cases, checks, victims = script("_bulk_cases"), script("_bulk_checks"), script("_bulk_victim")
    place = cases.Place(tmp_path / "spoilt")
    job.put(0)
    with victims.Victim(place, job.way, job.source) as victim:
        assert victim.finish() == 0, victim.errors()
    known = checks.Known(job.wanted)
    assert checks.at_end(place.out, job.wanted[0]) == known.after_kill(place.out) == []
    first, second = sorted(place.out.glob("*.parquet"))[:2]
    (place.out / "_textkin" / "tmp" / "0-left").write_bytes(b"")
    assert checks.at_end(place.out, job.wanted[0]) == ["0-left was left lying"]
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    assert "can't be read" in known.after_kill(place.out)[0]
    assert "other bytes" in checks.at_end(place.out, job.wanted[0])[0]
    first.write_bytes(second.read_bytes())
    assert "other bytes" in checks.at_end(place.out, job.wanted[0])[0]
    first.unlink()
    assert "can't be read" in checks.at_end(place.out, job.wanted[0])[0]


def test_the_log_shows_what_was_embedded_twice(tmp_path: Path) -> None:
    checks = script("_bulk_checks")
    log = tmp_path / "asked.log"
    log.write_text("R\nO 1 aa bb\nK 1 aa bb\nO 1 cc\nR\nO 2 cc dd\nK 2 cc dd\n", encoding="ascii")
    asked = checks.asked_for(log, set())
    assert (asked.sent, asked.again, asked.lost, asked.most_open, asked.problems) == (5, 1, 1, 1, [])
    log.write_text("R\nO 1 aa bb\nK 1 aa bb\nR\nO 2 bb\nK 2 bb\n", encoding="ascii")
    assert len(checks.asked_for(log, {"bb"}).problems) == 1
    log.write_text("R\nO 1 aa\nO 1 aa bb\nK 1 aa\nO 1 aa\nK 1 aa bb\n", encoding="ascii")
    assert checks.asked_for(log, {"aa"}).problems == []
    assert len(checks.asked_for(log, set()).problems) == 1, "a text that comes once can't be under way twice"
    log.write_text("R\nO 1 aa bb cc\nR\nO 2 aa bb cc\nK 2 aa bb cc\n", encoding="ascii")
    assert len(checks.asked_for(log, set(), in_flight=2).problems) == 1
