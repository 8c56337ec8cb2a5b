"""Each benchmark runs on tiny data with the hashing model, judges what it measured, and writes its report."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import math
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("packaging", reason="engine.py reads the requirements of installed packages with it")
if sys.platform == "win32":
    pytest.skip("the benchmarks measure with wait4 and kill with SIGKILL", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
WORDS = (
    "refund",
    "order",
    "table",
    "csv",
    "parse",
    "thread",
    "lock",
    "socket",
    "query",
    "vector",
    "cell",
    "gene",
    "protein",
    "season",
    "match",
    "player",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder laid out as benchmarks/README.md says, with made-up texts."""
    folder = tmp_path_factory.mktemp("data")
    chance = random.Random(5)

    def sentence(words: int) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(words)) + f" {chance.randrange(10**6)}"

    titles = "".join(f"{sentence(8)}\tlabel\n" for _ in range(300))
    _write(folder / "stackoverflow_titles" / "titles.tsv", "title\tlabel\n" + titles)
    summaries = "".join(f"pypi\tp{number}\t{sentence(6)}\n" for number in range(600))
    _write(folder / "pkg_summaries" / "summaries.tsv.gz", "source\tpackage\ttext\n" + summaries)
    documents = [{"_id": str(n), "title": sentence(4), "text": sentence(40)} for n in range(200)]
    _write(folder / "scifact" / "corpus.jsonl.gz", "".join(json.dumps(row) + "\n" for row in documents))
    _write(
        folder / "scifact" / "queries_train.tsv", f"query_id\ttext\n1\t{documents[7]['text']}\n2\t{sentence(4)}\n"
    )
    _write(folder / "scifact" / "qrels_train.tsv", "query_id\tdoc_id\trelevance\n1\t7\t1\n")
    pairs = "".join(f"{sentence(5)}\t{sentence(5)}\t{chance.uniform(0, 5):.2f}\n" for _ in range(30))
    _write(folder / "stsb_multi" / "en-dev.tsv", "sentence1\tsentence2\tscore\n" + pairs)
    questions = "".join(f"train\t{sentence(7)}\t1\n" for _ in range(300))
    _write(folder / "query_wellformedness" / "queries.tsv", "split\ttext\trating\n" + questions)
    matches = [sentence(9) for _ in range(60)]
    sources = [("A", n, text) for n, text in enumerate(matches)] + [
        ("B", n, f"{t} x") for n, t in enumerate(matches)
    ]
    _write(folder / "dblp_acm" / "records.tsv", "id\ttext\n" + "".join(f"{s}{n}\t{t}\n" for s, n, t in sources))
    judged = "".join(f"train\tA{n}\tB{n}\t1\ntest\tA{n}\tB{(n + 1) % 60}\t0\n" for n in range(60))
    judged += "train\tA0\tB9\t0\n"
    _write(folder / "dblp_acm" / "labelled_pairs.tsv", "split\tid_a\tid_b\tmatch\n" + judged)
    published = "task\tsplit\tsubset\thashing\nSTSBenchmarkMultilingualSTS\tdev\ten\t0.9999\n"
    _write(folder / "published_scores_mteb.tsv", published)
    paragraphs = "\n".join(sentence(30) for _ in range(200)).encode()
    (folder / "squad_articles").mkdir()
    with tarfile.open(folder / "squad_articles" / "articles.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("squad_articles/one.txt")
        member.size = len(paragraphs)
        archive.addfile(member, io.BytesIO(paragraphs))
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _run(script: str, data: Path, tmp_path: Path, *more: str) -> tuple[dict[str, Any], str]:
    saved = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / script), "--data", str(data), "--json", str(saved), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(saved.read_text(encoding="utf-8"))
    assert str(tmp_path) not in report["command"]
    assert str(data) not in report["command"]
    return report, done.stdout


