"""textkin doctor: what is in order, what is broken, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from textkin.cli import checks
from textkin.cli.main import main


def run(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(args))
    assert done.exit_code == code, done.output
    return done


def states(done: Result) -> dict[str, str]:
    return {finding["name"]: finding["state"] for finding in json.loads(done.stdout)["findings"]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run("add", "n.kin", "one", "two", "--model", "hashing")
    return tmp_path


def test_a_healthy_machine(place: Path) -> None:
    found = states(run("doctor", "n.kin", "--json"))
    assert "broken" not in found.values()
    assert {"extra parquet", "extra clusters", "numpy", "onnxruntime"} <= set(found)
    assert {"python", "sqlite", "cache", "data", "ledger", "collection", "its model"} <= set(found)
    assert run("doctor").stdout.endswith("All in order.\n")


def test_a_damaged_collection_is_broken_with_a_cure(place: Path) -> None:
    database = place / "n.kin" / "collection.db"
    data = bytearray(database.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    database.write_bytes(data)
    for rest in place.glob("n.kin/collection.db-*"):
        rest.unlink()
    done = run("doctor", "n.kin", "--json", code=1)
    assert states(done)["collection"] == "broken"
    assert all(finding["cure"] for finding in json.loads(done.stdout)["findings"] if finding["state"] == "broken")


def test_a_missing_collection_is_broken(place: Path) -> None:
    assert states(run("doctor", "none.kin", "--json", code=1))["collection"] == "broken"


def test_a_damaged_ledger_is_broken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "data").mkdir()
    (place / "data" / "ledger.db").write_bytes(b"no database at all, but long enough" * 10)
    monkeypatch.setenv("TEXTKIN_DATA", str(place / "data"))
    done = run("doctor", code=1)
    assert "BROKEN ledger" in done.stdout
    assert "1 broken" in done.stdout


def test_a_place_that_can_not_be_written_is_broken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").write_text("in the way")
    monkeypatch.setenv("TEXTKIN_CACHE", str(place / "file" / "cache"))
    assert states(run("doctor", "--json", code=1))["cache"] == "broken"


METADATA = """Metadata-Version: 2.1
Name: {name}
Version: {version}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says what is installed, in place of what is."""
    folder = tmp_path / "site-packages"

    def install(name: str, version: str = "1.0", *more: str) -> None:
        about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir(parents=True)
        told = METADATA.format(name=name, version=version) + "".join(f"{line}\n" for line in more)
        (about / "METADATA").write_text(told)

    def find(context: Any) -> Iterator[metadata.Distribution]:
        return (
            metadata.PathDistribution(path) for path in folder.glob(f"{(context.name or '').replace('-', '_')}-*")
        )

    monkeypatch.setattr(metadata.Distribution, "discover", lambda **given: find(SimpleNamespace(**given)))
    return install


NEEDS = (
    "Requires-Dist: numpy>=1.26",
    "Requires-Dist: charset-normalizer>=3.3",
    "Requires-Dist: not-for-us; sys_platform == 'nowhere'",
    "Requires-Dist: onnx>=1; extra == 'dev'",
    "Requires-Dist: one; extra == 'small'",
    "Requires-Dist: one; extra == 'large'",
    "Requires-Dist: two; extra == 'large'",
    "Requires-Dist: three>=3; extra == 'third'",
    *(f"Provides-Extra: {extra}" for extra in ("dev", "small", "large", "third")),
)


def test_what_is_needed_is_what_the_installation_says(installed: Callable[..., None]) -> None:
    installed("textkin", "1.0", *NEEDS)
    installed("numpy", "2.0")
    installed("charset-normalizer", "3.3")
    found = {one.name: one for one in checks.check_versions()}
    assert "broken" not in {one.state for one in found.values()}
    assert not {"onnx", "not-for-us"} & set(found)
    assert found["other extras"].says == "not installed: small, large, third"
    installed("one")
    found = {one.name: one for one in checks.check_versions()}
    assert (found["extra small"].state, found["other extras"].says) == ("ok", "not installed: large, third")
    installed("three", "2.0")
    assert {one.name: one for one in checks.check_versions()}["extra third"].says.endswith("three is not >=3")


def test_what_is_missing_or_old_is_named_with_its_cure(installed: Callable[..., None]) -> None:
    installed("textkin", "1.0", *NEEDS, "Requires-Dist: no-such-module")
    installed("numpy", "1.20")
    installed("no-such-module")
    broken = {one.name: (one.says, one.cure) for one in checks.check_versions() if one.state == "broken"}
    assert broken == {
        "numpy": ("1.20 is not >=1.26", "pip install 'numpy>=1.26'"),
        "charset-normalizer": ("not installed", "pip install 'charset-normalizer>=3.3'"),
        "no-such-module": ("No module named 'no_such_module'", "pip install --force-reinstall no-such-module"),
    }


def test_a_folder_that_is_not_installed_is_no_fault(installed: Callable[..., None]) -> None:
    assert {one.name: one.state for one in checks.check_versions()}["packages"] == "note"


def test_looking_at_onnxruntime_writes_no_telemetry_into_the_home(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    home = tmp_path / "home"
    home.mkdir()
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    subprocess.run([sys.executable, "-m", "textkin", "doctor"], env=environment, capture_output=True, check=True)
    assert not [path for path in home.rglob("*") if "onnxruntime" in path.name.lower()]
