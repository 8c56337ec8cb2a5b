"""What fsspec's file systems raise, in our words: the one place that knows their errors."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from textkin.errors import FileReadError
from textkin.text.urls import Url

_Result = TypeVar("_Result")
_KINDS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
    ("azure.core.exceptions", "AzureError"),
    ("paramiko", "SSHException"),
)
"""Of errors that are not OSErrors."""
_WAITS = (0.5, 2.0, 8.0)
"""Seconds before another try, when something failed that may work later."""


def failures() -> tuple[type[BaseException], ...]:
    """What a file system may raise; only those of packages that are loaded."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in _KINDS)
    return (OSError, *(kind for kind in found if isinstance(kind, type)))


@contextlib.contextmanager
def translated(url: Url, shown: str) -> Iterator[None]:
    """Translate errors of a file system.

    Raises:
        FileReadError: naming what could not be read and what to do; nothing secret is in it.
    """
    try:
        yield
    except failures() as error:
        # Not chained: the original names the URL with all that is secret in it.
        raise FileReadError(f"{shown}: {_reason(error, url)}") from None


def tried(work: Callable[[], _Result]) -> _Result:
    """What ``work`` gives; tried again a few times when it fails in a way that may pass."""
    for wait in _WAITS:
        try:
            return work()
        except failures() as error:
            if not _may_pass(_cause(error)):
                raise
        time.sleep(wait)
    return work()


def _cause(error: BaseException) -> BaseException:
    """fsspec says of a page that it is not there whatever the server said; the truth lies behind."""
    behind = error.__cause__
    if isinstance(error, FileNotFoundError) and behind is not None and isinstance(behind, failures()):
        return behind
    return error


def _status(error: BaseException) -> int | None:
    for name in ("status", "code", "status_code"):
        with contextlib.suppress(TypeError, ValueError):
            status = int(getattr(error, name, None))  # type: ignore[arg-type]
            if 400 <= status < 600:
                return status
    return None


def _may_pass(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    # A connection that broke, in aiohttp's words; a name that nobody knows won't be known in a moment.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ClientPayloadError", "ClientConnectionError"}) and "ClientConnectorDNSError" not in names


def _reason(error: BaseException, url: Url) -> str:
    error = _cause(error)
    status = _status(error)
    if isinstance(error, PermissionError) or status in (401, 403):
        said = f" ({status})" if status else ""
        return f"access denied{said}; check the credentials, and whether a signed URL has expired"
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such file or folder"
    if status is not None:
        later = "; try again later" if _may_pass(error) else ""
        return f"the server answers {status} {url.scrub(str(getattr(error, 'message', '')))}".rstrip() + later
    if isinstance(error, TimeoutError):
        return "no answer in time; check the network, or try again later"
    said = url.scrub(str(error)) or type(error).__name__
    if _may_pass(error):
        return f"the connection fails: {said}; check the network, or try again later"
    return said
