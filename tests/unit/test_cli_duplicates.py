"""duplicates with vetoes, files and undo; --against; calibrate, clusters, outliers, like and unlike."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from textkin.cli.kept_file import write_lines
from textkin.cli.main import main

Run = Callable[..., Result]
ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "release 3.10 of the package", "stars": 2, "tags": ["x", {"y": 1}]},
    {"id": "b", "text": "release 3.11 of the package", "stars": 5, "tags": None},
    {"id": "c", "text": "release  3.10 of the package", "stars": 9, "tags": []},
    {"id": "d", "text": "something else entirely", "stars": 1, "tags": [1.5]},
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def call(*args: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, list(args))
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done

    return call


FILE = ("r.jsonl", "--id-column", "id", "--model", "hashing", "--threshold", "0.7")


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_kept_records_have_all_their_fields(run: Run) -> None:
    run("duplicates", *FILE, "--keep", "stars", "-o", "kept.jsonl")
    assert lines("kept.jsonl") == [ROWS[2], ROWS[3]]
    run("duplicates", *FILE, "-o", "kept.csv")
    with Path("kept.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == ["a", "d"]
    assert json.loads(table[0]["tags"]) == ["x", {"y": 1}]
    assert not list(Path().glob("*.new"))


def test_what_is_written_is_strict_json(run: Run) -> None:
    Path("n.jsonl").write_text('{"text": "a", "x": NaN, "y": [-Infinity, 1], "z": {"deep": NaN}}\n')
    run("duplicates", "n.jsonl", "--model", "hashing", "-o", "kept.jsonl")

    def refuse(name: str) -> None:
        raise AssertionError(name)

    (row,) = (json.loads(line, parse_constant=refuse) for line in Path("kept.jsonl").read_text().splitlines())
    assert row == {"text": "a", "x": None, "y": [None, 1], "z": {"deep": None}}
    run("duplicates", "n.jsonl", "--model", "hashing", "-o", "kept.csv")
    with Path("kept.csv").open(newline="") as file:
        assert [row["y"] for row in csv.DictReader(file)] == ["[null,1]"]


def test_a_file_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"id": "a"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(str(tmp_path / "kept.jsonl"), rows())
    assert not list(tmp_path.iterdir())


def test_veto_and_audit(run: Run) -> None:
    done = run("duplicates", *FILE, "--veto", "numbers,negation", "--audit", "audit.jsonl", "--jsonl")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["c"]
    assert "1 pair vetoed (numbers, negation)" in done.stderr
    dropped, vetoed = lines("audit.jsonl")
    assert (dropped["what"], dropped["id"], dropped["kept"], dropped["rule"]) == ("dropped", "c", "a", "first")
    assert dropped["veto"] == {"numbers": "same", "negation": "same"}
    assert (vetoed["what"], vetoed["id"], vetoed["other"]) == ("vetoed", "a", "b")
    assert vetoed["veto"] == {"numbers": "3.10 / 3.11", "negation": "same"}
    assert "unknown veto" in run("duplicates", *FILE, "--veto", "tone", code=2).stderr


def test_shapes_of_groups(run: Run) -> None:
    pairs = json.loads(run("duplicates", *FILE, "--groups", "pairs", "--json").stdout)
    assert {(pair["id"], pair["other"]) for pair in pairs} == {("a", "c"), ("a", "b")}
    whole = json.loads(run("duplicates", *FILE, "--groups", "components", "--json").stdout)
    assert (whole["shape"], whole["dropped"]) == ("components", 2)
    run("duplicates", *FILE, "--groups", "pairs", "-o", "x.jsonl", code=2)


def test_unknown_fields_and_places_are_refused_before_the_work(run: Run) -> None:
    assert "no record has the field 'best'" in run("duplicates", *FILE, "--keep", "best", code=2).stderr
    assert "can't be written" in run("duplicates", *FILE, "-o", "no/such/folder.jsonl", code=2).stderr
    assert "neither a number" in run("duplicates", "r.jsonl", "--threshold", "high", code=2).stderr
    run("duplicates", *FILE, "--apply", code=2)
    run("duplicates", *FILE, "--undo", code=2)


def test_apply_and_undo(run: Run) -> None:
    run("index", "r.jsonl", "--id-column", "id", "--to", "n.kin", "--model", "hashing")
    before = run("list", "n.kin", "--json").stdout
    done = run("duplicates", "n.kin", "--threshold", "0.7", "--apply")
    assert "2 records removed; textkin duplicates n.kin --undo brings them back" in done.stderr
    assert json.loads(run("info", "n.kin", "--json").stdout)["records"] == 2
    assert run("duplicates", "n.kin", "--undo").stdout == "2 records brought back, 4 in all\n"
    assert run("list", "n.kin", "--json").stdout == before
    assert "nothing to undo" in run("duplicates", "n.kin", "--undo", code=2).stderr
    done = run("duplicates", "n.kin", "--threshold", "1", "--where", "id = 'none'", "--apply")
    assert "nothing was removed" in done.stderr
    for pair in (("--apply", "--undo"), ("--undo", "--forget-undo")):
        assert "give one of --apply, --undo and --forget-undo" in run("duplicates", "n.kin", *pair, code=2).stderr
    run("duplicates", "n.kin", "--threshold", "0.7", "--apply")
    assert run("duplicates", "n.kin", "--forget-undo").stdout == "2 records dropped for good\n"
    run("duplicates", "n.kin", "--undo", code=2)


def test_against_a_collection(run: Run) -> None:
    run("index", "r.jsonl", "--id-column", "id", "--to", "n.kin", "--model", "hashing")
    new = [
        {"id": "n1", "text": "something else  entirely", "more": [1]},
        {"id": "n2", "text": "release 3.12 of the package"},
        {"id": "n3", "text": "never seen before"},
    ]
    Path("new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in new))
    args = ("duplicates", "new.jsonl", "--id-column", "id", "--against", "n.kin", "--threshold", "0.7")
    done = run(*args, "--jsonl", "-o", "fresh.jsonl")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["id"], row["partner"], row["reason"]) for row in found] == [
        ("n1", "d", "same text"),
        ("n2", "a", "near"),
    ]
    assert lines("fresh.jsonl") == [new[2]]
    assert "3 new records: 2 already there at 0.7, 1 new. Exact" in done.stderr
    vetoed = json.loads(run(*args, "--json", "--veto", "numbers", "--audit", "a.jsonl").stdout)
    assert vetoed["new"] == ["n2", "n3"]
    assert {row["other"] for row in lines("a.jsonl") if row["what"] == "vetoed"} == {"a", "b", "c"}
    assert "n1" in run(*args).stdout
    assert json.loads(run("info", "n.kin", "--json").stdout)["records"] == 4
    run("duplicates", "n.kin", "--against", "n.kin", code=2)
    assert "--keep has no meaning there" in run(*args, "--keep", "longest", code=2).stderr
    assert "--approximate-above has no meaning" in run(*args, "--approximate-above", "2", code=2).stderr
    run("duplicates", "new.jsonl", "--against", "none.kin", code=3)


def test_approximate_is_never_silent(run: Run) -> None:
    done = run("duplicates", *FILE, "--approximate-above", "2", "--json")
    assert "Approximate: " in done.stderr
    assert "Exact" not in done.stderr
    work = json.loads(done.stdout)["work"]
    assert (work["how"], work["recall"]["rows"]) == ("approximate", 3)


@pytest.fixture
def many(run: Run) -> Run:
    dice = np.random.default_rng(0)
    words = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    texts = [" ".join(dice.choice(words, 12)) for _ in range(120)]
    texts += [text + " again" for text in texts[:30]]
    Path("m.jsonl").write_text("".join(json.dumps({"id": f"m{n}", "text": t}) + "\n" for n, t in enumerate(texts)))
    run("index", "m.jsonl", "--id-column", "id", "--to", "m.kin", "--model", "hashing")
    return run


def test_calibrate_and_auto(many: Run) -> None:
    done = many("calibrate", "m.kin", "--plot", "c.svg")
    assert "auto" in done.stdout
    assert "~" in done.stdout, "what is extrapolated is marked"
    assert "near-copies: 0.95" in done.stdout
    assert "related: 0.7 to 0.85" in done.stdout
    assert "the usual advice" in done.stderr
    assert Path("c.svg").read_text(encoding="utf-8").startswith("<svg")
    found = json.loads(many("calibrate", "m.kin", "--json").stdout)
    used = many("duplicates", "m.kin", "--threshold", "auto", "--json")
    assert json.loads(used.stdout)["threshold"] == found["threshold"]
    assert found["confident"]
    assert f"threshold {found['threshold']:g}: {found['why']}" in used.stderr
    assert 30 <= json.loads(used.stdout)["dropped"] <= 36
    of_file = ("m.jsonl", "--id-column", "id", "--model", "hashing")
    assert json.loads(many("calibrate", *of_file, "--json").stdout)["levels"] == found["levels"]
    auto = many("duplicates", *of_file, "--threshold", "auto", "--json")
    assert json.loads(auto.stdout)["threshold"] == found["threshold"]
    rows = list(csv.DictReader(many("calibrate", "m.kin", "--csv", "--copies", "0").stdout.splitlines()))
    assert list(rows[0]) == [
        "threshold",
        "found",
        "false",
        "false_low",
        "false_high",
        "extrapolated",
        "missed",
    ]
    assert {row["missed"] for row in rows} == {""}


def test_auto_that_cannot_be_told_deletes_nothing_without_yes(run: Run) -> None:
    dice = np.random.default_rng(0)
    words = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    names = [" ".join(dice.choice(words, 12)) for _ in range(40)]
    texts = [f"{name} in size {size}" for name in names for size in (38, 39, 40)]
    Path("s.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run("index", "s.jsonl", "--to", "s.kin", "--model", "hashing")
    shown = run("calibrate", "s.kin")
    assert "a cautious number: the data can't tell: " in shown.stderr
    assert not json.loads(run("calibrate", "s.kin", "--json").stdout)["confident"]
    auto = ("duplicates", "s.kin", "--threshold", "auto")
    refused = run(*auto, "--apply", code=2)
    assert "Nothing was deleted" in refused.stderr
    assert "--yes" in refused.stderr
    assert json.loads(run("info", "s.kin", "--json").stdout)["records"] == 120
    assert "a cautious number" in run(*auto).stderr
    run(*auto, "--apply", "--yes")
    run("duplicates", "s.kin", "--threshold", "0.9", "--apply")


def test_auto_under_loosened_floors_deletes_nothing_without_yes(many: Run) -> None:
    many("calibrate", "m.kin", "--min-precision", "0.5")
    auto = ("duplicates", "m.kin", "--threshold", "auto", "--apply")
    assert "--min-precision 0.5" in many(*auto, code=2).stderr
    many(*auto, "--yes")


def test_auto_that_is_sure_needs_no_yes(many: Run) -> None:
    assert "31 records removed" in many("duplicates", "m.kin", "--threshold", "auto", "--apply").stderr


def test_the_floors_of_auto_are_options(many: Run) -> None:
    found = json.loads(
        many("calibrate", "m.kin", "--min-score", "0.97", "--min-precision", "0.5", "--json").stdout
    )
    assert found["threshold"] >= 0.97
    assert (found["min_precision"], found["min_score"]) == (0.5, 0.97)
    many("calibrate", "m.kin", "--min-precision", "2", code=2)


def test_labels(many: Run) -> None:
    Path("l.csv").write_text(
        "one,two,same\n" + "".join(f"m{n},m{120 + n},1\nm{n},m{n + 40},0\n" for n in range(20))
    )
    done = many("calibrate", "m.kin", "--labels", "l.csv")
    assert "40 labelled pairs, 20 the same: best F1 1.000" in done.stderr
    assert "precision 1.000 at recall 0.8" in done.stderr
    Path("bad.csv").write_text("a,b,1\nnot a row\n")
    assert "bad.csv, line 2" in many("calibrate", "m.kin", "--labels", "bad.csv", code=2).stderr


def test_clusters_and_outliers(many: Run) -> None:
    groups = json.loads(many("clusters", "m.kin", "--count", "3", "--json").stdout)
    assert sum(len(group["ids"]) for group in groups) == 150
    assert all(group["records"] == len(group["ids"]) and group["words"] for group in groups)
    assert many("clusters", "m.kin").stdout.splitlines()[0].split() == ["records", "cohesion", "words", "middle"]
    odd = json.loads(many("outliers", "m.kin", "-k", "2", "--neighbours", "3", "--json").stdout)
    assert len(odd) == 2
    assert len(odd[0]["nearest"]) == 3
    assert odd[0]["score"] >= odd[1]["score"]
    assert odd[0]["nearest"][0]["id"] in many("outliers", "m.kin", "-k", "1").stdout


def test_like_and_unlike(many: Run) -> None:
    found = json.loads(many("search", "m.kin", "--like", "m0", "--like", "m1", "--unlike", "m7", "--json").stdout)
    assert {"m120", "m121"} <= {row["id"] for row in found}
    assert not {"m0", "m1", "m7"} & {row["id"] for row in found}
    both = many("search", "m.kin", "worda wordb", "--like", "m0", "--json").stdout
    assert json.loads(both)[0]["id"] == "m120"
    assert "no record with the id 'm999'" in many("search", "m.kin", "--unlike", "m999", code=3).stderr


def test_nothing_is_written_over_what_is_read_or_under_a_wrong_name(run: Run) -> None:
    before = Path("r.jsonl").read_bytes()
    refused = run("duplicates", "r.jsonl", "--model", "hashing", "-o", "r.jsonl", code=2)
    assert "r.jsonl is read, or written, by this very command" in refused.stderr
    run("duplicates", "r.jsonl", "--model", "hashing", "-o", "x.csv", "--audit", "x.csv", code=2)
    assert ".jsonl or .csv" in run("duplicates", "r.jsonl", "-o", "k.parquet", code=2).stderr
    assert ".svg" in run("duplicates", "r.jsonl", "--plot", "p.png", code=2).stderr
    assert Path("r.jsonl").read_bytes() == before
    run("embed", "r.jsonl", "--model", "hashing", "-o", "v.npy")
    numbers = Path("v.npy").read_bytes()
    run("duplicates", "v.npy", "-o", "v.npy", code=2)
    assert Path("v.npy").read_bytes() == numbers


def test_labels_that_are_meant_as_ids_are_not_taken_for_texts(run: Run) -> None:
    run("index", "r.jsonl", "--id-column", "id", "--to", "n.kin", "--model", "hashing")
    Path("labels.csv").write_text("a,b,1\na,nope,0\n")
    assert "'nope'" in run("calibrate", "n.kin", "--labels", "labels.csv", "--copies", "0", code=2).stderr
    Path("labels.csv").write_text("x1,x2,1\nx1,x3,0\n")
    assert "--id-column" in run("calibrate", "n.kin", "--labels", "labels.csv", "--copies", "0", code=2).stderr
