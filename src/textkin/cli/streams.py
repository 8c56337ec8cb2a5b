"""The three standard streams of the command, whatever state they are in: closed, full, broken, of any encoding."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final, TextIO

from textkin.cli.visible import safe
from textkin.errors import InputError, StorageFullError, StoreError

_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG})
_closed: set[str] = set()
"""Names of streams that were closed, or not for writing, when the command began."""


def prepare() -> None:
    """Make all three usable, before anything else is opened.

    A closed descriptor would be the next file's, and what is printed would be written into that file, a database
    perhaps: it is opened on nothing instead. Characters that an encoding lacks are shown as escapes.
    """
    _closed.clear()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
            if number:
                os.write(number, b"")  # refused where it was opened for reading only
        except OSError as error:
            if error.errno != errno.EBADF:
                continue  # such as a full device: what is written there is missed when it is written
            _take(number)
            _closed.add(name)
        if getattr(sys, name) is None:
            _closed.add(name)
            mode = "w" if number else "r"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="backslashreplace"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def answering() -> None:
    """Called before rows or objects are written; refused when all is done, where stdout was closed."""
    if "stdout" in _closed:
        _closed.add("answer")


def finish() -> None:
    """Return when all that was written to stdout is out.

    Raises:
        BrokenPipeError: its reader has gone.
        InputError: it was closed, and there was something to answer.
        StoreError: it takes no more; see `output_error`.
    """
    sys.stdout.flush()
    if "answer" in _closed:
        raise InputError("standard output is closed, so the answer went nowhere; all else is done")


def output_error(error: OSError) -> StoreError | None:
    """What a failed write to stdout means, which gets nothing more; None where it was not stdout that failed."""
    try:
        sys.stdout.flush()
    except OSError:
        pass
    else:
        # A text larger than the buffer isn't kept for a second try; all others tell of a full disk themselves.
        if error.errno not in _FULL:
            return None
    drop(sys.stdout)
    if error.errno in _FULL:
        return StorageFullError(f"no room left to write the output ({error.strerror}); it is incomplete")
    return StoreError(f"standard output can't be written ({error.strerror}); the answer is incomplete")


def drop(stream: TextIO) -> None:
    """Point a stream to nowhere: it can take no more, and the last flush at exit must not complain."""
    with suppress(OSError, ValueError):
        _take(stream.fileno())


def complain(message: str) -> None:
    """A line to stderr. Where that can't be written there is nobody to tell, and the work goes on."""
    try:
        sys.stderr.write(safe(message) + "\n")
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)


def _take(number: int) -> None:
    """Open a descriptor on nothing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)
