"""The most memory that a bulk job holds, for a few and for many rows: it must not grow with them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from _bulk_runs import Runs
from _common import Goal, Report, Table, megabytes, say
from _texts import short_texts

_FLAT = 1.1
_PART = 10_000
_WORDS = (
    "refund",
    "order",
    "table",
    "parse",
    "thread",
    "lock",
    "socket",
    "query",
    "vector",
    "cell",
    "gene",
    "season",
)


def made_up(rows: int, texts: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and texts, part by part; each text is another one."""
    chance = random.Random(7)
    for first in range(0, rows, _PART):
        numbers = range(first, min(first + _PART, rows))
        words = [
            texts[number] if number < len(texts) else " ".join(chance.choices(_WORDS, k=chance.randint(4, 20)))
            for number in numbers
        ]
        yield (
            [f"t{number}" for number in numbers],
            [f"{text} {number}" for number, text in zip(numbers, words, strict=True)],
        )


def write(path: Path, rows: int, texts: Sequence[str]) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for ids, part in made_up(rows, texts):
            writer.write_table(pa.table({"id": ids, "text": part}, schema=schema))


def memory(
    model: str, more: Sequence[str], sizes: Sequence[int], data: Path | None, folder: Path, report: Report
) -> None:
    """Peak of the process itself for each number of rows, with the user's ledger and with one of the job's own."""
    title = f"{model}{' ' + ' '.join(more) if more else ''}: most memory of the process"
    table = Table(title, ("", *(f"{size:,} rows" for size in sizes), "ratio", "rows/s of the largest"))
    for ledger in ((), ("--no-ledger",)):
        peaks, speeds = [], []
        for size in sizes:
            source = folder / "rows.parquet"
            write(source, size, [] if data is None else short_texts(data, size))
            done = Runs(source, size, folder).job(model, *ledger, *more, whole=False)
            peaks.append(done.own_peak)
            speeds.append(size / done.seconds)
            say(f"  {model}, {size:,} rows{' '.join(ledger)}: {megabytes(done.own_peak)} in {done.seconds:.0f} s")
        ratio = peaks[-1] / peaks[0]
        name = "--no-ledger" if ledger else "new ledger"
        table.rows.append((name, *map(megabytes, peaks), f"{ratio:.2f}", f"{speeds[-1]:,.0f}"))
        report.goals.append(
            Goal(
                f"{model}, peak memory of {sizes[-1]:,} rows by that of {sizes[0]:,}, {name}",
                f"<= {_FLAT}",
                f"{ratio:.2f} ({megabytes(peaks[-1])})",
                ratio <= _FLAT,
            )
        )
    report.tables.append(table)
