"""What every provider's answer must be before its vectors are believed."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin._network import proxy_of
from textkin.errors import ProviderError
from textkin.models.providers.requests import Answered, PassingError
from textkin.types import Matrix
from textkin.vectors.similarity import normalize

_PASSING_REFUSALS = frozenset({408, 409, 425, 429})


def is_final(status: int) -> bool:
    """Whether an HTTP status says that asking again is no use."""
    return 300 <= status < 500 and status not in _PASSING_REFUSALS


def checked_rows(vectors: Sequence[Any], count: int, width: int) -> Matrix:
    """The vectors of an answer as unit rows.

    Args:
        vectors: of the answer, in the order of the request: lists of numbers, or base64 of little-endian float32.
        count: texts that were sent.
        width: dimensions that are expected.

    Raises:
        PassingError: too few or too many vectors, of another length, NaN or zero.
    """
    if len(vectors) != count:
        raise PassingError(f"an answer with {len(vectors)} vectors for {count} texts")
    rows = np.zeros((count, width), dtype=np.float64)
    for place, vector in enumerate(vectors):
        row = numbers(vector)
        if row.shape != (width,):
            raise PassingError(f"a vector of {row.size} numbers where {width} were expected")
        rows[place] = row
    # One sum tells all: it is NaN or infinite where any number of the row is.
    lengths = np.einsum("ij,ij->i", rows, rows)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise PassingError("a vector that is zero or holds NaN or infinity", of_content=True)
    return np.ascontiguousarray(normalize(rows), dtype=np.float32)


def numbers(vector: Any) -> npt.NDArray[Any]:
    """One vector of an answer: a list of numbers, or base64 of little-endian float32.

    Raises:
        PassingError: it is neither.
    """
    try:
        if isinstance(vector, str):
            return np.frombuffer(base64.b64decode(vector, validate=True), dtype="<f4")
        return np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        raise PassingError("something else than numbers in a vector", of_content=True) from None


def charged(billed: object, rows: Callable[[], Matrix]) -> Answered:
    """An answer whose vectors are checked, with what it cost: a spoilt one is charged, too.

    Args:
        billed: tokens as the answer reports them. Anything but a number over 0 counts as not reported: some
            servers always say 0.
        rows: checks and gives the vectors.

    Raises:
        PassingError: of ``rows``.
    """
    known = int(billed) if isinstance(billed, (int, float)) and billed > 0 else None
    try:
        return Answered(rows(), known)
    except PassingError as error:
        error.billed = known
        raise


def billed_by_status(status: int | None) -> int | None:
    """Tokens that an answer with an error's HTTP status may have cost: 0, or None where it can't be told.

    A provider doesn't charge for its own refusals and failures. Behind a gateway's (502, 504 and the like)
    there may be an answer that was made, and only lost on its way.
    """
    return 0 if status is not None and (status < 500 or status in (500, 501, 503)) else None


def unanswered(cause: BaseException, place: str) -> PassingError | ProviderError:
    """What became of a request without an answer: names the proxy where it lies with that, not with the server.

    A request that can't even be written, because of what a variable puts into its head, is not tried again.

    Args:
        cause: httpx's error.
        place: the server's address.
    """
    billed = billed_unsent(cause)
    kind = type(cause).__name__
    proxy = proxy_of(place)
    if kind in ("LocalProtocolError", "InvalidURL", "UnsupportedProtocol") or isinstance(
        cause, UnicodeEncodeError
    ):
        return ProviderError(
            f"a request to {place} can't be written ({kind}): a variable that the provider's package reads holds "
            "something else than plain text; look at those that begin with OPENAI_ or CO_"
        )
    if _is_of_certificate(cause):
        return PassingError(
            f"the certificate of {place} can't be verified; where a proxy or the server has one of its own, name "
            "its authority in SSL_CERT_FILE",
            None,
            0,
            unreached=True,
        )
    if proxy is not None and (billed == 0 or kind == "ProxyError"):
        return PassingError(
            f"{proxy} does not answer, or doesn't let through to {place}; is it running, and is its address "
            "right? NO_PROXY names servers that are reached without it",
            None,
            0,
            unreached=True,
        )
    if billed == 0:
        reason = f"nobody answers at {place}; is it running, and is the address right?"
        return PassingError(reason, None, billed, unreached=True)
    return PassingError(f"no answer ({kind})", None, billed)


def proxy_refusal(model: str, place: str) -> ProviderError:
    """The error of HTTP status 407, which only proxies give."""
    proxy = proxy_of(place) or "a proxy"
    return ProviderError(
        f"{model}: {proxy} wants a user and a password (HTTP 407); put them into its address, "
        "e.g. http://USER:PASSWORD@HOST:PORT"
    )


def _is_of_certificate(cause: BaseException | None) -> bool:
    seen = 0
    while cause is not None and seen < 10:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause, seen = cause.__cause__ or cause.__context__, seen + 1
    return False


def billed_unsent(cause: BaseException | None) -> int | None:
    """0 where the cause of a missing answer (httpx's error) is that no connection was made; None for any other."""
    return 0 if type(cause).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout") else None
