"""Bad rows between two good ones: in memory while they are few, on the disk when there are millions."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from textkin.text.options import Skipped

_HELD: Final = 10_000


class Spill:
    """Takes what was skipped, and gives it back in the same order."""

    def __init__(self) -> None:
        self._held: list[Skipped] = []
        self._file: IO[bytes] | None = None

    def add(self, skipped: Skipped) -> None:
        """Note one."""
        self._held.append(skipped)
        if len(self._held) >= _HELD:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed when it has been read
            # Our own objects in a file that has no name: nobody else can have written it.
            pickle.dump(self._held, self._file)
            self._held = []

    def taken(self) -> Iterator[Skipped]:
        """All that were added since the last time."""
        file, self._file = self._file, None
        held, self._held = self._held, []
        if file is not None:
            with file:
                end = file.tell()
                file.seek(0)
                while file.tell() < end:
                    yield from pickle.load(file)
        yield from held
