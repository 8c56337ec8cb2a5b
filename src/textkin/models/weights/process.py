"""A process that downloads for us: watched by the bytes it writes, ended when they stop coming."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from textkin.errors import ModelNotFoundError

CHILD = Path(__file__).with_name("child.py")
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+@")


class Stalled(Exception):
    """The process did not answer or wrote nothing for too long."""


class Download:
    """A running process; leaving the ``with`` block ends it.

    Args:
        command: program and arguments.
        environment: of the process.
        folder: where it writes; its bytes are counted there.

    Raises:
        ModelNotFoundError: the program can't be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self._errors = folder.with_name("stderr.txt")
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
                )
        except FileNotFoundError as error:
            raise ModelNotFoundError(f"{command[0]!r} can't be started ({error.strerror})") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Download:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def ask(self, **message: Any) -> None:
        """Send one request; a process that has ended is noticed when its answer is read."""
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            return

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next message.

        Raises:
            Stalled: none came in time.
        """
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            raise Stalled(f"no answer within {seconds:.0f} s") from None

    def watch(self, patience: float, on_bytes: Callable[[int], None] | None) -> dict[str, Any]:
        """Wait for a last message (an error, done, or the end of the process) while bytes come in.

        Raises:
            Stalled: no new byte for ``patience`` seconds.
        """
        seen, moved = -1, time.monotonic()
        while True:
            try:
                message = self._messages.get(timeout=0.1)
            except queue.Empty:
                message = {}
            if message.get("event") in ("error", "done", "end"):
                return message
            size = _bytes_in(self._folder)
            if size != seen or message:
                seen, moved = size, time.monotonic()
                if on_bytes is not None:
                    on_bytes(size)
            elif time.monotonic() - moved > patience:
                raise Stalled(f"nothing came for {patience:.0f} s")

    def complaint(self) -> str:
        """The last lines that it wrote about an error, credentials masked."""
        lines = self._errors.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
        others = [line.strip() for line in lines if line.strip()]
        return masked("; ".join((errors or others)[-2:])) or "it gave no reason"

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is not None:
            for line in stream:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if isinstance(message, dict):
                    self._messages.put(message)
        self._messages.put({"event": "end", "code": self._process.wait()})


def python_command(*arguments: str) -> list[str]:
    """This Python running ``child.py``, with nothing of the current folder on its path."""
    return [sys.executable or "python3", "-P", str(CHILD), *arguments]


def quiet_environment(temporary: Path) -> dict[str, str]:
    """The user's own environment, with temporary files kept where they are cleaned up."""
    return {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)), "PYTHONIOENCODING": "utf-8"}


def masked(text: str) -> str:
    """A message of another program with user names and passwords in URLs taken out."""
    return _CREDENTIALS.sub("", text)


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except OSError:
                continue
    return total
