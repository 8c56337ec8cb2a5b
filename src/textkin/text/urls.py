"""URLs as inputs: which strings are one, and how they are shown without what is secret in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from textkin.errors import InputError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_QUERY = re.compile(r"\?[^/?*\[\]]*=.*", re.DOTALL)
_MAGIC = re.compile(r"[*?\[]")
_LEAST = 4
"""Letters of a query's value that may be secret; shorter ones stand in any message."""
_WEB = frozenset({"http", "https"})
_CONTAINER = frozenset({"abfs", "abfss", "adl", "wasb", "wasbs"})
"""Schemes whose URLs begin with CONTAINER@ACCOUNT, which is no secret."""

_AWS = "put them where AWS's own tools look, e.g. into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_GOOGLE = "put them where Google's own tools look, e.g. into the file that GOOGLE_APPLICATION_CREDENTIALS names"
_KEYS_ELSEWHERE = {"s3": _AWS, "s3a": _AWS, "gs": _GOOGLE, "gcs": _GOOGLE}


@dataclass(frozen=True, slots=True)
class Url:
    """A URL as it was given.

    Attributes:
        raw: as given, for whoever opens it; without a fragment.
        scheme: in lower case.
        shown: without user, password and query; what ids, sources and messages say.
        pattern: the segments of a glob; empty without one.
        secrets: what must not be seen anywhere.
    """

    raw: str = field(repr=False)
    scheme: str
    shown: str
    pattern: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_web(self) -> bool:
        """Whether it is fetched from a web server, which has no folders, only pages with links."""
        return self.scheme in _WEB

    def scrub(self, text: str) -> str:
        """A message that somebody else wrote, without this URL's secrets, nor those of any other URL in it."""
        text = " ".join(text.split()).replace(self.raw, self.shown)
        for secret in self.secrets:
            text = text.replace(secret, "…")
        text = re.sub(r"(?<=://)[^/@\s'\"]+@", "", text)
        return re.sub(r"(://[^\s'\"?]*)\?[^\s'\")]*", r"\1", text)


def is_url(given: object) -> bool:
    """Whether an input is a URL: ``scheme://``, where the scheme has more letters than a drive."""
    return isinstance(given, str) and _URL.match(given) is not None


def parse_url(given: str) -> Url:
    """Take a URL apart.

    Raises:
        InputError: nothing behind the scheme, several URLs in one, or a wildcard for a host or bucket.
    """
    found = _URL.match(given)
    assert found is not None, "only what is_url accepts comes here"
    scheme, rest = found[1].lower(), found[2]
    if "::" in rest:
        raise InputError(f"a URL inside a URL ({scheme}://…::…) is not read; fetch and unpack it first")
    if scheme in _WEB:
        rest = rest.partition("#")[0]
        path, question, query = rest.partition("?")
    else:
        query_found = _QUERY.search(rest)
        path = rest[: query_found.start()] if query_found else rest
        question, query = "", rest[len(path) :]
    host, slash, inside = path.partition("/")
    user = ""
    if scheme not in _CONTAINER:
        user, _, host = host.rpartition("@")
    shown = f"{scheme}://{host}{slash}{inside}"
    if user and scheme in _KEYS_ELSEWHERE:
        raise InputError(f"{shown}: keys don't belong in a URL; {_KEYS_ELSEWHERE[scheme]}")
    if not (host or inside.strip("/")):
        raise InputError(f"{shown} names no place; expected something like s3://bucket/folder/file.parquet")
    raw = f"{scheme}://{path}{question}{query}"
    if scheme in _WEB and not slash:
        raw, shown = f"{scheme}://{path}/{question}{query}", f"{shown}/"
    if query and scheme in _WEB and (inside.endswith("/") or not inside or "*" in inside):
        raise InputError(f"{shown}: a folder or a wildcard can't have a query; name its files, each with its own")
    parts = (inside if scheme not in _WEB else inside.replace("?", "")).split("/")
    values = (part.partition("=")[2] for part in query.lstrip("?").split("&"))
    secrets = (user, user.partition(":")[2], query, *(value for value in values if len(value) >= _LEAST))
    pattern = _pattern(shown, host, parts, web=scheme in _WEB)
    return Url(raw, scheme, shown, pattern, tuple(secret for secret in secrets if secret))


def _pattern(shown: str, host: str, parts: list[str], *, web: bool) -> tuple[str, ...]:
    magic = re.compile(r"[*\[]") if web else _MAGIC
    if magic.search(host) and not web:
        raise InputError(f"{shown}: a wildcard can't stand for a bucket or host; name it")
    fixed = next((number for number, part in enumerate(parts) if magic.search(part)), None)
    return () if fixed is None else tuple(part for part in parts[fixed:] if part)


def folder_of(url: str, pattern: tuple[str, ...]) -> str:
    """The folder of a URL, raw or shown, above its pattern, without a final slash."""
    kept = url.rstrip("/")
    for _ in pattern:
        kept = kept.rpartition("/")[0]
    return kept
