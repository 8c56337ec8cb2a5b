"""``textkin duplicates OUT/``: near-duplicates of what a job wrote, without a model and without embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

import bulk_outputs
from textkin.cli.main import main
from textkin.duplicates import find
from textkin.duplicates.find import find_duplicates
from textkin.errors import InputError
from textkin.jobs.bulk.output import VectorOutput
from textkin.jobs.bulk.picking import write_rows
from textkin.vectors.mapped import mapped_matrix
from textkin.vectors.quantize import Kind, dequantize


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["duplicates", *words])


def report_of(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_the_same_as_of_the_vectors_themselves(place: Path, kind: Kind) -> None:
    vectors = bulk_outputs.write_output(place / "OUT", dtype=kind)
    told = report_of("OUT/", "--threshold", "0.8")
    ids = [f"note-{n}" for n in range(10)]
    own = find_duplicates(ids, bulk_outputs.TEXTS, vectors, 0.8).to_dict()
    assert [group["kept"] for group in told["groups"]] == [group["kept"] for group in own["groups"]]  # type: ignore[attr-defined]
    assert [[one["id"] for one in group["dropped"]] for group in told["groups"]] == [["note-6"], ["note-8"]]
    assert told["groups"][1]["dropped"][0]["score"] == pytest.approx(float(vectors[7] @ vectors[8]), abs=1e-2)
    said = run("OUT/", "--threshold", "0.8").stderr
    assert ("at the very worst" in said) == (kind != "float32")


def test_rules_and_vetoes_look_at_texts_and_columns(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    longest = report_of("OUT", "--threshold", "0.8", "--keep", "longest")
    assert [group["kept"] for group in longest["groups"]] == ["note-0", "note-8"]
    stars = report_of("OUT", "--threshold", "0.8", "--keep", "stars")
    assert [group["kept"] for group in stars["groups"]] == ["note-6", "note-8"]
    newest = report_of("OUT", "--threshold", "0.8", "--keep", "newest", "--date-field", "when")
    assert [group["kept"] for group in newest["groups"]] == ["note-6", "note-8"]
    bulk_outputs.write_output(place / "more", ["it is 5 days", "it is 6 days"], columns={})
    assert report_of("more", "--threshold", "0.5")["dropped"] == 1
    assert report_of("more", "--threshold", "0.5", "--veto", "numbers")["dropped"] == 0


def test_what_stays_is_written(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT", dtype="int8")
    result = run("OUT", "--threshold", "0.8", "-o", "kept.jsonl")
    assert "kept.jsonl: 8 records kept" in result.stderr
    rows = [json.loads(line) for line in (place / "kept.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"note-{n}" for n in range(10) if n not in (6, 8)]
    assert rows[1]["city"] is None
    assert rows[1]["text"] == bulk_outputs.TEXTS[1]
    result = run("OUT", "--threshold", "0.8", "-o", "kept.parquet")
    assert "kept.parquet: 8 records kept" in result.stderr
    table = pyarrow.parquet.read_table("kept.parquet")
    assert table["id"].to_pylist() == [row["id"] for row in rows]
    first = next(VectorOutput("OUT").batches(1)).vectors
    stored = np.array(table["vector"][0].as_py(), dtype=np.int8)
    assert np.array_equal(dequantize(stored[np.newaxis], "int8"), first)
    assert b"textkin" in table.schema.metadata
    assert not (place / "kept.parquet.new").exists()


def test_without_texts_vectors_are_enough(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT", text=False)
    told = report_of("OUT", "--threshold", "0.8")
    assert [group["kept"] for group in told["groups"]] == ["note-0", "note-7"]
    assert run("OUT", "--threshold", "0.8", "-o", "kept.jsonl").exit_code == 0
    rows = [json.loads(line) for line in (place / "kept.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(rows[0]) == {"id", "city", "when", "stars", "good"}
    for words in (("--veto", "numbers"), ("--keep", "longest"), ("--threshold", "auto")):
        result = run("OUT", *words)
        option = "--veto" if words[0] == "--veto" else " ".join(words)
        assert f"{option} looks at the texts" in result.stderr


def test_ids_that_differ_by_white_space_are_no_duplicates(place: Path) -> None:
    bulk_outputs.write_output(
        place / "OUT", ["cats and dogs", "ships"], ids=["a b", "a  b"], columns={}, text=False
    )
    assert report_of("OUT", "--threshold", "0.99")["dropped"] == 0


def test_a_threshold_of_its_own(place: Path) -> None:
    subjects = ("cats", "dogs", "ships", "trees", "songs", "cities", "rivers", "books")
    texts = [f"{subjects[n % 8]} of kind {n} live with {subjects[n // 8 % 8]} number {n * 7}" for n in range(400)]
    bulk_outputs.write_output(place / "OUT", texts, columns={}, shard_rows=100)
    result = run("OUT", "--threshold", "auto")
    assert result.exit_code == 0, result.output
    assert "threshold 0." in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("OUT", "notes.jsonl"), "OUT is the output of an embedding job; give it alone"),
        (("OUT", "--where", "stars > 3"), "--where is for collections"),
        (("OUT", "--apply"), "--apply deletes from a COLLECTION"),
        (("OUT", "--undo"), "--undo and --forget-undo are for a COLLECTION"),
        (("OUT", "--against", "notes.kin"), "OUT is the output of an embedding job"),
        (("OUT", "--model", "hashing"), "holds its vectors already"),
        (("binary",), "no cosine can be told"),
        (("twins",), "8 rows with an id that another row has"),
        (("half",), "not finished"),
        (("OUT", "-o", "kept.xlsx"), "name the file so"),
        (("OUT", "-o", "OUT/kept.parquet"), "OUT/kept.parquet lies in OUT, whose files belong together"),
        (("OUT", "--audit", "OUT/_textkin/audit.jsonl"), "whose files belong together"),
    ],
)
def test_what_has_no_meaning_is_refused(place: Path, words: tuple[str, ...], message: str) -> None:
    (place / "notes.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    bulk_outputs.write_output(place / "OUT")
    bulk_outputs.write_output(place / "binary", dtype="binary")
    bulk_outputs.write_output(place / "twins", ids=["a", "b"] * 5)
    bulk_outputs.write_output(place / "half", finished=False)
    result = run(*words)
    assert result.exit_code != 0
    assert message in result.stderr


def test_a_file_alone_may_not_become_parquet(place: Path) -> None:
    (place / "notes.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    assert "name the file so" in run("notes.jsonl", "--model", "hashing", "-o", "kept.parquet").stderr


def test_other_commands_for_files_say_what_it_is(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    result = CliRunner().invoke(main, ["calibrate", "OUT", "--model", "hashing"])
    assert "textkin import OUT" in result.stderr


def test_a_mapped_matrix_is_never_copied_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where some rows are left out: those that stay go to another mapped file."""
    texts = [f"text {n % 30}" for n in range(40)]
    vectors = bulk_outputs.embedded(texts)
    seen = []

    def join(rows: Any, *rest: Any) -> Any:
        seen.append(rows)
        return find.exact_join(rows, *rest)

    with mapped_matrix(40, 256, [vectors[:7], vectors[7:]]) as mapped:
        found = find_duplicates([str(n) for n in range(40)], texts, mapped, 0.9, join=join)
    assert isinstance(seen[0], np.memmap)
    assert len(seen[0]) == 30
    assert found.to_dict() == find_duplicates([str(n) for n in range(40)], texts, vectors, 0.9).to_dict()


def test_no_row_no_file(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    with pytest.raises(InputError, match="no row to write"):
        write_rows(VectorOutput("OUT"), "kept.parquet", ["nobody"])
    assert not (place / "kept.parquet").exists()


def test_ray_is_for_outputs(place: Path) -> None:
    (place / "notes.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    assert "--engine ray joins what" in run("notes.jsonl", "--model", "hashing", "--engine", "ray").stderr
    bulk_outputs.write_output(place / "OUT")
    assert "go with --engine ray" in run("OUT", "--workers", "2").stderr


@pytest.mark.slow
def test_the_same_on_ray(place: Path) -> None:
    bulk_outputs.write_output(place / "OUT")
    here = report_of("OUT", "--threshold", "0.8")
    there = report_of("OUT", "--threshold", "0.8", "--engine", "ray", "--workers", "1")
    assert there["groups"] == here["groups"]
