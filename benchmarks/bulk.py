"""Speed and memory of bulk jobs: beside the bare engine, on Ray, and beside what others do with the same texts."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from _bulk_memory import memory
from _bulk_runs import Measured, Runs, least_cosine, peers_of
from _common import Goal, Ratio, Report, Table, arguments, command_line, cores, finish, megabytes, say
from _texts import describe, short_texts

BARE_GOAL = 0.9
RAY_GOAL = 15.0
EQUAL = 0.9999
BATCHES = (16, 32, 64)
DTYPES = ("float16", "int8", "binary")
SECTIONS = ("engine", "peers", "ray", "forms", "memory")
_BLOCK = 512
_TUNE = 1000


def in_rounds(ways: dict[str, Callable[[], Measured]], rounds: int) -> dict[str, list[Measured]]:
    """Each once a round, in changing order."""
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(ways[name]())
            say(f"  round {number + 1}, {name}: {found[name][-1].seconds:.1f} s")
    return found


def seconds(runs: Sequence[Measured]) -> list[float]:
    return [run.seconds for run in runs]


def rate(count: int, runs: Sequence[Measured]) -> str:
    return f"{count / statistics.median(seconds(runs)):,.0f}"


def engine(runs: Runs, model: str, precision: str, rounds: int, report: Report) -> None:
    """The whole job against the engine alone, both as whole processes that read the same file."""
    more = () if precision == "float32" else ("--precision", precision)
    ways: dict[str, Callable[[], Measured]] = {
        "job": lambda: runs.job(model, *more),
        "job, --no-ledger": lambda: runs.job(model, "--no-ledger", *more),
        f"bare engine, blocks of {_BLOCK}": lambda: runs.bare(model, precision, _BLOCK),
        "bare engine, all at once": lambda: runs.bare(model, precision, 0),
    }
    found = in_rounds(ways, rounds)
    runs.job(model, *more)
    cosine = least_cosine(runs.vectors(), runs.bare_vectors())
    bare = found[f"bare engine, blocks of {_BLOCK}"]
    columns = ("", "texts/s (median)", "of the bare engine's in blocks", "of it all at once", "peak memory")
    table = Table(f"{model}, {precision}: whole processes over {runs.count:,} texts", columns)
    for name, each in found.items():
        ratios = [
            str(Ratio.of(seconds(other), seconds(each))) for other in (bare, found["bare engine, all at once"])
        ]
        peak = megabytes(max(run.tree_peak for run in each))
        table.rows.append((name, rate(runs.count, each), *ratios, peak))
    report.tables.append(table)
    for name in ("job", "job, --no-ledger"):
        ratio = Ratio.of(seconds(bare), seconds(found[name]))
        report.goals.append(
            Goal(
                f"{model}, {precision}, {name}: throughput by the bare engine's",
                f">= {BARE_GOAL}, same vectors",
                f"{ratio.median:.2f} at cosine {cosine:.6f}",
                ratio.median >= BARE_GOAL and cosine >= (EQUAL if precision == "float32" else 0.99),
            )
        )
    stages = found["job"][-1].facts.get("stages", {})
    table = Table(f"{model}, {precision}: where the job's time goes, all threads together", ("stage", "share"))
    table.rows += [(str(name), f"{float(value):.1%}") for name, value in stages.items()]
    report.tables.append(table)


def peers(runs: Runs, model: str, python: str, folder: str, rounds: int, report: Report) -> None:
    """What others do with the same texts on the same machine, each at its fastest setting."""
    there = peers_of(python)
    if "loop" not in there:
        report.notes.append("The peers were not measured: no sentence-transformers here (--peer-python).")
        return
    part = Runs.of(_texts_of(runs)[:_TUNE], _below(runs.folder, "part"))
    one = {"block": 4096, "threads": cores(), "actors": 1}
    tried = {
        batch: part.peer(python, "loop", folder, {**one, "batch": batch})[0].facts["seconds"] for batch in BATCHES
    }
    batch = min(tried, key=lambda size: float(tried[size]))
    say(f"  sentence-transformers is fastest with batches of {batch}")
    one["batch"] = batch
    settings = {
        f"a loop over sentence-transformers, np.save ({cores()} threads)": ("loop", one),
        f"datasets.map with it ({cores()} threads)": ("datasets", {**one, "block": 1024}),
        f"Ray Data's map_batches with it (1 actor, {cores()} threads)": ("ray", {**one, "block": _BLOCK}),
        f"Ray Data's map_batches with it ({cores()} actors, 1 thread)": (
            "ray",
            {**one, "block": _BLOCK, "threads": 1, "actors": cores()},
        ),
    }
    settings = {name: way for name, way in settings.items() if way[0] in there}
    runs.job(model)
    ours = runs.vectors()
    cosines: dict[str, float] = {}
    versions: dict[str, str] = {}

    def way(name: str, kind: str, chosen: dict[str, int]) -> Callable[[], Measured]:
        def run() -> Measured:
            done, vectors = runs.peer(python, kind, folder, chosen)
            cosines[name] = least_cosine(ours, vectors)
            versions[name] = done.facts["versions"]
            return done

        return run

    ways: dict[str, Callable[[], Measured]] = {"textkin, float32": lambda: runs.job(model)}
    ways["textkin, int8"] = lambda: runs.job(model, "--precision", "int8")
    ways |= {name: way(name, *chosen) for name, chosen in settings.items()}
    found = in_rounds(ways, rounds)
    columns = ("", "texts/s (median)", "textkin float32 by it", "peak memory", "least cosine", "versions")
    title = f"{model}: the same {runs.count:,} texts from Parquet to vectors on the disk, batches of {batch}"
    table = Table(title, columns)
    for name, each in found.items():
        ratio = Ratio.of(seconds(each), seconds(found["textkin, float32"]))
        peak = megabytes(max(run.tree_peak for run in each))
        cosine = f"{cosines[name]:.6f}" if name in cosines else ""
        by = str(ratio) if name in cosines else ""
        table.rows.append((name, rate(runs.count, each), by, peak, cosine, versions.get(name, "")))
    report.tables.append(table)
    report.goals.append(
        Goal(
            "vectors of all peers beside textkin's float32",
            f"cosine >= {EQUAL}",
            f"{min(cosines.values()):.6f}",
            min(cosines.values()) >= EQUAL,
        )
    )


def ray(runs: Runs, model: str, rounds: int, report: Report) -> None:
    """The same job on a Ray cluster of this machine; what starting it costs is told apart."""
    kinds = {
        "local": ("--engine", "local"),
        f"Ray, 1 worker x {cores()} threads": ("--engine", "ray", "--workers", "1", "--threads", str(cores())),
        f"Ray, {cores()} workers x 1 thread": ("--engine", "ray", "--workers", str(cores()), "--threads", "1"),
        "Ray, 1 worker x 1 thread": ("--engine", "ray", "--workers", "1", "--threads", "1"),
        "local, 1 thread": ("--engine", "local", "--workers", "1", "--threads", "1"),
    }

    def way(more: tuple[str, ...]) -> Callable[[], Measured]:
        return lambda: runs.job(model, "--no-ledger", *more)

    whole = in_rounds({name: way(more) for name, more in kinds.items()}, rounds)
    work = {name: [float(run.facts["seconds"]) for run in each] for name, each in whole.items()}
    columns = (
        "",
        "texts/s, whole process",
        "start and end, seconds",
        "texts/s of the work",
        "overhead",
        "peak memory",
    )
    starts = {
        name: [all_of - part for all_of, part in zip(seconds(whole[name]), work[name], strict=True)]
        for name in kinds
    }
    table = Table(f"{model}: {runs.count:,} texts on one machine", columns)
    names = list(kinds)
    pairs = {names[1]: names[0], names[2]: names[0], names[3]: names[4]}
    overheads: dict[str, float] = {}
    for name in names:
        shown = ""
        if name in pairs:
            ratio = Ratio.of(work[name], work[pairs[name]])
            overheads[name] = (ratio.median - 1) * 100
            shown = f"{overheads[name]:+.0f} % beside {pairs[name]}"
        table.rows.append(
            (
                name,
                rate(runs.count, whole[name]),
                f"{statistics.median(starts[name]):.1f}",
                f"{runs.count / statistics.median(work[name]):,.0f}",
                shown,
                megabytes(max(run.tree_peak for run in whole[name])),
            )
        )
    report.tables.append(table)
    best = min(names[1:3], key=overheads.__getitem__)
    report.goals.append(
        Goal(
            f"Ray's overhead on one node, {runs.count:,} texts, its start left out ({best})",
            f"< {RAY_GOAL:.0f} %",
            f"{overheads[best]:+.1f} %",
            overheads[best] < RAY_GOAL,
        )
    )
    scaling = Ratio.of(work[names[3]], work[names[2]])
    report.notes.append(
        f"Ray from 1 to {cores()} workers of one thread: {scaling} the texts a second. The work is what the "
        "command itself says it took once the model was loaded; what remains of the whole process is its start "
        "and end, for Ray that of a cluster and of its workers. Nothing outside the machine takes part."
    )


def forms(runs: Runs, model: str, report: Report) -> None:
    """What smaller numbers cost, as the command itself measures it on these texts before it writes."""
    columns = ("", "bytes a row in all", "by float32's", "recall@10", "best 40 scored again")
    table = Table(f"{model}: numbers in fewer bytes, {runs.count:,} texts", columns)
    whole = 0.0
    for form in ("float32", *DTYPES):
        runs.job(model, *_fast(model), "--dtype", form)
        size = sum(file.stat().st_size for file in runs.out.glob("*.parquet")) / runs.count
        whole = whole or size
        told = json.loads((runs.out / "_manifest.json").read_text(encoding="utf-8")).get("encoding") or {}
        recalls = (_share(told.get(name)) for name in ("recall_at_10", "recall_at_10_rescored"))
        table.rows.append((form, f"{size:,.0f}", f"{size / whole:.2f}", *recalls))
    report.tables.append(table)


def _share(found: dict[str, float] | None) -> str:
    """What the command says of these very texts, with its interval of 95 %."""
    return f"{found['value']:.3f} ({found['low']:.3f}-{found['high']:.3f})" if found else ""


def _fast(model: str) -> tuple[str, ...]:
    """The precision in which a model is fastest; the hashing model has but one."""
    return () if model.startswith("hashing") else ("--precision", "int8")


def _texts_of(runs: Runs) -> list[str]:
    import pyarrow.parquet as pq

    return [str(text) for text in pq.read_table(runs.source)["text"].to_pylist()]


def _below(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir(exist_ok=True)
    return place


def _given(options: argparse.Namespace) -> list[str]:
    """The texts of a file, or the benchmarks' own."""
    if options.input is None:
        return short_texts(options.data, options.count)
    from textkin.text.options import ReadOptions
    from textkin.text.read import read_inputs

    records = read_inputs([options.input], options=ReadOptions(text_column=options.text_column))
    return [record.text for record, _ in zip(records, range(options.count), strict=False)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--input", type=Path, metavar="FILE", help="Parquet, JSON lines or CSV with texts")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--count", type=int, default=20_000, help="texts at most")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precisions", default="float32,int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument(
        "--peer-python",
        metavar="PYTHON",
        default=sys.executable,
        help="has sentence-transformers, ray[data] and datasets",
    )
    parser.add_argument("--peer-folder", metavar="DIR", help="the peers' copy of the model; by default textkin's")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between")
    parser.add_argument("--memory-rows", default="100000,1000000", help="rows of the hashing model")
    parser.add_argument("--memory-texts", default="10000,100000", help="rows of --model in int8")
    options = parser.parse_args()
    report = Report("Bulk jobs", command_line("bulk.py", sys.argv[1:]))
    sections = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="textkin-bulk-") as name:
        texts = _given(options)
        report.notes.append(f"{describe(texts)}; Parquet in, everything by whole processes with new ledgers.")
        runs = Runs.of(texts, Path(name))
        if "engine" in sections:
            for precision in options.precisions.split(","):
                engine(runs, options.model, precision, options.rounds, report)
        if "peers" in sections and not options.model.startswith("hashing"):
            folder = options.peer_folder or _fetched(options.model)
            peers(runs, options.model, options.peer_python, folder, options.peer_rounds, report)
        if "ray" in sections:
            ray(runs, options.model, options.rounds, report)
        if "forms" in sections:
            forms(runs, options.model, report)
        if "memory" in sections:
            sizes = [int(rows) for rows in options.memory_rows.split(",")]
            memory("hashing:64", (), sizes, None, _below(runs.folder, "memory"), report)
            sizes = [int(rows) for rows in options.memory_texts.split(",")]
            memory(options.model, _fast(options.model), sizes, options.data, _below(runs.folder, "memory"), report)
    finish(report, options)


def _fetched(model: str) -> str:
    """The folder of verified files that textkin itself uses: the peers read the same."""
    from textkin.models import weights

    return str(weights.fetch(model, None))


if __name__ == "__main__":
    main()
