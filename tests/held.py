"""The textkin command as a process that waits at a named point of its work until a test lets it go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOOK = Path(__file__).resolve().parents[1] / "benchmarks" / "_bulk_hook"
PATIENCE = 120.0
"""Seconds after which a test gives up: far more than any machine takes."""


def wait_until(there: Callable[[], object], what: str = "what was waited for") -> None:
    """Return once this is true.

    Raises:
        AssertionError: it did not come.
    """
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, f"{what} did not come in {PATIENCE:.0f} s"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Held:
    """A process that waits.

    Attributes:
        process: that it is.
        file: that keeps it waiting while it is there.
    """

    process: subprocess.Popen[str]
    file: Path

    def release(self) -> None:
        self.file.unlink(missing_ok=True)


@contextmanager
def held(*args: str, call: str, below: str | Path, nth: int) -> Iterator[Held]:
    """Run ``textkin`` with these arguments until its n-th call of a kind on files below a folder is made.

    Args:
        args: of the command.
        call: as benchmarks/_bulk_hook/sitecustomize.py knows it: ``replace``, ``fsync``, ``upsert`` …
        below: the folder; it need not exist yet.
        nth: from 1.
    """
    file = Path(".held").absolute()
    trap = {"call": call, "below": str(Path(below).absolute()), "nth": nth, "do": "hold", "file": str(file)}
    path = os.pathsep.join(part for part in (str(HOOK), os.environ.get("PYTHONPATH")) if part)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "textkin", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TEXTKIN_WATCH_TRAP": json.dumps(trap), "PYTHONPATH": path},
        # A shell's background jobs ignore Ctrl-C, and their children inherit that.
        preexec_fn=None if sys.platform == "win32" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            wait_until(lambda: file.exists() or process.poll() is not None, f"the {nth}th {call}")
            assert file.exists(), process.communicate()[1]
            yield Held(process, file)
        finally:
            file.unlink(missing_ok=True)
            process.kill()
