"""Upsert and query rates of every store, beside the same work by the store's own client at its best."""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from _common import ROOT, Goal, Ratio, Report, Table, arguments, command_line, finish, say
from _native_stores import NATIVE, Native
from textkin.stores.resolve import open_store
from textkin.types import Matrix, ModelInfo, Record, Span, Store, StoreHeader

sys.path.insert(0, str(ROOT / "tools"))
import servers

K = 10
_UPSERT = 5000
_GOAL = 0.5
FEWER = {"qdrant": 5_000}
"""Rows of stores that are not made for more: Qdrant's local mode says so itself, and takes minutes to fill."""
STORES = ("local", "arrays", "chroma", "chroma server", "qdrant", "lancedb", "postgresql", "postgresql hnsw")


@dataclass(slots=True)
class Work:
    """What both sides keep and are asked.

    Attributes:
        matrix: ``(n, dimensions)`` unit rows.
        queries: unit rows too.
        texts: one a row.
        best: row numbers of each query's exact ten best.
    """

    matrix: Matrix
    queries: Matrix
    texts: list[str]
    best: list[set[int]]

    @classmethod
    def made(cls, rows: int, dimensions: int, queries: int) -> Work:
        """Vectors in a few hundred loose groups, as texts have topics: an index finds nothing in pure noise."""
        chance = np.random.default_rng(5)
        centres = chance.standard_normal((300, dimensions), dtype=np.float32)
        matrix = _unit(centres[chance.integers(0, 300, rows)] + _noise(chance, rows, dimensions))
        asked = _unit(centres[chance.integers(0, 300, queries)] + _noise(chance, queries, dimensions))
        scores = asked @ matrix.T
        best = [set(np.argpartition(-row, K)[:K].tolist()) for row in scores]
        texts = [f"This is record number {row}, about orders, refunds and tables." for row in range(rows)]
        return cls(matrix, asked, texts, best)

    def recall(self, found: Sequence[Sequence[str]]) -> float:
        """Share of the exact ten best that were found."""
        hits = sum(len(best & {int(name) for name in ids}) for best, ids in zip(self.best, found, strict=True))
        return hits / (K * len(self.best))


def _noise(chance: np.random.Generator, rows: int, dimensions: int) -> Matrix:
    return 1.5 * chance.standard_normal((rows, dimensions), dtype=np.float32)


def _unit(rows: Matrix) -> Matrix:
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@dataclass(slots=True)
class Side:
    """What one side took in each round."""

    upserts: list[float] = field(default_factory=list)
    queries: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)


def measured(side: Side, work: Work, put: Callable[[], None], ask: Callable[[Matrix], list[str]]) -> None:
    """Put everything, ask one query to warm up, then each of them; one at a time, as a search does."""
    gc.collect()
    start = time.perf_counter()
    put()
    side.upserts.append(time.perf_counter() - start)
    ask(work.queries[0])
    found, times = [], []
    for query in work.queries:
        start = time.perf_counter()
        found.append(ask(query))
        times.append(time.perf_counter() - start)
    side.queries.append(statistics.median(times))
    side.recall.append(work.recall(found))


def through_textkin(place: str, work: Work, side: Side) -> None:
    with closing(open_store(place)) as store:
        info = ModelInfo("random", work.matrix.shape[1], None, "0" * 64)
        store.write_header(StoreHeader(info, work.matrix[:16]))

        def ask(query: Matrix) -> list[str]:
            return [hit.id for hit in store.search(query[None, :], K)[0]]

        measured(side, work, lambda: _fill(store, work), ask)


def _fill(store: Store, work: Work) -> None:
    with store.writing("benchmark"):
        for low in range(0, len(work.matrix), _UPSERT):
            texts = work.texts[low : low + _UPSERT]
            records = [
                Record(str(low + row), text, {"n": low + row}, spans=(Span(0, len(text)),))
                for row, text in enumerate(texts)
            ]
            store.upsert(records, work.matrix[low : low + _UPSERT])


def through_client(native: Native, place: str, work: Work, side: Side) -> None:
    with native(place, work.matrix.shape[1]) as (put, ask):
        measured(side, work, lambda: put(work.texts, work.matrix), lambda query: ask(query, K))


