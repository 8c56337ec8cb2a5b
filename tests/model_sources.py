"""Small published models for tests: a catalog entry, its wheels, and a hub that really answers (or does not)."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from textkin.models.catalog import Carrier, CatalogEntry, PinnedFile
from textkin.models.weights.files import file_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "testers/tiny-model"
FOLDER = "tiny_model/model"
SETTINGS = {
    "config.json": {"model_type": "bert", "hidden_size": 8, "layer_norm_eps": 1e-12},
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ],
    "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": False},
    "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
}


def contents(size: int = 200_000) -> dict[str, bytes]:
    """The files of the tiny model; the weights don't compress."""
    files = {path: json.dumps(value, indent=2).encode() for path, value in SETTINGS.items()}
    files["tokenizer.json"] = json.dumps({"model": {"type": "WordPiece"}, "pad": "x" * 500}).encode()
    files["model.safetensors"] = random.Random(7).randbytes(size)
    return files


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def tiny_entry(scratch: Path, files: Mapping[str, bytes] | None = None, parts: int = 0) -> CatalogEntry:
    """A catalog entry that pins these files; its carrier is one wheel, or ``parts`` wheels."""
    files = contents() if files is None else files
    folder = write_folder(scratch / "published", files)
    names = [f"tiny-model-part-{number}" for number in range(parts)] or ["tiny-model"]
    joined = len(joined_zip(files)) if parts else 0
    return CatalogEntry(
        name="tiny-model",
        repository=REPOSITORY,
        dimensions=8,
        max_tokens=16,
        parameters=100,
        licence="MIT",
        languages="English",
        revision=COMMIT,
        files=tuple(
            PinnedFile(path=path, size=len(data), digest=file_digest(folder / path, path))
            for path, data in files.items()
        ),
        carrier=Carrier(
            requirements=tuple(f"{name}==1.0" for name in names),
            folder="tiny" if parts else FOLDER,
            download_size=300_000,
            parts=tuple(f"part_{number}/input/tiny.zip.{number:03}" for number in range(parts)),
            joined_size=joined,
        ),
    )


def write_wheel(index: Path, name: str, members: Mapping[str, bytes] | Mapping[zipfile.ZipInfo, bytes]) -> Path:
    """A wheel that pip accepts, holding these members besides its own."""
    index.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    file = index / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, data in members.items():
            wheel.writestr(member, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


def write_carrier(index: Path, files: Mapping[str, bytes] | None = None) -> Path:
    files = contents() if files is None else files
    members = {f"{FOLDER}/{path}": data for path, data in files.items()}
    return write_wheel(index, "tiny-model", {"tiny_model/__init__.py": b"raise SystemExit('run!')", **members})


def write_part_carriers(index: Path, parts: int, files: Mapping[str, bytes] | None = None) -> None:
    whole = joined_zip(contents() if files is None else files)
    length = -(-len(whole) // parts)
    for number in range(parts):
        member = f"part_{number}/input/tiny.zip.{number:03}"
        write_wheel(index, f"tiny-model-part-{number}", {member: whole[number * length : (number + 1) * length]})


def joined_zip(files: Mapping[str, bytes]) -> bytes:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("tiny/desktop.ini"), b"[x]")
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(f"tiny/{path}"), data)
    return stream.getvalue()


class Hub:
    """A model hub on this machine, driven by the official client.

    Attributes:
        mode: ``ok``; ``hang`` (accepts, never answers); ``403``, ``404``, ``500``; ``html`` (a proxy's page);
            ``drip`` (sends the weights slowly); ``stall`` (stops in the middle of the weights); ``cut``
            (closes there).
        requests: what was asked, in order.
        gone: set when a client left in the middle of a download.
    """

    def __init__(self, files: Mapping[str, bytes], mode: str = "ok") -> None:
        self.files = dict(files)
        self.mode = mode
        self.commit = COMMIT
        self.requests: list[str] = []
        self.gone = threading.Event()
        self.stopping = threading.Event()
        self.pause = 0.05

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{handler.command} {handler.path}")
        if self.mode == "hang":
            self.stopping.wait(60)
            return
        if self.mode.isdigit():
            self._send(handler, int(self.mode), b"refused", {})
            return
        if self.mode == "html":
            self._send(handler, 200, b"<html>log in</html>", {"Content-Type": "text/html"})
            return
        if handler.path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [{"rfilename": path, "size": len(data)} for path, data in self.files.items()]
            facts = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": self.commit, "siblings": siblings}
            self._send(handler, 200, json.dumps(facts).encode(), {"Content-Type": "application/json"})
            return
        start = f"/{REPOSITORY}/resolve/{self.commit}/"
        data = self.files.get(handler.path.removeprefix(start))
        if not handler.path.startswith(start) or data is None:
            self._send(handler, 404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": self.commit}
        self._send(handler, 200, data, headers, slow=handler.path.endswith(".safetensors"))

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        data: bytes,
        headers: Mapping[str, str],
        slow: bool = False,
    ) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if not slow or self.mode == "ok":
            handler.wfile.write(data)
            return
        if self.mode in ("stall", "cut"):
            handler.wfile.write(data[: len(data) // 2])
            if self.mode == "stall":
                self.stopping.wait(60)
            return
        try:
            for start in range(0, len(data), 4096):
                handler.wfile.write(data[start : start + 4096])
                time.sleep(self.pause)
                if self.stopping.is_set():
                    return
        except OSError:
            self.gone.set()


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The address of the running hub, for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def do_HEAD(self) -> None:
            hub.answer(self)

        def log_message(self, format: str, *values: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            hub.gone.set()

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        hub.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
