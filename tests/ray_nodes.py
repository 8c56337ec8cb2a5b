"""A real Ray cluster of two nodes on this machine, with token authentication, and what is left of a process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

TOKEN = "5e" * 32


@dataclass(frozen=True, slots=True)
class Nodes:
    """The head, and a second node that may be killed."""

    address: str
    head: subprocess.Popen[str]
    second: subprocess.Popen[str]

    def kill_second(self) -> None:
        """As a machine that loses its power: everything of the second node at once."""
        kill_session(self.second.pid)
        self.second.wait()


@contextlib.contextmanager
def two_nodes() -> Iterator[Nodes]:
    """One CPU each; joined with `TOKEN` only."""
    folder = tempfile.mkdtemp(prefix="kt", dir="/tmp")
    port, other = _free_port(), _free_port()
    address = f"127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        head = stack.enter_context(
            _node("--head", f"--port={port}", f"--temp-dir={folder}", f"--ray-client-server-port={other}")
        )
        yield Nodes(address, head, stack.enter_context(_node(f"--address={address}")))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _node(*options: str) -> Iterator[subprocess.Popen[str]]:
    ray = Path(sys.executable).with_name("ray")
    command = [ray, "start", *options, "--block", "--num-cpus=1", "--object-store-memory=100000000"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [*command, "--node-ip-address=127.0.0.1", *(["--include-dashboard=false"] if "--head" in options else [])],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "--block" in line:
                break
        else:
            raise AssertionError("".join(said))
        try:
            yield process
        finally:
            kill_session(process.pid)


def session_processes(leader: int) -> dict[int, str]:
    """Numbers and names of the processes in the session that this process began."""
    names = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                name, _, rest = (folder / "stat").read_text().rpartition(")")
                fields = rest.split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    names[int(folder.name)] = name.partition("(")[2]
    return names


def kill_session(leader: int, named: str = "") -> None:
    """Kill -9 the processes of a session; only those whose name begins so."""
    for process, name in session_processes(leader).items():
        if name.startswith(named):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def gone(leader: int, seconds: float = 120, but: Set[str] = frozenset()) -> dict[int, str]:
    """What is left of a session after at most so many seconds, or once that is ``but`` these names."""
    until = time.monotonic() + seconds
    while not set((left := session_processes(leader)).values()) <= but and time.monotonic() < until:
        time.sleep(0.1)
    return left
