"""What fewer bytes a vector cost: recall@10 by stored form on real texts, and how long it takes to measure."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

import numpy as np

from _common import Goal, Report, Table, arguments, command_line, finish, say, timed, work_folder
from _texts import short_texts
from textkin.jobs.bulk.fidelity import measure
from textkin.ledger import Ledger, embed
from textkin.models.resolve import load_model
from textkin.types import Matrix
from textkin.vectors.quantize import KINDS, Kind, bytes_per_vector

MODELS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
SIZE = (20_000, 384)
SECONDS = 5.0


def main(given: Sequence[str]) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="names, joined by commas")
    parser.add_argument("--texts", type=int, default=20_000, help="texts at most")
    parser.add_argument("--queries", type=int, default=1000, help="of them to search with")
    parser.add_argument("--rows", type=int, default=SIZE[0], help="vectors of the timed measurement")
    options = parser.parse_args(given)
    work_folder(options)
    report = Report("Fewer bytes a vector", command_line("fidelity.py", given))
    table = Table(
        "recall@10 beside exact float32 search (95 % interval)",
        ("model", "texts", "form", "bytes", "stored vectors alone", "best 40 scored again"),
    )
    texts = short_texts(options.data, options.texts)
    for name in options.models.split(","):
        say(f"{name} …")
        model = load_model(name)
        with Ledger() as ledger:
            vectors = embed(model.unwrap(), texts, "document", ledger).vectors
        for kind in KINDS[1:]:
            found = measure(vectors, kind, queries=options.queries)
            again = "" if found.rescored is None else str(found.rescored)
            size = f"{bytes_per_vector(kind, found.dimensions):,}"
            table.rows.append((name, f"{found.vectors:,}", kind, size, str(found.recall), again))
        cut = vectors.shape[1] // 2
        found = measure(vectors, "float32", cut, queries=options.queries)
        size = f"{bytes_per_vector('float32', cut):,}"
        row = (name, f"{found.vectors:,}", f"first {cut} numbers", size, str(found.recall), str(found.rescored))
        table.rows.append(row)
    report.tables.append(table)
    _time(report, options.rows)
    report.notes += [
        f"{options.queries:,} of the vectors are the queries, each left out of its own answers",
        "the first half of the numbers: what `--dimensions` would do to a model that was not trained for it, and "
        "why it is refused for these",
    ]
    finish(report, options)


def _time(report: Report, rows: int) -> None:
    """As a job does it before it writes: 200 queries."""
    vectors = np.random.default_rng(0).standard_normal((rows, SIZE[1])).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seconds = {kind: _median(vectors, kind) for kind in KINDS[1:]}
    worst = max(seconds.values())
    told = ", ".join(f"{kind} {taken:.2f} s" for kind, taken in seconds.items())
    what = f"measuring on {rows:,} x {SIZE[1]}"
    report.goals.append(Goal(what, f"{SECONDS:.0f} s at most", told, worst <= SECONDS))


def _median(vectors: Matrix, kind: Kind) -> float:
    return statistics.median(timed(measure, vectors, kind) for _ in range(3))


if __name__ == "__main__":
    main(sys.argv[1:])
