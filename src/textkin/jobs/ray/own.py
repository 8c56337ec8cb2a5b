"""A cluster of our own: its files, its token, its end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import filelock

from textkin._optional import require

_OBJECT_STORE = 1 << 30
_FOLDER = "kinray"
_TIDY_SECONDS = 60
_LONGEST_FOLDER = 24
"""Characters of a folder in which Ray's sockets still have names short enough for the system (107 in all)."""


@contextlib.contextmanager
def own_cluster(cores: int) -> Iterator[dict[str, Any]]:
    """Arguments for a cluster of our own: nobody joins it without its token, and its files go with it."""
    home = Path(tempfile.gettempdir())
    if len(str(home)) > _LONGEST_FOLDER and Path("/tmp").is_dir():
        home = Path("/tmp")
    _tidy(home)
    folder = tempfile.mkdtemp(prefix=_FOLDER, dir=home)
    try:
        # The lock says that its process lives; the system lets go of it at a kill -9.
        with filelock.FileLock(Path(folder, "lock"), timeout=0), own_token():
            yield {
                "address": "local",
                "num_cpus": cores,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": folder,
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tidy(home: Path) -> None:
    """Remove what processes that were killed have left; it can hold gigabytes that Ray had moved out of memory."""
    for folder in home.glob(f"{_FOLDER}*"):
        with contextlib.suppress(filelock.Timeout, OSError):
            if _is_left(folder.lstat()):
                with filelock.FileLock(folder / "lock", timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_left(status: os.stat_result) -> bool:
    """Whether it is a folder of this user's, no link: anybody can make names in a shared folder.

    A younger one may be about to be locked.
    """
    own = status.st_uid == os.getuid() if hasattr(os, "getuid") else True
    return own and stat.S_ISDIR(status.st_mode) and time.time() - status.st_mtime > _TIDY_SECONDS


@contextlib.contextmanager
def own_token() -> Iterator[None]:
    """A token for a cluster of our own, unless the user has decided; Ray itself would write one into the home."""
    if os.environ.get("RAY_AUTH_MODE"):
        yield
        return
    kept = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")}
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    read_token_anew()
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        read_token_anew()


def read_token_anew() -> None:
    """Ray reads mode and token once a process; versions without tokens have nothing to forget."""
    inside: Any = require("ray._raylet", extra="ray")
    if hasattr(inside, "AuthenticationTokenLoader"):
        inside.Config.initialize("")
        inside.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def sigterm_ends() -> Iterator[None]:
    """SIGTERM unwinds the main thread, so that everything is closed; a handler of the process's own stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
