"""From a URL to the file system of fsspec that knows it, for those who read and those who write."""

from __future__ import annotations

from typing import Any

from textkin import _optional
from textkin.errors import InputError, MissingDependencyError
from textkin.text.urls import Url

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


def system_of(url: Url) -> Any:
    """The file system of a URL; what it kept in mind of folders is forgotten.

    Raises:
        InputError: nothing knows such URLs.
        MissingDependencyError: a package for them is not installed.

    Whatever the file system raises goes through: see `failures.translated`.
    """
    fsspec = _optional.require("fsspec", extra=_EXTRAS.get(url.scheme, "bulk"))
    try:
        fsspec.get_filesystem_class(url.scheme)
    except ValueError as error:
        raise InputError(f"{url.shown}: nothing is known that reads {url.scheme}:// URLs") from error
    except ImportError as error:
        cure = f"run: pip install 'textkin[{_EXTRAS[url.scheme]}]'" if url.scheme in _EXTRAS else str(error)
        raise MissingDependencyError(
            f"{url.scheme}:// URLs need a package that is not installed; {cure}"
        ) from error
    system, _ = fsspec.core.url_to_fs(url.raw, **_web_options() if url.is_web else {})
    system.invalidate_cache()
    return system


def _web_options() -> dict[str, Any]:
    """Hours may lie between two parts of a file; what is sent must be the file, not compressed on the way."""
    aiohttp = _optional.require("aiohttp", extra="bulk")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return {"client_kwargs": {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}}
