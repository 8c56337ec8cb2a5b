"""``textkin models`` as a user runs it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_sources import COMMIT, REPOSITORY, Hub, contents, serving, write_folder
from textkin.cli.main import main
from textkin.models import weights
from textkin.models.weights.cache import ModelRecord, pin_commit, publish, repository_folder


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments])


@pytest.fixture
def model() -> Path:
    """A fetched model outside the catalog."""
    ready = write_folder(repository_folder(REPOSITORY) / "ready", contents())
    folder = publish(ready, ModelRecord(REPOSITORY, REPOSITORY, COMMIT, "main", weights.digests(ready)))
    pin_commit(REPOSITORY, "main", COMMIT)
    return folder


def test_the_catalog_as_a_table() -> None:
    result = run()

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "name",
        "dimensions",
        "max_tokens",
        "size_mb",
        "languages",
        "licence",
        "usd_per_million",
        "runs",
        "here",
    ]
    words = ["English", "Apache-2.0", "0", "this", "machine", "no"]
    assert lines[1].split() == ["all-MiniLM-L6-v2", "384", "256", "91", *words]
    assert lines[2].split() == ["all-mpnet-base-v2", "768", "384", "438", *words]
    assert result.stderr == ""


def test_the_catalog_as_json() -> None:
    rows = json.loads(run("--json").stdout)

    assert rows[0]["name"] == "all-MiniLM-L6-v2"
    assert rows[0]["revision"] == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    assert rows[0]["parameters"] == 22_713_216
    assert {row["here"] for row in rows if row["runs"] == "this machine"} == {"no"}
    hosted = {row["name"]: row for row in rows if row["here"] == "hosted"}
    assert hosted["openai:text-embedding-3-small"]["dimensions"] == 1536
    assert hosted["openai:text-embedding-3-small"]["usd_per_million"] == 0.02
    for row in rows:
        assert date.fromisoformat(row["checked"])
        assert row["price_source"]
        assert row["licence"]


def test_where(model: Path) -> None:
    assert run("where", REPOSITORY).stdout == f"{model}\n"
    assert run("where").stdout.splitlines() == [str(weights.models_folder()), str(weights.hub_cache())]
    missing = run("where", "all-MiniLM-L6-v2")
    assert missing.exit_code == 5
    assert "textkin models fetch all-MiniLM-L6-v2" in missing.stderr
    assert missing.stdout == ""


def test_fetch_prints_folders_and_nothing_else(model: Path) -> None:
    result = run("fetch", REPOSITORY, REPOSITORY)

    assert result.stdout == f"{model}\n{model}\n"
    assert result.stderr == ""


def test_fetch_that_finds_no_way(tmp_path: Path) -> None:
    result = run("fetch", "all-MiniLM-L6-v2")

    assert result.exit_code == 5
    assert result.stdout == ""
    assert "textkin models bundle all-MiniLM-L6-v2" in result.stderr


def test_verify_reads_everything_and_ends_with_6(model: Path) -> None:
    good = run("verify")
    assert good.exit_code == 0
    assert good.stdout == f"{REPOSITORY}: {len(contents())} files verified in {model}\n"

    (model / "model.safetensors").write_bytes(b"other")
    for arguments in (["verify"], ["verify", REPOSITORY]):
        bad = run(*arguments)
        assert bad.exit_code == 6
        assert "model.safetensors of testers/tiny-model differs from what was recorded" in bad.stderr


def test_verify_of_a_users_folder_claims_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own", contents())

    assert "nothing is known to compare them with" in run("verify", str(folder)).stdout


def test_verify_with_nothing_here() -> None:
    assert run("verify").exit_code == 0
    assert run("verify", "all-MiniLM-L6-v2").exit_code == 5


def test_bundle_and_install(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "carried.zip"
    assert run("bundle", REPOSITORY, "-o", str(file)).stdout == f"{file}\n"

    monkeypatch.setenv("TEXTKIN_CACHE", str(tmp_path / "other"))
    installed = run("install", str(file))
    assert installed.exit_code == 0
    assert "nothing vouches for this model but its bundle" in installed.stderr
    name = installed.stderr.split()[-1]
    assert name.startswith("bundle:tiny-model@")
    assert run("where", name).stdout == installed.stdout
    assert run("where", REPOSITORY).exit_code == 5
    assert run("verify", name).stdout.endswith(f"files verified in {installed.stdout}")
    assert run("verify").exit_code == 0


def test_install_of_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("hello")

    assert run("install", str(tmp_path / "x.zip")).exit_code == 2
    assert run("install", str(tmp_path / "none.zip")).exit_code == 2


def test_a_damaged_model_shows_in_the_listing() -> None:
    revision = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    write_folder(repository_folder("sentence-transformers/all-MiniLM-L6-v2") / revision, contents())

    rows = json.loads(run("--json").stdout)
    assert rows[0]["here"] == "damaged"
    assert run("--json", "where").exit_code == 2


def test_fetch_replaces_a_damaged_model_and_says_one_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "model.safetensors").write_bytes(b"other")
    assert f"run: textkin models fetch {REPOSITORY}" in run("verify").stderr
    hub = Hub(contents())
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        fetched = run("fetch", REPOSITORY)
    assert fetched.exit_code == 0, fetched.output
    assert fetched.stdout == f"{model}\n"
    assert fetched.stderr == f"fetching {REPOSITORY} ...\n"
    assert run("verify").exit_code == 0
