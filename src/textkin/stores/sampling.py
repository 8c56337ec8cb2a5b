"""A random sample of ids that come one after the other."""

from __future__ import annotations

import random
from collections.abc import Iterable


class Sample:
    """Each id of a stream is as likely to be in it (Vitter 1985, "Random sampling with a reservoir", algorithm R).

    Args:
        size: how many ids at most.
        seed: the same for the same stream gives the same sample.

    Attributes:
        ids: the sample of what was looked at so far.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._size = size
        self._seen = 0
        self.ids: list[str] = []

    def look_at(self, ids: Iterable[str]) -> None:
        """Go on with these."""
        for name in ids:
            self._seen += 1
            if len(self.ids) < self._size:
                self.ids.append(name)
            elif (place := self._random.randrange(self._seen)) < self._size:
                self.ids[place] = name
