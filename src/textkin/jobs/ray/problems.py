"""Ray's errors in textkin's words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from textkin.errors import EngineError

TOKEN_CURE = (
    "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
)
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


@contextlib.contextmanager
def connecting(address: str) -> Iterator[None]:
    """What can go wrong while a cluster is joined or started.

    Raises:
        EngineError: says which it was, and what to do.
    """
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(_connection_problem(address, error)) from error


def in_task(error: BaseException) -> str:
    """What went wrong inside a worker, in one line: Ray's own message is a page with the worker's traceback."""
    cause = getattr(error, "cause", None)
    if not isinstance(cause, BaseException):
        return last_line(error)
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0].strip()[:300]}" if lines else type(cause).__name__


def last_line(error: BaseException) -> str:
    """The last line of a message that can be a page long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _whole(error: BaseException | None) -> str:
    """An error with what caused it: Ray says the reason in the last of them only."""
    lines: list[str] = []
    while error is not None:
        lines.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def _connection_problem(address: str, error: BaseException) -> str:
    text = _whole(error)
    place = "on this machine" if address in ("auto", "local") else f"at {address}"
    if "AuthenticationError" in text or "Unauthenticated" in text:
        return f"the Ray cluster {place} refuses this process's token: {TOKEN_CURE}"
    versions = _VERSIONS.findall(text)
    if "ersion mismatch" in text and len(versions) == 2:
        (ray, python), (own_ray, own_python) = versions
        return (
            f"the Ray cluster {place} runs Ray {ray} on Python {python}, and this process Ray {own_ray} on Python "
            f"{own_python}; both must be the same: install the cluster's versions here, or run the command there"
        )
    if address == "auto":
        return f"no Ray cluster runs on this machine ({error}): run `ray start --head`, or leave --address out"
    if address == "local":
        return f"Ray could not be started on this machine: {error}"
    return f"the Ray cluster {place} can't be joined: {error}"
