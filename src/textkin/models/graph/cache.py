"""Arrays that took a while to make, kept in textkin's cache as checked safetensors files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textkin import _places
from textkin.models.graph.tensors import Array
from textkin.models.settings import kind_of_file
from textkin.models.weights.identity import State, state_of
from textkin.vectors.own_files import own_file, remove_abandoned

_KINDS = {"float32": "F32", "int8": "I8"}


def path(key: str) -> Path:
    """Where the arrays of a key are kept."""
    return _places.cache_folder() / "graphs" / f"{key}.safetensors"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the cache.

    Attributes:
        key: of its arrays.
        path: where it is.
        state: of the file before it was read.
    """

    key: str
    path: Path
    state: State

    def whole(self) -> bool:
        """Whether it still is; read again."""
        return find(self.key) is not None


def find(key: str) -> Kept | None:
    """The file of a key when it is there and whole; a damaged one is as good as none."""
    place = path(key)
    try:
        if kind_of_file(place) is not None:
            return None
        state = state_of(place)
        with place.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > 1_000_000:
                return None
            header = json.loads(file.read(size))
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if header["__metadata__"]["header"] != _header_digest(header):
                return None
            return Kept(key, place, state) if header["__metadata__"]["sha256"] == found else None
    except (OSError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        return None


def save(key: str, arrays: Mapping[str, Array]) -> None:
    """Keep arrays under a key; where the cache can't be written, nothing happens."""
    header: dict[str, object] = {}
    place, whole = 0, hashlib.sha256()
    blocks = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    for (name, array), block in zip(arrays.items(), blocks, strict=True):
        end = place + len(block)
        header[name] = {
            "dtype": _KINDS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [place, end],
        }
        place = end
        whole.update(block)
    header["__metadata__"] = {"sha256": whole.hexdigest(), "header": _header_digest(header)}
    head = json.dumps(header).encode("ascii")
    head += b" " * (-len(head) % 64)
    target = path(key)
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target)
        with own_file(target) as file:
            file.writelines([struct.pack("<Q", len(head)), head, *blocks])


def _header_digest(header: Mapping[str, object]) -> str:
    """Of what says where each array is."""
    arrays = {name: told for name, told in header.items() if name != "__metadata__"}
    return hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()
