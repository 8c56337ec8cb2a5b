"""Whole processes that embed the same file: the bulk job, the bare engine, its peers; measured from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _bulk_checks import read_output
from _common import environment_with
from textkin.types import Matrix

_PAUSE, _TREE_PAUSE = 0.1, 0.5
"""Seconds between two looks; adding up the pages of many processes takes a while itself."""
_ROW_GROUP = 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """A process and all its children, from start to exit.

    Attributes:
        seconds: by the clock.
        own_peak: most memory that the process itself held, in bytes.
        tree_peak: most that it and its children held together at a time, shared pages counted once.
        facts: the JSON that it printed.
    """

    seconds: float
    own_peak: int
    tree_peak: int
    facts: dict[str, Any]


def _object_at_end(output: str) -> dict[str, Any]:
    """The JSON object that a process printed last; libraries say other things on stdout before."""
    lines = output.splitlines()
    first = max(number for number, line in enumerate(lines) if line.startswith("{"))
    facts: dict[str, Any] = json.loads("\n".join(lines[first:]))
    return facts


class _Watch:
    """Looks at the memory of a process and its children until it ends."""

    def __init__(self, process: int, whole: bool) -> None:
        self._process, self._whole = process, whole
        self.own = self.tree = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        next_tree = 0.0
        while not self._end.wait(_PAUSE):
            self.own = max(self.own, _kilobytes(self._process, "status", "VmHWM:") * 1024)
            if self._whole and time.monotonic() >= next_tree:
                next_tree = time.monotonic() + _TREE_PAUSE
                tree = sum(_kilobytes(one, "smaps_rollup", "Pss:") for one in _descendants(self._process))
                self.tree = max(self.tree, tree * 1024)


def _kilobytes(process: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{process}/{file}").read_text(encoding="ascii", errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _descendants(process: int) -> list[int]:
    found = [process]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in task.read_text(encoding="ascii").split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def measured(
    command: Sequence[str], folder: Path, whole: bool = True, more: Mapping[str, str] | None = None
) -> Measured:
    """Run a process to its end.

    Args:
        command: prints one JSON object on stdout.
        folder: where its words go.
        whole: also look at its children.
        more: of the environment.
    """
    errors = folder / "stderr.txt"
    with errors.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment_with({"RAY_USAGE_STATS_ENABLED": "0", **(more or {})}),
        )
        watch = _Watch(process.pid, whole)
        output, _ = process.communicate()
        seconds = time.perf_counter() - start
        watch.close()
    if process.returncode != 0:
        said = errors.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise SystemExit(f"exit status {process.returncode}: {' '.join(map(str, command))}\n{said}")
    return Measured(seconds, watch.own, watch.tree, _object_at_end(output.decode("utf-8")))


@dataclass(slots=True)
class Runs:
    """The same texts for all.

    Attributes:
        source: Parquet with the columns id and text.
        count: its rows.
        folder: for outputs and ledgers.
    """

    source: Path
    count: int
    folder: Path
    _number: int = field(default=0)

    @classmethod
    def of(cls, texts: Sequence[str], folder: Path) -> Runs:
        source = folder / "texts.parquet"
        ids = [f"t{number}" for number in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": list(texts)}), source, row_group_size=_ROW_GROUP)
        return cls(source, len(texts), folder)

    def job(self, model: str, *more: str, whole: bool = True) -> Measured:
        """textkin's bulk job, with a new ledger; what it wrote lies in `out` until the next one."""
        shutil.rmtree(self.out, ignore_errors=True)
        self._number += 1
        data = self.folder / f"data-{self._number}"
        command = [sys.executable, "-m", "textkin", "embed", str(self.source), "-o", f"{self.out}/"]
        command += ["--model", model, "--id-column", "id", "--text-column", "text", "--json", *more]
        try:
            return measured(command, self.folder, whole, {"TEXTKIN_DATA": str(data)})
        finally:
            shutil.rmtree(data, ignore_errors=True)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def bare(self, model: str, precision: str, block: int) -> Measured:
        """The engine alone: all texts in memory, block after block, nothing kept but the vectors."""
        script = str(Path(__file__).with_name("_bulk_bare.py"))
        saved = str(self.folder / "bare.npy")
        return measured(
            [sys.executable, script, model, precision, str(self.source), str(block), saved], self.folder
        )

    def peer(self, python: str, kind: str, folder: str, settings: dict[str, int]) -> tuple[Measured, Matrix]:
        """A peer in its own interpreter, and its vectors in the texts' order."""
        out = self.folder / f"peer-{kind}"
        for old in (out, out.with_name(f"{out.name}-cache")):
            shutil.rmtree(old, ignore_errors=True)
        script = str(Path(__file__).with_name("_bulk_peers.py"))
        command = [python, script, kind, str(self.source), str(out), folder, json.dumps(settings)]
        done = measured(command, self.folder, more={"PYTHONPATH": ""})
        return done, peer_vectors(out)

    def vectors(self) -> Matrix:
        """What the last job wrote."""
        return read_output(self.out).vectors

    def bare_vectors(self) -> Matrix:
        rows: Matrix = np.load(self.folder / "bare.npy")
        return rows


def peers_of(python: str) -> list[str]:
    """The peers that an interpreter has the packages of."""
    code = (
        "import json; from importlib.util import find_spec; there = lambda name: find_spec(name) is not None; "
        "needs = {'loop': 'pyarrow', 'ray': 'ray', 'datasets': 'datasets'}; "
        "print(json.dumps([k for k, v in needs.items() if there('sentence_transformers') and there(v)]))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def peer_vectors(out: Path) -> Matrix:
    """Vectors of a peer, in the order of the ids."""
    if (out / "vectors.npy").exists():
        rows: Matrix = np.load(out / "vectors.npy")
        return rows
    tables = [pq.read_table(file) for file in sorted(out.glob("*.parquet"))]
    ids = [int(str(name)[1:]) for table in tables for name in table["id"].to_pylist()]
    stacked = np.concatenate([np.array(table["vector"].to_pylist(), dtype=np.float32) for table in tables])
    ordered: Matrix = stacked[np.argsort(ids)]
    return ordered


def least_cosine(a: Matrix, b: Matrix) -> float:
    """The worst cosine of two rows that should be the same."""
    if a.shape != b.shape:
        return -1.0
    left, right = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float((np.einsum("ij,ij->i", left, right) / lengths).min())
