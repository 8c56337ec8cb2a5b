"""Odd values of the variables that say where the network is and who asks: named, never shown, never a crash."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from textkin import _places
from textkin._network import Proxy, clean_address, proxy_of, secret
from textkin.errors import CredentialsError, InputError, MissingDependencyError, ProviderError, TextkinError
from textkin.models.providers.cohere import CohereModel
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience
from textkin.stores.resolve import open_store
from textkin.testing import ProviderServer

ONCE = Patience(tries=1, first_wait=0.001)
KEY = "sk-canary-0123456789abcdef"
MODELS = ("openai", "azure", "cohere")
VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"),
    *(
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_AD_TOKEN",
        "OPENAI_API_VERSION",
        "OPENAI_LOG",
    ),
    *("CO_API_KEY", "CO_API_URL", "CO_CLIENT_NAME"),
)
PIECES = (
    *(
        "",
        " ",
        "\n",
        "\r\n",
        "\t",
        "“",
        "”",
        "'",
        '"',
        "\u200b",
        "\ufeff",
        "é",
        "🎉",
        "\x7f",
        "\x1b[2J",
        "%00",
        "%",
        "#",
        "?",
    ),
    *(
        "http://",
        "https://",
        "socks5://",
        "socks5h://",
        "socks4://",
        "ftp://",
        "file:///",
        "://",
        "//",
        "@",
        "user:pass@",
    ),
    *("127.0.0.1", "localhost", "[::1]", "[", "]", "::", "xn--", "a..b", ".", "*", "x" * 300),
    *(":0", ":9", ":99999", ":port", ":-1", ":", "/v1", "/etc/passwd", "/etc", "/nowhere", "key", ","),
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with ProviderServer(key=KEY, deployments={"mine": "text-embedding-3-small"}) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def closed() -> Iterator[str]:
    """A port that nobody listens on, and that nobody else can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def asked(kind: str) -> Any:
    if kind == "cohere":
        found = CohereModel("embed-v4.0", patience=ONCE).embed(["hello"])
    else:
        name = "mine" if kind == "azure" else "text-embedding-3-small"
        known = "text-embedding-3-small" if kind == "azure" else None
        found = OpenAIModel(name, patience=ONCE, deployed=kind == "azure", known_as=known).embed(["hello"])
    if found.stopped is not None:
        raise found.stopped
    return found


