"""Published quality: Spearman on STS sets and nDCG@10 on SciFact, beside sentence-transformers and MTEB."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tokenizers

import textkin
import textkin.models
from _common import Goal, Report, Table, arguments, command_line, finish, say, work_folder
from _scores import ndcg, rank_documents, spearman
from _texts import read_tsv, require_data, scifact_documents
from textkin.ledger import Ledger, embed
from textkin.models.foreign import ForeignModel
from textkin.types import Matrix, Model, Role

EQUAL_TO_PEER = 0.0005
EQUAL_TO_PUBLISHED = 0.001
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of sentences with the similarity that people gave them."""

    name: str
    left: list[str]
    right: list[str]
    gold: list[float]
    published: str | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Queries with the documents that answer them."""

    name: str
    queries: dict[str, str]
    relevance: dict[str, dict[str, int]]
    published: str | None = None


class Scores:
    """What one model reaches; vectors go through a ledger, so that running again costs nothing."""

    def __init__(self, model: Model, ledger: Ledger, limit: int | None) -> None:
        self._model = model
        self._ledger = ledger
        self._limit = limit

    def of_pairs(self, pairs: Pairs) -> float:
        left, right = self._vectors(pairs.left, "document"), self._vectors(pairs.right, "document")
        cosines = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
        return spearman(cosines, pairs.gold[: len(cosines)])

    def of_retrieval(self, task: Retrieval, documents: dict[str, str]) -> float:
        names = list(documents)
        matrix = self._vectors(list(documents.values()), "document")
        judged = [name for name in task.queries if any(task.relevance.get(name, {}).values())]
        queries = self._vectors([task.queries[name] for name in judged], "query")
        scores = queries.astype(np.float64) @ matrix.astype(np.float64).T
        known = names[: len(matrix)]
        found = [
            ndcg(rank_documents(row, known), task.relevance[name])
            for row, name in zip(scores, judged[: len(scores)], strict=True)
        ]
        return float(np.mean(found))

    def _vectors(self, texts: list[str], role: Role) -> Matrix:
        chosen = texts[: self._limit]
        blocks = []
        for start in range(0, len(chosen), _BLOCK):
            part = chosen[start : start + _BLOCK]
            blocks.append(embed(self._model, part, role, self._ledger).vectors)
            say(f"    {self._model.info.name}: {start + len(part):,} of {len(chosen):,} texts")
        return np.concatenate(blocks)


def pair_sets(data: Path) -> Iterator[Pairs]:
    """STS Benchmark and STS12 to 16, as far as they are at hand."""
    published = {"en-dev": "STSBenchmarkMultilingualSTS dev en", "en-test": "STSBenchmark test default"}
    for split in ("en-dev", "en-test", "en-train"):
        file = data / "stsb_multi" / f"{split}.tsv"
        if file.exists():
            yield _pairs(f"STS-B {split[3:]}", list(read_tsv(file)), published.get(split))
    file = data / "sts12_16" / "sts12-16.tsv"
    if file.exists():
        rows = list(read_tsv(file))
        for year in sorted({row["year"] for row in rows}):
            yield _pairs(f"STS{year[2:]} without STS-B test", [row for row in rows if row["year"] == year], None)


def _pairs(name: str, rows: Sequence[dict[str, str]], published: str | None) -> Pairs:
    return Pairs(
        name,
        [row["sentence1"] for row in rows],
        [row["sentence2"] for row in rows],
        [float(row["score"]) for row in rows],
        published,
    )


def retrieval_sets(data: Path) -> Iterator[Retrieval]:
    """SciFact's splits, as far as they are at hand."""
    for name, end, published in (("train", "_train", None), ("test", "", "SciFact test default")):
        queries, judged = data / "scifact" / f"queries{end}.tsv", data / "scifact" / f"qrels{end}.tsv"
        if not (queries.exists() and judged.exists()):
            continue
        relevance: dict[str, dict[str, int]] = {}
        for row in read_tsv(judged):
            relevance.setdefault(row["query_id"], {})[row["doc_id"]] = int(row["relevance"])
        texts = {row["query_id"]: row["text"] for row in read_tsv(queries)}
        yield Retrieval(f"SciFact {name}", texts, relevance, published)


def published_scores(data: Path, model: str) -> dict[str, float]:
    """What MTEB publishes for a model, by "task split subset"."""
    file = data / "published_scores_mteb.tsv"
    if not file.exists():
        return {}
    rows = ((f"{row['task']} {row['split']} {row['subset']}", row.get(model)) for row in read_tsv(file))
    return {name: float(score) for name, score in rows if score}


