"""The light side: the import, one search as a whole process, and exact search beside NumPy's own product."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

import textkin
from _common import (
    Goal,
    Ratio,
    Report,
    Table,
    arguments,
    command_line,
    finish,
    require_success,
    run_process,
    say,
    work_folder,
)
from _texts import short_texts
from textkin.stores.resolve import open_store
from textkin.types import Matrix, ModelInfo, Record, Span, Store, StoreHeader

IMPORT_GOAL = 0.100
SEARCH_GOAL = 1.2
EXACT_GOAL = 1.3
_UPSERT = 5000


def import_time(runs: int, report: Report) -> None:
    """Whole processes that import textkin, beside ones that import nothing."""
    commands = {"nothing": "pass", "textkin": "import textkin"}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, code in commands.items():
            command = [sys.executable, "-c", code]
            ended = require_success(run_process(command), command)
            if number:
                seconds[name].append(ended.seconds)
    best = {name: min(times) for name, times in seconds.items()}
    took = best["textkin"] - best["nothing"]
    table = Table(f"Whole processes, best of {runs}", ("", "best", "median"))
    for name, times in seconds.items():
        table.rows.append(
            (f"python -c 'import {name}'", f"{best[name] * 1e3:.0f} ms", _ms(statistics.median(times)))
        )
    table.rows[0] = ("python -c pass", *table.rows[0][1:])
    table.rows.append(("the import alone (difference)", f"{took * 1e3:.1f} ms", ""))
    report.tables.append(table)
    report.goals.append(Goal("import textkin", "< 100 ms", f"{took * 1e3:.1f} ms", took < IMPORT_GOAL))


def whole_search(model: str, texts: Sequence[str], runs: int, report: Report) -> None:
    """``textkin search`` as a process, a new query each time, so that each has to be embedded."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "notes.kin"
        with textkin.Collection(place, model) as collection:
            done = collection.add(texts)
            records = collection.count()
        say(f"  {records:,} records, {done.embedded:,} embedded, {done.from_ledger:,} from the ledger")
        queries = _queries(texts, runs + 2)
        seconds = []
        for query in queries:
            command = [sys.executable, "-m", "textkin", "search", str(place), query, "-k", "5", "--json"]
            seconds.append(require_success(run_process(command), command).seconds)
    first, timed = seconds[0], seconds[2:]
    middle = statistics.median(timed)
    table = Table(f"textkin search, {records:,} records, {model}", ("", "seconds"))
    table.rows += [
        ("median", f"{middle:.2f}"),
        ("least", f"{min(timed):.2f}"),
        ("most", f"{max(timed):.2f}"),
        ("the first one after indexing", f"{first:.2f}"),
    ]
    report.tables.append(table)
    report.goals.append(
        Goal(
            f"textkin search over {records:,} records ({model}), whole process",
            f"< {SEARCH_GOAL} s",
            f"{middle:.2f} s (median of {len(timed)})",
            middle < SEARCH_GOAL,
        )
    )


def _queries(texts: Sequence[str], count: int) -> list[str]:
    """Different new texts: halves of two known ones."""
    chance = random.Random(time.time_ns())
    pairs = [chance.sample(range(len(texts)), 2) for _ in range(count)]
    return [f"query {_half(texts[one])} {_half(texts[other])}" for one, other in pairs]


def _half(text: str) -> str:
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])[:200]


def exact(rows: int, dimensions: int, rounds: int, report: Report) -> None:
    """Exact top ten of the store beside ``matrix @ query``, one right after the other."""
    chance = np.random.default_rng(7)
    matrix = _unit(chance.standard_normal((rows, dimensions), dtype=np.float32))
    queries = _unit(chance.standard_normal((rounds + 3, dimensions), dtype=np.float32))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "matrix.npy"
        np.save(file, matrix)
        mapped = np.load(file, mmap_mode="r")
        with closing(open_store(Path(folder) / "exact.kin")) as store:
            built = _fill(store, matrix)
            start = time.perf_counter()
            store.search(queries[:1], 10)
            prepared = time.perf_counter() - start
            times: dict[str, list[float]] = {"store": [], "memory": [], "mapped": []}
            wrong = 0
            for number, query in enumerate(queries):
                order = ["store", "memory", "mapped"]
                order = order[number % 3 :] + order[: number % 3]
                for what in order:
                    start = time.perf_counter()
                    if what == "store":
                        hits = store.search(query[None, :], 10)[0]
                    else:
                        scores = (matrix if what == "memory" else mapped) @ query
                    times[what].append(time.perf_counter() - start)
                best = np.argsort(-scores, kind="stable")[:10]
                wrong += [hit.id for hit in hits] != [str(row) for row in best]
            del mapped
    _exact_report(times, rows, dimensions, (built, prepared), wrong, report)


def _exact_report(
    times: dict[str, list[float]],
    rows: int,
    dimensions: int,
    once: tuple[float, float],
    wrong: int,
    report: Report,
) -> None:
    kept = {what: seconds[3:] for what, seconds in times.items()}
    table = Table(f"Exact top ten of {rows:,} x {dimensions}", ("", "median", "store's time by it"))
    table.rows.append(("textkin's local store, 10 hits with text", _ms(statistics.median(kept["store"])), "1"))
    for what, shown in (("memory", "in memory"), ("mapped", "memory-mapped")):
        ratio = Ratio.of(kept["store"], kept[what])
        table.rows.append((f"NumPy, matrix @ query only, {shown}", _ms(statistics.median(kept[what])), str(ratio)))
        if what == "memory":
            report.goals.append(
                Goal(
                    f"exact top 10 of {rows:,} x {dimensions} by NumPy's product alone",
                    f"<= {EXACT_GOAL}x",
                    f"{ratio.median:.2f}x, {wrong} answers differ",
                    ratio.median <= EXACT_GOAL and wrong == 0,
                )
            )
    table.rows.append(("filling the store, once", f"{once[0]:.1f} s", ""))
    table.rows.append(("the first search, which writes the matrix file", f"{once[1]:.2f} s", ""))
    report.tables.append(table)


def _fill(store: Store, matrix: Matrix) -> float:
    start = time.perf_counter()
    info = ModelInfo("random", matrix.shape[1], None, "0" * 64)
    store.write_header(StoreHeader(info, matrix[:16]))
    with store.writing("benchmark"):
        for low in range(0, len(matrix), _UPSERT):
            part = matrix[low : low + _UPSERT]
            texts = [f"This is record number {low + row}." for row in range(len(part))]
            records = [
                Record(str(low + row), text, {}, spans=(Span(0, len(text)),)) for row, text in enumerate(texts)
            ]
            store.upsert(records, part)
    return time.perf_counter() - start


def _unit(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.ascontiguousarray(rows / lengths, dtype=np.float32)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=9)
    parser.add_argument("--imports", type=int, default=15)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    work_folder(options)
    report = Report("Import, search, exact top ten", command_line("search.py", sys.argv[1:]))
    import_time(options.imports, report)
    exact(options.rows, options.dimensions, options.rounds, report)
    whole_search(options.model, short_texts(options.data, options.records), options.searches, report)
    report.notes.append(
        "The matrix of the exact search is random (its speed does not depend on the values). NumPy's time is the "
        "product alone; the store's is all of it: product, choice of ten, reading ids, texts and metadata. Each "
        "`textkin search` has a query that was never embedded before."
    )
    finish(report, options)


if __name__ == "__main__":
    main()
