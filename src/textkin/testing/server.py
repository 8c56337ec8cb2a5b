"""The local server: HTTP in, one of the two contracts, faults, HTTP out."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from textkin.testing import contracts
from textkin.testing.billing import Billing
from textkin.testing.contracts import Refused, Request, Rules
from textkin.testing.faults import LOST, SPOILT, Asked, Faults, Plan
from textkin.testing.rates import RequestRate

_WORD = re.compile(r"\w+")
_STATUS = {"quota": 429}
_PATHS = {"/v1/embeddings": "openai", "/v2/embed": "cohere"}
_AZURE = re.compile(r"/openai/deployments/([^/]+)/embeddings")
_API_VERSION = "2024-10-21"
_RESET = struct.pack("ii", 1, 0)


def count_words(text: str) -> int:
    """Words of a text, one at least: never more than any provider's tokens."""
    return max(1, len(_WORD.findall(text)))


class ProviderServer:
    """A server on this machine that keeps OpenAI's and Cohere's embedding contracts, and breaks them on demand.

    It answers ``POST /v1/embeddings`` and ``POST /v2/embed``, and Azure's form of the first,
    ``/openai/deployments/NAME/embeddings?api-version=…``. Vectors rank by shared words and letters, and the same
    text has the same vector in every request and run.

    Args:
        faults: what goes wrong and how often: shares by kind (``{"429": 0.2}``), the kinds of the first requests
            in order (``["500", None, "reset"]``), or a function from `Asked` to a kind or None.
        latency: seconds before each answer.
        seed: of the shares.
        key: the only key that is taken; None: any, or none.
        models: further models, name to dimensions.
        refuse: says of a text whether a request that holds it is refused with HTTP 400; None: of no text.
        retry_after: seconds that a 429 asks to wait.
        slow: seconds that the fault ``slow`` holds a request before the connection ends without an answer.
        count_tokens: tokens of one text, for limits and billing; by default a word is one token.
        deployments: names of deployments at Azure to the models behind them.
        most_texts: of a request in OpenAI's language; more are answered with HTTP 413, as compatible servers do.
        encodings: of vectors in OpenAI's language that the server knows.
        rate: requests a minute, and how many may come at once; more are answered with 429. Every answer then has
            OpenAI's rate headers. None: any number.

    Raises:
        InputError: faults that are none.
    """

    def __init__(
        self,
        faults: Plan | None = None,
        *,
        latency: float = 0.0,
        seed: int = 0,
        key: str | None = "test-key",
        models: Mapping[str, int] | None = None,
        refuse: Callable[[str], bool] | None = None,
        retry_after: float = 1.0,
        slow: float = 5.0,
        count_tokens: Callable[[str], int] = count_words,
        deployments: Mapping[str, str] | None = None,
        most_texts: int = 2048,
        encodings: Sequence[str] = ("float", "base64"),
        rate: tuple[float, int] | None = None,
    ) -> None:
        self.billing = Billing()
        self.key = key
        self.latency = latency
        self.retry_after = retry_after
        self.slow = slow
        self.faults = Faults(faults, seed)
        self.rules = Rules(
            dict(models or {}), count_tokens, refuse or (lambda _: False), most_texts, tuple(encodings)
        )
        self.deployments = dict(deployments or {})
        self.rate = None if rate is None else RequestRate(*rate)
        self.closing = threading.Event()
        self._http = _HTTPServer(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> ProviderServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.drop_connections()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def openai_url(self) -> str:
        """For OPENAI_BASE_URL."""
        return f"{self.url}/v1"

    @property
    def cohere_url(self) -> str:
        """For CO_API_URL."""
        return self.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the SDKs and textkin find this server, with its key."""
        key = self.key or "any"
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": key,
            "CO_API_URL": self.cohere_url,
            "CO_API_KEY": key,
            "AZURE_OPENAI_ENDPOINT": self.url,
            "AZURE_OPENAI_API_KEY": key,
            "OPENAI_API_VERSION": _API_VERSION,
        }


class _HTTPServer(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = False

    def __init__(self, owner: ProviderServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """End what clients keep open, so that no thread waits for them."""
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _HTTPServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        self._rate_headers: dict[str, str] = {}
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        deployed = _AZURE.fullmatch(path)
        provider = "openai" if deployed and "api-version=" in query else _PATHS.get(path)
        owner = self.server.owner
        if owner.latency:
            owner.closing.wait(owner.latency)
        if provider is None:
            self._send(404, contracts.cohere_refusal(f"no such path: {self.path}"))
            return
        try:
            body = json.loads(sent)
            body = body if isinstance(body, dict) else {}
            if deployed is not None:
                body = self._of_azure(deployed[1], body)
            self._answer(provider, body, azure=deployed is not None)
        except ValueError:
            self._refuse(provider, 400, "the body is not JSON", None)
        except Refused as refused:
            self._refuse(provider, refused.status, refused.message, refused.code)

    def _of_azure(self, deployment: str, body: dict[str, Any]) -> dict[str, Any]:
        """The same request for the model behind a deployment."""
        model = self.server.owner.deployments.get(deployment)
        if model is None:
            raise Refused("The API deployment for this resource does not exist.", 404, "DeploymentNotFound")
        return {**body, "model": model}

    def _answer(self, provider: str, body: dict[str, Any], *, azure: bool) -> None:
        owner = self.server.owner
        of_openai = provider == "openai"
        texts = contracts.openai_texts(body) if of_openai else contracts.cohere_texts(body)
        number = owner.billing.arrived(len(texts))
        given = self.headers.get("api-key" if azure else "Authorization") or ""
        given = given.removeprefix("Bearer ")
        if owner.key is not None and given != owner.key:
            # The providers mask the key here; this server doesn't, so that a client that passes it on is found.
            self._refuse(provider, 401, f"Incorrect API key provided: {given}", "invalid_api_key")
            return
        if owner.rate is not None:
            wait, self._rate_headers = owner.rate.take()
            if wait:
                self._rate_headers["Retry-After-Ms"] = f"{wait * 1000:.0f}"
                self._refuse(provider, 429, "rate limit reached", "rate_limit_exceeded")
                return
        kind = owner.faults.of(Asked(number, provider, str(body.get("model")), tuple(texts)))
        if kind is not None and kind not in SPOILT and kind not in LOST:
            self._fail(provider, kind, given)
            return
        make = contracts.openai_request if of_openai else contracts.cohere_request
        request = make(body, texts, owner.rules)
        if kind in ("reset", "slow"):
            self._lose(kind)
            return
        vectors = contracts.vectors_of(request)
        good = (
            contracts.openai_answer(request, vectors)
            if of_openai
            else contracts.cohere_answer(request, vectors, number)
        )
        answer = good
        if kind in SPOILT:
            answer = (
                contracts.spoilt_openai(good, kind, request.base64)
                if of_openai
                else contracts.spoilt_cohere(good, kind)
            )
        # OpenAI numbers its vectors, so that another order is still a good answer.
        spoilt = kind in LOST or (answer != good and not (of_openai and kind == "reordered"))
        self._charge(request, spoilt)
        self._send(200, answer, cut=kind)

    def _charge(self, request: Request, spoilt: bool) -> None:
        self.server.owner.billing.charge(
            request.model, request.input_type, request.texts, request.tokens, spoilt=spoilt
        )

    def _fail(self, provider: str, kind: str, key: str) -> None:
        status = _STATUS.get(kind) or int(kind)
        if kind == "502":
            self._send(status, b"<html><body>bad gateway</body></html>")
            return
        message = f"this fault was asked for; the key was {key}"
        if kind == "quota":
            if provider == "cohere":
                status = 402
            self._refuse(provider, status, message, "insufficient_quota")
            return
        codes = {"401": "invalid_api_key", "404": "model_not_found", "429": "rate_limit_exceeded"}
        self._refuse(provider, status, message, codes.get(kind))

    def _lose(self, kind: str) -> None:
        self.close_connection = True
        if kind == "slow":
            self.server.owner.closing.wait(self.server.owner.slow)
        # Closing now sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _refuse(self, provider: str, status: int, message: str, code: str | None) -> None:
        if provider == "cohere":
            self._send(status, contracts.cohere_refusal(message))
            return
        kinds = {429: code if code == "insufficient_quota" else "requests"}
        kind = kinds.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
        self._send(status, contracts.openai_refusal(message, kind, code))

    def _send(self, status: int, answer: dict[str, Any] | bytes, cut: str | None = None) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        length = len(data)
        if cut in ("cut", "truncated"):
            data = data[: length // 2]
        if cut == "truncated":
            length = len(data)
        self.close_connection = self.close_connection or cut == "cut"
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(length))
        more = dict(self._rate_headers)
        if status == 429 and "Retry-After-Ms" not in more:
            more["Retry-After"] = f"{self.server.owner.retry_after:g}"
            more["Retry-After-Ms"] = f"{self.server.owner.retry_after * 1000:g}"
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