def measure(model: str, options: argparse.Namespace, ledgers: tuple[Ledger, Ledger], report: Report) -> None:
    """One model on all tasks: float32, int8, and the peer in the same run."""
    data: Path = options.data
    engines: dict[str, Model] = {"float32": textkin.load_model(model).unwrap()}
    if not options.no_int8:
        engines["int8"] = textkin.load_model(model, precision="int8").unwrap()
    if not options.no_peer:
        engines["peer"] = peer(model, ledgers[1])
    scores = {name: Scores(engine, ledgers[name == "peer"], options.limit) for name, engine in engines.items()}
    public = published_scores(data, model)
    columns = ("task", "textkin", "sentence-transformers", "difference", "published", "difference", "int8", "loss")
    table = Table(f"{model}: Spearman of the cosine, nDCG@10 for SciFact, times 100", columns)
    found: list[tuple[str, dict[str, float], float | None]] = []
    if "sts" in options.tasks:
        for pairs in pair_sets(data):
            say(f"  {model}: {pairs.name}, {len(pairs.gold):,} pairs")
            found.append(
                (pairs.name, {n: s.of_pairs(pairs) for n, s in scores.items()}, _known(public, pairs.published))
            )
    if "scifact" in options.tasks:
        documents = dict(scifact_documents(data))
        for task in retrieval_sets(data):
            say(f"  {model}: {task.name}, {len(documents):,} documents")
            reached = {name: engine.of_retrieval(task, documents) for name, engine in scores.items()}
            found.append((task.name, reached, _known(public, task.published)))
    for name, reached, known in found:
        table.rows.append((name, *_row(reached, known)))
        if options.limit is None:
            report.goals += list(_judged(f"{model}, {name}", reached, known))
    report.tables.append(table)


def _known(public: dict[str, float], name: str | None) -> float | None:
    return None if name is None else public.get(name)


def _row(reached: dict[str, float], known: float | None) -> Iterator[str]:
    ours, theirs, small = reached["float32"], reached.get("peer"), reached.get("int8")
    yield f"{ours * 100:.2f}"
    for other in (theirs, known):
        yield "" if other is None else f"{other * 100:.2f}"
        yield "" if other is None else f"{(ours - other) * 100:+.2f}"
    yield "" if small is None else f"{small * 100:.2f}"
    yield "" if small is None else f"{(ours - small) * 100:.2f}"


def _judged(what: str, reached: dict[str, float], known: float | None) -> Iterator[Goal]:
    ours = reached["float32"]
    for who, other, allowed in (
        ("sentence-transformers", reached.get("peer"), EQUAL_TO_PEER),
        ("published", known, EQUAL_TO_PUBLISHED),
    ):
        if other is not None:
            goal = f"{who}: {other * 100:.2f} +- {allowed * 100:.2f}"
            yield Goal(what, goal, f"{ours * 100:.2f}", abs(ours - other) <= allowed)


def engine_digest() -> str:
    """Eight digits that change with the engine's code or its libraries: other code, other vectors to measure."""
    whole = hashlib.sha256(f"{onnxruntime.__version__} {tokenizers.__version__}".encode())
    for file in sorted(Path(textkin.models.__file__).parent.rglob("*.py")):
        whole.update(file.read_bytes())
    return whole.hexdigest()[:8]


def peer(model: str, ledger: Ledger) -> Model:
    """sentence-transformers with the same files, under the fingerprint by which the ledger knows its vectors."""
    from sentence_transformers import SentenceTransformer

    from textkin.models import weights

    folder: Any = weights.fetch(model, None)
    wrapped = ForeignModel(SentenceTransformer(str(folder), device="cpu"), name=f"sentence-transformers {model}")
    known = ledger.known_by_canaries(wrapped.canaries, tolerance=1e-5)
    if known is None:
        ledger.remember_model(wrapped.info, wrapped.canaries)
        return wrapped
    return wrapped.with_fingerprint(known)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", default="all-MiniLM-L6-v2,all-mpnet-base-v2")
    parser.add_argument("--tasks", type=lambda line: line.split(","), default=["sts", "scifact"])
    parser.add_argument("--no-peer", action="store_true", help="without sentence-transformers")
    parser.add_argument("--no-int8", action="store_true")
    parser.add_argument("--limit", type=int, help="only the first so many texts of each set: to try the script")
    options = parser.parse_args()
    options.data = require_data(options.data, "STS and SciFact sets")
    work = work_folder(options)
    report = Report("Quality", command_line("quality.py", sys.argv[1:]))
    with Ledger(work / f"vectors-{engine_digest()}.db") as ours, Ledger(work / "vectors-peer.db") as theirs:
        for model in options.models.split(","):
            measure(model, options, (ours, theirs), report)
    report.notes.append(
        "MTEB's scores are those of its result repository. STS12 to STS16 stand here without the pairs that are "
        "also in STS-B's test set, so their published scores don't apply; sentence-transformers' in the same run "
        "do. A SciFact document is title, a space, abstract; what is behind the model's limit is cut."
    )
    finish(report, options)


if __name__ == "__main__":
    main()
