"""Arrays that took a while to make, kept in textkin's cache as checked safetensors files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from textkin import _places
from textkin.models.graph.tensors import Array
from textkin.models.settings import kind_of_file

_BLOCK = 1 << 20
_KINDS = {"float32": "F32", "int8": "I8"}


def path(key: str) -> Path:
    """Where the arrays of a key are kept."""
    return _places.cache_folder() / "graphs" / f"{key}.safetensors"


def find(key: str) -> Path | None:
    """The file of a key when it is there and whole; a damaged one is as good as none."""
    place = path(key)
    try:
        if kind_of_file(place) is not None:
            return None
        with place.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > 1_000_000:
                return None
            header = json.loads(file.read(size))
            stated = header.pop("__metadata__")["sha256"]
            found = hashlib.sha256(_described(header))
            while block := file.read(_BLOCK):
                found.update(block)
            return place if stated == found.hexdigest() else None
    except (OSError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        return None


def save(key: str, arrays: Mapping[str, Array]) -> None:
    """Keep arrays under a key; where the cache can't be written, nothing happens."""
    header: dict[str, object] = {}
    place = 0
    blocks = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    for (name, array), block in zip(arrays.items(), blocks, strict=True):
        end = place + len(block)
        header[name] = {
            "dtype": _KINDS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [place, end],
        }
        place = end
    whole = hashlib.sha256(_described(header))
    for block in blocks:
        whole.update(block)
    header["__metadata__"] = {"sha256": whole.hexdigest()}
    head = json.dumps(header).encode("ascii")
    head += b" " * (-len(head) % 64)
    with contextlib.suppress(OSError):
        _write(path(key), [struct.pack("<Q", len(head)), head, *blocks])


def _described(header: Mapping[str, object]) -> bytes:
    """What the arrays are called and where they lie: to be summed too, or two of one shape could change places."""
    return json.dumps(header, sort_keys=True).encode("ascii")


def _write(place: Path, blocks: list[bytes]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(number, "wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
