"""The model hub as a source: its official client, a pinned commit, only the files that textkin reads."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textkin._network import proxy_of
from textkin._places import cache_folder
from textkin.errors import ModelNotFoundError, StorageFullError
from textkin.models.weights.cache import require_room
from textkin.models.weights.files import is_safe, readable, refuse_unsupported
from textkin.models.weights.process import Download, Stalled, masked, python_command, quiet_environment

START_SECONDS = 60.0
"""To import the client, on a slow disk."""
ANSWER_SECONDS = 5.0
"""For the hub's first answer."""
STALL_SECONDS = 15.0
"""Without a byte during a download."""
REMEMBER_SECONDS = 600.0
"""How long a hub that could not be reached is left alone while there is another source."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a download brought: the commit, and the paths in the order of arrival."""

    commit: str
    paths: tuple[str, ...]


def is_offline() -> bool:
    """Whether the user told the hub's client to stay offline."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def title() -> str:
    """How messages call the hub; a user's mirror is named, without its credentials."""
    mirror = masked(os.environ.get("HF_ENDPOINT", ""))
    return f"model hub at {mirror}" if mirror else "model hub"


def was_unreachable() -> bool:
    """Whether the hub could not be reached a few minutes ago, by this process or another one."""
    try:
        facts = json.loads(_memory().read_bytes())
        return bool(facts["hub"] == title() and 0 <= time.time() - float(facts["time"]) < REMEMBER_SECONDS)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def download(
    repository: str,
    revision: str | None,
    folder: Path,
    wanted: tuple[str, ...] = (),
    on_bytes: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """Download a model's files into an empty folder.

    Args:
        revision: commit, branch or tag; None: the main branch.
        folder: where the files go, under their own relative paths.
        wanted: paths to take; empty: all that textkin reads.
        on_bytes: called with the bytes so far, and in all when the hub says so.

    Raises:
        ModelNotFoundError: says in one clause why the hub did not give the model.
        UnsupportedModelError: the repository has no weights that textkin reads.
        StorageFullError: the disk is too small.
    """
    if is_offline():
        raise ModelNotFoundError("not asked, because HF_HUB_OFFLINE is set")
    client = folder.with_name("client")
    client.mkdir()
    environment = quiet_environment(client)
    environment.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    # Plain downloads go through proxies and are resumed; the other protocol needs further hosts.
    environment.setdefault("HF_HUB_DISABLE_XET", "1")
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        with Download(python_command("hub"), environment, folder) as process:
            return _converse(process, repository, revision, folder, wanted, on_bytes)
    except Stalled as error:
        _remember()
        raise ModelNotFoundError(f"could not be reached: {error}") from error


def _converse(
    process: Download,
    repository: str,
    revision: str | None,
    folder: Path,
    wanted: tuple[str, ...],
    on_bytes: Callable[[int, int | None], None] | None,
) -> Fetched:
    _expect("ready", process.answer(START_SECONDS), process, repository)
    process.ask(repository=repository, revision=revision, folder=str(folder), timeout=ANSWER_SECONDS)
    info = _expect("info", process.answer(ANSWER_SECONDS + 1), process, repository)
    commit, sizes = str(info["commit"]), dict(info["files"])
    if not _COMMIT.fullmatch(commit) or (revision and _COMMIT.fullmatch(revision) and commit != revision):
        raise ModelNotFoundError(f"answered with commit {commit!r}, expected {revision or 'a commit'}")
    paths = _choose(repository, list(sizes), wanted)
    known = [sizes[path] for path in paths if isinstance(sizes[path], int)]
    total = sum(known) if len(known) == len(paths) else None
    if total is not None:
        require_room(total)
    process.ask(paths=paths)
    last = process.watch(STALL_SECONDS, None if on_bytes is None else lambda done: on_bytes(done, total))
    _expect("done", last, process, repository)
    return Fetched(commit=commit, paths=tuple(paths))


def _choose(repository: str, present: list[str], wanted: tuple[str, ...]) -> list[str]:
    if wanted:
        missing = [path for path in wanted if path not in present]
        if missing:
            raise ModelNotFoundError(f"has {repository} without {missing[0]}")
        return list(wanted)
    refuse_unsupported(repository, present)
    return [path for path in readable(present) if is_safe(path)]


def _expect(event: str, message: dict[str, Any], process: Download, repository: str) -> dict[str, Any]:
    if message.get("event") == event:
        return message
    if message.get("event") != "error":
        raise ModelNotFoundError(f"its client ended: {process.complaint()}")
    kinds, status = set(message.get("kinds", ())), message.get("status")
    text = masked(" ".join(str(message.get("text", "")).split()))[:300]
    if message.get("errno") in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC):
        raise StorageFullError(
            f"no room left in {cache_folder()}; make room, or set TEXTKIN_CACHE to a folder on a larger disk"
        )
    if "GatedRepoError" in kinds:
        raise ModelNotFoundError(f"{repository} is gated: accept its terms on the hub, then set HF_TOKEN")
    if "RevisionNotFoundError" in kinds:
        raise ModelNotFoundError(f"has {repository}, but not this revision")
    if "RepositoryNotFoundError" in kinds or status == 404:
        raise ModelNotFoundError(f"has no public model {repository} (a private one needs HF_TOKEN)")
    if status is not None:
        raise ModelNotFoundError(f"refused with HTTP status {status}")
    if "JSONDecodeError" in kinds or "HFValidationError" in kinds:
        raise ModelNotFoundError(f"answered with something else than a hub's answer ({text})")
    _remember()
    proxy = proxy_of(os.environ.get("HF_ENDPOINT", "").strip() or "https://huggingface.co")
    through = f" through {proxy}" if proxy is not None else ""
    raise ModelNotFoundError(f"could not be reached{through}: {text}")


def _memory() -> Path:
    return cache_folder() / "hub-unreachable.json"


def _remember() -> None:
    try:
        _memory().parent.mkdir(parents=True, exist_ok=True)
        _memory().write_text(json.dumps({"hub": title(), "time": time.time()}), encoding="utf-8")
    except OSError:
        return
