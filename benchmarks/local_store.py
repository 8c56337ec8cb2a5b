"""The embedded store and the ledger beside NumPy: rates, and exact search as a multiple of one matrix product.

Run: python benchmarks/local_store.py [--rows 100000] [--dimensions 384]
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np

from textkin.ledger import Ledger
from textkin.stores.local import LocalStore
from textkin.types import Matrix, ModelInfo, Record, Span, StoreHeader
from textkin.where import condition

ROUNDS = 31


def milliseconds(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each, taken in turns so that a busy machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: float(np.median(taken)) for name, taken in times.items()}


def random_unit_rows(rows: int, dimensions: int) -> Matrix:
    vectors = np.random.default_rng(0).standard_normal((rows, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def measure_store(folder: Path, vectors: Matrix) -> None:
    count, dimensions = vectors.shape
    store = LocalStore(folder / "bench.kin")
    store.write_header(StoreHeader(ModelInfo("bench", dimensions, None, "0" * 64), vectors[:16]))
    records = [
        Record(f"id{n}", f"text number {n} " * 10, {"lang": "de" if n % 3 else "en", "n": n}, None, (Span(0, 9),))
        for n in range(count)
    ]
    started = time.perf_counter()
    for first in range(0, count, 1000):
        store.upsert(records[first : first + 1000], vectors[first : first + 1000])
    taken = time.perf_counter() - started
    print(f"upsert, batches of 1,000    {count / taken:10,.0f} records/s  ({taken:.2f} s)")
    started = time.perf_counter()
    store.prepare()
    print(f"build matrix.bin            {1000 * (time.perf_counter() - started):10.1f} ms")
    store.close()
    store = LocalStore(folder / "bench.kin")
    query = vectors[:1] + 0.2 * vectors[1:2]
    query /= np.linalg.norm(query)
    started = time.perf_counter()
    store.search(query, 10)
    print(f"open, check, first search   {1000 * (time.perf_counter() - started):10.1f} ms")
    few, many = condition("n < 1000"), condition('lang = "de"')
    times = milliseconds(
        {
            "numpy": lambda: vectors @ query[0],
            "search": lambda: store.search(query, 10),
            "few": lambda: store.search(query, 10, few),
            "many": lambda: store.search(query, 10, many),
        },
        ROUNDS,
    )
    print(f"NumPy matrix @ query        {times['numpy']:10.2f} ms")
    print(
        f"exact top 10                {times['search']:10.2f} ms  = {times['search'] / times['numpy']:.2f} x NumPy"
    )
    print(f"exact top 10, filter to 1,000 {times['few']:8.2f} ms")
    print(f"exact top 10, filter to 2/3 {times['many']:10.2f} ms")
    queries = np.ascontiguousarray(vectors[:1000])
    times = milliseconds({"numpy": lambda: queries @ vectors.T, "search": lambda: store.search(queries, 10)}, 3)
    ratio = times["search"] / times["numpy"]
    print(f"1,000 queries at once       {times['search']:10.0f} ms  = {ratio:.2f} x NumPy queries @ matrix.T")
    store.close()


def measure_ledger(folder: Path, vectors: Matrix) -> None:
    block = vectors[:512]
    puts, gets = [], []
    with Ledger(folder / "ledger.db") as ledger:
        for turn in range(20):
            keys = [hashlib.sha256(f"{turn} {n}".encode()).digest() for n in range(len(block))]
            started = time.perf_counter()
            ledger.put("0" * 64, "", keys, block)
            middle = time.perf_counter()
            ledger.get("0" * 64, "", keys)
            puts.append(1000 * (middle - started))
            gets.append(1000 * (time.perf_counter() - middle))
    print(f"ledger, 512 vectors: put    {np.median(puts):10.1f} ms (median of 20, flushed to the disk)")
    print(f"ledger, 512 vectors: get    {np.median(gets):10.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    options = parser.parse_args()
    print(f"{options.rows:,} x {options.dimensions}; NumPy {np.__version__}, SQLite {apsw.sqlite_lib_version()}")
    vectors = random_unit_rows(options.rows, options.dimensions)
    with tempfile.TemporaryDirectory() as folder:
        measure_store(Path(folder), vectors)
        measure_ledger(Path(folder), vectors)


if __name__ == "__main__":
    main()
