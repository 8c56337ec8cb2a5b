"""A server with OpenAI's embeddings contract that costs next to no processor time: its answers are cut from parts.

Prints its address, then serves until its standard input ends.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from textkin.types import Matrix

ROWS = 64


def table(width: int) -> Matrix:
    """The vectors there are; text number n has row n modulo `ROWS`."""
    rows = np.random.default_rng(11).standard_normal((ROWS, width)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    latency = 0.0
    parts: dict[str, list[bytes]]

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        arrived = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = body["input"]
        made = self.parts[body.get("encoding_format") or "float"]
        items = [
            b'{"object":"embedding","index":%d,"embedding":%b}' % (place, made[int(text.split()[1]) % ROWS])
            for place, text in enumerate(texts)
        ]
        count = 9 * len(texts)
        data = b'{"object":"list","model":"text-embedding-3-small","data":[%b],"usage":{"prompt_tokens":%d,' % (
            b",".join(items),
            count,
        )
        data += b'"total_tokens":%d}}' % count
        time.sleep(max(0.0, arrived + self.latency - time.monotonic()))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    latency, width = float(sys.argv[1]), int(sys.argv[2])
    rows = table(width)
    Handler.latency = latency
    Handler.parts = {
        "float": [json.dumps(row.tolist()).encode() for row in rows],
        "base64": [b'"%b"' % base64.b64encode(row.astype("<f4").tobytes()) for row in rows],
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
