"""An indexing process that is to be killed, what it works on, and the moment of its end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from _common import environment_with
from _kill_checks import Snapshot

_PATIENCE = 3600.0


@dataclass(slots=True)
class Case:
    """One kind of work that is killed.

    Attributes:
        name: how it is reported.
        records: the file that is indexed.
        base: collection and ledger that every round starts from.
        by_command: through ``textkin index`` instead of the API.
        before: the collection that a round starts from.
        wanted: what an undisturbed run gives.
        marks: when the undisturbed run said what, in seconds from its start.
    """

    name: str
    records: Path
    base: Path | None = None
    by_command: bool = False
    before: Snapshot | None = None
    wanted: Snapshot = field(default_factory=lambda: Snapshot((), {}))
    marks: list[tuple[str, float]] = field(default_factory=list)


@dataclass(slots=True)
class Round:
    """A collection that is being made, from the first process to the one that finishes."""

    case: Case
    place: Path
    data: Path
    log: Path
    acknowledged: dict[str, None] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Moment:
    """When to kill: ``delay`` seconds after the process said ``mark`` for the ``nth`` time ("" is its start)."""

    mark: str
    nth: int
    delay: float


class Victim:
    """An indexing process, what it says, and its end."""

    def __init__(self, turn: Round, model: str) -> None:
        case = turn.case
        if case.by_command:
            command = [sys.executable, "-m", "textkin", "index", str(case.records), "--to", str(turn.place)]
            command += ["--model", model, "--text-column", "text", "--id-column", "id"]
        else:
            script = Path(__file__).with_name("_kill_child.py")
            command = [sys.executable, str(script), str(turn.place), model, str(case.records), str(turn.log)]
        self._errors = turn.place.with_name("stderr.txt")
        self.start = time.perf_counter()
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment_with({"TEXTKIN_DATA": str(turn.data), "PYTHONUNBUFFERED": "1"}),
            )
        self.said: list[tuple[list[str], float]] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="reader")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n") and line.startswith(b"["):
                with self._news:
                    self.said.append((json.loads(line), time.perf_counter() - self.start))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def kill_at(self, moment: Moment) -> bool:
        """Wait for the moment and kill; False when the process ended by itself before."""
        if moment.mark:
            with self._news:
                self._news.wait_for(lambda: self._ended or self._heard(moment) is not None, timeout=_PATIENCE)
                heard = self._heard(moment)
            wait = 0.0 if heard is None else self.start + heard + moment.delay - time.perf_counter()
        else:
            wait = self.start + moment.delay - time.perf_counter()
        try:
            self.process.wait(timeout=max(0.0, wait))
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self.finish() == -9

    def __enter__(self) -> Victim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def finish(self) -> int:
        """Wait for the end; the exit status."""
        status = self.process.wait(timeout=_PATIENCE)
        self._reader.join()
        return status

    def errors(self) -> str:
        """The end of what it said on stderr."""
        return self._errors.read_text(encoding="utf-8", errors="replace")[-2000:]

    def _heard(self, moment: Moment) -> float | None:
        times = [when for (mark, *_), when in self.said if mark == moment.mark]
        return times[moment.nth] if len(times) > moment.nth else None


def a_moment(case: Case, chance: random.Random) -> Moment:
    """When to kill: at any time of the whole run, or between something that the process says and what follows.

    What is said: that it opens the collection, that it indexes, that the model has answered (then the ledger
    and the collection are written), that a batch is stored.
    """
    whole = case.marks[-1][1]
    names = sorted({name for name, _ in case.marks[:-1]})
    name = "" if chance.random() < 0.35 else chance.choice(names)
    if not name:
        early = chance.random() < 0.3
        return Moment("", 0, chance.uniform(0, min(whole, 0.8) if early else whole))
    numbers = [number for number, (mark, _) in enumerate(case.marks[:-1]) if mark == name]
    nth = min(int(chance.expovariate(1.0)), len(numbers) - 1)
    gap = case.marks[numbers[nth] + 1][1] - case.marks[numbers[nth]][1]
    return Moment(name, nth, chance.uniform(0, gap))
