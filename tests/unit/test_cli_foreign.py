"""The commands over a collection that another tool made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from other_tools import chroma_client, texts
from textkin.cli.main import main
from textkin.models.resolve import load_model


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Chroma collection of 40 texts with the hashing model's vectors, two of them the same."""
    folder = tmp_path_factory.mktemp("theirs") / "db"
    words = [*texts(39), texts(1)[0]]
    client = chroma_client(folder)
    theirs = client.create_collection("theirs", embedding_function=None)
    vectors = load_model("hashing").encode(words)
    ids = [f"id{number}" for number in range(40)]
    theirs.add(ids=ids, documents=words, embeddings=vectors, metadatas=[{"n": number} for number in range(40)])
    client.close()
    return f"chroma:{folder}?collection=theirs"


def test_reading_commands(place: str, tmp_path: Path) -> None:
    named = ("--model", "hashing")
    hits = json.loads(run("search", place, texts(8)[7], "-k", "1", *named, "--json").stdout)
    assert (hits[0]["id"], round(hits[0]["score"], 5)) == ("id7", 1)
    hits = json.loads(run("similar", place, "id0", "-k", "1", *named, "--json").stdout)
    assert hits[0]["id"] == "id39"
    report = json.loads(run("duplicates", place, "--threshold", "0.99", *named, "--json").stdout)
    assert [group["kept"] for group in report["groups"]] == ["id0"]
    rows = run("list", place, "--where", "n >= 38", *named, "--jsonl").stdout.splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["id38", "id39"]
    assert texts(4)[3] in run("show", place, "id3", *named).stdout
    told = run("info", place, *named).stdout
    assert "another tool, read-only. 32 texts embedded again: cosine 1.000000 or more" in told
    assert json.loads(run("info", place, *named, "--json").stdout)["foreign"]["compared"] == 32
    copied = run("export", place, str(tmp_path / "notes.kin"), *named, "--json")
    assert json.loads(copied.stdout)["copied"] == 40
    copied = run("import", place, str(tmp_path / "notes.kin"), *named)
    assert "0 records copied, 40 there already" in copied.stdout
    assert json.loads(run("search", str(tmp_path / "notes.kin"), "stone", "--json").stdout)


def test_the_npy_that_duplicates_reads(tmp_path: Path) -> None:
    import numpy as np

    words = [*texts(20), texts(1)[0]]
    np.save(tmp_path / "v.npy", load_model("hashing").encode(words))
    (tmp_path / "lines.txt").write_text("\n".join(words))
    place = f"{tmp_path / 'v.npy'}?texts={tmp_path / 'lines.txt'}"
    report = json.loads(run("duplicates", place, "--model", "hashing", "--json").stdout)
    assert [group["kept"] for group in report["groups"]] == ["0"]


@pytest.mark.parametrize(
    "words",
    [
        ("index", "FILE", "--to", "PLACE"),
        ("index", "FILE", "--to", "PLACE", "--model", "hashing"),
        ("add", "PLACE", "a text", "--model", "hashing"),
        ("remove", "PLACE", "id1"),
    ],
    ids=lambda words: " ".join(words),
)
def test_writing_commands_are_refused(place: str, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "x.txt").write_text("text")
    given = {"PLACE": place, "FILE": str(tmp_path / "x.txt")}
    result = run(*(given.get(word, word) for word in words))
    assert result.exit_code == 8
    assert "made by another program, so textkin only reads it" in result.stderr


def test_errors_say_what_to_do(place: str) -> None:
    result = run("search", place, "stone")
    assert result.exit_code == 2
    assert "Name the model: --model NAME" in result.stderr
    result = run("search", place, "stone", "--model", "hashing:64")
    assert result.exit_code == 7
    assert "have 256 dimensions, those of hashing:64 64" in result.stderr
