"""The state of the files as they are now: read again when others have changed them, changed by one writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from textkin.errors import (
    CorruptStoreError,
    ReadOnlyError,
    StorageFullError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from textkin.stores.arrays import pair as files_on_disk
from textkin.stores.arrays.encoding import understood
from textkin.stores.arrays.journal import NO_FILES, Change, append, read_journal
from textkin.stores.arrays.pair import Files, Mark, Pair, read_pair
from textkin.stores.arrays.state import UNUSABLE, State
from textkin.stores.checks import UNIT_TOLERANCE
from textkin.stores.problems import from_system
from textkin.types import Matrix
from textkin.vectors.own_files import mode_of, remove_abandoned

_PAUSE: Final = 0.01
_CHECKED: Final = 1 << 16
"""Rows whose length is looked at at a time."""


class Live:
    """One collection's state, shared by the threads of one object.

    Args:
        files: where it lies.
        timeout: seconds to try again while others replace the files.
    """

    def __init__(self, files: Files, timeout: float) -> None:
        self._files = files
        self._timeout = timeout
        self._guard = threading.RLock()
        self._state: State | None = None
        self._pair: Pair | None = None
        self._name = NO_FILES
        self._position = 0
        self._mark: Mark = ()
        self._seen = False

    @contextmanager
    def now(self) -> Iterator[State]:
        """The current state; no other thread changes it meanwhile.

        Raises:
            CorruptStoreError, ForeignFileError, NewerVersionError: see `read_pair` and `read_journal`.
            StoreLockedError: others replaced the files all the time.
        """
        with self._guard:
            yield self._refreshed()

    @property
    def exists(self) -> bool:
        """Whether there is anything on the disk."""
        with self.now():
            return self._pair is not None or self._position > 0

    def forget(self) -> None:
        """Let go of the files."""
        with self._guard:
            self._state = self._pair = None

    # -- for who holds the writer's place ------------------------------------------------------------------

    def begin(self) -> None:
        """Do what a killed writer didn't come to."""
        with self.now(), self._reported():
            files_on_disk.finish(self._files, self._pair)
            remove_abandoned(self._files.journal)
            if not self._position:
                self._files.journal.unlink(missing_ok=True)  # of a state that has passed
            self._mark = self._files.mark()

    def change(self, change: Change, apply: Callable[[State], None]) -> None:
        """Put a change into the journal, then into the state; both or none."""
        with self.now() as state:
            with self._reported():
                mode = mode_of(self._files.numbers)
                position = append(self._files.journal, self._name, self._position, change, mode)
            self._position, self._seen = position, True
            apply(state)

    def fold(self) -> None:
        """Write what the journal has into the files.

        Raises:
            StorageFullError, StoreError: they can't be written; the journal stays, so nothing is lost.
        """
        with self.now() as state:
            header, kept = state.header, state.all()
        if not self._position or header is None:
            return
        try:
            name = files_on_disk.write_pair(self._files, header, kept)
            with self._guard:
                files_on_disk.put_in_place(self._files)
                rows = files_on_disk.map_numbers(self._files)
                state.rest_on([one.record for one in kept], rows)
                self._pair = Pair(name, {}, self._files.description, rows)
                self._name, self._position, self._mark = name, 0, self._files.mark()
        except OSError as error:
            raise self._not_folded(error) from error

    # -- inside --------------------------------------------------------------------------------------------

    def _refreshed(self) -> State:
        end = time.monotonic() + self._timeout
        while True:
            mark = self._files.mark()
            try:
                done = self._caught_up(mark)
            except BaseException as error:
                self._state = None
                if self._files.mark() == mark or not isinstance(error, StoreError | OSError):
                    if isinstance(error, OSError):
                        reason = error.strerror or error
                        raise StoreError(f"{self._files.numbers} can't be read: {reason}") from error
                    raise
                done = False
            if done and self._state is not None:
                return self._state
            if time.monotonic() > end:
                raise StoreLockedError(
                    f"{self._files.numbers} was replaced again and again for {self._timeout:g} s by other "
                    "processes, so that it could not be read; try again when they are done"
                )
            time.sleep(_PAUSE)

    def _caught_up(self, mark: Mark) -> bool:
        """Read what is new; False when the files were replaced meanwhile."""
        state = self._state
        if state is None or mark != self._mark:
            self._pair = read_pair(self._files)
            self._name = NO_FILES if self._pair is None else self._pair.state
            self._position = 0
            state = self._from_pair()
        changes, position = read_journal(self._files.journal, self._name, self._position)
        if self._files.mark() != mark or position < self._position:
            self._state = None
            return False
        there = self._pair is not None or position > 0
        if self._seen and not there:
            raise StoreNotFoundError(
                f"{self._files.numbers} is no longer there: it was moved or deleted after it was opened. Open it "
                "where it is now"
            )
        self._seen = there
        for change in changes:
            try:
                state.apply(change, str(self._files.journal))
            except UNUSABLE as error:
                raise CorruptStoreError(
                    f"{self._files.journal} holds a change that can't be ({error}); restore it with the files "
                    "beside it from a backup"
                ) from error
        self._state, self._position, self._mark = state, position, mark
        return True

    def _from_pair(self) -> State:
        found = self._pair
        if found is None:
            return State(None, [], np.zeros((0, 0), dtype=np.float32))
        header, records = understood(found.facts, str(found.place))
        _check_unit(found.rows, str(self._files.numbers))
        self._pair = Pair(found.state, {}, found.place, found.rows)  # the records are enough of it
        return State(header, records, found.rows)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise from_system(error, self._files.journal) from error

    def _not_folded(self, error: OSError) -> StoreError:
        kept = (
            f"Nothing is lost: what was written is in {self._files.journal.name}, which is read with the two "
            "files. Cure that, then run the same again"
        )
        found = from_system(error, self._files.numbers)
        reason = "no room left" if isinstance(found, StorageFullError) else str(error.strerror or error)
        kind = type(found) if isinstance(found, StorageFullError | ReadOnlyError) else StoreError
        return kind(f"{self._files.numbers} could not be rewritten ({reason}). {kept}")


def _check_unit(rows: Matrix, place: str) -> None:
    for start in range(0, len(rows), _CHECKED):
        block = rows[start : start + _CHECKED]
        squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
        bad = np.flatnonzero(~(np.abs(squares - 1) <= 4 * UNIT_TOLERANCE))  # twice what an upsert lets through
        if len(bad):
            row = int(bad[0])
            raise CorruptStoreError(
                f"{place}: row {start + row} (counted from 0) has length {np.sqrt(squares[row]):.6g} instead of "
                "1, so cosines would be wrong; normalise the vectors (textkin.normalize) and save them again"
            )
