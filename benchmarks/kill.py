"""Kill a real indexing process (kill -9) again and again: nothing acknowledged is lost, the result is the same."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _common import (
    Goal,
    Report,
    Table,
    arguments,
    command_line,
    finish,
    require_success,
    run_process,
    say,
)
from _kill_checks import after_kill, at_end, embedded_twice, largest_difference, snapshot
from _kill_victim import Case, Round, Victim, a_moment
from _texts import mixed_texts

_KILLS_A_ROUND = 5
Row = dict[str, str | int]


def records_of(texts: Sequence[str]) -> list[Row]:
    return [{"id": f"r{number}", "text": text, "number": number} for number, text in enumerate(texts)]


def revised(rows: Sequence[Row], more: Sequence[Row]) -> list[Row]:
    """A later state of the same source: a tenth of the texts changed, a tenth gone, some new, in another order."""
    later: list[Row] = []
    for number, row in enumerate(rows):
        if number % 10 == 3:
            later.append({**row, "text": f"{row['text']} (revised)"})
        elif number % 10 == 5:
            later.append({**row, "number": -number})
        elif number % 10 != 7:
            later.append(row)
    random.Random(1).shuffle(later)
    middle = len(later) // 2
    return [*later[:middle], *more, *later[middle:]]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def new_round(case: Case, folder: Path) -> Round:
    """An empty place, or a copy of what the case starts from."""
    if folder.exists():
        shutil.rmtree(folder)
    if case.base is not None:
        shutil.copytree(case.base, folder)
    else:
        folder.mkdir(parents=True)
    return Round(case, folder / "set.kin", folder / "data", folder / "asked.log")


def undisturbed(case: Case, model: str, folder: Path) -> Round:
    """Run a case to its end and keep what it gives."""
    turn = new_round(case, folder)
    case.before = snapshot(turn.place) if (turn.place / "collection.db").exists() else None
    turn.log.unlink(missing_ok=True)
    with Victim(turn, model) as victim:
        if victim.finish() != 0:
            raise SystemExit(f"the undisturbed run of {case.name!r} failed:\n{victim.errors()}")
        seconds = time.perf_counter() - victim.start
    case.marks = [("", 0.0), *((said[0], when) for said, when in victim.said)]
    case.marks.append(("end", seconds))
    case.wanted = snapshot(turn.place)
    say(f"  {case.name}: {len(case.wanted.records):,} records in {case.marks[-1][1]:.1f} s undisturbed")
    return turn


def cases(texts: Sequence[str], model: str, folder: Path) -> list[Case]:
    """All kinds of work, each run once undisturbed."""
    rows = records_of(texts)
    share = len(rows) * 6 // 7
    first = write_rows(folder / "first.jsonl", rows[:share])
    later = write_rows(folder / "later.jsonl", revised(rows[:share], rows[share:]))
    new = Case("new collection, new ledger", first)
    made = undisturbed(new, model, folder / "made")
    known = folder / "known"
    shutil.copytree(made.data, known / "data")
    update = Case("changed and gone records", later, base=folder / "made")
    warm = Case("new collection, full ledger", first, base=known)
    command = Case("textkin index", first, by_command=True)
    for number, case in enumerate((update, warm, command)):
        undisturbed(case, model, folder / f"undisturbed-{number}")
    return [new, update, warm, command]


@dataclass(slots=True)
class Findings:
    """What all rounds gave."""

    kills: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    before_creation: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    difference: float = 0.0
    problems: list[str] = field(default_factory=list)

    def wrong(self, case: Case, problems: Sequence[str]) -> None:
        for problem in problems:
            say(f"  WRONG ({case.name}): {problem}")
        self.problems += [f"{case.name}: {problem}" for problem in problems]


def one_round(case: Case, model: str, folder: Path, kills: int, chance: random.Random, found: Findings) -> None:
    """Start, kill, check, start again, until it finishes; at most ``kills`` kills."""
    turn = new_round(case, folder / "round")
    turn.log.unlink(missing_ok=True)
    for number in range(kills + 1):
        with Victim(turn, model) as victim:
            alive = victim.finish() != -9 if number == kills else not victim.kill_at(a_moment(case, chance))
        for (mark, *ids), _ in victim.said:
            if mark == "stored":
                turn.acknowledged.update(dict.fromkeys(ids))
        if alive:
            if victim.process.returncode != 0:
                found.wrong(case, [f"restart failed with status {victim.process.returncode}: {victim.errors()}"])
            break
        found.kills[case.name] += 1
        turn.killed.add(victim.process.pid)
        problems, final = after_kill(
            turn.place, turn.data, folder / "copy", list(turn.acknowledged), case.wanted, case.before
        )
        found.wrong(case, problems)
        found.acknowledged[case.name] += len(turn.acknowledged)
        found.before_creation[case.name] += not (turn.place / "collection.db").exists()
        if case.by_command:
            # The command says nothing; what was seen on disk once must be there for good.
            turn.acknowledged.update(dict.fromkeys(sorted(final)))
    found.finished[case.name] += 1
    wrong = at_end(turn.place, case.wanted)
    found.wrong(case, wrong)
    if not wrong:
        found.difference = max(found.difference, largest_difference(turn.place, case.wanted))
    twice, sent, again = embedded_twice(turn.log, turn.killed)
    found.wrong(case, twice)
    found.sent[case.name] += sent
    found.again[case.name] += again


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--texts", type=int, default=2400)
    parser.add_argument("--seed", type=int, help="repeats the moments; by default they differ from run to run")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    chance = random.Random(seed)
    report = Report("kill -9", command_line("kill.py", sys.argv[1:]))
    found = Findings()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="textkin-kill-") as name:
        folder = Path(name)
        load = [sys.executable, "-c", "import sys, textkin; textkin.load_model(sys.argv[1])", options.model]
        require_success(run_process(load), load)
        kinds = cases(mixed_texts(options.data, options.texts), options.model, folder)
        number = 0
        while found.kills.total() < options.kills:
            left = options.kills - found.kills.total()
            one_round(kinds[number % len(kinds)], options.model, folder, min(left, _KILLS_A_ROUND), chance, found)
            number += 1
            say(f"  {found.kills.total()} kills, {found.finished.total()} collections finished")
    fill(report, kinds, found, options.model, seed, time.monotonic() - start)
    finish(report, options)
    return 1 if found.problems else 0


def fill(report: Report, kinds: Sequence[Case], found: Findings, model: str, seed: int, seconds: float) -> None:
    kills = found.kills.total()
    outcome = f"{len(found.problems)} violations in {kills} kills, {found.finished.total()} collections finished"
    report.goals.append(
        Goal(
            f"{kills} random kill -9 of a process that indexes with {model}",
            "no acknowledged record lost, same result, nothing finished embedded again",
            outcome,
            not found.problems,
        )
    )
    columns = (
        "work",
        "kills",
        "before creation",
        "acknowledged, checked",
        "texts embedded",
        "again",
        "finished",
    )
    table = Table("What was killed", columns)
    for case in kinds:
        counts = (found.kills, found.before_creation, found.acknowledged, found.sent, found.again, found.finished)
        table.rows.append((case.name, *(f"{count[case.name]:,}" for count in counts)))
    report.tables.append(table)
    report.notes += [
        f"Seed {seed}, {seconds / 60:.1f} minutes. Largest difference of a vector's coordinate from the "
        f"undisturbed run: {found.difference:.1e} (allowed: 1e-5).",
        "After each kill, on a copy: integrity_check of both databases, every acknowledged record with text, "
        "metadata and vectors, no half-written record, search finds what is stored. At the end: ids and their "
        "order, texts, metadata and vectors equal to the undisturbed run's. A text may be sent to the model again "
        "only when its block was in flight.",
        *found.problems[:50],
    ]


if __name__ == "__main__":
    raise SystemExit(main())
