"""What the environment says on the network: keys, addresses, proxies, certificates; checked by name before use."""

from __future__ import annotations

import importlib.util
import os
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from textkin.errors import CredentialsError, InputError, MissingDependencyError

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_QUOTES: Final = "\"'`“”„‘’«»"


def secret(variable: str) -> str | None:
    """A key from the environment, without white space around it; None where there is none.

    Raises:
        CredentialsError: it holds something that no key does; the key is not shown.
    """
    value = os.environ.get(variable, "").strip()
    for place, character in enumerate(value, 1):
        if not "!" <= character <= "~" or (character in _QUOTES and place in (1, len(value))):
            raise CredentialsError(
                f"{variable} is no key: its character {place} of {len(value)} is {_named(character)}; put the key "
                "there as you got it, alone and without quotes"
            )
    return value or None


def check_plain(variables: Mapping[str, str]) -> None:
    """Refuse variables that an SDK sends as they are in the head of a request, where they can't be sent.

    Args:
        variables: each with what it holds, for people.

    Raises:
        InputError: naming the variable.
    """
    for variable, what in variables.items():
        for place, character in enumerate(os.environ.get(variable, ""), 1):
            if not " " <= character <= "~":
                raise InputError(
                    f"{variable} is no {what}: its character {place} is {_named(character)}; mend it, or unset it"
                )


def clean_address(url: str, source: str) -> str:
    """The address of a server without white space around it.

    Args:
        url: as it was given.
        source: the option or variable that it came from.

    Raises:
        InputError: it is not ``http://HOST…`` or ``https://HOST…``; its user and password are not shown.
    """
    clean = url.strip()
    odd = next((one for one in clean if not one.isprintable() or one.isspace() or one in _QUOTES), None)
    try:
        parts = urlsplit(clean)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        good = False
    if odd is not None or not good:
        why = f" (it holds {_named(odd)})" if odd is not None else ""
        raise InputError(
            f"{source}: the server's address is not one{why}; expected e.g. http://127.0.0.1:11434/v1 (with its "
            "path, mostly /v1)"
        )
    return clean


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names.

    Attributes:
        variable: that names it.
        place: its host and port, without user and password.
    """

    variable: str
    place: str

    def __str__(self) -> str:
        return f"the proxy {self.place} (of {self.variable})"


def proxy_of(url: str) -> Proxy | None:
    """The proxy through which an address is reached; None where it is reached straight."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return None
    for variable in (f"{parts.scheme.upper()}_PROXY", "ALL_PROXY"):
        name, value = _proxy_variable(variable)
        if value:
            return Proxy(name, _shown(value))
    return None


def check_network() -> None:
    """Check what the environment says on proxies and certificates, before a client reads it.

    Raises:
        InputError: a variable names no proxy, or no certificates; says which.
        MissingDependencyError: a SOCKS proxy, for which a package is missing.
    """
    for variable in _PROXIES:
        name, value = _proxy_variable(variable)
        if value:
            _check_proxy(name, value)
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        if not os.path.isfile(file):  # noqa: PTH113  a Path would raise where the name is too long
            what = "is not a file" if os.path.lexists(file) else "is not there"
            raise InputError(
                f"SSL_CERT_FILE names {file!r:.200}, which {what}; name a PEM file of certificates, or unset it"
            )
        try:
            ssl.create_default_context(cafile=file)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
            raise InputError(
                f"SSL_CERT_FILE names {file!r:.200}, in which no certificates can be read ({reason}); name a PEM "
                "file of certificates, or unset it"
            ) from error
    if folder:
        for place in folder.split(os.pathsep):
            if not os.path.isdir(place):  # noqa: PTH112
                raise InputError(f"SSL_CERT_DIR names {place!r:.200}, which is no folder; name one, or unset it")


@contextmanager
def network_settings() -> Iterator[None]:
    """Make a client inside: what it can't make of the environment becomes an error that names the variables.

    Raises:
        InputError: as `check_network`, or whatever the client found.
        MissingDependencyError: as `check_network`.
    """
    check_network()
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, (InputError, MissingDependencyError)):
            raise
        ours = _unusable(error)
    except Exception as error:  # httpx's InvalidURL is an Exception of no other kind
        if type(error).__name__ != "InvalidURL":
            raise
        ours = _unusable(error)
    else:
        return
    raise ours


def _unusable(error: BaseException) -> InputError:
    known = (*_PROXIES, "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
    names = [name for name in known if os.environ.get(name) or os.environ.get(name.lower())]
    return InputError(
        f"the settings of the network can't be used ({type(error).__name__}); look at "
        f"{', '.join(names) or 'the address of the server'}"
    )


def _check_proxy(variable: str, value: str) -> None:
    expected = "expected e.g. http://127.0.0.1:3128 or socks5://127.0.0.1:1080; mend it, or unset it"
    odd = next((one for one in value if not "!" <= one <= "~"), None)
    if odd is not None:
        raise InputError(f"{variable} names no proxy: it holds {_named(odd)}; {expected}")
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
        good = bool(host) and port != 0 and len(host or "") < 254 and all((host or "").rstrip(".").split("."))
    except ValueError:
        raise InputError(f"{variable} names no proxy: host or port are wrong; {expected}") from None
    if parts.scheme not in _SCHEMES:
        raise InputError(f"{variable} names a proxy of the kind {parts.scheme[:20]!r}; {expected}")
    if not good:
        raise InputError(f"{variable} names no proxy: it has no host that could be one; {expected}")
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise MissingDependencyError(
            f"{variable} names a SOCKS proxy, for which a package is missing; run: pip install socksio, or name "
            "an HTTP proxy"
        )


def _proxy_variable(variable: str) -> tuple[str, str]:
    """Its name, as it is written, and value; the one in small letters comes first, as everywhere."""
    for name in (variable.lower(), variable):
        value = os.environ.get(name, "").strip()
        if value:
            return name, value
    return variable, ""


def _shown(value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "it names"


def _named(character: str) -> str:
    if character.isspace() or not character.isprintable():
        return {"\n": "the end of a line", "\r": "a carriage return", " ": "a blank"}.get(
            character, f"the sign U+{ord(character):04X}"
        )
    if character in _QUOTES:
        return f"the quote {character}"
    return f"a sign outside ASCII (U+{ord(character):04X})"
