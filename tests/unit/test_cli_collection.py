"""index, add, search, similar, list, show, remove and info on a small collection, with a model without weights."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call textkin in a folder of its own; an exit code other than ``code`` fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*args: str, code: int = 0, stdin: str | bytes | None = None) -> Result:
        done = CliRunner().invoke(main, [str(arg) for arg in args], input=stdin)
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done

    return call


@pytest.fixture
def filled(run: Run) -> Run:
    """n.kin with three files and two rows of a table."""
    Path("docs").mkdir()
    Path("docs/refunds.md").write_text("Refunds take five days after the return.")
    Path("docs/hours.md").write_text("We are open from nine to five.")
    Path("docs/blob.dat").write_bytes(bytes(range(256)))
    Path("reviews.csv").write_text("no,review,year,lang\n1,great phone,2020,en\n2,bad battery,2021,fr\n")
    run("index", "docs", "reviews.csv", "--to", "n.kin", "--model", "hashing")
    return run


def found(done: Result) -> Any:
    return json.loads(done.stdout)


def ids(done: Result) -> list[str]:
    return [row["id"] for row in found(done)]


def test_indexing_again_says_what_changed(filled: Run) -> None:
    again = found(filled("index", "docs", "reviews.csv", "--to", "n.kin", "--json"))
    assert (again["added"], again["changed"], again["unchanged"], again["embedded"]) == (0, 0, 4, 0)
    Path("docs/hours.md").write_text("We are open from ten to six.")
    Path("docs/new.md").write_text("A new page.")
    Path("docs/refunds.md").unlink()
    third = found(filled("index", "docs", "--to", "n.kin", "--json"))
    assert (third["added"], third["changed"], third["unchanged"], third["removed"]) == (1, 1, 0, 1)
    assert third["records"] == 4
    assert third["embedded"] == 2


def test_keep_missing_keeps_and_counts(filled: Run) -> None:
    Path("docs/refunds.md").unlink()
    report = found(filled("index", "docs", "--to", "n.kin", "--keep-missing", "--json"))
    assert (report["removed"], report["missing"], report["records"]) == (0, 1, 4)


def test_what_is_skipped_is_named_on_stderr(run: Run) -> None:
    Path("many").mkdir()
    for number in range(25):
        Path(f"many/{number:02}.md").write_bytes(b"\0\1\2\3" * 50)
    Path("many/good.md").write_text("A text.")
    brief = run("index", "many", "--to", "n.kin", "--model", "hashing")
    assert brief.stderr.count("many/") == 20
    assert "5 more" in brief.stderr
    assert "25 inputs skipped" in brief.stdout or "25 could not be read" in brief.stdout
    full = run("index", "many", "--to", "n.kin", "--verbose")
    assert full.stderr.count("many/") == 25


def test_index_without_a_readable_path_is_an_input_error(run: Run) -> None:
    assert "nowhere" in run("index", "nowhere", "--to", "n.kin", "--model", "hashing", code=2).stderr
    assert not Path("n.kin").exists() or not any(Path("n.kin").glob("*.db"))


def test_standard_input_is_indexed(run: Run) -> None:
    report = run("index", "-", "--to", "n.kin", "--model", "hashing", "--json", stdin="one line\n\nanother line\n")
    assert found(report)["added"] == 2


def test_search_ranks_and_filters(filled: Run) -> None:
    assert ids(filled("search", "n.kin", "open from nine", "--json"))[0] == "docs/hours.md"
    assert ids(filled("search", "n.kin", "phone", "--where", "year >= 2021", "--json")) == ["reviews.csv:2"]
    assert ids(filled("search", "n.kin", "phone", "--where", 'lang in ("en", "de")', "--json")) == [
        "reviews.csv:1"
    ]
    assert len(ids(filled("search", "n.kin", "phone", "-k", "2", "--json"))) == 2
    assert all(
        row["score"] >= 0.3 for row in found(filled("search", "n.kin", "phone", "--threshold", "0.3", "--json"))
    )
    nothing = filled("search", "n.kin", "phone", "--threshold", "0.999")
    assert nothing.stdout == ""
    assert nothing.stderr == "nothing found\n"


def test_search_by_examples(filled: Run) -> None:
    like = ids(filled("search", "n.kin", "--like", "docs/hours.md", "--json"))
    assert "docs/hours.md" not in like
    assert len(like) == 3
    filled("search", "n.kin", code=2)
    assert "docs/hours.md" in filled("search", "n.kin", "--unlike", "hours", code=3).stderr


def test_a_wrong_filter_is_an_input_error(filled: Run) -> None:
    assert "error: " in filled("search", "n.kin", "phone", "--where", "year >=", code=2).stderr


def test_scores_have_four_decimals_in_a_table_and_all_in_json(filled: Run) -> None:
    table = filled("search", "n.kin", "great phone", "-k", "1").stdout.splitlines()
    assert table[0].split() == ["score", "id", "text"]
    assert table[1] == "1.0000  reviews.csv:1  great phone" or table[1].startswith("0.")
    score = found(filled("search", "n.kin", "bad phone", "-k", "1", "--json"))[0]["score"]
    assert round(score, 4) != score


def test_each_form_holds_the_same_rows(filled: Run) -> None:
    expected = found(filled("search", "n.kin", "phone", "--json"))
    lines = filled("search", "n.kin", "phone", "--jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == expected
    read = list(csv.DictReader(io.StringIO(filled("search", "n.kin", "phone", "--csv").stdout)))
    assert [(row["id"], float(row["score"]), json.loads(row["metadata"])) for row in read] == [
        (row["id"], row["score"], row["metadata"]) for row in expected
    ]


def test_similar_takes_an_id_and_never_mistakes_one_for_a_text(filled: Run) -> None:
    assert "docs/refunds.md" not in ids(filled("similar", "n.kin", "docs/refunds.md", "--json"))
    unknown = filled("similar", "n.kin", "docs/refund.md", code=3)
    assert "'docs/refund.md'" in unknown.stderr
    assert "did you mean 'docs/refunds.md'" in unknown.stderr
    assert unknown.stdout == ""
    by_text = ids(filled("similar", "n.kin", "--text", "open from nine", "--json"))
    assert by_text[0] == "docs/hours.md"
    filled("similar", "n.kin", code=2)
    filled("similar", "n.kin", "docs/hours.md", "--text", "both", code=2)


def test_a_missing_collection_is_not_made_by_asking(run: Run) -> None:
    for args in (
        ("search", "none.kin", "x"),
        ("similar", "none.kin", "x"),
        ("list", "none.kin"),
        ("show", "none.kin", "x"),
        ("remove", "none.kin", "x"),
        ("info", "none.kin"),
        ("duplicates", "none.kin"),
    ):
        assert "none.kin" in run(*args, code=3).stderr
        assert not Path("none.kin").exists()


def test_list_pages_through_the_records(filled: Run) -> None:
    everything = ids(filled("list", "n.kin", "--json"))
    assert len(everything) == 4
    assert ids(filled("list", "n.kin", "--limit", "2", "--offset", "1", "--json")) == everything[1:3]
    assert ids(filled("list", "n.kin", "--limit", "0", "--json")) == everything
    assert ids(filled("list", "n.kin", "--where", "year = 2020", "--json")) == ["reviews.csv:1"]
    page = filled("list", "n.kin", "--limit", "2")
    assert "1 to 2 of 4 records" in page.stderr
    assert len(page.stdout.splitlines()) == 3
    assert "only 4 records" in filled("list", "n.kin", "--offset", "9").stderr


def test_show_prints_the_whole_record(filled: Run) -> None:
    shown = filled("show", "n.kin", "reviews.csv:2").stdout
    assert "bad battery" in shown
    assert "2021" in shown
    (record,) = found(filled("show", "n.kin", "reviews.csv:2", "--json"))
    assert record["metadata"] == {"no": 2, "year": 2021, "lang": "fr"}
    assert "missing" in filled("show", "n.kin", "missing", code=3).stderr


def test_remove_by_id_and_by_filter(filled: Run) -> None:
    assert "1 record removed, 3 left" in filled("remove", "n.kin", "docs/hours.md").stdout
    assert "docs/hours.md" in filled("remove", "n.kin", "docs/hours.md", "reviews.csv:1", code=3).stderr
    assert found(filled("info", "n.kin", "--json"))["records"] == 3
    refused = filled("remove", "n.kin", "--where", "year > 2000", code=2)
    assert "2 records" in refused.stderr
    assert "--yes" in refused.stderr
    assert found(filled("info", "n.kin", "--json"))["records"] == 3
    removed = found(filled("remove", "n.kin", "--where", "year > 2000", "--yes", "--json"))
    assert removed == {"removed": 2, "records": 1}
    filled("remove", "n.kin", code=2)


def test_info_names_the_model(filled: Run) -> None:
    info = found(filled("info", "n.kin", "--json"))
    assert info["records"] == 4
    assert info["bytes"] > 0
    assert info["model"]["name"] == "hashing"
    assert len(info["model"]["fingerprint"]) == 64
    assert "hashing: 256 dimensions" in filled("info", "n.kin").stdout


def test_recall_is_measured_and_an_approximate_search_says_so(filled: Run) -> None:
    told = found(filled("info", "n.kin", "--recall", "--json"))
    assert told["exact"] is True
    assert told["recall"]["recall"] == 1.0
    assert "recall@10 1.0000 (95 % interval" in filled("info", "n.kin", "--recall").stdout
    assert "approximate" not in filled("search", "n.kin", "refunds").stderr
    filled("export", "n.kin", "chroma:db")
    assert "textkin info chroma:db --recall" in filled("search", "chroma:db", "refunds").stderr
    assert found(filled("info", "chroma:db", "--recall", "--json"))["recall"]["sampled"] == 4


def test_another_model_is_refused(filled: Run) -> None:
    refused = filled("index", "docs", "--to", "n.kin", "--model", "hashing:64", code=7)
    assert "hashing" in refused.stderr
    filled("add", "n.kin", "a text", "--model", "hashing:256")


@pytest.mark.parametrize(
    "command", [("index", "docs", "--to", "n.kin"), ("add", "n.kin", "a"), ("demo", "--to", "n.kin")]
)
def test_another_model_is_refused_before_its_weights_are_fetched(
    filled: Run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = filled(*command, "--model", "all-mpnet-base-v2", code=7).stderr
    assert refused.startswith("error: n.kin was built with hashing")
    assert "not all-mpnet-base-v2" in refused
    assert "Leave out --model" in refused
    assert "model=" not in refused


def test_add_from_arguments(run: Run) -> None:
    added = run("add", "n.kin", "one", "two", "one", "--model", "hashing", "--json")
    assert found(added)["added"] == 3
    assert found(run("add", "n.kin", "one", "--json"))["unchanged"] == 1
    run("add", "n.kin", "three", "--id", "c", "--meta", "year=2020", "--meta", "zip=00123", "--meta", "ok=true")
    (record,) = found(run("show", "n.kin", "c", "--json"))
    assert record["metadata"] == {"year": 2020, "zip": "00123", "ok": True}
    run("add", "n.kin", "four", "--id", "d", "--meta-json", '{"price": 1.5, "year": "2020", "gone": null}')
    (record,) = found(run("show", "n.kin", "d", "--json"))
    assert record["metadata"] == {"price": 1.5, "year": "2020", "gone": None}


def test_add_from_standard_input(run: Run) -> None:
    added = run("add", "n.kin", "--model", "hashing", "--json", stdin="one\r\n\n  \nzwei ü\n")
    assert found(added)["added"] == 2
    assert {row["text"] for row in found(run("list", "n.kin", "--json"))} == {"one", "zwei ü"}
    assert found(run("add", "n.kin", "-", "--json", stdin="three"))["added"] == 1
    assert "line 2" in run("add", "n.kin", stdin=b"fine\nnot \xff utf-8\n", code=2).stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--meta", "novalue"),
        ("--meta", "=5"),
        ("--meta-json", "[1]"),
        ("--meta-json", "{"),
        ("--id", "a", "--id", "b"),
        ("--id", ""),
    ],
)
def test_add_refuses_what_it_can_not_keep(run: Run, options: tuple[str, ...]) -> None:
    assert run("add", "n.kin", "text", "--model", "hashing", *options, code=2).stderr.startswith("error: ")


def test_nothing_in_a_record_steers_the_terminal(run: Run) -> None:
    evil = "red \x1b[31m\x1b]0;owned\x07 text\u202e\x9b2J"
    run("add", "n.kin", evil, "--id", f"id-{evil}", "--meta", f"k{evil}=v{evil}", "--model", "hashing")
    outputs = [
        run("list", "n.kin"),
        run("list", "n.kin", "--json"),
        run("list", "n.kin", "--jsonl"),
        run("search", "n.kin", "red"),
        run("show", "n.kin", f"id-{evil}"),
        run("similar", "n.kin", f"{evil}-unknown", code=3),
    ]
    for done in outputs:
        assert not set(done.output) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert found(outputs[1])[0]["text"] == evil


def test_lone_surrogates_in_arguments_do_no_harm(filled: Run) -> None:
    filled("search", "n.kin", "caf\udce9")
    filled("similar", "n.kin", "--text", "caf\udce9")
    filled("show", "n.kin", "caf\udce9", code=3)
    filled("add", "n.kin", "caf\udce9", "--id", "\udce9")


def test_remove_by_source(filled: Run) -> None:
    Path("docs/hours.md").unlink()
    Path("docs/refunds.md").unlink()
    filled("index", "-", "--to", "n.kin", stdin="from a pipe\n")
    assert "--yes" in filled("remove", "n.kin", "--source", "docs", code=2).stderr
    assert "2 records removed, 3 left" in filled("remove", "n.kin", "--source", "./docs/", "--yes").stdout
    assert "1 record removed, 2 left" in filled("remove", "n.kin", "--source", "-", "--yes").stdout
    gone = filled("remove", "n.kin", "--source", "docs", "--yes", code=3).stderr
    assert "no record of n.kin came from docs" in gone
    assert str(Path("reviews.csv").absolute()) in gone
    filled("remove", "n.kin", "a", "--source", "docs", code=2)
    filled("remove", "n.kin", "--where", "year > 1", "--source", "docs", code=2)
    filled("remove", "n.kin", "--source", "", "--yes", code=2)
    assert found(filled("remove", "n.kin", "--source", "reviews.csv", "--yes", "--json")) == {
        "removed": 2,
        "records": 0,
    }


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("stadt = 'Ulm'", "no record has a field 'stadt'; did you mean 'Stadt'?"),
        (
            "year > 1 and (rating > 3 or year = 'x')",
            "rating holds text, not numbers\nyear holds numbers, not text",
        ),
        ("rating in (1, true)", "rating holds text, not numbers and true or false"),
        ("qqq is not null", "no record has a field 'qqq'; there are 'Stadt', 'gone', 'rating', 'year'"),
        ("not (zzz = null)", "no record has a field 'zzz'; there are 'Stadt', 'gone', 'rating', 'year'"),
        ("gone = 5", "no record has a value in gone: all are null"),
        ("year != 2020 and qqq != 1", ""),
        ("year is null or year > 3000", ""),
    ],
)
def test_a_filter_that_matches_nothing_says_why(run: Run, where: str, hint: str) -> None:
    data = '{"Stadt": "Ulm", "rating": "5", "year": 2020, "gone": null}'
    run("add", "n.kin", "a text", "--model", "hashing", "--meta-json", data)
    lines = f"{hint}\n" if hint else ""
    assert run("search", "n.kin", "text", "--where", where).stderr == f"nothing found\n{lines}"
    assert run("list", "n.kin", "--where", where, "--json").stderr == f"no records\n{lines}"
    assert run("remove", "n.kin", "--where", where).stderr == lines
    assert lines in run("duplicates", "n.kin", "--where", where).stderr
    assert run("search", "n.kin", "text", "--where", "year = 2020", "--threshold", "1").stderr in (
        "nothing found\n",
        "",
    )


def test_nothing_is_never_stored(run: Run) -> None:
    assert "empty" in run("add", "n.kin", "fine", "", "--model", "hashing", code=2).stderr
    assert "empty" in run("add", "n.kin", " \n ", "--model", "hashing", code=2).stderr
    assert (
        "standard input holds no text" in run("add", "n.kin", "--model", "hashing", stdin="\n \n", code=2).stderr
    )
    assert not Path("n.kin").exists()


def test_two_forms_are_refused(filled: Run) -> None:
    refused = filled("search", "n.kin", "phone", "--csv", "--json", code=2).stderr
    assert "--json" in refused
    assert "--csv" in refused
    filled("list", "n.kin", "--jsonl", "--csv", code=2)
    filled("list", "n.kin", "--json", "--json")


def test_a_query_without_quotes_gets_a_hint(filled: Run) -> None:
    refused = filled("search", "n.kin", "when", "are", "you", "open", code=2).stderr
    assert 'put the query in quotes: textkin search n.kin "when are you open"' in refused.replace(
        "main", "textkin"
    )
    filled("search", "n.kin", "when", "--unknown", code=2)


def test_an_empty_collection_says_so(filled: Run) -> None:
    filled("remove", "n.kin", "--where", "year is null or year > 1", "--yes")
    for command in (("search", "n.kin", "phone"), ("similar", "n.kin", "--text", "phone")):
        done = filled(*command, "--json")
        assert found(done) == []
        assert done.stderr.startswith("n.kin has no records yet")
        filled(*command, "--where", "year >", code=2)


def test_programs_get_all_records(run: Run) -> None:
    run("index", "-", "--to", "n.kin", "--model", "hashing", stdin="".join(f"text {n}\n" for n in range(30)))
    assert len(ids(run("list", "n.kin", "--json"))) == 30
    assert len(run("list", "n.kin", "--jsonl").stdout.splitlines()) == 30
    assert len(run("list", "n.kin", "--csv").stdout.splitlines()) == 31
    table = run("list", "n.kin")
    assert len(table.stdout.splitlines()) == 21
    assert "1 to 20 of 30 records" in table.stderr
    some = run("list", "n.kin", "--jsonl", "--limit", "3")
    assert len(some.stdout.splitlines()) == 3
    assert "1 to 3 of 30 records" in some.stderr
    assert run("list", "n.kin", "--json").stderr == ""


def test_ids_and_texts_that_begin_with_a_dash_are_typed_as_they_are(run: Run) -> None:
    run("index", "-", "--to", "n.kin", "--model", "hashing", stdin="alpha\nbeta\ngamma\n")
    assert found(run("show", "n.kin", "-:1", "-:3", "--json"))[1]["text"] == "gamma"
    assert len(ids(run("similar", "n.kin", "-k", "1", "-:1", "--json"))) == 1
    assert len(ids(run("similar", "n.kin", "-:1", "-k1", "--json"))) == 1
    assert "-:2" not in ids(run("search", "n.kin", "--like", "-:2", "--json"))
    assert ids(run("search", "n.kin", "-5 degrees", "-k1", "--json"))
    assert found(run("remove", "n.kin", "-:1", "-:2", "--json"))["removed"] == 2
    run("add", "n.kin", "- a point of a list", "-5 degrees", "--id", "-x.1", "--id", "--y")
    assert found(run("show", "n.kin", "-x.1", "--json"))[0]["text"] == "- a point of a list"
    assert found(run("show", "n.kin", "--json", "--", "--y"))[0]["text"] == "-5 degrees"
    for wrong in ("--y", "-j", "-y"):
        assert f"-- {wrong}" in run("show", "n.kin", wrong, code=2).stderr
    assert "--json" in run("show", "n.kin", "--josn", code=2).stderr
    Path("-notes").write_text("a file called like an option")
    Path("-t.csv").write_text("text\nin a table\n")
    run("index", ".", "--to", "f.kin", "--model", "hashing", "--exclude", "n.kin")
    for name in ids(run("list", "f.kin", "--json")):
        assert found(run("show", "f.kin", name, "--json"))[0]["id"] == name


def test_lists_in_metadata_are_filtered_by_contains(run: Run) -> None:
    rows = [{"text": "one", "tags": ["a", "b"]}, {"text": "two", "tags": []}, {"text": "three", "tags": "ab"}]
    Path("t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run("index", "t.jsonl", "--to", "n.kin", "--model", "hashing")
    assert [row["metadata"]["tags"] for row in found(run("list", "n.kin", "--json"))] == [["a", "b"], [], "ab"]
    where = ("--where", 'tags contains "a"')
    assert ids(run("list", "n.kin", *where, "--json")) == ["t.jsonl:1", "t.jsonl:3"]
    assert ids(run("search", "n.kin", "x", "--where", 'tags not contains "a"', "--json")) == ["t.jsonl:2"]
    assert '["a", "b"]' in run("list", "n.kin", "--csv", *where).stdout.replace('""', '"')
    assert "contains looks into lists" in run("search", "n.kin", "x", "--where", "tags = 5").stderr


def test_a_table_is_not_added_line_by_line(run: Run) -> None:
    for content in ('[\n {"text": "a"}\n]\n', '{"text": "a"}\n', "id,text\n1,a\n"):
        assert "textkin index -" in run("add", "n.kin", "--model", "hashing", stdin=content, code=2).stderr
    assert "a PDF" in run("add", "n.kin", "--model", "hashing", stdin=b"%PDF-1.4\n", code=2).stderr
    assert not Path("n.kin").exists()


def test_options_of_columns_hold_for_stdin(run: Run) -> None:
    stdin = 'key,words,n\nx,"alpha, beta",1\ny,gamma,2\n'
    index = ("index", "-", "--model", "hashing", "--to")
    run(*index, "n.kin", "--id-column", "key", "--text-column", "words", stdin=stdin)
    assert [(row["id"], row["text"]) for row in found(run("list", "n.kin", "--json"))] == [
        ("x", "alpha, beta"),
        ("y", "gamma"),
    ]
    assert (
        "stdin has no column 'text'" in run(*index, "m.kin", "--text-column", "text", stdin=stdin, code=2).stderr
    )
    assert found(run(*index, "l.kin", "--stdin-format", "lines", "--json", stdin=stdin))["added"] == 3


def test_a_model_that_can_not_be_used_leaves_no_empty_collection(run: Run) -> None:
    Path("broken").mkdir()
    Path("broken/config.json").write_text("{}")
    Path("a.txt").write_text("a text")
    for command in (("index", "a.txt", "--to", "new.kin"), ("add", "new.kin", "a text")):
        done = CliRunner().invoke(main, [*command, "--model", "./broken"])
        assert done.exit_code in (5, 6), done.output
        assert not Path("new.kin").exists()