@pytest.mark.slow
def test_engine_measures_speed_start_memory_and_size(data: Path, tmp_path: Path) -> None:
    sizes = ["--short", "40", "--mixed", "30", "--memory-texts", "10"]
    rounds = ["--rounds", "2", "--starts", "2"]
    alone = ["--no-peer", "--precisions", "float32"]
    report, shown = _run("engine.py", data, tmp_path, "--models", "hashing", *alone, *sizes, *rounds)
    titles = [table["title"] for table in report["tables"]]
    assert any("hashing, short: 40 texts" in title for title in titles)
    assert any("hashing, mixed: 30 texts" in title for title in titles)
    packages = next(table for table in report["tables"] if table["title"] == "Installed size")
    assert int(packages["rows"][0][1]) >= 10
    assert "## The local engine beside sentence-transformers" in shown


def test_search_compares_with_numpy_and_finds_the_same(data: Path, tmp_path: Path) -> None:
    small = ["--records", "60", "--rows", "600", "--dimensions", "16", "--rounds", "3"]
    runs = ["--searches", "1", "--imports", "2", "--work", str(tmp_path / "work")]
    report, _ = _run("search.py", data, tmp_path, "--model", "hashing", *small, *runs)
    measured = {goal["what"]: goal for goal in report["goals"]}
    assert measured["exact top 10 of 600 x 16 by NumPy's product alone"]["measured"].endswith("0 answers differ")
    assert any("textkin search over 60 records" in what for what in measured)


def test_calibration_is_judged_by_true_matches_and_by_counting(data: Path, tmp_path: Path) -> None:
    small = ["--models", "hashing", "--limit", "200", "--splits", "2", "--work", str(tmp_path / "work")]
    report, _ = _run("calibration.py", data, tmp_path, *small)
    design, judging, tails = report["tables"]
    rows = {row[0]: row for row in design["rows"] + judging["rows"]}
    assert {"papers of two sources", "catalogue of variants", "vacancies"} <= set(rows)
    assert all(float(row[6]) <= float(row[7]) for row in rows.values()), "no threshold is better than the best"
    assert {row[5] for row in rows.values()} <= {"sure", "can't tell"}
    assert rows["catalogue of variants"][5] == "can't tell"
    assert any("is not in the data folder" in note for note in report["notes"])
    assert [row[1] for row in tails["rows"]] == ["scifact titles", "stackoverflow titles", "search questions"]


def test_fidelity_measures_each_form(data: Path, tmp_path: Path) -> None:
    small = ["--models", "hashing", "--texts", "300", "--queries", "100", "--rows", "500"]
    report, _ = _run("fidelity.py", data, tmp_path, *small, "--work", str(tmp_path / "work"))
    rows = {row[2]: row for row in report["tables"][0]["rows"]}
    assert [row[3] for row in rows.values()] == ["512", "256", "32", "512"]
    assert float(rows["int8"][4][:5]) > float(rows["binary"][4][:5])
    assert report["goals"][0]["reached"]


def test_calibration_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "calibration.py")],
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if key != "TEXTKIN_BENCH_DATA"},
    )
    assert "needs the data folder" in done.stdout


def test_quality_reports_a_difference_from_what_is_published(data: Path, tmp_path: Path) -> None:
    alone = ["--models", "hashing", "--no-peer", "--no-int8", "--work", str(tmp_path / "work")]
    report, _ = _run("quality.py", data, tmp_path, *alone)
    rows = {row[0]: row for row in report["tables"][0]["rows"]}
    assert rows["SciFact train"][1] == "100.00", "the only judged query is a document's own text"
    assert [goal["reached"] for goal in report["goals"]] == [False], "made-up scores are not 0.9999"


def test_quality_says_what_it_needs() -> None:
    command = [sys.executable, str(BENCHMARKS / "quality.py"), "--models", "hashing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": ""})
    assert done.returncode != 0
    assert "TEXTKIN_BENCH_DATA" in done.stderr


