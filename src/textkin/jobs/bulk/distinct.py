"""Which rows have an id that came before in this run, in constant memory: by digests in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import apsw

from textkin.jobs.bulk.ids import id_digest
from textkin.stores.problems import translated


class DistinctIds:
    """Ids as they come, by 64-bit digests.

    Two ids with the same 64 bits count as one; among a billion ids that is one chance in 37.

    Args:
        work: a job's ``_textkin``, where its file lies while it is used.
        owner: as of the job's place; its ``tidy`` removes what a kill leaves.
    """

    def __init__(self, work: Path, owner: str) -> None:
        above = work / "tmp"
        with translated(above, ""):
            above.mkdir(parents=True, exist_ok=True)
            self._place = tempfile.TemporaryDirectory(
                dir=above, prefix=f"{owner}-ids-", ignore_cleanup_errors=True
            )
        self._path = Path(self._place.name) / "ids.db"
        with translated(self._path, "Run the job again"):
            self._connection = apsw.Connection(str(self._path))
            self._connection.execute(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE ids (code INTEGER PRIMARY KEY)"
            ).fetchall()

    def close(self) -> None:
        """Remove its file."""
        self._connection.close(True)
        self._place.cleanup()

    def new(self, ids: Sequence[str]) -> list[bool]:
        """For each id whether it came for the first time; they count as seen from now on."""
        found: list[bool] = []
        with translated(self._path, "Run the job again"), self._connection:
            for name in ids:
                code = id_digest(name)
                self._connection.execute(
                    "INSERT OR IGNORE INTO ids VALUES (?)", (int.from_bytes(code, "little", signed=True),)
                )
                found.append(bool(self._connection.changes()))
        return found
