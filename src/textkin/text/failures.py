"""What fsspec's file systems raise, in our words: the one place that knows their errors."""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from textkin.errors import FileReadError, TextkinError
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
_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "TokenRetrievalError",
        "DefaultCredentialsError",
        "RefreshError",
        "ClientAuthenticationError",
    }
)
"""Names of errors that mean: nobody is signed in."""
_BROKEN = frozenset(
    {
        "ClientPayloadError",
        "ClientConnectionError",
        "ConnectionError",
        "HTTPClientError",
        "TransportError",
        "ServiceRequestError",
        "ServiceResponseError",
    }
)
"""Names of errors that mean: a connection broke or was not made. In the words of aiohttp, AWS, Google, Azure."""
_BUSY = frozenset(
    {errno.EBUSY, errno.EAGAIN, errno.EPIPE, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EBUSY)}
)
"""What s3fs calls a server that is overloaded or failing, and what systems call a network that is."""
_WAITS = (0.5, 2.0, 8.0)
"""Seconds before another try, when something failed that may work later."""


def failures() -> tuple[type[BaseException], ...]:
    """What a file system may raise; only those of packages that are loaded."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in _KINDS)
    return (OSError, *(kind for kind in found if isinstance(kind, type)))


def read_failed(_: BaseException) -> type[TextkinError]:
    """The class of errors of inputs."""
    return FileReadError


@contextlib.contextmanager
def translated(
    url: Url,
    shown: str,
    kind: Callable[[BaseException], type[TextkinError]] = read_failed,
    missing: str = "no such file or folder",
) -> Iterator[None]:
    """Translate errors of a file system.

    Args:
        url: whose secrets are kept out of the message.
        shown: what the message begins with.
        kind: the class to raise for an error.
        missing: what to say where there is nothing.

    Raises:
        FileReadError: naming what could not be read and what to do; nothing secret is in it. Or another ``kind``.
    """
    try:
        yield
    except failures() as error:
        # Not chained: the original names the URL with all that is secret in it.
        raise kind(error)(f"{shown}: {_reason(error, url, missing)}") from None


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


def denied(error: BaseException) -> bool:
    """Whether a file system says that this user may not."""
    error = _cause(error)
    return isinstance(error, PermissionError) or _status(error) in (401, 403) or bool(_names(error) & _CREDENTIALS)


def _cause(error: BaseException) -> BaseException:
    """fsspec says of a page that it is not there whatever the server said; the truth lies behind."""
    behind = error.__cause__
    if isinstance(error, FileNotFoundError) and behind is not None and isinstance(behind, failures()):
        return behind
    return error


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    """The server's answer, which s3fs keeps behind an OSError of its own."""
    for one in (error, error.__cause__):
        answer = getattr(one, "response", None)
        about = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
        for name in ("status", "code", "status_code", "HTTPStatusCode"):
            with contextlib.suppress(TypeError, ValueError):
                status = int(getattr(one, name, about.get(name)))  # type: ignore[arg-type]
                if 400 <= status < 600:
                    return status
    return None


def _may_pass(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno in _BUSY:
        return True
    # A name that nobody knows won't be known in a moment.
    names = _names(error)
    return bool(names & _BROKEN) and "ClientConnectorDNSError" not in names


def _reason(error: BaseException, url: Url, missing: str) -> str:
    error = _cause(error)
    status = _status(error)
    if denied(error):
        said = f" ({status or url.scrub(str(error))})" if status or _names(error) & _CREDENTIALS else ""
        return f"access denied{said}; check the credentials, and whether a signed URL has expired"
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return missing
    if status is not None:
        later = "; try again later" if _may_pass(error) else ""
        return f"the server answers {status} {url.scrub(str(getattr(error, 'message', '')))}".rstrip() + later
    if isinstance(error, TimeoutError):
        return "no answer in time; check the network, or try again later"
    said = url.scrub(str(error)) or type(error).__name__
    if _may_pass(error):
        return f"the connection fails: {said}; check the network, or try again later"
    return said