@pytest.mark.slow
def test_kill_survives_a_few_kills(data: Path, tmp_path: Path) -> None:
    report, _ = _run("kill.py", data, tmp_path, "--kills", "6", "--model", "hashing", "--texts", "500")
    assert report["goals"][0]["reached"], report["notes"]
    kills = [int(row[1]) for row in report["tables"][0]["rows"]]
    assert sum(kills) == 6


@pytest.mark.slow
def test_providers_compares_with_plain_calls(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    small = ["--texts", "300", "--rounds", "1", "--sizes", "50,100", "--latency", "0.002"]
    report, _ = _run("providers.py", data, tmp_path, *small)
    assert [row[0].partition(",")[0] for row in report["tables"][0]["rows"][:2]] == ["textkin", "textkin"]
    assert report["tables"][0]["rows"][2][2].endswith("1 pairs)")


@pytest.mark.slow
def test_stores_compares_with_their_own_clients(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    small = ["--rows", "400", "--dimensions", "16", "--queries", "3", "--rounds", "1"]
    report, _ = _run("stores.py", data, tmp_path, *small, "--stores", "local,lancedb,postgresql hnsw")
    queries = {row[0]: row for row in report["tables"][1]["rows"]}
    assert queries["local"][4:] == queries["lancedb"][4:] == ["1.000", "1.000"]
    assert set(queries) == {"local", "lancedb", "postgresql hnsw"}


@pytest.mark.slow
def test_bulk_measures_jobs_beside_the_bare_engine(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    small = ["--count", "200", "--rounds", "1", "--memory-rows", "300,600", "--memory-texts", "100,200"]
    some = ["--only", "engine,forms,memory", "--precisions", "float32"]
    report, _ = _run("bulk.py", data, tmp_path, "--model", "hashing:64", *small, *some)
    goals = {goal["what"]: goal for goal in report["goals"]}
    assert goals["hashing:64, float32, job: throughput by the bare engine's"]["measured"].endswith(
        "cosine 1.000000"
    )
    forms = next(table for table in report["tables"] if "fewer bytes" in table["title"])
    assert [row[0] for row in forms["rows"]] == ["float32", "float16", "int8", "binary"]
    assert all(float(row[3].split()[0]) > 0 for row in forms["rows"][1:])
    assert sum("most memory" in table["title"] for table in report["tables"]) == 2


@pytest.mark.slow
def test_bulk_kill_survives_a_few_kills(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    small = ["--kills", "2", "--texts", "1200", "--shard-rows", "200", "--no-disks"]
    report, _ = _run("bulk_kill.py", data, tmp_path, *small)
    assert report["goals"][0]["reached"], report["notes"]
    kills = [int(row[1]) for row in report["tables"][0]["rows"] if not row[0].startswith("(")]
    assert sum(kills) == 2


def test_the_page_is_made_from_kept_reports(data: Path, tmp_path: Path) -> None:
    common = _script("_common")
    goal = common.Goal("speed", ">= 2x", "1.90x", False)
    table = common.Table("Speeds", ("", "texts/s"), [("a | b", "10")])
    report = common.Report("The engine", "python benchmarks/engine.py", [goal], [table], ["one note", "another"])
    (tmp_path / "kept").mkdir()
    report.save(tmp_path / "kept" / "engine.py.json")
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n\n## Older\n\nstays\n\n## The engine\n\ngoes\n", encoding="utf-8")
    command = [
        sys.executable,
        str(BENCHMARKS / "run_all.py"),
        "--only",
        "engine",
        "--keep",
        str(tmp_path / "kept"),
    ]
    done = subprocess.run([*command, "--write", str(page)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not reached: The engine: speed: 1.90x" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert "| speed | >= 2x | 1.90x | not reached |" in text
    assert "| a \\| b | 10 |" in text
    assert "\n## Older\n\nstays\n\n## The engine\n" in text
    assert "goes" not in text
    assert "- one note\n- another\n" in text
    assert "textkin" in text.partition("packages:")[2]


def test_ndcg_equals_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores = _script("_scores")
    chance = np.random.default_rng(3)
    for _ in range(50):
        grades = chance.integers(0, 3, size=40)
        values = chance.standard_normal(40)
        names = [f"d{number:02}" for number in range(40)]
        ours = scores.ndcg(scores.rank_documents(values, names), dict(zip(names, grades.tolist(), strict=True)))
        assert math.isclose(ours, float(metrics.ndcg_score([grades], [values], k=10)), abs_tol=1e-12)


def test_ndcg_at_its_edges() -> None:
    scores = _script("_scores")
    assert scores.ndcg(["a"], {}) == 0.0
    assert scores.ndcg([], {"a": 1}) == 0.0
    assert scores.ndcg(["b", "a"], {"a": 1}) == pytest.approx(1 / math.log2(3))
    assert scores.rank_documents(np.array([0.5, 0.5, 0.1]), ["a", "b", "c"], k=1) == ["b"]


def test_spearman_shares_ranks_of_equal_values() -> None:
    scores = _script("_scores")
    assert scores.ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [3.5, 1.0, 3.5, 2.0]
    assert scores.spearman([1, 2, 3, 4], [2, 4, 6, 9]) == pytest.approx(1.0)
    # 1 - 6 * sum(d^2) / (n (n^2 - 1)), with d = (0, 1, 1, 0)
    assert scores.spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_damage_of_each_kind_of_file_is_never_silent(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="some of the files are Parquet")
    saved = tmp_path / "report.json"
    command = [
        sys.executable,
        str(BENCHMARKS / "damage.py"),
        "--trials",
        "5",
        "--no-commands",
        "--json",
        str(saved),
    ]
    environment = os.environ | {"TEXTKIN_CACHE": str(tmp_path / "cache"), "TEXTKIN_DATA": str(tmp_path / "data")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (table,) = json.loads(saved.read_text(encoding="utf-8"))["tables"]
    assert [name for name, *_ in table["rows"]][:3] == ["collection.db", "collection.db-wal", "collection.db-mark"]
    for _, *counts, different, raw in table["rows"]:
        assert sum(map(int, counts)) == 5
        assert (different, raw) == ("0", "0")


def test_a_kill_check_sees_a_lost_and_a_changed_record(tmp_path: Path) -> None:
    import textkin

    checks = _script("_kill_checks")
    with textkin.Collection(tmp_path / "all.kin", "hashing", ledger=False) as collection:
        collection.add(["one text", "two texts", "three texts"], ids=["a", "b", "c"])
    with textkin.Collection(tmp_path / "left.kin", "hashing", ledger=False) as collection:
        collection.add(["one text", "two changed"], ids=["a", "b"])
    wanted = checks.snapshot(tmp_path / "all.kin")
    left = tmp_path / "left.kin"
    ledger, copy = tmp_path / "no ledger", tmp_path / "copy"
    problems, final = checks.after_kill(left, ledger, copy, ["a", "c"], wanted, None)
    assert final == {"a"}
    assert any("'c' was acknowledged" in problem for problem in problems)
    assert any("'b' is neither" in problem for problem in problems)
    assert checks.at_end(left, wanted) == ["ids differ: 0 too many, 1 missing"]
    assert checks.at_end(tmp_path / "all.kin", wanted) == []


def test_a_finished_block_may_not_be_embedded_again(tmp_path: Path) -> None:
    checks = _script("_kill_checks")
    log = tmp_path / "asked.log"
    log.write_text("1 aa bb\n1 cc dd\n2 cc dd\n2 ee\n", encoding="ascii")
    assert checks.embedded_twice(log, killed={1}) == ([], 7, 2)
    log.write_text("1 aa bb\n1 cc dd\n2 aa cc dd\n", encoding="ascii")
    problems, _, again = checks.embedded_twice(log, killed={1})
    assert len(problems) == 1
    assert again == 3


def _script(name: str) -> ModuleType:
    """A module of the benchmarks folder, which is no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
