"""The files of a loaded model: their digests, and whether they are still what was loaded."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from textkin.errors import WeightsError
from textkin.models.weights.files import file_digest, is_module
from textkin.models.weights.verifying import YOUNG, digests, read_of

State: TypeAlias = tuple[int, int, int, int, int]
"""Device, inode, size, times of the last change of the content and of anything, in nanoseconds."""
_WEIGHTS: Final = (".safetensors", ".onnx", ".onnx_data")
_INDEX: Final = "model.safetensors.index.json"
_OTHER_ENGINES: Final = frozenset({"onnx", "openvino"})
_TOKENIZER: Final = frozenset(
    {
        "added_tokens.json",
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A file as it was.

    Attributes:
        path: where.
        state: before it was read.
        looked: when, in nanoseconds.
        same: reads it again; False where its content is another.
        kept: whether what was loaded can't change once the file has another inode, or is gone.
    """

    path: Path
    state: State
    looked: int
    same: Callable[[], bool]
    kept: bool = False

    @property
    def young(self) -> bool:
        """Whether it changed so shortly before that another change could have left the same times."""
        return any(abs(self.looked - changed) < YOUNG for changed in self.state[3:])


class ModelFiles:
    """All files that textkin reads of one model's folder, as they were when this was made.

    Made before the model is loaded, and checked after that and after each block of vectors: weights are mapped
    into memory, so that a file that is written over changes the vectors of a running process.

    Args:
        folder: the model's.
        rehash: as in `digests`.

    Raises:
        ModelNotFoundError: the folder can't be read.
        WeightsError: a file can't be read.
    """

    def __init__(self, folder: Path, *, rehash: bool = False) -> None:
        self._folder = folder
        self._watched: dict[Path, _Watched] = {}
        looked = time.time_ns()
        try:
            before = {name: state_of(folder / name) for name in read_of(folder)}
            self._digests = digests(folder, rehash=rehash)
            for name, digest in self._digests.items():
                path = folder / name
                state = before.get(name) or state_of(path)
                self._watched[path] = _Watched(path, state, looked, partial(_has, path, name, digest))
        except OSError as error:
            raise WeightsError(f"{folder} can't be read ({error}); fetch the model again") from error

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest (see `file_digest`) of each file, by its name relative to the folder."""
        return self._digests

    def digest(self, path: Path) -> str:
        """The digest of one file of the model; one that the folder's list doesn't have is read, and watched, too.

        Raises:
            WeightsError: it can't be read.
        """
        name = path.relative_to(self._folder).as_posix()
        if name not in self._digests:
            try:
                looked, state = time.time_ns(), state_of(path)
                digest = file_digest(path, name)
            except OSError as error:
                raise WeightsError(f"{path} can't be read ({error.strerror}); fetch the model again") from error
            self._digests[name] = digest
            self._watched[path] = _Watched(path, state, looked, partial(_has, path, name, digest))
        return self._digests[name]

    def further(self) -> dict[str, str]:
        """Read, and watch, what another engine than textkin's own may read beside them; the digest of each.

        These are weights that only an index names, and all files of folders that no name of textkin's has.

        Raises:
            WeightsError: one can't be read.
        """
        known = frozenset(self._digests)
        places = [path for path in sorted(self._folder.rglob("*")) if path.is_file()]
        names = {path: path.relative_to(self._folder).as_posix() for path in places}
        listed = {name for path in places if path.name == _INDEX for name in _shards(path)}
        return {
            name: self.digest(path)
            for path, name in names.items()
            if name not in known
            and not any(part.startswith(".") or part in _OTHER_ENGINES for part in name.split("/"))
            and (path in listed or (name.count("/") and not is_module(name.partition("/")[0])))
        }

    def watch_mapped(self, path: Path, state: State, same: Callable[[], bool]) -> None:
        """Watch a file of textkin's own, too, that is mapped into memory; that it is removed or made anew is fine.

        Args:
            path: where.
            state: before it was read.
            same: reads it again; False where it is damaged.
        """
        self._watched[path] = _Watched(path, state, time.time_ns(), same, kept=True)

    @property
    def weights(self) -> str:
        """One digest of all weights, the transformer's first."""
        return weights_digest(self._digests)

    @property
    def tokenizer(self) -> str:
        """One digest of all files that decide how a text becomes tokens."""
        return tokenizer_digest(self._digests)

    def check(self, name: str) -> None:
        """Whether all files are what was loaded; to be called after vectors were made, before any is kept.

        Where only a file's change time differs (it got another link, owner or mode), or it was replaced, its
        content decides.

        Args:
            name: the model's, for the message.

        Raises:
            WeightsError: one is not; names it. The model can't be used any more, and has to be loaded again.
        """
        for path, watched in list(self._watched.items()):
            try:
                now = state_of(path)
            except OSError as error:
                if watched.kept:
                    continue
                raise WeightsError(_changed(path, name, f"can't be found any more ({error.strerror})")) from error
            if now == watched.state and not watched.young:
                continue
            replaced = now[:2] != watched.state[:2]
            if watched.kept and replaced:
                continue
            if not replaced and now[2:4] != watched.state[2:4]:
                raise WeightsError(_changed(path, name, "was written over"))
            looked = time.time_ns()
            try:
                same = watched.same() and state_of(path) == now
            except OSError as error:
                raise WeightsError(_changed(path, name, f"can't be read any more ({error.strerror})")) from error
            if not same:
                raise WeightsError(_changed(path, name, "was replaced" if replaced else "was written over"))
            self._watched[path] = _Watched(path, now, looked, watched.same, watched.kept)


def state_of(path: Path) -> State:
    """Which file this is, and since when it is as it is; links are followed."""
    facts = path.stat()
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def weights_digest(files: Mapping[str, str]) -> str:
    """One digest of a model's weights.

    Args:
        files: digest of each of its files, by relative path. How its folders are called doesn't matter, their
            order does.
    """
    chosen = sorted(
        (path.rpartition("/")[::2], digest) for path, digest in files.items() if path.endswith(_WEIGHTS)
    )
    return _one([digest for _, digest in chosen])


def tokenizer_digest(files: Mapping[str, str]) -> str:
    """One digest of all files of a model that decide how a text becomes tokens; arguments as `weights_digest`."""
    chosen = ((path.rpartition("/")[::2], digest) for path, digest in files.items())
    return _one(sorted([name, digest] for (_, name), digest in chosen if name in _TOKENIZER))


def _one(parts: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode("ascii")).hexdigest()


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # the engine will say so
    return [index.parent / str(name) for name in names]


def _has(path: Path, name: str, digest: str) -> bool:
    return file_digest(path, name) == digest


def _changed(path: Path, name: str, what: str) -> str:
    return (
        f"{path} {what} after {name} was loaded from it: its vectors would be another model's. Nothing of this "
        "block was kept; what was done before is. Load the model again (run the command again), and don't change "
        "its files while it is in use"
    )
