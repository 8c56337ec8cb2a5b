"""The provider layer beside plain SDK calls: one after the other, and the simplest concurrent script."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from _common import Goal, Ratio, Report, Table, arguments, command_line, finish, say
from _provider_server import ROWS, table
from textkin.ledger import Ledger, embed
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience
from textkin.types import Matrix

MODEL = "text-embedding-3-small"
IN_FLIGHT = 8
_WIDTH = 512
_GOALS = {"one after the other": 1.0, "threads": 1.0}
Way = Callable[[Sequence[str]], Matrix]


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """The server as a process of its own; gives its address."""
    command = [sys.executable, str(Path(__file__).with_name("_provider_server.py")), str(latency), str(_WIDTH)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()
            server.wait()


def sequential(client: Any, size: int) -> Way:
    """One request after the other."""

    def run(texts: Sequence[str]) -> Matrix:
        parts = [asked(client, texts[low : low + size]) for low in range(0, len(texts), size)]
        return np.concatenate(parts)

    return run


def threads(client: Any, size: int) -> Way:
    """What one writes first: a pool of threads that map over the batches."""

    def run(texts: Sequence[str]) -> Matrix:
        batches = [texts[low : low + size] for low in range(0, len(texts), size)]
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return np.concatenate(list(pool.map(lambda batch: asked(client, batch), batches)))

    return run


def asked(client: Any, texts: Sequence[str]) -> Matrix:
    answer = client.embeddings.create(model=MODEL, input=list(texts), dimensions=_WIDTH)
    return np.array([item.embedding for item in answer.data], dtype=np.float32)


def with_ledger(model: OpenAIModel, folder: Path) -> Way:
    """textkin with a new ledger, which keeps each answer on the disk as it comes."""
    number = [0]

    def run(texts: Sequence[str]) -> Matrix:
        number[0] += 1
        with Ledger(folder / f"{number[0]}.db") as ledger:
            ledger.remember_model(model.info, np.zeros((16, _WIDTH), dtype=np.float32))
            start = time.perf_counter()
            vectors = embed(model, texts, "document", ledger).vectors
            run.seconds = time.perf_counter() - start  # type: ignore[attr-defined]
        (folder / f"{number[0]}.db").unlink()
        return vectors

    return run


def seconds_of(way: Way, texts: Sequence[str], expected: Matrix) -> float:
    start = time.perf_counter()
    vectors = way(texts)
    seconds = time.perf_counter() - start
    if vectors.shape != expected.shape or not np.allclose(vectors, expected, atol=1e-6):
        raise SystemExit("the vectors are not those of the texts")
    return float(getattr(way, "seconds", seconds))


def best_size(make: Callable[[int], Way], texts: Sequence[str], expected: Matrix, sizes: Sequence[int]) -> int:
    """The batch size with which this way is fastest here."""
    times = {size: min(seconds_of(make(size), texts, expected) for _ in range(2)) for size in sizes}
    return min(times, key=lambda size: times[size])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that the server takes to answer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", default="64,256,1024,2048", help="batch sizes that the scripts are tried with")
    options = parser.parse_args()
    texts = [f"record {number} of a table of orders and refunds" for number in range(options.texts)]
    expected = table(_WIDTH)[np.arange(len(texts)) % ROWS]
    sizes = [int(size) for size in options.sizes.split(",")]
    report = Report("Provider layer", command_line("providers.py", sys.argv[1:]))
    with serving(options.latency) as address, tempfile.TemporaryDirectory() as folder:
        import openai

        os.environ.update({"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "none"})
        client = openai.OpenAI(max_retries=2)
        model = OpenAIModel(MODEL, dimensions=_WIDTH, patience=Patience(in_flight=IN_FLIGHT))
        best = {
            "one after the other": best_size(lambda size: sequential(client, size), texts, expected, sizes),
            "threads": best_size(lambda size: threads(client, size), texts, expected, sizes),
        }
        say(f"  best batch sizes: {best}")
        ways: dict[str, Way] = {
            "textkin": lambda given: model.embed(given).vectors,
            "textkin, new ledger": with_ledger(model, Path(folder)),
            "one after the other": sequential(client, best["one after the other"]),
            "threads": threads(client, best["threads"]),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        names = list(ways)
        for number in range(options.rounds + 1):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                seconds = seconds_of(ways[name], texts, expected)
                if number:
                    times[name].append(seconds)
        client.close()
    fill(report, times, best, len(texts), options.latency)
    finish(report, options)


def fill(report: Report, times: dict[str, list[float]], best: dict[str, int], count: int, latency: float) -> None:
    shown = {
        "one after the other": f"the SDK, one request after the other, {best['one after the other']} texts each",
        "threads": f"the SDK in {IN_FLIGHT} threads, {best['threads']} texts a request",
    }
    columns = ("", "texts/s (median)", "textkin by it", "textkin with a new ledger by it")
    table_ = Table(f"{count:,} texts, {_WIDTH} dimensions, {latency * 1000:.0f} ms a request", columns)
    for name, seconds in times.items():
        ratios = ("", "")
        if name in shown:
            ratios = tuple(str(Ratio.of(seconds, times[ours])) for ours in ("textkin", "textkin, new ledger"))  # type: ignore[assignment]
        table_.rows.append((shown.get(name, name), f"{count / statistics.median(seconds):,.0f}", *ratios))
    report.tables.append(table_)
    for name, goal in _GOALS.items():
        ratio = Ratio.of(times[name], times["textkin"])
        report.goals.append(
            Goal(f"texts/s by {shown[name]}", f">= {goal}x", f"{ratio.median:.2f}x", ratio.median >= goal)
        )
    report.notes.append(
        "The server is a process of its own on the same machine and cuts its answers from parts made before. The "
        "scripts have the batch size that was fastest here and keep nothing; textkin has its defaults, counts "
        "tokens, and checks every vector. With the ledger, every answer is on the disk before the next step."
    )


if __name__ == "__main__":
    main()
