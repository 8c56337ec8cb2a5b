"""Every example runs as its reader would run it, on the published weights, and prints true facts.

Reference scores: sentence-transformers 5 on the same texts, to four digits.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = {path.stem for path in EXAMPLES.glob("*.py")}
CLOSE = 0.0005

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def weights(real_cache: Path) -> Path:
    """The published weights, as `make test` has fetched them."""
    return real_cache


def command(name: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, arguments)]


def run(folder: Path, name: str, *arguments: str | Path) -> str:
    """Run an example somewhere else than in its own folder; return what it printed."""
    done = subprocess.run(
        command(name, *arguments), cwd=folder, capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def scored(printed: str) -> dict[str, float]:
    """Lines that begin with a score, by what follows it."""
    return {text: float(score) for score, text in re.findall(r"^ *(?:\d\. )?(-?\d\.\d{4})  (.+)$", printed, re.M)}


def test_all_examples_of_the_tutorial_are_here_and_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {
        "quick_embedding_example",
        "local_embeddings",
        "cosine_similarity",
        "save_embeddings",
        "load_embeddings",
        "semantic_search",
        "compare_models",
        "batch_processing",
        "document_similarity_finder",
        "openai_embeddings",
        "vector_databases",
    } == SCRIPTS
    assert tested >= SCRIPTS


def test_openai_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    printed = run(tmp_path, "openai_embeddings")
    assert "local test server" in printed
    assert "text-embedding-3-small: 1536 dimensions" in printed
    assert "?dimensions=512: 512 dimensions" in printed


def test_vector_databases(tmp_path: Path, postgresql_url: str) -> None:
    printed = run(tmp_path, "vector_databases", "--out", "o", "--place", f"{postgresql_url}?collection=example")
    lines = printed.splitlines()
    assert len(lines) == 5
    assert len({line.split()[0] for line in lines}) == 1  # one score, whatever keeps the vectors
    assert all(line.split()[1] == "refunds" for line in lines)
    assert "only-for-tests" not in printed


def test_quick_embedding_example(tmp_path: Path) -> None:
    printed = run(tmp_path, "quick_embedding_example")
    assert "3 vectors of 384 numbers, float32" in printed
    foxes, *others = scored(printed).values()
    assert foxes == pytest.approx(0.7355, abs=CLOSE)
    assert others == pytest.approx([0.0183, 0.0080], abs=CLOSE)
    assert list(tmp_path.iterdir()) == []


def test_local_embeddings(tmp_path: Path) -> None:
    small, large = re.split(r"^(?=all-mpnet)", run(tmp_path, "local_embeddings"), flags=re.M)
    for part, name, dimensions, limit, score in (
        (small, "all-MiniLM-L6-v2", 384, 256, 0.4670),
        (large, "all-mpnet-base-v2", 768, 384, 0.4963),
    ):
        facts = dict(re.findall(r"^  (.+?)  +(.+)$", part, re.M))
        assert part.startswith(name)
        assert facts["dimensions"] == str(dimensions)
        assert facts["reads up to"] == f"{limit} tokens; this pair has [10, 10]"
        assert facts["unit rows"] == "lengths 1.000000 to 1.000000"
        assert float(facts["similarity"]) == pytest.approx(score, abs=CLOSE)
    assert re.findall(r"fingerprint  (\w{8})", small) != re.findall(r"fingerprint  (\w{8})", large)


def test_cosine_similarity(tmp_path: Path) -> None:
    printed = run(tmp_path, "cosine_similarity")
    facts = {name: float(value) for name, value in re.findall(r"^  (\S.*?)  +(\d+\.\d{4})", printed, re.M)}
    cosine = 0.7321
    assert facts["cosine_similarity"] == pytest.approx(cosine, abs=CLOSE)
    assert facts["cosine_similarity"] == facts["a.b / (|a| |b|)"] == facts["dot_product"]
    assert facts["angular_similarity"] == pytest.approx(1 - np.arccos(cosine) / np.pi, abs=CLOSE)
    assert facts["euclidean_distance"] == pytest.approx(np.sqrt(2 - 2 * cosine), abs=CLOSE)
    assert facts["manhattan_distance"] == pytest.approx(11.4088, abs=0.01)
    pairwise = re.search(r"own answer\n  \[(.*)\]", printed)
    assert pairwise is not None
    assert [float(score) for score in pairwise[1].split()] == pytest.approx([0.7321, 0.4512, 0.4811], abs=CLOSE)
    assert re.findall(r"best answers (.*)", printed) == ["[0 1 2]"] * 5


def test_save_embeddings(tmp_path: Path) -> None:
    printed = run(tmp_path, "save_embeddings", "--out", tmp_path / "new" / "folder")
    assert re.findall(r"wrote (\S+)", printed) == ["embeddings.npy", "embeddings.json"]
    vectors = np.load(tmp_path / "new" / "folder" / "embeddings.npy", allow_pickle=False)
    facts = json.loads((tmp_path / "new" / "folder" / "embeddings.json").read_text(encoding="utf-8"))
    assert vectors.shape == (4, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    assert (facts["model"], facts["dimension"], len(facts["texts"])) == ("all-MiniLM-L6-v2", 384, 4)
    assert re.fullmatch("[0-9a-f]{64}", facts["fingerprint"])


def test_load_embeddings(tmp_path: Path) -> None:
    printed = run(tmp_path, "load_embeddings", "--out", tmp_path)
    assert printed.startswith("4 texts, 384 dimensions, all-MiniLM-L6-v2 (")
    scores = scored(printed)
    assert next(iter(scores)) == "A neural network is made of layers."
    assert list(scores.values()) == pytest.approx([0.4892, 0.3829, 0.2537, -0.0385], abs=CLOSE)

    before = (tmp_path / "embeddings.npy").stat().st_mtime_ns
    assert run(tmp_path, "load_embeddings", "--out", tmp_path) == printed
    assert run(tmp_path, "load_embeddings", tmp_path / "embeddings.npy") == printed
    assert (tmp_path / "embeddings.npy").stat().st_mtime_ns == before


def test_load_embeddings_refuses_other_vectors(tmp_path: Path) -> None:
    run(tmp_path, "save_embeddings", "--out", tmp_path)
    description = tmp_path / "embeddings.json"
    facts = json.loads(description.read_text(encoding="utf-8"))
    del facts["content_sha256"]  # a hand that changes one may drop the other
    description.write_text(json.dumps({**facts, "fingerprint": "0" * 64}), encoding="utf-8")
    done = subprocess.run(
        command("load_embeddings", tmp_path / "embeddings.npy"), capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"these vectors were made with" in done.stderr


def test_semantic_search(tmp_path: Path) -> None:
    answers = re.split(r"^(?=\S)", run(tmp_path, "semantic_search"), flags=re.M)[1:]
    expected = {
        "How do computers learn?": ("Machine learning lets computers learn from examples.", 0.6651),
        "healthy lifestyle": ("Regular exercise keeps the heart healthy.", 0.4891),
        "famous sights in France": ("The Eiffel Tower is in Paris.", 0.4387),
    }
    assert [answer.splitlines()[0] for answer in answers] == list(expected)
    for answer, (document, score) in zip(answers, expected.values(), strict=True):
        scores = scored(answer)
        assert len(scores) == 3
        assert next(iter(scores)) == document
        assert scores[document] == pytest.approx(score, abs=CLOSE)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_compare_models(tmp_path: Path) -> None:
    printed = run(tmp_path, "compare_models", "--count", "60")
    assert printed.startswith("60 distinct texts\n")
    rows = re.findall(r"^(all-\S+) +(\d+) +([\d,]+) ", printed, re.M)
    assert [(name, dimension) for name, dimension, _ in rows] == [
        ("all-MiniLM-L6-v2", "384"),
        ("all-mpnet-base-v2", "768"),
    ]
    small, large = (int(rate.replace(",", "")) for _, _, rate in rows)
    assert small > large > 0


def test_batch_processing(tmp_path: Path) -> None:
    printed = run(tmp_path, "batch_processing", "--count", "700", "--out", tmp_path)
    assert "embedded 700, already there 0, in all 700" in printed
    assert all(text.endswith("about topic astronomy") for text in scored(printed))
    again = run(tmp_path, "batch_processing", "--count", "1000", "--out", tmp_path)
    assert "embedded 300, already there 700, in all 1,000" in again


def test_batch_processing_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    arguments = command("batch_processing", "--count", "1600", "--out", tmp_path)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        seen = b""
        deadline = time.monotonic() + 120  # more than 600: the first batch, of 256, is on disk
        while not re.search(rb"\r([6-9]\d\d|1,\d\d\d) of 1,600", seen):
            assert time.monotonic() < deadline, seen[-200:]
            part = os.read(process.stderr.fileno(), 4096)
            assert part, seen[-200:]
            seen += part
        process.send_signal(signal.SIGKILL)
    printed = run(tmp_path, "batch_processing", "--count", "1600", "--out", tmp_path)
    found = re.search(r"embedded ([\d,]+), already there ([\d,]+), in all 1,600", printed)
    assert found is not None
    embedded, there = (int(number.replace(",", "")) for number in found.groups())
    assert embedded + there == 1600
    assert there >= 256


def test_document_similarity_finder(tmp_path: Path) -> None:
    similar, *by_threshold = re.split(r"^(?=pairs at)", run(tmp_path, "document_similarity_finder"), flags=re.M)
    assert list(scored(similar).values()) == pytest.approx([0.9848, 0.8479], abs=CLOSE)
    assert [part.splitlines()[0] for part in by_threshold] == [
        "pairs at 0.95: 1",
        "pairs at 0.92: 1",
        "pairs at 0.70: 5",
    ]
    strict, _, loose = (scored(part) for part in by_threshold)
    assert not any("flexible" in pair for pair in strict)
    assert list(loose.values()) == pytest.approx([0.9848, 0.8696, 0.8479, 0.8285, 0.7372], abs=CLOSE)
