"""Power cuts: every command's file operations are written down, and the disks that a cut could leave are opened.

Each state holds all that was synced before the cut, and of the rest anything (`_disk_states`). After it, as after
a kill (`sweep.py`): whole records, old or new, no output half-written, and the next run finishes. What a program
was told is stored is there: a process that changes a collection says so after each step, and a cut after the end
of a command must leave all that it made.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _common import Goal, Report, Table, arguments, command_line, finish, say
from _disk_states import Disk, Names, differences, write
from _sweep_cases import Case, all_cases
from _sweep_checks import Watched, copied, look
from _sweep_process import COMMON, Server, compiled_hook, why_not
from _sweep_runs import CalmRunFailed, Prepared

_NAMES: tuple[Names, ...] = ("ordered", "reordered")
_AFTER = ("after the cut", "--id", "after", "--model", "hashing:64")
_CHILD = str(Path(__file__).with_name("_power_child.py"))


@dataclass(slots=True)
class Findings:
    """What the cuts of one case gave.

    Attributes:
        calls: that the run made.
        cuts: disks that were opened.
        acknowledged: cuts after which something that was told as stored had to be there.
        problems: what was wrong.
    """

    calls: int
    cuts: int = 0
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)


class Cuts:
    """One case: its run was written down, and is cut at any of its calls.

    Raises:
        CalmRunFailed: the calls don't make the files that the run left: not all of them were seen.
    """

    def __init__(self, prepared: Prepared, chance: random.Random) -> None:
        self._prepared, self._chance = prepared, chance
        self._disk = Disk(prepared.base, prepared.root, prepared.calls)
        self.found = Findings(len(prepared.calls))
        unseen = differences(self._disk.end(), prepared.root)
        if unseen:
            raise CalmRunFailed(f"{prepared.case.name}: not all changes of {', '.join(unseen)} were seen")

    def one(self) -> None:
        """Cut once, look, run again, look."""
        names = self._chance.choice(_NAMES)
        cut = self._chance.choice([self._chance.randint(0, self._disk.length), self._beside_a_sync()])
        self._prepared.clear()
        write(self._disk.state(cut, self._chance, names), self._prepared.root)
        self.found.cuts += 1
        case = self._prepared.case
        steps = case.command[0] == _CHILD
        problems = self._steps(cut) if steps else self._command(cut)
        last = self._prepared.calls[cut - 1] if cut else None
        where = (
            "" if last is None else f" ({last.op} {last.path.removeprefix(f'{self._prepared.root.resolve()}/')})"
        )
        self.found.problems += [
            f"{case.name}: after call {cut}{where[:120]}, {names}: {problem}" for problem in problems
        ]

    def _beside_a_sync(self) -> int:
        places = [
            number for number, call in enumerate(self._prepared.calls) if call.op in ("sync", "mark", "rename")
        ]
        if not places:
            return self._disk.length
        return min(self._disk.length, self._chance.choice(places) + self._chance.randint(0, 2))

    def _command(self, cut: int) -> list[str]:
        done = cut == self._disk.length
        self.found.acknowledged += done
        return [*self._prepared.left(done), *self._prepared.again()]

    def _steps(self, cut: int) -> list[str]:
        """Between two things that the process said only the second may be under way."""
        prepared = self._prepared
        place = prepared.case.command[1]
        said = [(number, call.path) for number, call in enumerate(prepared.calls) if call.op == "mark"]
        told = [json.loads(text) for number, text in said if number < cut]
        coming = [json.loads(text) for number, text in said if number >= cut][:1]
        self.found.acknowledged += bool(told)
        allowed = [*(told[-1:] or [{}]), *coming]
        copy = copied(prepared.root, prepared.root.parent / "looks")
        state = look(copy, Watched((place,), texts=prepared.case.watched.texts))
        shutil.rmtree(copy)
        problems = list(state.problems)
        left = state.collections[place]
        there = {} if left is None else {record.id: record.text for record in left.records}
        if there not in allowed:
            lost, foreign = allowed[0].keys() - there.keys(), there.keys() - allowed[-1].keys()
            problems.append(f"of what was told as stored {sorted(lost)} is not there; there is {sorted(foreign)}")
        ended = prepared.run(("add", place, *_AFTER))
        if ended.code != 0:
            problems.append(f"adding then ends with {ended.code}: {ended.err.strip()[-300:]}")
        return problems


def _cases() -> list[Case]:
    """All commands but those on other tools' databases, and two processes that say what is stored."""
    steps = [
        Case(f"step by step, {place}", (_CHILD, place), (), Watched((place,)), weight=6.0)
        for place in ("s.kin", "s.npy")
    ]
    return [*steps, *(case for case in all_cases() if not case.needs)]


def _cut_all(cases: Sequence[Case], cuts: int, chance: random.Random, work: Path) -> dict[str, Findings]:
    found = {}
    total = sum(case.weight for case in cases)
    with Server(compiled_hook(work), work / "server", COMMON) as server:
        for number, case in enumerate(cases):
            folder = work / f"case-{number}"
            try:
                one = Cuts(Prepared(case, server, folder), chance)
            except CalmRunFailed as error:
                found[case.name] = Findings(0, problems=[str(error)])
                say(f"  {error}")
                continue
            for _ in range(max(1, round(cuts * case.weight / total + 0.5))):
                one.one()
            shutil.rmtree(folder)
            found[case.name] = one.found
            wrong = one.found.problems
            say(f"  {case.name}: {one.found.calls} calls, {one.found.cuts} cuts, {len(wrong)} violations")
            for problem in wrong[:8]:
                say(f"    {problem[:600]}")
    return found


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--cuts", type=int, default=500, help="in all; at least one a command")
    parser.add_argument("--only", help="commands whose name holds one of these words, with commas between")
    parser.add_argument("--seed", type=int, help="repeats the cuts; by default they differ from run to run")
    parser.add_argument("--folder", type=Path, help="where to work; by default in memory where there is /dev/shm")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        raise SystemExit(f"power_cuts.py: {reason}")
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    report = Report("Power cuts", command_line("power_cuts.py", sys.argv[1:]))
    start = time.monotonic()
    memory = Path("/dev/shm")
    above = options.folder or (memory if memory.is_dir() else None)
    words = options.only.split(",") if options.only else [""]
    cases = [case for case in _cases() if any(word in case.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="textkin-power-", dir=above) as name:
        found = _cut_all(cases, options.cuts, random.Random(seed), Path(name))
    table = Table("Command by command", ("command", "calls", "cuts", "with something acknowledged", "violations"))
    for name, one in found.items():
        counts = (one.calls, one.cuts, one.acknowledged, len(one.problems))
        table.rows.append((name, *(f"{count:,}" for count in counts)))
    report.tables.append(table)
    cuts, problems = sum(one.cuts for one in found.values()), [p for one in found.values() for p in one.problems]
    told = f"{len(problems)} violations"
    report.goals.append(Goal(f"{cuts:,} cuts of {len(found)} runs", "no violation", told, not problems))
    report.notes += [f"Seed {seed}, {(time.monotonic() - start) / 60:.1f} minutes.", *problems[:200]]
    finish(report, options)
    print(f"{cuts} cuts, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
