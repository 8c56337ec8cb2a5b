"""Someone else's cluster: is it there, and does it take this process's token?"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from textkin.errors import EngineError, InputError
from textkin.jobs.ray.problems import TOKEN_CURE, connecting

_KNOCK_SECONDS = 5.0


def check_token_file() -> None:
    """Ray ends the whole process at a token file that it can't read.

    Raises:
        EngineError: RAY_AUTH_TOKEN_PATH names such a file.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not named or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return
    try:
        empty = not Path(named).read_bytes().strip()
    except OSError as error:
        raise EngineError(f"RAY_AUTH_TOKEN_PATH names a file that can't be read: {error}") from error
    if empty:
        raise EngineError(f"{named}, which RAY_AUTH_TOKEN_PATH names, is empty; it must hold the cluster's token")


def knock(ray: Any, address: str) -> None:
    """Ray tries for minutes to reach a head that isn't there, or that refuses the token; this sees it at once."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(
            f"{address!r} is no address of a cluster; expected auto, local or HOST:PORT, e.g. 10.0.0.7:6379"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"no Ray cluster answers at {address} ({error}); look at `ray status` on its head node, whose port is "
            "6379 unless it was started with another"
        ) from error
    inside = ray._raylet
    if not hasattr(inside, "AuthenticationTokenLoader"):
        return
    loader = inside.AuthenticationTokenLoader.instance()
    # Where there is no token, Ray's client ends the whole process.
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" and not loader.has_token(ignore_auth_mode=True):
        raise EngineError(f"RAY_AUTH_MODE is token, and there is no token: {TOKEN_CURE}")
    with connecting(address):
        inside.GcsClient(address=address)
