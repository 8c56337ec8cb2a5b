"""Run every benchmark, one after the other, and write their figures to a page."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _common import ROOT, Report, arguments, machine, say

_QUICK = {
    "engine.py": ["--short", "400", "--mixed", "200", "--rounds", "3", "--starts", "3", "--memory-texts", "300"],
    "quality.py": ["--limit", "300"],
    "search.py": ["--records", "2000", "--rounds", "10", "--searches", "3"],
    "kill.py": ["--kills", "10", "--texts", "800"],
    "faults.py": ["--texts", "1000", "--request", "20", "--kills", "3", "--kinds", "429,cut,null,quota,400,cap"],
    "providers.py": ["--texts", "4000", "--rounds", "2", "--sizes", "256,2048"],
    "stores.py": ["--rows", "1000", "--rounds", "1", "--queries", "10"],
    "bulk.py": ["--count", "300", "--rounds", "1", "--memory-rows", "2000,8000", "--memory-texts", "200,400"],
    "bulk_kill.py": ["--kills", "6", "--texts", "3000", "--shard-rows", "256"],
    "calibration.py": ["--models", "all-MiniLM-L6-v2", "--limit", "400", "--splits", "2"],
    "fidelity.py": ["--models", "all-MiniLM-L6-v2", "--texts", "500", "--queries", "100", "--rows", "2000"],
}
_ORDER = (
    "engine.py",
    "search.py",
    "quality.py",
    "calibration.py",
    "kill.py",
    "faults.py",
    "providers.py",
    "stores.py",
    "fidelity.py",
    "bulk.py",
    "bulk_kill.py",
)
_HEAD = """# Benchmarks

Made by `python benchmarks/run_all.py --write docs/benchmarks.md`; don't edit it by hand. What each script does and
what it needs is in `benchmarks/README.md`. Every ratio compares two things that were measured one right after the
other, on the same machine, in the same run. Sections may be of different days.
"""


def page(reports: Sequence[Report], facts: Sequence[tuple[str, str]], before: str = "") -> str:
    """The whole page as Markdown.

    Args:
        reports: new sections.
        facts: about the machine.
        before: the page as it was; its sections that are not made anew stay.
    """
    about = "\n".join(
        f"- {name}: {_with_old(fact, before) if name == 'packages' else fact}" for name, fact in facts
    )
    old = [f"## {part}".rstrip() + "\n" for part in before.split("\n## ")[1:]]
    sections = {part.partition("\n")[0]: part for part in old}
    sections |= {f"## {report.title}": report.markdown() for report in reports}
    return "\n".join([_HEAD, f"{about}\n", *sections.values()])


def _with_old(packages: str, before: str) -> str:
    """The packages, and those that the sections which stay were measured with and that are not here now."""
    line = next((line for line in before.splitlines() if line.startswith("- packages: ")), "- packages: ")
    here = packages.split(", ")
    names = {package.split()[0] for package in here}
    there = line.removeprefix("- packages: ").split(", ")
    return ", ".join([*here, *(one for one in there if one and one.split()[0] not in names)])


def run(script: str, more: Sequence[str], folder: Path) -> tuple[Report | None, int]:
    """Run one script; its report, where it came so far, and its exit status."""
    saved = folder / f"{script}.json"
    command = [sys.executable, str(Path(__file__).with_name(script)), "--json", str(saved), *more]
    say(f"== {script} {' '.join(more)}".rstrip())
    status = subprocess.run(command, check=False).returncode
    return (Report.load(saved) if saved.exists() else None), status


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page here, e.g. docs/benchmarks.md")
    parser.add_argument("--only", default=",".join(name.removesuffix(".py") for name in _ORDER))
    parser.add_argument("--quick", action="store_true", help="tiny runs: whether everything works, not how fast")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep each report there, and use those that are there"
    )
    options = parser.parse_args()
    if options.data is not None:
        os.environ["TEXTKIN_BENCH_DATA"] = str(options.data.resolve())
    more = ["--work", str(options.work)] if options.work else []
    chosen = [f"{name}.py" for name in options.only.split(",")]
    reports: list[Report] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for script in chosen:
            saved = folder / f"{script}.json"
            if saved.exists():
                reports.append(Report.load(saved))
                continue
            report, status = run(script, [*more, *(_QUICK[script] if options.quick else ())], folder)
            if report is not None:
                reports.append(report)
            if status != 0:
                failed.append(script)
    if options.write:
        target = options.write if options.write.is_absolute() else ROOT / options.write
        text = page(reports, machine(), target.read_text(encoding="utf-8") if target.exists() else "")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        say(f"written: {options.write}")
    for report in reports:
        for goal in report.goals:
            if not goal.reached:
                say(f"not reached: {report.title}: {goal.what}: {goal.measured} (goal {goal.goal})")
    for script in failed:
        say(f"failed: {script}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
