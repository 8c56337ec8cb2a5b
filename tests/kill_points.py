"""A worker process that is killed at a point of its work, not after some time: the same on every machine.

What counts as a step: each statement that SQLite begins and ends, every so many of its instructions, each file
that is opened to write, renamed, removed or cut, and each fsync. A worker begins with `PRELUDE`, calls ``arm()``
when steps begin to count, and ``say``s what it has done; the last word is "end".
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

PRELUDE = """
import os, signal, sys
import apsw

_at, _steps, _armed = int(sys.argv[1]), 0, False

def _step(*_):
    global _steps
    if _armed:
        _steps += 1
        if _steps == _at:
            os.kill(os.getpid(), signal.SIGKILL)
    return True

def _watch_connection(connection):
    connection.trace_v2(apsw.SQLITE_TRACE_STMT | apsw.SQLITE_TRACE_PROFILE, _step)
    connection.set_progress_handler(lambda: not _step(), 2000)

def _watch_files(event, given):
    if event in ("os.rename", "os.remove", "os.truncate") or (event == "open" and (given[2] or 0) & 3):
        _step()

def _fsync(file, _real=os.fsync):
    _real(file)
    _step()

def arm():
    global _armed
    _armed = True

def say(*words):
    print(*words, _steps, flush=True)

os.fsync = _fsync
apsw.connection_hooks.append(_watch_connection)
sys.addaudithook(_watch_files)
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker said.

    Attributes:
        said: what it said, and how many steps it had taken then.
        killed: or it came to its end.
    """

    said: list[tuple[str, int]]
    killed: bool

    @property
    def steps(self) -> int:
        """How many it took, as far as it said."""
        return self.said[-1][1]


def run(code: str, *arguments: str, at: int = 0) -> Worker:
    """Run a worker that is killed at this step; 0: at none. Its own arguments are ``sys.argv[2:]``."""
    command = [sys.executable, "-c", PRELUDE + code, str(at), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = [line.rpartition(" ") for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    killed = done.returncode == -9
    assert killed or (done.returncode, lines[-1][0]) == (0, "end")
    return Worker([(words, int(steps)) for words, _, steps in lines], killed)


def spread(first: int, last: int, kills: int) -> Iterator[int]:
    """So many steps, evenly from the one to the other."""
    assert last - first >= kills > 1, f"only steps {first} to {last}"
    return (first + number * (last - first) // (kills - 1) for number in range(kills))
