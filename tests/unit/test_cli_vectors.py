"""duplicates and embed on files, with a model without weights."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import textkin
from textkin.cli.main import main

Run = Callable[..., Result]
TEXTS = ["the same words here", "the same  words here", "something else entirely", "the same words hers", "last"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text(
        "id,text,day\n" + "".join(f"t{n},{text},2024-01-0{n + 1}\n" for n, text in enumerate(TEXTS))
    )

    def call(*args: str, code: int = 0, stdin: str | None = None) -> Result:
        done = CliRunner().invoke(main, list(args), input=stdin)
        assert done.exit_code == code, done.output
        return done

    return call


def drops(done: Result) -> dict[str, str]:
    return {row["id"]: row["kept"] for row in map(json.loads, done.stdout.splitlines())}


def test_duplicates_of_a_file(run: Run) -> None:
    done = run(
        "duplicates", "texts.csv", "--id-column", "id", "--model", "hashing", "--threshold", "0.8", "--jsonl"
    )
    assert drops(done) == {"t1": "t0", "t3": "t0"}
    assert "5 records" in done.stderr
    assert "1 group" in done.stderr
    assert "no pair was missed" in done.stderr


def test_duplicates_of_a_collection_are_those_of_the_file(run: Run) -> None:
    options = ("--threshold", "0.8", "--json")
    run("index", "texts.csv", "--id-column", "id", "--to", "n.kin", "--model", "hashing")
    of_file = run("duplicates", "texts.csv", "--id-column", "id", "--model", "hashing", *options)
    of_collection = run("duplicates", "n.kin", *options)
    assert json.loads(of_file.stdout)["groups"] == json.loads(of_collection.stdout)["groups"]


@pytest.mark.parametrize("source", ["file", "collection"])
def test_the_keep_rule_chooses(run: Run, source: str) -> None:
    place: tuple[str, ...] = ("texts.csv", "--id-column", "id", "--model", "hashing")
    if source == "collection":
        run("index", "texts.csv", "--id-column", "id", "--to", "n.kin", "--model", "hashing")
        place = ("n.kin",)
    rest = ("--threshold", "0.8", "--jsonl")
    assert set(drops(run("duplicates", *place, "--keep", "longest", *rest)).values()) == {"t1"}
    assert set(drops(run("duplicates", *place, "--keep", "last", *rest)).values()) == {"t3"}
    dated = run("duplicates", *place, "--keep", "newest", "--date-field", "day", *rest)
    assert set(drops(dated).values()) == {"t3"}
    run("duplicates", *place, "--keep", "first", "--date-field", "day", code=2)
    alone = run("duplicates", *place, "--keep", "newest", code=2).stderr
    assert "needs --date-field" in alone
    assert "--keep last" in alone


def test_the_table_shows_each_group_with_its_texts(run: Run) -> None:
    table = run("duplicates", "texts.csv", "--id-column", "id", "--model", "hashing", "--threshold", "0.8").stdout
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["group", "what", "score", "id", "text"]
    assert lines[1][:3] == ["1", "keep", "t0"]
    assert ["same", "text", "1.0000", "t1"] in [line[:4] for line in lines]


def test_csv_has_a_row_for_each_record_that_could_go(run: Run) -> None:
    done = run("duplicates", "texts.csv", "--id-column", "id", "--model", "hashing", "--threshold", "0.8", "--csv")
    read = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["id"] for row in read} == {"t1", "t3"}
    assert all(0.8 <= float(row["score"]) <= 1 for row in read)


def test_one_collection_or_files_not_both(run: Run) -> None:
    run("index", "texts.csv", "--to", "n.kin", "--model", "hashing")
    run("duplicates", "n.kin", "texts.csv", code=2)
    run("duplicates", "texts.csv", "--where", "day = 1", "--model", "hashing", code=2)


def test_embed_writes_one_vector_a_text(run: Run) -> None:
    report: dict[str, Any] = json.loads(
        run("embed", "texts.csv", "--id-column", "id", "--model", "hashing", "-o", "v.npy", "--json").stdout
    )
    assert (report["count"], report["dimension"]) == (5, 256)
    read = textkin.load_vectors("v.npy")
    assert read.texts == tuple(TEXTS)
    assert read.ids == ("t0", "t1", "t2", "t3", "t4")
    assert read.fingerprint == report["fingerprint"]
    expected = textkin.load_model("hashing").encode(TEXTS)
    np.testing.assert_allclose(read.vectors, expected, atol=1e-6)


def test_embed_names_the_texts_that_were_cut(run: Run) -> None:
    Path("long.jsonl").write_text(
        json.dumps({"id": "short", "text": "a few words"})
        + "\n"
        + json.dumps({"id": "long", "text": "w " * 600})
        + "\n"
    )
    done = run("embed", "long.jsonl", "--id-column", "id", "--model", "hashing", "-o", "v.npy", "--json")
    assert json.loads(done.stdout)["truncated"] == ["long"]
    assert "1 text longer than the model reads" in done.stderr
    assert "long" in done.stderr.splitlines()[-1]


def test_embedding_again_takes_all_from_the_ledger(run: Run) -> None:
    args = ("embed", "texts.csv", "--model", "hashing", "-o", "v.npy", "--json")
    first, second = (json.loads(run(*args).stdout) for _ in range(2))
    assert first["embedded"] == 5
    assert (second["embedded"], second["from_ledger"]) == (0, 5)
    without = json.loads(run(*args, "--no-ledger").stdout)
    assert (without["embedded"], without["from_ledger"]) == (5, 0)


def test_embed_without_a_text_writes_nothing(run: Run) -> None:
    assert "nothing came" in run("embed", "-", "--model", "hashing", "-o", "v.npy", stdin="\n\n", code=2).stderr
    assert not Path("v.npy").exists()
