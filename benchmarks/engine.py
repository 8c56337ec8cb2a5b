"""Speed, start, memory and size of the local engine beside sentence-transformers, in one run on one machine."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from _common import (
    ROOT,
    Goal,
    Ratio,
    Report,
    Table,
    arguments,
    command_line,
    cores,
    environment_with,
    finish,
    folder_bytes,
    megabytes,
    say,
)
from _one_process import cold_start, memory
from _sizes import closure, installed_bytes
from _texts import describe, mixed_texts, short_texts
from textkin._places import cache_folder

BATCHES = (8, 16, 32, 64, 128, 256)
GOALS = {("short", "float32"): 1.4, ("mixed", "float32"): 1.8, ("short", "int8"): 2.2, ("mixed", "int8"): 3.0}
EQUAL = 0.9999


@dataclass(frozen=True, slots=True)
class Setting:
    """How an engine is asked: rows a batch and threads; only the peer listens."""

    batch: int
    threads: int


class Engine:
    """An engine in a process of its own, so that neither's threads or memory touch the other's."""

    def __init__(self, kind: str, model: str) -> None:
        script = Path(__file__).with_name("_engine_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), kind, model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment_with(None),
        )
        self.kind = kind
        self.setting = Setting(32, cores())

    def encode(self, texts: Path, many: int, setting: Setting | None = None, save: Path | None = None) -> float:
        """Seconds to encode the first ``many`` texts of a file."""
        chosen = setting or self.setting
        order = {
            "texts": str(texts),
            "count": many,
            "batch": chosen.batch,
            "threads": chosen.threads,
            "save": str(save) if save else None,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the {self.kind} engine ended with status {self._process.wait()}")
        return float(json.loads(answer)["seconds"])

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@contextmanager
def engines(model: str, peer_folder: str | None, precisions: Sequence[str]) -> Iterator[dict[str, Engine]]:
    """The peer (where there is one) and textkin at each precision, loaded."""
    started: dict[str, Engine] = {}
    try:
        if peer_folder is not None:
            started["peer"] = Engine("peer", peer_folder)
        for precision in precisions:
            started[precision] = Engine(precision, model)
        yield started
    finally:
        for engine in started.values():
            engine.close()


def tune(peer: Engine, texts: Path, many: int, batches: Sequence[int]) -> Setting:
    """The peer's fastest setting: all of them on a part of the texts, then the best three on all of them."""
    settings = [Setting(batch, threads) for threads in range(1, cores() + 1) for batch in batches]
    part = min(many, 400)
    first = {setting: peer.encode(texts, part, setting) for setting in settings}
    best = sorted(settings, key=first.__getitem__)[:3]
    final = {setting: min(peer.encode(texts, many, setting) for _ in range(2)) for setting in best}
    chosen = min(best, key=final.__getitem__)
    say(f"  sentence-transformers is fastest with batches of {chosen.batch}, {chosen.threads} threads")
    return chosen