@contextmanager
def places(names: Sequence[str]) -> Iterator[Callable[[str, Path], tuple[str, str]]]:
    """Starts the servers that are needed; gives where textkin and where the client itself work."""
    with ExitStack() as stack:
        postgresql = (
            stack.enter_context(servers.postgresql()) if any("postgresql" in name for name in names) else ""
        )
        chroma = stack.enter_context(servers.chroma()) if "chroma server" in names else ""
        number = [0]

        def found(name: str, folder: Path) -> tuple[str, str]:
            number[0] += 1
            ours, theirs = str(folder / "ours"), str(folder / "theirs")
            collection = f"ours{number[0]}"
            if name in ("local", "arrays"):
                return f"{ours}.kin" if name == "local" else f"{ours}.npy", f"{theirs}.npy"
            if name == "chroma server":
                return f"chroma+http://{chroma}/{collection}", f"{chroma}/theirs{number[0]}"
            if name.startswith("postgresql"):
                more = "&index=hnsw" if name.endswith("hnsw") else ""
                return f"{postgresql}?collection={collection}{more}", postgresql
            return f"{name}:{ours}", theirs

        yield found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stores", default=",".join(STORES))
    parser.add_argument(
        "--once",
        default="chroma,chroma server,postgresql hnsw",
        help="stores so slow to fill that one round must do",
    )
    options = parser.parse_args()
    names = options.stores.split(",")
    rows_of = {name: min(options.rows, FEWER.get(name, options.rows)) for name in names}
    works = {rows: Work.made(rows, options.dimensions, options.queries) for rows in set(rows_of.values())}
    sides = {name: (Side(), Side()) for name in names}
    with places(names) as place_of:
        for number in range(options.rounds):
            for name in names:
                if number and name in options.once.split(","):
                    continue
                work = works[rows_of[name]]
                with tempfile.TemporaryDirectory(prefix="textkin-stores-") as folder:
                    ours, theirs = place_of(name, Path(folder))
                    for ours_now in (True, False) if number % 2 else (False, True):
                        if ours_now:
                            through_textkin(ours, work, sides[name][0])
                        else:
                            through_client(NATIVE[name], theirs, work, sides[name][1])
                one, other = sides[name]
                say(f"  {name}: {one.upserts[-1]:.1f} s beside {other.upserts[-1]:.1f} s, "
                    f"{one.queries[-1] * 1e3:.1f} ms beside {other.queries[-1] * 1e3:.1f} ms")  # fmt: skip
    report = Report("Stores", command_line("stores.py", sys.argv[1:]))
    fill(report, sides, rows_of, options.dimensions)
    finish(report, options)


def fill(report: Report, sides: dict[str, tuple[Side, Side]], rows_of: dict[str, int], dimensions: int) -> None:
    rows = max(rows_of.values())
    upserts = Table(
        f"Upsert, {rows:,} x {dimensions}", ("", "textkin, rows/s", "its own client, rows/s", "textkin by it")
    )
    queries = Table(
        f"One query, best {K} of {rows:,} x {dimensions}",
        ("", "textkin", "its own client", "textkin by it", "recall, textkin", "recall, client"),
    )
    for name, (ours, theirs) in sides.items():
        shown = name if rows_of[name] == rows else f"{name} ({rows_of[name]:,} rows)"
        written, asked = Ratio.of(theirs.upserts, ours.upserts), Ratio.of(theirs.queries, ours.queries)
        upserts.rows.append(
            (shown, *(_rate(rows_of[name], side.upserts) for side in (ours, theirs)), str(written))
        )
        queries.rows.append(
            (shown, _ms(ours.queries), _ms(theirs.queries), str(asked), _share(ours.recall), _share(theirs.recall))
        )
        for what, ratio in (("upsert", written), ("query", asked)):
            report.goals.append(
                Goal(
                    f"{shown}, {what}, rate by its own client's",
                    f">= {_GOAL}x",
                    f"{ratio.median:.2f}x",
                    ratio.median >= _GOAL,
                )
            )
    report.tables += [upserts, queries]
    report.notes += [
        "textkin keeps with every row its id, text, metadata, passages, digest and order, replaces rows that are "
        "there, and scores in float64; the client inserts new rows of id, text, one number and vector in the "
        "largest batches that it takes. Queries go one at a time, with text and metadata in the answer; the "
        "figure is the median. A ratio over 1 means that textkin is faster.",
        "local: the other side is np.save, and matrix @ query in memory with a list of texts. lancedb and "
        "postgresql compare every vector on both sides; Chroma's index and HNSW are approximate. The client "
        "builds its HNSW index after the rows are in.",
    ]


def _rate(rows: int, seconds: Sequence[float]) -> str:
    return f"{rows / statistics.median(seconds):,.0f}"


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f} ms"


def _share(recall: Sequence[float]) -> str:
    return f"{statistics.median(recall):.3f}"


if __name__ == "__main__":
    main()