@pytest.mark.parametrize("kind", ["openai", "cohere"])
@pytest.mark.parametrize(
    ("variable", "value", "error", "told"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:port", InputError, "host or port are wrong"),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", InputError, "host or port are wrong"),
        ("http_proxy", "ftp://x:1", InputError, "a proxy of the kind 'ftp'"),
        ("ALL_PROXY", "socks4://127.0.0.1:9", InputError, "a proxy of the kind 'socks4'"),
        ("ALL_PROXY", "http://“proxy”:8080", InputError, "the quote “"),
        ("HTTP_PROXY", "http://a\nb", InputError, "the end of a line"),
        ("HTTP_PROXY", "http://", InputError, "no host"),
        ("HTTP_PROXY", "http://a..b:1", InputError, "no host"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", InputError, "is not there"),
        ("SSL_CERT_FILE", "/etc", InputError, "is not a file"),
        ("SSL_CERT_FILE", __file__, InputError, "no certificates can be read"),
        ("SSL_CERT_DIR", "/nowhere", InputError, "is no folder"),
    ],
)
def test_the_network_is_named(
    server: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    variable: str,
    value: str,
    error: type[TextkinError],
    told: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(error) as caught:
        asked(kind)
    assert str(caught.value).startswith(variable)
    assert told in str(caught.value)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_needs_its_package(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, scheme: str, closed: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://{closed}")
    with pytest.raises((MissingDependencyError, ProviderError), match="ALL_PROXY"):
        asked("openai")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("prefix", ["", "http://", "http://user:{KEY}@"])
def test_a_dead_proxy_is_not_blamed_on_the_server(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, kind: str, prefix: str, closed: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", prefix.format(KEY=KEY) + closed)
    with pytest.raises(ProviderError) as caught:
        asked(kind)
    assert f"the proxy http://{closed} (of HTTP_PROXY) does not answer" in str(caught.value)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert asked(kind).vectors.any()


def test_without_a_proxy_it_is_the_server(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    monkeypatch.setenv("CO_API_URL", f"http://{closed}")
    with pytest.raises(ProviderError, match=f"nobody answers at http://{closed}; is it running"):
        asked("cohere")


@pytest.mark.parametrize(
    ("kind", "variable"),
    [("openai", "OPENAI_API_KEY"), ("azure", "AZURE_OPENAI_API_KEY"), ("cohere", "CO_API_KEY")],
)
def test_keys(server: ProviderServer, monkeypatch: pytest.MonkeyPatch, kind: str, variable: str) -> None:
    for good in (f"{KEY}\n", f" {KEY}\t", f"{KEY}\r\n"):
        monkeypatch.setenv(variable, good)
        assert asked(kind).vectors.any()
    for odd in (f"“{KEY}”", f'"{KEY}"', f"{KEY}\nx", f"{KEY} x", f"{KEY}é", f"\u200b{KEY}", f"{KEY}\x1b"):
        monkeypatch.setenv(variable, odd)
        with pytest.raises(CredentialsError) as caught:
            asked(kind)
        assert str(caught.value).startswith(f"{variable} is no key: its character ")
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "variable"),
    [("openai", "OPENAI_BASE_URL"), ("azure", "AZURE_OPENAI_ENDPOINT"), ("cohere", "CO_API_URL")],
)
def test_addresses(server: ProviderServer, monkeypatch: pytest.MonkeyPatch, kind: str, variable: str) -> None:
    good = server.environment[variable]
    for spaced in (f"{good}\n", f"  {good}\r\n"):
        monkeypatch.setenv(variable, spaced)
        assert asked(kind).vectors.any()
    for odd in (
        f"“{good}”",
        f"{good}\r\nX: y",
        "127.0.0.1:9/v1",
        "http://[",
        "http://h:port",
        "http://a b",
        "ftp://x",
        "http://",
    ):
        monkeypatch.setenv(variable, odd)
        with pytest.raises(InputError) as caught:
            asked(kind)
        assert str(caught.value).startswith(f"{variable}: the server's address is not one")


def test_the_option_is_named_where_the_address_came_from_it(server: ProviderServer) -> None:
    with pytest.raises(InputError, match=r"^--base-url \(base_url=\): the server.s address is not one"):
        OpenAIModel("text-embedding-3-small", base_url="“http://x/v1”")
    assert OpenAIModel("text-embedding-3-small", base_url=f"{server.openai_url}\n").embed(["a"]).vectors.any()


@pytest.mark.parametrize("variable", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"])
def test_what_the_package_puts_into_a_request(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "X-Team: “x”")
    with pytest.raises((InputError, ProviderError), match="OPENAI_"):
        asked("openai")


@pytest.mark.parametrize("kind", MODELS)
def test_any_value_of_any_variable(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Seeded: it works, or it is one of our errors, which shows no key."""
    dice = random.Random(kind)
    before = server.environment
    for variable in VARIABLES:
        for _ in range(1):
            value = "".join(dice.choices(PIECES, k=dice.randint(1, 4)))
            monkeypatch.setenv(variable, before.get(variable, "") + value if dice.random() < 0.3 else value)
            try:
                asked(kind)
            except TextkinError as error:
                shown = str(error)
            else:
                shown = ""
            assert KEY not in shown
        if variable in before:
            monkeypatch.setenv(variable, before[variable])
        else:
            monkeypatch.delenv(variable)
    assert asked(kind).vectors.any()


def test_databases_take_no_odd_keys_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "“secret”")
    with pytest.raises(CredentialsError, match="QDRANT_API_KEY is no key"):
        open_store("qdrant:http://127.0.0.1:9/notes")
    for odd in ("http://127.0.0.1:port/x", "http://“h”/x", "http://"):
        with pytest.raises(InputError, match="Qdrant"):
            open_store(f"qdrant:{odd}")
    pytest.importorskip("pinecone")
    monkeypatch.setenv("PINECONE_API_KEY", "pc-secret\nx")
    with pytest.raises(CredentialsError, match="PINECONE_API_KEY is no key"):
        open_store("pinecone:notes")


def test_places_of_users_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, place in (
        ("TEXTKIN_DATA", _places.data_folder),
        ("TEXTKIN_CACHE", _places.cache_folder),
        ("TEXTKIN_MODELS", _places.models_file),
    ):
        monkeypatch.setenv(variable, "~nobody-of-this-name/x")
        with pytest.raises(InputError, match=f"{variable} names ~nobody-of-this-name/x"):
            place()


def test_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert secret("SOME_KEY") is None
    monkeypatch.setenv("SOME_KEY", " \n")
    assert secret("SOME_KEY") is None
    assert clean_address(" https://[::1]:8/v1 ", "x") == "https://[::1]:8/v1"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_of("http://h/x") is None
    monkeypatch.setenv("ALL_PROXY", "http://u:p@proxy:3128")
    assert proxy_of("https://h/x") == Proxy("ALL_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "h")
    assert proxy_of("https://h/x") is None
    assert Path(__file__).exists()
