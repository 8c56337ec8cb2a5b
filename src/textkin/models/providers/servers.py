"""Where OpenAI's language is spoken: a client of the official SDK, and what may be told of its server."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from textkin._network import check_plain, clean_address, secret
from textkin.errors import CredentialsError, InputError

OFFICIAL = "https://api.openai.com/v1"
_SECONDS = 60.0
_OWN_SECONDS = 300.0
"""For servers that may run on a slow CPU."""


@dataclass(frozen=True, slots=True)
class Server:
    """One place that is asked for vectors.

    Attributes:
        client: of the SDK; holds the key.
        place: the address without anything secret; empty for OpenAI's own.
        key: the variable that holds the key.
        remembered: whether a collection keeps ``place``, to find it again.
    """

    client: Any
    place: str
    key: str
    remembered: bool


def openai_server(sdk: Any, base_url: str | None, web: Any) -> Server:
    """OpenAI's own service, or the server at ``base_url``, else at OPENAI_BASE_URL.

    Args:
        sdk: the module.
        base_url: None: not given.
        web: the HTTP client to use.

    Raises:
        CredentialsError: no key for OpenAI's own service.
        InputError: ``base_url`` is no address.
    """
    (base, _), place = _base(base_url), openai_place(base_url)
    official = not place
    key = secret("OPENAI_API_KEY")
    check_plain({"OPENAI_ORG_ID": "organisation's id", "OPENAI_PROJECT_ID": "project's id"})
    if not key and official:
        raise CredentialsError(
            "OPENAI_API_KEY is not set; put your key there, or name another server with --base-url (base_url=) "
            "or in OPENAI_BASE_URL"
        )
    client = sdk.OpenAI(
        api_key=key or "none",
        base_url=base,
        max_retries=0,
        timeout=_SECONDS if official else _OWN_SECONDS,
        http_client=web,
    )
    return Server(client, place, "OPENAI_API_KEY", not official)


def openai_place(base_url: str | None = None) -> str:
    """The address that requests go to, without anything secret; empty for OpenAI's own.

    Raises:
        InputError: ``base_url`` is no address.
    """
    place = address(*_base(base_url))
    return "" if place == OFFICIAL else place


def azure_place() -> str:
    """The address of the Azure resource that AZURE_OPENAI_ENDPOINT names.

    Raises:
        InputError: it names none.
    """
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT", "").strip()
    if not endpoint:
        raise InputError(
            "Azure needs AZURE_OPENAI_ENDPOINT in the environment, e.g. "
            "AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com"
        )
    return address(endpoint.rstrip("/"), "AZURE_OPENAI_ENDPOINT")


def azure_server(sdk: Any, web: Any) -> Server:
    """The Azure resource that AZURE_OPENAI_ENDPOINT names.

    Args:
        sdk: the module.
        web: the HTTP client to use.

    Raises:
        CredentialsError: no key and no token in the environment.
        InputError: no endpoint, or no API version.
    """
    needed = ("AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION")
    missing = [name for name in needed if not os.environ.get(name, "").strip()]
    if missing:
        raise InputError(
            f"Azure needs {' and '.join(missing)} in the environment, e.g. "
            "AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com and OPENAI_API_VERSION=2024-10-21"
        )
    key, token = secret("AZURE_OPENAI_API_KEY"), secret("AZURE_OPENAI_AD_TOKEN")
    endpoint = clean_address(os.environ["AZURE_OPENAI_ENDPOINT"], "AZURE_OPENAI_ENDPOINT")
    check_plain({"OPENAI_ORG_ID": "organisation's id"})
    if not key and not token:
        raise CredentialsError(
            "AZURE_OPENAI_API_KEY is not set; put your key there (or a token, AZURE_OPENAI_AD_TOKEN)"
        )
    if key and token:
        raise InputError("AZURE_OPENAI_API_KEY and AZURE_OPENAI_AD_TOKEN are both set; unset one of them")
    client = sdk.AzureOpenAI(
        azure_endpoint=endpoint.rstrip("/"),
        api_key=key,
        azure_ad_token=token,
        api_version=os.environ["OPENAI_API_VERSION"].strip(),
        max_retries=0,
        timeout=_SECONDS,
        http_client=web,
    )
    return Server(client, azure_place(), "AZURE_OPENAI_API_KEY" if key else "AZURE_OPENAI_AD_TOKEN", False)


def _base(base_url: str | None) -> tuple[str, str]:
    """The address, cleaned, and where it was named."""
    if base_url:
        return clean_address(base_url, "--base-url (base_url=)").rstrip("/"), "--base-url (base_url=)"
    found = os.environ.get("OPENAI_BASE_URL", "").strip()
    return clean_address(found or OFFICIAL, "OPENAI_BASE_URL").rstrip("/"), "OPENAI_BASE_URL"


def address(url: str, source: str = "--base-url (base_url=)") -> str:
    """An address without user, password, query and fragment, which may hold secrets.

    Raises:
        InputError: it is not ``http://HOST…`` or ``https://HOST…``; names its source.
    """
    parts = urlsplit(clean_address(url, source))
    host, port = parts.hostname or "", parts.port
    shown = f"[{host}]" if ":" in host else host
    if port is not None:
        shown += f":{port}"
    return urlunsplit((parts.scheme, shown, parts.path.rstrip("/"), "", ""))


def on_this_machine(place: str) -> bool:
    """Whether an address is one of this machine's own, which no other machine answers."""
    host = urlsplit(place).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
