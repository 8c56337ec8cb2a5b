"""A JSON server on this machine over one function: what the conformance servers have in common."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        method: GET, POST …
        parts: of the path, decoded.
        query: each name with all its values.
        headers: as sent.
        body: as sent.
    """

    method: str
    parts: list[str]
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def json_server(answer: Callable[[Asked], tuple[int, Any]]) -> Iterator[str]:
    """Serve what ``answer`` gives, a status and a JSON value (bytes go as they are); yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = [unquote(part) for part in split.path.split("/") if part]
            status, told = answer(Asked(self.command, parts, parse_qs(split.query), self.headers, body))
            sent = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
