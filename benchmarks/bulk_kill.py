"""Kill bulk jobs (kill -9) again and again, fill and break their disks: same output, no text embedded twice."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from _bulk_cases import Place, Way, lines, repeated, variants
from _bulk_checks import IN_FLIGHT, Known, Onlooker, Output, asked_for, at_end, difference, read_output
from _bulk_cluster import Cluster
from _bulk_disks import CASES as DISKS
from _bulk_disks import broken, in_own_mounts
from _bulk_victim import Moment, Victim, a_moment
from _common import Goal, Report, Table, arguments, command_line, finish, say

_KILLS_A_ROUND = 6
_OTHER_INPUT = 0.4
"""How often the input changes between two processes, once there is a shard; also when the job was done."""
_EVENTS = ("re-ordered", "extended")


@dataclass(slots=True)
class Job:
    """One job as it should end, for each state of its input.

    Attributes:
        way: how it is called.
        source: the input; its content changes between runs.
        inputs: the states of the input, one after the other.
        wanted: what an undisturbed run makes of each.
        first: seconds until an undisturbed run of the first has a shard.
        seconds: that it takes in all.
        repeated: texts that come more than once.
    """

    way: Way
    source: Path
    inputs: list[list[bytes]]
    wanted: list[Output] = field(default_factory=list)
    first: float = 0.0
    seconds: float = 0.0
    repeated: set[str] = field(default_factory=set)

    def put(self, state: int) -> None:
        """Let the input have this state; whoever reads sees the old one or the new one."""
        temporary = self.source.with_suffix(".tmp")
        temporary.write_bytes(b"".join(self.inputs[state]))
        temporary.replace(self.source)


@dataclass(slots=True)
class Findings:
    """What all rounds gave."""

    kills: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    looked_at: int = 0
    sent: int = 0
    lost: int = 0
    at_once: int = 0
    most_open: int = 0
    difference: float = 0.0
    problems: list[str] = field(default_factory=list)

    def wrong(self, problems: Sequence[str]) -> None:
        for problem in problems:
            say(f"  WRONG: {problem}")
        self.problems += problems


def undisturbed(way: Way, texts: Sequence[bytes], more: Sequence[bytes], folder: Path) -> Job:
    """Run a job to its end for each state of its input, and keep what it gives."""
    states = variants(texts, more)
    job = Job(way, folder / "texts.jsonl", states, repeated=repeated(states[-1]))
    for state in range(len(states)):
        job.put(state)
        place = Place(folder / f"undisturbed-{state}")
        with Victim(place, way, job.source) as victim:
            first = victim.first_file(place)
            if victim.finish() != 0:
                raise SystemExit(f"the undisturbed run failed:\n{victim.errors()}")
            if not state:
                job.first, job.seconds = first, victim.seconds
                say(f"  {job.seconds:.1f} s undisturbed, the first shard after {first:.1f} s")
        job.wanted.append(read_output(place.out))
        asked = asked_for(place.log, job.repeated)
        if asked.lost or asked.problems:
            raise SystemExit(f"the undisturbed run embeds texts twice: {asked}")
        shutil.rmtree(place.folder)
    return job


def one_round(
    job: Job, folder: Path, kills: int, chance: random.Random, found: Findings, cluster: Cluster | None
) -> None:
    """Start, kill, look, start again, until it finishes; at most ``kills`` kills."""
    place = Place(folder / "round")
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir(parents=True)
    known = Known(job.wanted)
    state, killed = 0, 0
    job.put(state)
    with Onlooker(place.out, known) as onlooker:
        while True:
            moment = (
                a_moment(place, job.first, job.seconds, len(job.wanted[0].files), chance)
                if killed < kills
                else None
            )
            ended, struck = _one_process(job, place, moment, cluster, chance)
            killed += len(struck)
            found.kills.update(struck)
            if ended == 0:
                _judge_end(place, job.wanted[state], found)
            elif ended == -signal.SIGKILL:
                found.wrong(known.after_kill(place.out))
            else:
                found.wrong([f"a process ended with status {ended}: {_last_words(place)}"])
                break
            begun = any(place.out.glob("*.parquet"))
            if begun and state < len(job.inputs) - 1 and chance.random() < _OTHER_INPUT:
                done = "after it was done" if ended == 0 else "after a kill"
                found.events[f"{_EVENTS[state]} {done}"] += 1
                state += 1
                job.put(state)
            elif ended == 0:
                break
    found.wrong(onlooker.problems)
    found.looked_at += onlooker.seen
    asked = asked_for(place.log, job.repeated, cluster.in_flight if cluster else IN_FLIGHT)
    found.wrong(asked.problems)
    found.sent += asked.sent
    found.lost += asked.lost
    found.at_once += asked.at_once
    found.most_open = max(found.most_open, asked.most_open)


def _judge_end(place: Place, wanted: Output, found: Findings) -> None:
    wrong = at_end(place.out, wanted)
    found.wrong(wrong)
    found.finished += 1
    if not wrong:
        found.difference = max(found.difference, difference(read_output(place.out), wanted))


def _one_process(
    job: Job, place: Place, moment: Moment | None, cluster: Cluster | None, chance: random.Random
) -> tuple[int, list[str]]:
    """Run one process to its end, which may be violent; its status, and what was killed."""
    more = ["--resume", *(cluster.options if cluster else ())]
    target = cluster.target(chance) if cluster else "driver"
    trap = moment.trap if moment is not None and target == "driver" else None
    with Victim(place, job.way, job.source, *more, trap=trap) as victim:
        if moment is None:
            return victim.finish(), []
        if cluster is None or target == "driver":
            what = moment.what if cluster is None else f"the driver, {moment.what}"
            struck = [what] if victim.kill_at(moment) else []
            return victim.finish(), struck
        struck = cluster.strike(target, victim, moment)
        return victim.finish(), struck


def _last_words(place: Place) -> str:
    return (place.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")[-1500:]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--model", default="hashing:64")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--shard-rows", type=int, default=2048)
    parser.add_argument("--no-disks", action="store_true", help="leave out full and failing disks")
    parser.add_argument("--seed", type=int, help="repeats the moments; by default they differ from run to run")
    options = parser.parse_args()
    if not options.no_disks:
        in_own_mounts()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    chance = random.Random(seed)
    title = "kill -9 of bulk jobs" + (" on Ray" if options.engine == "ray" else "")
    report = Report(title, command_line("bulk_kill.py", sys.argv[1:]))
    found = Findings()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="textkin-bulk-kill-") as name, ExitStack() as stack:
        folder = Path(name)
        cluster = None
        way = Way(options.model, options.shard_rows)
        texts = lines(options.texts, options.data)
        job = undisturbed(way, texts, lines(options.texts // 6, options.data, 2, options.texts), folder)
        if options.engine == "ray":
            cluster = stack.enter_context(Cluster(Place(folder / "round")))
            with Victim(Place(folder / "calm"), way, job.source, *cluster.options) as calm:
                job.first = calm.first_file(Place(folder / "calm"))
                if calm.finish() != 0:
                    raise SystemExit(f"the undisturbed run on Ray failed:\n{calm.errors()}")
                job.seconds = calm.seconds
            found.wrong(at_end(folder / "calm" / "out", job.wanted[-1]))
        while found.kills.total() < options.kills:
            left = options.kills - found.kills.total()
            one_round(job, folder, min(left, _KILLS_A_ROUND), chance, found, cluster)
            say(f"  {found.kills.total()} kills, {found.finished} times at the end, {found.lost} texts lost")
        disks = Table("Disks", ("what", "exit code", "what it says", "embedded again"))
        job.put(-1)
        for case in () if options.no_disks or cluster else DISKS:
            what = broken(case, job.way, job.source, job.wanted[-1], job.repeated, folder)
            disks.rows.append(what.row)
            found.wrong(what.problems)
    fill(report, job, found, seed, time.monotonic() - start, options.texts)
    if disks.rows:
        report.tables.append(disks)
    finish(report, options)
    return 1 if found.problems else 0


def fill(report: Report, job: Job, found: Findings, seed: int, seconds: float, count: int) -> None:
    kills = found.kills.total()
    report.goals.append(
        Goal(
            f"{kills} random kill -9 over jobs of {count:,} texts, {job.way.model}",
            "output equal to an undisturbed run's, no text embedded twice but those in flight",
            f"{len(found.problems)} violations in {kills} kills, {found.finished} jobs judged at their end",
            not found.problems,
        )
    )
    table = Table("When it was killed", ("moment", "kills"))
    table.rows += [(what, f"{number:,}") for what, number in sorted(found.kills.items())]
    table.rows += [(f"(the input was {what})", f"{n:,}") for what, n in sorted(found.events.items())]
    report.tables.append(table)
    report.notes += [
        f"Seed {seed}, {seconds / 60:.1f} minutes; an undisturbed run takes {job.seconds:.1f} s and makes "
        f"{len(job.wanted[0].files)} shards. {found.sent:,} texts were sent to the model, {found.lost:,} of them "
        f"for the second time because a kill came before the ledger had them (at most {found.most_open:,} by one "
        f"kill), {found.at_once:,} because equal texts were under way in one run at once. Largest difference of a "
        f"coordinate from the undisturbed run: {found.difference:.1e} (allowed: 1e-5).",
        f"A reader beside the jobs opened each of {found.looked_at:,} Parquet files as soon as it was seen; after "
        "each kill all of them are read: every row must be that of the undisturbed run. At the end ids, texts, "
        "columns, rejects, counts and names of files are the same, bytes have the manifest's checksums, and "
        "nothing else lies there.",
        *found.problems[:50],
    ]


if __name__ == "__main__":
    raise SystemExit(main())
