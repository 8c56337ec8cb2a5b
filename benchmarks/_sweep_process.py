"""Commands run with one of their file-changing calls broken, or with all of them written down.

``_sweep_hook.c`` is compiled with the machine's C compiler and loaded into a server process, which imports what
the commands import and forks a child for each: nothing of one run is in the next, and no run pays for the start.
Run as a script, this file is that server.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import TracebackType

KILLS = {"kill before": 1, "kill after": 2, "kill in the middle": 3}
ACTS = {**KILLS, "fail once": 4, "fail from there on": 5, "short": 6, "half, then fail from there on": 7}
OPS = (
    *("open", "write", "resize", "rename", "unlink", "mkdir", "rmdir", "link"),
    *("symlink", "chmod", "sync", "send", "mark"),
)
_CONTROL = "TEXTKIN_SWEEP_CONTROL"
_GROWS = frozenset({"open", "write", "resize", "mkdir", "link", "symlink", "sync"})
_NAMES = frozenset({"open", "rename", "unlink", "mkdir", "rmdir", "link", "symlink", "chmod"})
_CAN_GIVE = {
    errno.ENOSPC: _GROWS,
    errno.EDQUOT: _GROWS,
    errno.EACCES: _NAMES,
    errno.EPERM: _NAMES,
    errno.ECONNRESET: frozenset({"send"}),
    errno.EPIPE: frozenset({"send"}),
}
"""Which calls can fail so; with any other error all that change files can."""
_PATIENCE = 120
_LEFT_OUT = ("__main__", ".ray", "torch", "pgvector", "pinecone", "lance", "chroma", "qdrant", "cohere", "openai")
"""Modules of textkin's that import what a server leaves to its children."""
COMMON = ("pandas", "pyarrow.parquet", "pyarrow.dataset", "rich.table", "rich.console", "filelock", "fsspec")
"""What most commands import besides."""