def throughput(
    model: str,
    running: dict[str, Engine],
    name: str,
    texts: list[str],
    options: argparse.Namespace,
    report: Report,
) -> Setting | None:
    """Texts a second of each engine, in rounds in which each goes once, in changing order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(texts), encoding="utf-8")
        for kind, engine in running.items():
            engine.encode(file, len(texts), save=Path(folder) / f"{kind}.npy")
        peer = running.get("peer")
        if peer is not None:
            peer.setting = tune(peer, file, len(texts), options.batches)
        times: dict[str, list[float]] = {kind: [] for kind in running}
        order = list(running)
        for number in range(options.rounds):
            for kind in order[number % len(order) :] + order[: number % len(order)]:
                times[kind].append(running[kind].encode(file, len(texts)))
            say(
                f"  {model}, {name}, round {number + 1}: "
                + ", ".join(f"{k} {t[-1]:.2f} s" for k, t in times.items())
            )
        vectors = {kind: np.load(Path(folder) / f"{kind}.npy") for kind in running}
    table = Table(
        f"{model}, {name}: {describe(texts)}",
        ("engine", "texts/s (median)", "times sentence-transformers", "least cosine", "mean cosine"),
    )
    for kind, seconds in times.items():
        speed = f"{len(texts) / statistics.median(seconds):,.0f}"
        if peer is None:
            table.rows.append((f"textkin {kind}", speed, "", "", ""))
        elif kind == "peer":
            how = f"sentence-transformers (batch {peer.setting.batch}, {peer.setting.threads} threads)"
            table.rows.append((how, speed, "1", "", ""))
        else:
            ratio = Ratio.of(times["peer"], seconds)
            cosines = _cosines(vectors[kind], vectors["peer"])
            least = float(cosines.min())
            table.rows.append((f"textkin {kind}", speed, str(ratio), f"{least:.6f}", f"{cosines.mean():.6f}"))
            _judge_speed(report, model, name, kind, ratio, least)
    report.tables.append(table)
    return peer.setting if peer else None


def _judge_speed(report: Report, model: str, name: str, kind: str, ratio: Ratio, least: float) -> None:
    wanted = GOALS[(name, kind)]
    equal = kind == "int8" or least >= EQUAL
    goal = f">= {wanted}x" + (f" at cosine >= {EQUAL}" if kind == "float32" else "")
    measured = f"{ratio.median:.2f}x" + (f" at {least:.6f}" if kind == "float32" else "")
    report.goals.append(
        Goal(f"{model}, {name} texts, {kind}", goal, measured, bool(ratio.median >= wanted and equal))
    )


def _cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    left, right = a.astype(np.float64), b.astype(np.float64)
    products = np.einsum("ij,ij->i", left, right)
    cosines: npt.NDArray[np.float64] = products / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))
    return cosines


def sizes(models: Sequence[str], report: Report) -> None:
    """Bytes of both installations as they stand here, without Python, pip and the models."""
    table = Table("Installed size", ("", "packages", "bytes"))
    ours = closure("textkin")
    theirs = closure("sentence-transformers")
    our_bytes = sum(
        installed_bytes(package, ROOT / "src" / "textkin" if name == "textkin" else None)
        for name, package in ours.items()
    )
    table.rows.append(("textkin and all it needs", str(len(ours)), megabytes(our_bytes)))
    if theirs:
        their_bytes = sum(installed_bytes(package) for package in theirs.values())
        table.rows.append(("sentence-transformers and all it needs", str(len(theirs)), megabytes(their_bytes)))
        table.rows.append(("ratio", "", f"{their_bytes / our_bytes:.1f}x"))
    for model in models:
        for folder in sorted((cache_folder() / "models").glob(f"*{model}")):
            table.rows.append(
                (f"weights and what is kept beside them, {model}", "", megabytes(folder_bytes(folder)))
            )
    report.tables.append(table)
    report.notes.append(
        "Installed size counts the files in each package's own record. torch is the build installed here; "
        "the default build for Linux brings several GB of GPU libraries more."
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", default="all-MiniLM-L6-v2,all-mpnet-base-v2")
    parser.add_argument(
        "--peer-folder", action="append", default=[], metavar="MODEL=DIR", help="the peer's own copy"
    )
    parser.add_argument("--no-peer", action="store_true", help="measure textkin alone")
    parser.add_argument("--precisions", default="float32,int8")
    parser.add_argument("--batches", type=lambda line: [int(word) for word in line.split(",")], default=BATCHES)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of throughput")
    parser.add_argument("--starts", type=int, default=7, help="cold starts of each")
    parser.add_argument("--short", type=int, default=2000, help="how many short texts")
    parser.add_argument("--mixed", type=int, default=1000, help="how many mixed texts")
    parser.add_argument("--memory-texts", type=int, default=2000)
    options = parser.parse_args()
    report = Report("The local engine beside sentence-transformers", command_line("engine.py", sys.argv[1:]))
    copies = dict(pair.split("=", 1) for pair in options.peer_folder)
    precisions = options.precisions.split(",")
    models = options.models.split(",")
    for model in models:
        folder = None if options.no_peer else copies.get(model) or _fetched(model)
        _measure(model, folder, precisions, options, report)
    sizes(models, report)
    report.notes.append(
        "Each engine has a process of its own; in a round each goes once, in changing order; a ratio compares "
        "times of one round. sentence-transformers has the batch size and thread count that were fastest here on "
        "these very texts; textkin has its defaults. Cold starts count only with the files in memory (at most "
        "4 MB read from the disk)."
    )
    finish(report, options)


def _measure(
    model: str, folder: str | None, precisions: Sequence[str], options: argparse.Namespace, report: Report
) -> None:
    share = 4 if "mpnet" in model else 1
    sets = {
        "short": short_texts(options.data, options.short // share),
        "mixed": mixed_texts(options.data, options.mixed // share),
    }
    settings: list[Setting | None] = []
    with engines(model, folder, precisions) as running:
        for name, texts in sets.items():
            settings.append(throughput(model, running, name, texts, options, report))
    cold_start(model, folder, options.starts, report)
    chosen = settings[-1]
    batches = sorted({32, chosen.batch}) if chosen else []
    memory(model, folder, mixed_texts(options.data, options.memory_texts), batches, report)


def _fetched(model: str) -> str:
    """The folder of verified files that textkin itself uses: the peer reads the same."""
    from textkin.models import weights

    place: Any = weights.fetch(model, None)
    return str(place)


if __name__ == "__main__":
    main()
