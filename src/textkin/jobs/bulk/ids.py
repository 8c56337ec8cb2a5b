"""Which ids come twice, found in constant memory: their digests are sorted into files on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from textkin.stores.problems import from_system

_BUCKETS: Final = 256
_NAMED: Final = 10
_BLOCK: Final = 65_536


class SeenIds:
    """Ids as they come: 8 bytes each in a folder, some in memory until there are enough to write.

    Two ids with the same 64 bits count as one; among a billion ids that is one chance in 37.
    """

    def __init__(self, folder: Path) -> None:
        self._buckets = [folder / f"{number:02x}" for number in range(_BUCKETS)]
        self._held: list[bytes] = []
        self._folder = folder

    def add(self, ids: Iterable[str]) -> None:
        """Note ids."""
        self._held += map(id_digest, ids)
        if len(self._held) >= _BLOCK:
            self._write()

    def repeated(self) -> tuple[int, set[int]]:
        """How many ids came before, and the digests of some of them."""
        self._write()
        some: set[int] = set()
        count = 0
        for bucket in self._buckets:
            if bucket.exists():
                try:
                    codes = np.fromfile(bucket, dtype="<u8")
                except OSError as error:
                    raise from_system(error, self._folder) from error
                values, counts = np.unique(codes, return_counts=True)
                count += int((counts - 1).sum())
                some.update(values[counts > 1][:_NAMED].tolist())
        return count, some

    def _write(self) -> None:
        codes: npt.NDArray[np.uint64] = np.frombuffer(b"".join(self._held), dtype="<u8")
        self._held = []
        numbers = codes % _BUCKETS
        order = np.argsort(numbers, kind="stable")
        ends = np.searchsorted(numbers[order], np.arange(_BUCKETS + 1))
        try:
            for number, bucket in enumerate(self._buckets):
                if ends[number] < ends[number + 1]:
                    with bucket.open("ab") as file:
                        file.write(codes[order[ends[number] : ends[number + 1]]].tobytes())
        except OSError as error:
            raise from_system(error, self._folder) from error


@contextmanager
def seen_ids(work: Path, owner: str = "0") -> Iterator[SeenIds]:
    """A `SeenIds` with files in a job's folder while the block runs; `Place.tidy` removes what a kill leaves.

    Args:
        work: the job's ``_textkin``.
        owner: as of the job's place.
    """
    above = work / "tmp"
    try:
        above.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=above, prefix=f"{owner}-ids-", ignore_cleanup_errors=True)
    except OSError as error:
        raise from_system(error, above) from error
    with made as place:
        yield SeenIds(Path(place))


def names_of(batches: Iterable[Sequence[str]], digests: set[int]) -> list[str]:
    """The first ten ids that come twice, of those with these digests."""
    seen: set[str] = set()
    found: dict[str, None] = {}
    for ids in batches:
        for name in ids:
            if int.from_bytes(id_digest(name), "little") in digests:
                if name in seen:
                    found[name] = None
                    if len(found) >= _NAMED:
                        return list(found)
                seen.add(name)
    return list(found)


def id_digest(name: str) -> bytes:
    """Eight bytes that stand for an id."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