class Control(ctypes.Structure):
    """``struct control`` of the hook."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("at", ctypes.c_int64),
        ("fired", ctypes.c_int64),
        ("act", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("sockets", ctypes.c_int32),
        ("recording", ctypes.c_int32),
        ("lock", ctypes.c_int32),
        ("allowed", ctypes.c_int32),
        ("root", ctypes.c_char * 4096),
        ("log", ctypes.c_char * 4096),
    )


class _Header(ctypes.Structure):
    """``struct entry`` of the hook."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("created", ctypes.c_uint8),
        ("truncated", ctypes.c_uint8),
        ("shrunk", ctypes.c_uint8),
        ("first", ctypes.c_int32),
        ("second", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One call that went well.

    Attributes:
        op: one of `OPS`.
        path: what it changed, without links of the way; of a mark, what was said.
        other: the new name of a rename or link; what a symlink points to.
        created: the file was not there.
        truncated: it was emptied by being opened.
        shrunk: a resize may make it smaller too.
        offset: of a write; the size of a resize.
        data: what was written.
    """

    op: str
    path: str
    other: str
    created: bool
    truncated: bool
    shrunk: bool
    offset: int
    data: bytes


def read_log(path: Path) -> Iterator[Call]:
    """What a recorded run did, in order."""
    content, at, size = path.read_bytes(), 0, ctypes.sizeof(_Header)
    while at < len(content):
        head = _Header.from_buffer_copy(content, at)
        at += size
        op = OPS[head.op - 1]
        parts = []
        for length in (head.first, head.second, head.length if op == "write" else 0):
            parts.append(content[at : at + length])
            at += length
        first, second = (os.fsdecode(part) for part in parts[:2])
        if op not in ("mark", "symlink"):
            second = os.path.normpath(second) if second else ""
        yield Call(
            op,
            first if op == "mark" else os.path.normpath(first),
            second,
            bool(head.created),
            bool(head.truncated),
            bool(head.shrunk),
            head.offset,
            parts[2],
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """What is broken: one call, by its number, and how.

    Attributes:
        at: the call, from 1.
        act: one of `ACTS`.
        error: the number of the error.
    """

    at: int
    act: str
    error: int = 0

    def __str__(self) -> str:
        return f"{self.act}{' with ' + errno.errorcode[self.error] if self.error else ''} at call {self.at}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        code: its exit code; -9 when it was killed, None when it had to be stopped because it did not end.
        out: its stdout.
        err: its stderr.
        calls: file-changing calls that it made.
        fired: how many of them were broken.
    """

    code: int | None
    out: str
    err: str
    calls: int
    fired: int


def why_not() -> str | None:
    """Why commands can't be broken here, or None."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "calls are broken with LD_PRELOAD, which needs Linux with glibc"
    if shutil.which("cc") is None:
        return "there is no C compiler: install one (on Debian: apt install gcc libc6-dev)"
    return None


def compiled_hook(folder: Path) -> Path:
    """The hook as a library in this folder."""
    library = folder / "sweep_hook.so"
    source = Path(__file__).with_name("_sweep_hook.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Server:
    """The process that forks a child for each command.

    Args:
        hook: the compiled library.
        scratch: a folder for orders, logs and outputs; not the one that is watched.
        modules: what the server imports for all children; what starts threads when imported can't be among it.
    """

    def __init__(self, hook: Path, scratch: Path, modules: Sequence[str] = ()) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.log = scratch / "calls.log"
        self._orders, self._out, self._err = (scratch / name for name in ("control", "stdout", "stderr"))
        self._orders.write_bytes(bytes(ctypes.sizeof(Control)))
        with self._orders.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._control = Control.from_buffer(self._map)
        environment = {**os.environ, "LD_PRELOAD": str(hook), "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment.pop(_CONTROL, None)
        command = [
            sys.executable,
            str(Path(__file__).resolve()),
            str(self._orders),
            str(self._out),
            str(self._err),
        ]
        self._process = subprocess.Popen(
            [*command, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self,
        command: Sequence[str],
        root: Path,
        environment: Mapping[str, str],
        fault: Fault | None = None,
        *,
        record: bool = False,
        sockets: bool = False,
    ) -> Ended:
        """Run ``textkin`` with these arguments in ``root``, whose files are watched.

        A command that begins with a name ending in ``.py`` is that script.
        """
        self.log.unlink(missing_ok=True)
        control = self._control
        control.count = control.fired = control.lock = 0
        control.at, control.act, control.error = (
            (0, 0, 0) if fault is None else (fault.at, ACTS[fault.act], fault.error)
        )
        able = _CAN_GIVE.get(control.error, frozenset(OPS) - {"send"})
        control.allowed = sum(2 << number for number, op in enumerate(OPS) if op in able)
        control.sockets, control.recording = int(sockets), int(record)
        control.root, control.log = os.fsencode(root.resolve()), os.fsencode(self.log)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([list(command), str(root), dict(environment)]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the server process has ended")
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in (self._out, self._err))
        return Ended(json.loads(answer), out, err, control.count, control.fired)


def _own_modules() -> Iterator[str]:
    import textkin

    return (found.name for found in walk_packages(textkin.__path__, "textkin."))


def _serve(orders: str, out: str, err: str, modules: Sequence[str]) -> list[str]:
    """Fork a child for each line of stdin; comes back only in a child, with its command."""
    for name in [*modules, *(name for name in _own_modules() if not any(part in name for part in _LEFT_OUT))]:
        import_module(name)
    gc.freeze()
    running = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    if len(running) - running.count("jemalloc_bg_thd") > 1:  # Arrow's allocator sees to its own thread
        raise SystemExit(f"the threads {running} run after importing {', '.join(modules)}: can't fork")
    attach = ctypes.CDLL(None).sweep_attach
    for line in sys.stdin:
        command, folder, environment = json.loads(line)
        child = os.fork()
        if child == 0:
            for number, path in ((1, out), (2, err)):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(file, number)
                os.close(file)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.close(nothing)
            os.environ.update(environment)
            os.environ[_CONTROL] = orders
            os.chdir(folder)
            attach(os.fsencode(orders))
            return [str(part) for part in command]
        sys.stdout.write(json.dumps(_ended(child)) + "\n")
        sys.stdout.flush()
    raise SystemExit(0)


def _ended(child: int) -> int | None:
    """Wait for a child; its exit code, or None when its time was up."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(_PATIENCE)
    try:
        _, status = os.waitpid(child, 0)
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    finally:
        signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.argv = ["textkin", *_serve(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])]
    if sys.argv[1].endswith(".py"):
        import runpy

        del sys.argv[0]
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        from textkin.cli.main import main

        main()
