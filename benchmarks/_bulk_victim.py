"""A bulk job that is to be killed: the moment of its end, the process, and what is left afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from _bulk_cases import Place, Trap, Way

_PATIENCE = 3600.0
_TRAPS = (
    ("replace", "kill before", "between a file and its name"),
    ("replace", "kill after", "right after a rename"),
    ("fsync", "kill before", "written, not on the disk"),
    ("fsync", "kill after", "on the disk, not renamed"),
    ("parquet", "kill after", "while a shard is written"),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a process is killed: after so many seconds, or by the hook at the n-th call of a kind."""

    what: str
    delay: float = 0.0
    trap: Trap | None = None


def a_moment(place: Place, first: float, seconds: float, shards: int, chance: random.Random) -> Moment:
    """Any moment of the run, or one at which a file is half-written, unnamed, or there without its marker.

    Args:
        place: of the job.
        first: seconds until an undisturbed run has a shard.
        seconds: that it takes in all; 0: never at a time, always by the hook.
        shards: of an undisturbed run.
        chance: what is drawn from.
    """
    if seconds and chance.random() < 0.5:
        early = chance.random() < 0.25
        return Moment("at any time", chance.uniform(0, first) if early else chance.uniform(first, seconds))
    call, do, what = chance.choice(_TRAPS)
    # Each shard is a file and its marker, with its rejects a third; before them come job.json and the like.
    most = shards if call == "parquet" else 3 * shards + 4
    nth = chance.randint(1, most) if chance.random() < 0.7 else chance.randint(1, 4)
    return Moment(what, trap={"call": call, "below": str(place.out), "nth": nth, "do": do})


class Victim:
    """One process of a job."""

    def __init__(self, place: Place, way: Way, source: Path, *more: str, trap: Trap | None = None) -> None:
        place.folder.mkdir(parents=True, exist_ok=True)
        with place.log.open("ab") as log:
            log.write(b"R\n")
        self._errors, self._output = place.folder / "stderr.txt", place.folder / "stdout.txt"
        self.start = time.monotonic()
        with self._errors.open("wb") as errors, self._output.open("wb") as output:
            self.process = subprocess.Popen(
                way.command(source, place.out, *more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=place.environment(trap),
            )

    def __enter__(self) -> Victim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def kill_at(self, moment: Moment) -> bool:
        """Kill at the moment; False when the process ended by itself before."""
        if moment.trap is None:
            try:
                self.process.wait(timeout=max(0.0, self.start + moment.delay - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.finish() == -signal.SIGKILL

    def first_file(self, place: Place) -> float:
        """Seconds until there is a shard, or until the end."""
        while self.process.poll() is None and not any(place.out.glob("*.parquet")):
            time.sleep(0.002)
        return self.seconds

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        os.kill(self.process.pid, number)

    def finish(self) -> int:
        """Wait for the end; the exit status."""
        return self.process.wait(timeout=_PATIENCE)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def errors(self) -> str:
        """The end of what it said on stderr."""
        return self._errors.read_text(encoding="utf-8", errors="replace")[-3000:]

    def output(self) -> str:
        """What it said on stdout."""
        return self._output.read_text(encoding="utf-8", errors="replace")
