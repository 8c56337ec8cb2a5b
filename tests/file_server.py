"""A web server for files on this machine, with the faults that web servers have."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class FileServer:
    """Serves ``files`` (path to content) on 127.0.0.1; knobs say how badly.

    Attributes:
        ranges: whether it answers Range requests with a part.
        sized: whether it tells the length.
        failing: path to the statuses of its next GETs; the last one stays. 200 is none.
        drop_after: cut each whole answer off after so many bytes.
        requests: (method, path with query, Range header) of each.
        authorizations: the Authorization header of each.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.sized = True
        self.failing: dict[str, list[int]] = {}
        self.drop_after: int | None = None
        self.requests: list[tuple[str, str, str | None]] = []
        self.authorizations: list[str | None] = []
        self.url = ""

    def status(self, path: str) -> int:
        statuses = self.failing.get(path, [200])
        return statuses.pop(0) if len(statuses) > 1 else statuses[0]

    def listing(self, folder: str) -> bytes:
        names = {path[len(folder) :].partition("/") for path in self.files if path.startswith(folder)}
        links = sorted({f'<a href="{name}{slash}">{name}</a>' for name, slash, _ in names})
        return ("<html><a href='?C=N;O=D'>Name</a> <a href='../'>up</a>" + "".join(links)).encode()


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _answer(self, body: bool) -> None:
            asked = self.headers.get("Range")
            server.requests.append((self.command, self.path, asked))
            server.authorizations.append(self.headers.get("Authorization"))
            path = unquote(urlsplit(self.path).path)
            status = server.status(path) if body else 200
            kind = "application/octet-stream"
            if path.endswith("/"):
                content, kind = server.listing(path), "text/html"
            elif path in server.files:
                content = server.files[path]
            elif any(name.startswith(f"{path}/") for name in server.files):
                self.send_response(301)
                self.send_header("Location", f"{path}/")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            else:
                content, status = b"", 404
            if status != 200:
                content = b""
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
            if part and server.ranges and status == 200:
                first, last = int(part[1]), int(part[2] or len(content) - 1)
                status, whole = 206, len(content)
                content = content[first : last + 1]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{first + len(content) - 1}/{whole}")
            if server.sized:
                self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", kind)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            if body:
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(content[: server.drop_after])

    return Handler


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    """A running server; it has stopped when the block ends."""
    server = FileServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
