"""What must hold of a bulk job's output at every moment, after a kill, and at the end."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from textkin.models.fingerprint import CANARIES
from textkin.text.digest import text_digest
from textkin.types import Matrix

TOLERANCE = 1e-5
BLOCK = 512
"""Texts of a block of the ledger at most."""
IN_FLIGHT = 2 * BLOCK
"""Texts that a local job has under way at most: two threads with a block each."""
_COUNTS = (
    "rows",
    "rejected",
    "failed",
    "truncated",
    "duplicate_ids",
    "dimensions",
    "dtype",
    "fingerprint",
    "columns",
)


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """All of a finished output.

    Attributes:
        columns: every column but the vectors, in order of the shards.
        vectors: one row a row.
        rejects: the lines of the rejects file.
        counts: what the manifest says.
        files: names of the shards.
    """

    columns: dict[str, list[Any]]
    vectors: Matrix
    rejects: list[str]
    counts: dict[str, Any]
    files: list[str]


def read_output(out: Path) -> Output:
    """Read a finished output by its manifest, and hold the manifest to what is there.

    Raises:
        ValueError: the files are not what the manifest says.
    """
    manifest = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))
    files = [shard["file"] for shard in manifest["shards"] if shard["file"] is not None]
    columns: dict[str, list[Any]] = {}
    vectors: list[Matrix] = []
    for shard in manifest["shards"]:
        if shard["file"] is None:
            continue  # no row of it has a vector
        file = out / shard["file"]
        content = file.read_bytes()
        if len(content) != shard["bytes"] or hashlib.sha256(content).hexdigest() != shard["sha256"]:
            raise ValueError(f"{file.name} has other bytes than the manifest says")
        given, rows = read_shard(file)
        if len(rows) != shard["rows"]:
            raise ValueError(f"{file.name} has {len(rows)} rows, the manifest says {shard['rows']}")
        for name, values in given.items():
            columns.setdefault(name, []).extend(values)
        vectors.append(rows)
    on_disk = {file.name for file in out.glob("*.parquet")}
    if on_disk != set(files):
        raise ValueError(f"the manifest lists {sorted(files)[:3]}..., on the disk are {sorted(on_disk)[:3]}...")
    rejects = out / "_rejects.jsonl"
    lines = rejects.read_text(encoding="utf-8").splitlines() if rejects.exists() else []
    whole = np.concatenate(vectors) if vectors else np.zeros((0, manifest["dimensions"]), np.float32)
    if manifest["rows"] != len(whole) or manifest["rejected"] + manifest["failed"] != len(lines):
        raise ValueError(f"the manifest counts {manifest['rows']} rows and {manifest['rejected']} rejects")
    return Output(columns, whole, lines, {name: manifest[name] for name in _COUNTS}, files)


def read_shard(file: Path) -> tuple[dict[str, list[Any]], Matrix]:
    """The columns of one file but its vectors, and these as a matrix."""
    table = pq.read_table(file).combine_chunks()
    kind = table.schema.field("vector").type
    chunks: Any = table["vector"].combine_chunks()
    cells = chunks.flatten().to_numpy(zero_copy_only=False)
    vectors: Matrix = np.asarray(cells, dtype=np.float32).reshape(len(table), kind.list_size)
    return {name: table[name].to_pylist() for name in table.column_names if name != "vector"}, vectors


class Known:
    """What each id stands for, from undisturbed runs, to judge single files by."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._row: dict[str, tuple[Output, int]] = {
            name: (output, row) for output in outputs for row, name in enumerate(output.columns["id"])
        }

    def problems(self, file: Path) -> list[str]:
        """Whether a file is whole and each of its rows right."""
        try:
            columns, vectors = read_shard(file)
        except FileNotFoundError:
            return []  # it was replaced while we looked
        except Exception as error:  # noqa: BLE001  whatever a reader says is what a user would see
            return [f"{file.name} can't be read: {type(error).__name__}: {error}"]
        for row, name in enumerate(columns["id"]):
            if name not in self._row:
                return [f"{file.name} has a row {name!r} that no input has"]
            output, place = self._row[name]
            if any(columns[column][row] != output.columns[column][place] for column in columns):
                return [f"{file.name}: {name!r} has other columns than in the undisturbed run"]
            if not np.allclose(vectors[row], output.vectors[place], rtol=0, atol=TOLERANCE):
                return [f"{file.name}: {name!r} has another vector than in the undisturbed run"]
        return []

    def after_kill(self, out: Path) -> list[str]:
        """Every Parquet file is whole; all that a manifest lists is there, be it of an earlier input."""
        problems = [problem for file in sorted(out.glob("*.parquet")) for problem in self.problems(file)]
        return problems + listed_and_gone(out)


def listed_and_gone(out: Path) -> list[str]:
    """What a manifest lists and is not there as it says."""
    if not (out / "_manifest.json").exists():
        return []
    try:
        shards = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))["shards"]
    except (ValueError, KeyError) as error:
        return [f"the manifest can't be read: {error}"]
    files = [(out / shard["file"], shard["bytes"]) for shard in shards if shard["file"] is not None]
    return [
        f"the manifest lists {file.name}, which is not there"
        for file, size in files
        if not (file.exists() and file.stat().st_size == size)
    ]


