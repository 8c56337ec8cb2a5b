"""Several processes on one output: the last to be done completes it, and only where all saw the same input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from textkin.errors import StoreError
from textkin.jobs.bulk.place import WORK, Place, read_json, write_json

_RANKS: Final = f"{WORK}/ranks"


def begin_rank(place: Place, rank: int) -> None:
    """A rank starts: what it saw in an earlier run doesn't count any more."""
    place.remove(_name(rank))


def end_rank(place: Place, rank: int, world: int, digests: Sequence[str], *, published: bool) -> bool:
    """A rank has come to its end; returns whether all have.

    Args:
        place: of the output.
        rank: from 0.
        world: how many there are.
        digests: of all shards of the input, as this rank read it.
        published: whether a manifest stood when it began: then another rank's word may be of that round.

    Raises:
        StoreError: another rank of the same round read another input; names it.
    """
    seen = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    write_json(place, _name(rank), {"world": world, "shards": len(digests), "input": seen})
    done = 0
    for other in range(world):
        facts = read_json(place, _name(other))
        if facts is None or facts.get("world") != world:
            continue
        if facts["input"] != seen and published:
            continue
        if facts["input"] != seen:
            raise StoreError(
                f"rank {rank} read an input of {len(digests):,} files of the output, and rank {other} one of "
                f"{facts['shards']:,}, or with other rows: the input changed in between. Run all ranks again with "
                "--resume; what is done is kept"
            )
        done += 1
    return done == world


def _name(rank: int) -> str:
    return f"{_RANKS}/{rank}.json"
