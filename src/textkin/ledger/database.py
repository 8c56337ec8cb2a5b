"""The ledger: one SQLite file that knows the vector of every text that was embedded, but no text."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final

import apsw
import filelock
import numpy as np
import numpy.typing as npt

from textkin._places import absolute, data_folder
from textkin.errors import (
    CorruptStoreError,
    InputError,
    ReadOnlyError,
    StorageFullError,
    StoreError,
    StoreLockedError,
)
from textkin.ledger import entries, models
from textkin.ledger.claims import Claims, remove_abandoned_locks
from textkin.ledger.entries import Remembered
from textkin.ledger.schema import ENTRY_BYTES, LEDGER, entry_checksum
from textkin.stores.local.checksums import read_mark, write_mark
from textkin.stores.problems import translated
from textkin.stores.sqlite import (
    FileIdentity,
    FrozenState,
    connect,
    create,
    frozen_state,
    identity,
    migrate,
    remove_unfinished,
    transaction,
    unfinished,
)
from textkin.types import Matrix, ModelInfo
from textkin.vectors.own_files import make_private_folder

_DAY: Final = 86400
_LAST_DAY: Final = 2**63 - 1
_EPOCH: Final = date(1970, 1, 1)
_CURE: Final = (
    ". The ledger keeps each vector that was made: set TEXTKIN_DATA to a folder that can be written, or do "
    "without it: --no-ledger (ledger=False)"
)


@dataclass(frozen=True, slots=True)
class LedgerUse:
    """What one model takes in the ledger.

    Attributes:
        name: the model's; its short fingerprint when it was never introduced.
        fingerprint: the model's.
        dimensions: of its vectors.
        texts: how many it knows, each role counted.
        bytes: what they take.
        last_used: None when it knows no text.
    """

    name: str
    fingerprint: str
    dimensions: int
    texts: int
    bytes: int
    last_used: date | None


class Ledger:
    """Vectors by (fingerprint, role, SHA-256 of the text as sent).

    Any number of threads (one after the other) and processes may use one file. Where it can't be written it is
    only read.

    Args:
        path: the file; by default ``ledger.db`` in the user's data folder. Made when it isn't there.
        timeout: seconds to wait for another process that writes.

    Attributes:
        claims: what is being embedded now, by whom.

    Raises:
        CorruptStoreError: it is damaged.
        ForeignFileError: it is something else.
        NewerVersionError: made by a newer textkin.
        ReadOnlyError: it isn't there and can't be made.
    """

    def __init__(self, path: Path | None = None, *, timeout: float = 30.0) -> None:
        self._path = data_folder() / "ledger.db" if path is None else absolute(path)
        self._cure = _CURE if path is None else ""
        self._timeout = timeout
        self._guard = threading.RLock()
        self._closed = False
        self._file: FileIdentity | None = None
        self.claims = Claims(self._path, lambda: self._transaction(write=True, durable=False))
        self._open()

    def __repr__(self) -> str:
        return f"<Ledger {self._path}>"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def require_writable(self) -> None:
        """Refuse, before texts are embedded, a file that could not keep their vectors.

        Raises:
            ReadOnlyError: it can only be read.
        """
        with self._transaction(write=False) as connection:
            if connection.readonly("main"):
                raise self._unwritable()

    def close(self) -> None:
        """Release the file. Closing twice is fine."""
        self.claims.close()
        with self._guard:
            self._closed = True
            self._connection.close(True)

    # -- vectors -------------------------------------------------------------------------------------------

    def recall(self, fingerprint: str, role: str, digests: Sequence[bytes]) -> dict[bytes, Remembered]:
        """What is known of those texts, by digest. Notes, once a day, that they were used."""
        today = int(time.time()) // _DAY
        known: dict[bytes, Remembered] = {}
        aged: list[tuple[int, int]] = []
        with self._transaction(write=False) as connection:
            space = entries.space(connection, fingerprint, role)
            if space is None:
                return {}
            for digest in digests:
                found = entries.find(connection, space, digest, self._path)
                if found is not None:
                    number, day, known[digest] = found
                    if day < today:
                        aged.append((today, number))
        if aged:
            # A ledger that can't be written now is still good to read.
            with (
                suppress(ReadOnlyError, StorageFullError, StoreLockedError),
                self._transaction(write=True) as connection,
            ):
                connection.executemany("UPDATE entries SET day = ? WHERE number = ?", aged)
        return known

    def put(
        self,
        fingerprint: str,
        role: str,
        digests: Sequence[bytes],
        vectors: Matrix,
        *,
        tokens: Sequence[int] | npt.NDArray[np.int64] | None = None,
        truncated: Sequence[int] = (),
    ) -> Matrix:
        """Keep vectors, in one transaction that is on the disk when this returns.

        Args:
            fingerprint: of the model.
            role: as it was embedded; "" where the model makes no difference.
            digests: SHA-256 of each text as sent.
            vectors: ``(n, dimensions)``, one row a digest.
            tokens: of each text, before any cut.
            truncated: rows whose text was cut.

        Returns:
            The rows as the ledger has them now: a text that it knew already keeps its first vector.

        Raises:
            InputError: numbers that don't fit, or vectors that are not finite.
            ModelMismatchError: vectors of another length than this model's before.
        """
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        if rows.ndim != 2 or len(rows) != len(digests) or (tokens is not None and len(tokens) != len(digests)):
            raise InputError(f"{len(digests)} digests need as many vectors and token counts, not {rows.shape}")
        if not np.isfinite(rows).all():
            raise InputError("vectors with NaN or infinity are not kept")
        counts = [0] * len(rows) if tokens is None else [int(count) for count in tokens]
        cut = frozenset(truncated)
        day = int(time.time()) // _DAY
        standing = rows.copy()
        with self._transaction(write=True) as connection:
            space = entries.space_for(connection, fingerprint, role, rows.shape[1], self._path)
            added = 0
            for row, digest in enumerate(digests):
                data, cut_here = rows[row].tobytes(), int(row in cut)
                checksum = entry_checksum(space, digest, counts[row], cut_here, data)
                connection.execute(
                    "INSERT INTO entries (space, digest, tokens, truncated, day, checksum) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (space, digest, counts[row], cut_here, day, checksum),
                )
                if connection.changes():
                    connection.execute("INSERT INTO vectors VALUES (?, ?)", (connection.last_insert_rowid(), data))
                    added += 1
                else:
                    found = entries.find(connection, space, digest, self._path)
                    if found is not None:
                        standing[row] = found[2].vector
            connection.execute("UPDATE spaces SET entries = entries + ? WHERE number = ?", (added, space))
            self.claims.settled(connection, fingerprint, role, digests)
            entries.shrink(connection, entries.limit(connection))
        self.claims.kept(digests)
        return standing

    # -- size ----------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Bytes that the vectors and their entries take."""
        with self._transaction(write=False) as connection:
            return entries.size(connection)

    def stats(self) -> list[LedgerUse]:
        """What each model takes, the largest first."""
        with self._transaction(write=False) as connection:
            rows = entries.uses(connection)
        return [
            LedgerUse(
                str(name),
                str(fingerprint),
                int(dimensions),
                int(texts),
                int(texts) * (4 * int(dimensions) + ENTRY_BYTES),
                None if day is None else _EPOCH + timedelta(days=int(day)),
            )
            for name, fingerprint, dimensions, texts, day in rows
        ]

    @property
    def size_limit(self) -> int | None:
        """What `limit` was set to; None without one."""
        with self._transaction(write=False) as connection:
            return entries.limit(connection)

    def limit(self, bytes: int | None) -> int:
        """Set how much `size` may be, now and later; None takes the limit away.

        Where it is passed, the entries that were not used for longest go first.

        Returns:
            How many went now.
        """
        if bytes is not None and bytes < 0:
            raise InputError(f"a limit is at least 0 bytes, not {bytes}")
        with self._transaction(write=True) as connection:
            entries.set_limit(connection, bytes)
            gone = entries.shrink(connection, bytes)
        self._give_space_back()
        return gone

    def prune(self, model: str | None = None, older_than_days: int | None = None) -> int:
        """Forget vectors: of one model, or not used for some days, or both.

        Args:
            model: a model's name, or the beginning (4 digits or more) of its fingerprint.
            older_than_days: 0 means all, also what is dated in the future.

        Returns:
            How many went.

        Raises:
            InputError: neither is given, days under 0, or no model or more than one is meant.
        """
        if model is None and older_than_days is None:
            raise InputError("say what to prune: a model, or older_than_days (0 means everything)")
        if older_than_days is not None and older_than_days < 0:
            raise InputError(f"older_than_days is at least 0, not {older_than_days}")
        newest = int(time.time()) // _DAY - older_than_days if older_than_days else _LAST_DAY
        with self._transaction(write=True) as connection:
            spaces = entries.spaces_of(connection, model)
            gone = 0
            for space in spaces:
                gone += entries.forget(connection, "space = ? AND day <= ?", (space, newest))
        self._give_space_back()
        return gone

    def check(self) -> None:
        """Read everything once.

        Raises:
            CorruptStoreError: naming the first thing that is wrong.
        """
        told = read_mark(self._path, self._number()[0])
        with self._transaction(write=False) as connection:
            problem = str(connection.execute("PRAGMA integrity_check(1)").get)
            if problem == "ok":
                problem = entries.first_inconsistency(connection) or "ok"
        missing = told - self._number()[1]
        if problem == "ok" and missing > 0:
            problem = (
                f"{missing:,} changes that were stored are missing, because its -wal was damaged or removed. What "
                f"is there is whole; to go on with it, delete {self._path.name}-mark"
            )
        if problem != "ok":
            raise CorruptStoreError(f"{self._path} is damaged: {problem}. {LEDGER.cure}")

    # -- models --------------------------------------------------------------------------------------------

    def remember_model(self, info: ModelInfo, canaries: Matrix) -> None:
        """Keep a model's facts and the vectors of the canary texts."""
        with self._transaction(write=True) as connection:
            models.remember(connection, info, canaries)

    def knows(self, fingerprint: str) -> bool:
        """Whether this model was introduced."""
        with self._transaction(write=False) as connection:
            return models.known(connection, fingerprint)

    def models(self) -> list[ModelInfo]:
        """The models that were introduced, by name."""
        with self._transaction(write=False) as connection:
            return models.everyone(connection)

    def holds(self, fingerprint: str) -> bool:
        """Whether any vector of this model is here."""
        with self._transaction(write=False) as connection:
            return entries.holds(connection, fingerprint)

    def canaries(self, fingerprint: str) -> Matrix | None:
        """The canary vectors of a model that was introduced; None for any other."""
        with self._transaction(write=False) as connection:
            return models.canaries(connection, fingerprint)

    def known_by_canaries(self, canaries: Matrix, tolerance: float, *, kind: str | None = None) -> str | None:
        """The fingerprint of the remembered model that gives these vectors, the nearest one; None for none.

        Args:
            canaries: one row a canary text.
            tolerance: how far under 1 the cosine of a row may be; two zero rows are the same.
            kind: look only at models with this ``details["kind"]``.
        """
        with self._transaction(write=False) as connection:
            return models.nearest(connection, canaries, tolerance, kind)

    # -- inside --------------------------------------------------------------------------------------------

    def _unwritable(self) -> ReadOnlyError:
        return ReadOnlyError(f"{self._path} can't be written: it is read-only for you{self._cure}")

    def _open(self) -> None:
        try:
            with translated(self._path, LEDGER.cure):
                there = self._path.exists()
            if not there:
                self._create()
            elif unfinished(self._path):
                self._tidy()
        except StoreLockedError:
            raise
        except StoreError as error:
            raise type(error)(f"{error}{self._cure}") from error
        remove_abandoned_locks(self._path)
        found = identity(self._path, LEDGER)
        self._connection, self._frozen = self._connect()
        self._file = found

    def _changed(self) -> bool:
        """Whether the file was deleted or replaced, or (where it can't be written) changed by others."""
        if not self._path.exists() or identity(self._path, LEDGER) != self._file:
            return True
        return self._frozen is not None and self._frozen != frozen_state(self._path, LEDGER)

    def _create(self) -> None:
        with translated(self._path, LEDGER.cure):
            make_private_folder(self._path.parent)
            lock = self._lock()
            try:
                with filelock.FileLock(lock, timeout=self._timeout):
                    if not self._path.exists():
                        create(self._path, LEDGER)
            except filelock.Timeout as error:
                raise StoreLockedError(f"{lock} is held by another process; wait until it is done") from error

    def _tidy(self) -> None:
        """Remove what a process that died while it made the file left; a place that can't be written keeps it."""
        with suppress(OSError, filelock.Timeout), filelock.FileLock(self._lock(), timeout=0):
            remove_unfinished(self._path)

    def _lock(self) -> Path:
        return self._path.with_name(self._path.name + ".lock")

    def _number(self) -> tuple[bytes, int]:
        """Which ledger this is, and how often it was changed."""
        with self._transaction(write=False) as connection:
            return entries.read_change(connection)

    def _connect(self) -> tuple[apsw.Connection, FrozenState | None]:
        frozen = frozen_state(self._path, LEDGER)
        connection = connect(self._path, LEDGER, write=True, timeout=self._timeout, immutable=frozen is not None)
        try:
            migrate(connection, self._path, LEDGER)
        except BaseException:
            connection.close(True)
            raise
        return connection, frozen

    @contextmanager
    def _transaction(self, *, write: bool, durable: bool = True) -> Iterator[apsw.Connection]:
        with self._guard, translated(self._path, LEDGER.cure):
            if self._closed:
                raise StoreError(f"{self._path} has been closed; open it again")
            if self._changed():
                self._file = None
                self._connection.close(True)
                self._open()
            if write and self._connection.readonly("main"):
                raise self._unwritable()
            if durable:
                with transaction(self._connection, write=write):
                    yield self._connection
                    if write:
                        self._connection.execute("UPDATE settings SET value = value + 1 WHERE key = 'changes'")
                        owner, change = entries.read_change(self._connection)
                if write:
                    write_mark(self._path, owner, change)
                return
            # In WAL mode this leaves out the one wait for the disk; a power cut undoes the change as a whole.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                with transaction(self._connection, write=write):
                    yield self._connection
            finally:
                self._connection.execute("PRAGMA synchronous = FULL")

    def _give_space_back(self) -> None:
        with self._guard, translated(self._path, LEDGER.cure):
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()  # one page a step


def ledger_if_there() -> Ledger | None:
    """The user's ledger, for who only looks something up; None where there is none yet, or none to be seen."""
    try:
        if not (data_folder() / "ledger.db").exists():
            return None
    except PermissionError:
        return None
    return Ledger()
