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
    "calibration.py": ["--models", "all-MiniLM-L6-v2", "--limit", "400", "--splits", "2"],
}
_ORDER = ("engine.py", "search.py", "quality.py", "calibration.py", "kill.py")
_HEAD = """# Benchmarks

Made by `python benchmarks/run_all.py --write docs/benchmarks.md`; don't edit it by hand. What each script does and
what it needs is in `benchmarks/README.md`. Every ratio compares two things that were measured one right after the
other, on the same machine, in the same run.
"""


def page(reports: Sequence[Report], facts: Sequence[tuple[str, str]]) -> str:
    """The whole page as Markdown."""
    about = "\n".join(f"- {name}: {fact}" for name, fact in facts)
    return "\n".join([_HEAD, f"{about}\n", *(report.markdown() for report in reports)])


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
    text = page(reports, machine())
    if options.write:
        target = options.write if options.write.is_absolute() else ROOT / options.write
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
