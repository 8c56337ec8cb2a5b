"""What the benchmarks share: the machine, versions, measured processes, paired ratios, reports."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "textkin",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "apsw",
    "pyarrow",
    "ray",
    "torch",
    "sentence-transformers",
    "transformers",
    "openai",
    "cohere",
    "chromadb",
    "qdrant-client",
    "lancedb",
    "psycopg",
    "pgvector",
    "llvmlite",
)


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure beside what was asked of it.

    Attributes:
        what: the thing measured.
        goal: what was asked, in words.
        measured: the figure, in words.
        reached: whether it is good enough.
    """

    what: str
    goal: str
    measured: str
    reached: bool


@dataclass(slots=True)
class Table:
    """Rows under column names; the first column is text, the others are shown flush right."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What one script found.

    Attributes:
        title: its heading.
        command: what to type to measure again.
        goals: asked and reached.
        tables: the figures behind them.
        notes: how it was measured, and what the figures don't say.
    """

    title: str
    command: str
    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def all_reached(self) -> bool:
        return all(goal.reached for goal in self.goals)

    def markdown(self) -> str:
        parts = [f"## {self.title}", f"`{self.command}`"]
        if self.goals:
            rows = [(g.what, g.goal, g.measured, "reached" if g.reached else "not reached") for g in self.goals]
            parts.append(_markdown_table(("", "goal", "measured", ""), rows))
        for table in self.tables:
            parts += [f"**{table.title}**", _markdown_table(table.columns, table.rows)]
        parts += [f"- {note}" for note in self.notes]
        return _joined(parts)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            title=facts["title"],
            command=facts["command"],
            goals=[Goal(**goal) for goal in facts["goals"]],
            tables=[Table(**table) for table in facts["tables"]],
            notes=facts["notes"],
        )


def _joined(parts: Sequence[str]) -> str:
    """Blank lines between parts, none between the items of one list."""
    text = ""
    for number, part in enumerate(parts):
        tight = number > 0 and part.startswith("- ") and parts[number - 1].startswith("- ")
        text += ("" if number == 0 else "\n" if tight else "\n\n") + part
    return text + "\n"


def _markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratios of pairs measured one right after the other."""

    median: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        each = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(each), min(each), max(each), len(each))

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f}-{self.high:.2f}, {self.pairs} pairs)"


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that was measured to its end.

    Attributes:
        seconds: from start to exit.
        peak_bytes: most memory that it held; from outside (a fresh process inherits its parent's peak,
            so processes that want the exact figure print it themselves, see `PEAK_CODE`).
        read_blocks: blocks of 512 bytes that had to come from the disk; 0 when every file was in memory already.
        status: exit status; negative for a signal.
        output: standard output.
    """

    seconds: float
    peak_bytes: int
    read_blocks: int
    status: int
    output: str


def run_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a process to its end and measure it; its stderr is shown only when it fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment_with(environment)
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode > 0:
            sys.stderr.write(err.read().decode("utf-8", "replace"))
        scale = 1 if sys.platform == "darwin" else 1024
        return Ended(
            seconds, usage.ru_maxrss * scale, usage.ru_inblock, child.returncode, out.read().decode("utf-8")
        )


def require_success(ended: Ended, command: Sequence[str]) -> Ended:
    if ended.status != 0:
        raise SystemExit(f"exit status {ended.status}: {shlex.join(command)}")
    return ended


PEAK_CODE = """
import sys
from pathlib import Path
def peak_bytes():
    import resource
    if Path("/proc/self/status").exists():
        line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
"""Python code that defines ``peak_bytes()``: the most memory that the process itself has held."""


def environment_with(more: Mapping[str, str] | None) -> dict[str, str]:
    """This process's environment, without network for hubs, and with ``more``."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", **(more or {})}


def machine() -> list[tuple[str, str]]:
    """What the figures were measured on: facts with their names."""
    installed = []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return [
        ("processor", f"{_processor()}, {cores()} cores"),
        ("memory", _memory()),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("packages", ", ".join(installed)),
    ]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return platform.processor() or "unknown"
    lines = facts.read_text(encoding="utf-8").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [wide for wide in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if wide in flags]
    return f"{name} ({', '.join(known)})" if known else name


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every script takes."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("TEXTKIN_BENCH_DATA") or None,
        help="folder with real texts, see benchmarks/README.md (environment: TEXTKIN_BENCH_DATA)",
    )
    parser.add_argument("--work", type=Path, help="folder for vectors that are kept between runs")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    return parser


def work_folder(options: argparse.Namespace) -> Path:
    """A folder that outlives the run; the ledger of this process and of its children lies there from now on."""
    if options.work is None:
        from textkin._places import cache_folder

        options.work = cache_folder() / "benchmarks"
    place: Path = options.work.resolve()
    place.mkdir(parents=True, exist_ok=True)
    os.environ["TEXTKIN_DATA"] = str(place / "data")
    return place


def command_line(script: str, given: Sequence[str]) -> str:
    """What a reader types to get the figures again: without this machine's folders."""
    kept: list[str] = []
    hidden = {
        "--data": "DIR",
        "--input": "FILE",
        "--json": None,
        "--work": None,
        "--write": None,
        "--peer-folder": "DIR",
        "--peer-python": "PYTHON",
        "--vectors": "FILE.npy",
    }
    words = iter(given)
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in hidden:
            kept.append(word)
            continue
        if not equals:
            next(words, None)
        shown = hidden[option]
        if shown is not None:
            kept += [option, shown]
    return shlex.join(["python", f"benchmarks/{script}", *kept])


def finish(report: Report, options: argparse.Namespace) -> None:
    """Show the report, and save it where that was asked."""
    print(report.markdown(), flush=True)
    if options.json:
        report.save(options.json)


def say(line: str) -> None:
    """What is going on, on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def folder_bytes(place: Path) -> int:
    """Bytes of all files below a folder (each hard-linked or linked file once)."""
    seen: dict[Path, int] = {}
    for file in place.rglob("*"):
        if file.is_file():
            real = file.resolve()
            seen[real] = real.stat().st_size
    return sum(seen.values())


def timed(work: Any, *given: Any) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start
