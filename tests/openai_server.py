"""A local server that keeps OpenAI's published embeddings contract, with faults on demand."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from textkin.models.hashing import HashingModel

KEY = "sk-canary-0123456789abcdef"
DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "own": 24,
}
Spoil = Callable[["OpenAIServer", int, list[str]], "tuple[int, dict[str, str], Any] | None"]
"""Given the server, the number of the request and its texts: another answer (status, headers, body), or None.

Status 0 closes the connection; a body of bytes is sent as it is.
"""


class OpenAIServer(ThreadingHTTPServer):
    """Counts what it was asked and what it billed."""

    daemon_threads = True

    def __init__(self, spoil: Spoil | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spoil = spoil
        self.guard = threading.Lock()
        self.requests = 0
        self.billed: Counter[str] = Counter()
        self.sizes: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def good(self, texts: list[str], asked: dict[str, Any]) -> dict[str, Any]:
        """The answer that the contract promises."""
        width = asked.get("dimensions") or DIMENSIONS[asked["model"]]
        rows = HashingModel(width).embed(texts).vectors
        plain = asked.get("encoding_format", "float") != "base64"
        data = [
            {
                "object": "embedding",
                "index": place,
                "embedding": row.tolist() if plain else base64.b64encode(row.astype("<f4").tobytes()).decode(),
            }
            for place, row in enumerate(np.asarray(rows))
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


def refusal(kind: str, code: str | None, message: str = "refused") -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class _Handler(BaseHTTPRequestHandler):
    server: OpenAIServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, answer = self._answer(body)
        if status == 0:
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        server = self.server
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        with server.guard:
            server.requests += 1
            number = server.requests
            server.sizes.append(len(texts))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return 401, {}, refusal("invalid_request_error", "invalid_api_key", f"Incorrect key: {KEY}")
        if body["model"] not in DIMENSIONS:
            return 404, {}, refusal("invalid_request_error", "model_not_found")
        spoiled = server.spoil(server, number, texts) if server.spoil else None
        if spoiled is not None and spoiled[0] != 200:
            return spoiled
        if len(texts) > 2048 or "" in texts:
            return 400, {}, refusal("invalid_request_error", None)
        answer = server.good(texts, body)
        with server.guard:
            server.billed.update(texts)
        return (200, {}, spoiled[2](answer)) if spoiled is not None else (200, {}, answer)


@contextmanager
def openai_server(spoil: Spoil | None = None) -> Iterator[OpenAIServer]:
    """A running server, gone afterwards."""
    server = OpenAIServer(spoil)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