class Onlooker:
    """A reader beside the job that opens every Parquet file as soon as it sees it, as another tool might."""

    def __init__(self, out: Path, known: Known, pause: float = 0.02) -> None:
        self._out, self._known, self._pause = out, known, pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="onlooker")
        self.seen = 0
        self.problems: list[str] = []

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        known: set[tuple[str, int]] = set()
        ended = False
        while not ended:
            ended = self._end.wait(self._pause)  # and once more at the end
            for file in self._out.glob("*.parquet"):
                try:
                    mark = (file.name, file.stat().st_ino)
                except FileNotFoundError:
                    continue
                if mark not in known:
                    known.add(mark)
                    self.seen += 1
                    self.problems += self._known.problems(file)


def at_end(out: Path, wanted: Output) -> list[str]:
    """Compare a finished output with the undisturbed run's, and look for what should not lie there any more."""
    try:
        got = read_output(out)
    except (OSError, ValueError, KeyError) as error:
        return [f"the finished output can't be read: {type(error).__name__}: {error}"]
    problems = [
        f"column {name!r} differs: {_first_difference(got.columns.get(name, []), values)}"
        for name, values in wanted.columns.items()
        if got.columns.get(name) != values
    ]
    if set(got.columns) != set(wanted.columns):
        problems.append(f"it has the columns {sorted(got.columns)}, not {sorted(wanted.columns)}")
    if not problems and not np.allclose(got.vectors, wanted.vectors, rtol=0, atol=TOLERANCE):
        problems.append(f"vectors differ by up to {difference(got, wanted):.1e}")
    if got.rejects != wanted.rejects:
        problems.append(f"rejects differ: {_first_difference(got.rejects, wanted.rejects)}")
    problems += [
        f"the manifest says {name} = {got.counts[name]}, undisturbed it is {value}"
        for name, value in wanted.counts.items()
        if got.counts[name] != value
    ]
    if got.files != wanted.files:
        problems.append(f"other files: {_first_difference(got.files, wanted.files)}")
    left = [file.name for file in (out / "_textkin" / "tmp").glob("*")]
    left += [file.name for file in out.iterdir() if not _expected(file.name)]
    return [*problems, *(f"{name} was left lying" for name in left)]


def _expected(name: str) -> bool:
    return name.endswith(".parquet") or name in ("_manifest.json", "_rejects.jsonl", "_textkin", "lost+found")


def _first_difference(got: Sequence[Any], wanted: Sequence[Any]) -> str:
    if len(got) != len(wanted):
        return f"{len(got)} instead of {len(wanted)}"
    row = next(row for row, (one, other) in enumerate(zip(got, wanted, strict=True)) if one != other)
    return f"at {row}, {got[row]!r} instead of {wanted[row]!r}"


def difference(got: Output, wanted: Output) -> float:
    """The largest difference of a coordinate."""
    if got.vectors.shape != wanted.vectors.shape:
        return float("inf")
    return float(np.abs(got.vectors.astype(np.float64) - wanted.vectors).max(initial=0.0))


@dataclass(slots=True)
class Asked:
    """What the models were asked for in all processes of a job.

    Attributes:
        sent: texts that were sent.
        again: of them those that had been sent before.
        at_once: of these, equal texts of one run that were under way at the same time.
        lost: sent again because a kill came between answer and ledger.
        most_open: texts that one process had sent and not kept when it ended, at most.
        problems: texts that were sent again though the ledger had them, or more that were lost than in flight.
    """

    sent: int = 0
    again: int = 0
    at_once: int = 0
    lost: int = 0
    most_open: int = 0
    problems: list[str] = field(default_factory=list)


def asked_for(log: Path, repeated: Container[str], in_flight: int = IN_FLIGHT) -> Asked:
    """Judge the log that the hook wrote: what is in the ledger must never be sent again.

    Args:
        log: of all processes of a job.
        repeated: digests of the texts that stand more than once in the input. Two of a kind may be under way in
            two threads of one run at once: such are counted apart.
        in_flight: texts that may be lost when a process ends.
    """
    canaries = {text_digest(text).hex()[:16] for text in CANARIES}
    kept: dict[str, int] = {}
    sent: Counter[str] = Counter()
    found = Asked()
    twice: set[str] = set()
    run = 0
    open_now: set[str] = set()
    for kind, digests in _lines(log):
        if kind == "R":
            run += 1
            found.most_open = max(found.most_open, len(open_now))
            open_now.clear()
        elif kind == "K":
            open_now.difference_update(digests)
            kept.update((digest, run) for digest in digests if digest not in kept)
        for digest in digests if kind == "O" else ():
            if digest in canaries:
                continue
            found.sent += 1
            if sent[digest]:
                found.again += 1
                if digest not in kept:
                    found.lost += 1
                elif digest in repeated and kept[digest] == run:
                    found.at_once += 1
                else:
                    twice.add(digest)
            sent[digest] += 1
            open_now.add(digest)
    if open_now:
        found.problems.append(f"{len(open_now)} texts were embedded by the last run and never kept")
    if found.most_open > in_flight:
        found.problems.append(f"a process lost {found.most_open} texts, and {in_flight} are in flight at most")
    if twice:
        found.problems.append(f"{len(twice)} texts were embedded again though the ledger had them")
    return found


def _lines(log: Path) -> Iterator[tuple[str, list[str]]]:
    """Kind and digests: O for an order, K for what the ledger has, R for the start of a process."""
    for line in log.read_text(encoding="ascii").splitlines() if log.exists() else []:
        kind, *rest = line.split()
        yield kind, rest[1:]
