"""The list of a user's jobs: who runs, who was killed, who is elsewhere; and that it never ends a job."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import filelock
import pytest

from textkin.errors import StoreError, StoreLockedError
from textkin.jobs.bulk import registry
from textkin.jobs.bulk.place import LocalPlace
from textkin.jobs.bulk.registry import entries, folder_of, forget, named, registered


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTKIN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(registry, "_PATIENCE", 0.05)
    return tmp_path / "data"


def test_a_job_runs_and_ends(tmp_path: Path) -> None:
    with registered(LocalPlace(tmp_path / "out"), ["a.csv"], "hashing") as job:
        job.tell({"rows": 7})
        (entry,) = entries()
        assert (entry.state, entry.place, entry.inputs) == ("running", str(tmp_path / "out"), ("a.csv",))
        assert entry.progress == {"rows": 7}
        assert entry.told is not None
        job.ended = "complete"
    (entry,) = entries()
    assert entry.state == "complete"
    assert entry.finished is not None
    with pytest.raises(KeyError), registered(LocalPlace(tmp_path / "out"), [], "hashing"):
        raise KeyError("x")
    assert [entry.state for entry in entries()] == ["failed"]


@pytest.mark.parametrize("problem", ["folder", "lock"])
def test_where_nothing_can_be_kept_the_job_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    if problem == "folder":
        data.write_text("a file, where a folder should be", encoding="utf-8")
    else:
        monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    done = []
    with registered(LocalPlace(tmp_path / "out"), [], "hashing") as job:
        job.tell({"rows": 1})
        done.append(job)
    assert done
    if problem == "folder":
        assert entries() == []
        with pytest.raises(StoreError):
            folder_of("notes.kin")


def test_each_rank_has_an_entry(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "out")
    with registered(place, [], "hashing", rank=0) as zero, registered(place, [], "hashing", rank=3) as three:
        zero.tell({"rows": 1})
        three.tell({"rows": 3})
        three.ended = "stopped"
        zero.ended = "complete"
    assert {entry.rank: (entry.state, entry.progress) for entry in entries()} == {
        0: ("complete", {"rows": 1}),
        3: ("stopped", {"rows": 3}),
    }


def rewrite(data: Path, **facts: Any) -> None:
    (path,) = data.glob("jobs/*/entry.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | facts), encoding="utf-8")


def test_who_was_killed_and_who_cannot_be_seen(data: Path, tmp_path: Path) -> None:
    with registered(LocalPlace(tmp_path / "out"), [], "hashing"):
        pass
    rewrite(data, ended=None)
    assert entries()[0].host == socket.gethostname()
    assert entries()[0].state == "killed"
    rewrite(data, host="elsewhere")
    assert entries()[0].state == "unknown"


@pytest.mark.parametrize("facts", [{"rank": "x"}, {"started": None, "later": 1}, {"inputs": None}, {"rank": [1]}])
def test_entries_of_other_versions_do_no_harm(data: Path, tmp_path: Path, facts: dict[str, Any]) -> None:
    with registered(LocalPlace(tmp_path / "out"), [], "hashing"):
        pass
    rewrite(data, **facts)
    with registered(LocalPlace(tmp_path / "two"), [], "hashing"):
        pass
    assert str(tmp_path / "two") in [entry.place for entry in entries()]


def test_no_secret_is_kept(data: Path) -> None:
    for address in ("postgresql://user:geheim@host/db", "sftp://user:geheim@host/out"):
        with registered(address, [], "hashing"):
            pass
        assert folder_of(address).name == folder_of(named(address)).name
        assert named(named(address)) == named(address)
    kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert b"geheim" not in kept
    assert {entry.place for entry in entries()} == {"postgresql://user:***@host/db", "sftp://host/out"}


def test_two_collections_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found.add(folder_of("notes.kin"))
    assert len(found) == 2


def test_forgetting(data: Path, tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "out")
    for rank in (0, 1):
        with registered(place, [], "hashing", rank=rank):
            pass
    with registered(place, [], "hashing", rank=1), pytest.raises(StoreLockedError, match="the job runs"):
        forget(named(place))
    assert len(entries()) == 2
    assert forget(named(place)) == 2
    assert entries() == []
    assert forget(named(place)) == 0
    assert list((data / "jobs").iterdir()) == []
