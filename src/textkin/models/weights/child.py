"""Runs as a process of its own: the model hub's official client, or pip, ending when its parent ends.

Run by path with ``python -P``, so it imports nothing of textkin. Its standard input is the lifeline:
when it closes, the process ends. ``hub`` talks in JSON lines on standard output.
"""

from __future__ import annotations

import json
import os
import queue
import runpy
import sys
import threading
from types import TracebackType
from typing import Any, TextIO

_CHUNK = 1 << 18
_requests: queue.SimpleQueue[str] = queue.SimpleQueue()


def _listen() -> None:
    for line in sys.stdin:
        _requests.put(line)
    os._exit(1)


def _say(stream: TextIO, **message: Any) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def _hub(stream: TextIO) -> None:
    """Answer what a repository holds, then download what the parent asks for."""

    def report(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        kinds = [parent.__name__ for parent in kind.__mro__]
        status = getattr(getattr(error, "response", None), "status_code", None)
        _say(
            stream, event="error", kinds=kinds, text=str(error), errno=getattr(error, "errno", None), status=status
        )

    sys.excepthook = report
    import huggingface_hub
    from huggingface_hub import constants

    # Small chunks, so that the parent sees that a slow download moves.
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK
    _say(stream, event="ready")
    question = json.loads(_requests.get())
    repository, timeout = question["repository"], question["timeout"]
    facts = huggingface_hub.HfApi().model_info(
        repository, revision=question["revision"], timeout=timeout, files_metadata=True
    )
    files = {file.rfilename: file.size for file in facts.siblings or []}
    _say(stream, event="info", commit=facts.sha, files=files)
    for path in json.loads(_requests.get())["paths"]:
        huggingface_hub.hf_hub_download(
            repository, path, revision=facts.sha, local_dir=question["folder"], etag_timeout=timeout
        )
        _say(stream, event="file", path=path)
    _say(stream, event="done")


def main() -> None:
    """``child.py hub`` or ``child.py pip ARGUMENTS``."""
    threading.Thread(target=_listen, daemon=True).start()
    if sys.argv[1] == "hub":
        # Whatever libraries print must not mix with the messages.
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        _hub(stream)
        return
    sys.argv = sys.argv[1:]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
