"""Who is embedding what now: a text is claimed before it is sent, so that two processes never pay for it twice."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import filelock

from textkin.errors import StoreError
from textkin.ledger import entries
from textkin.ledger.entries import Remembered

_LOCKS: Final = ".claims-"
_EXPIRES: Final = 300
"""Seconds without a sign of life after which a claim is void although its process lives: it may be suspended. Each
block and each answer of a provider is one; should it go on after all, the vectors that came first stay."""
_ATTEMPTS: Final = 5
"""Names tried for an own lock: another process that tidies may hold a file for a moment as soon as it is there."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Claimed:
    """What became of a wish to embed some texts.

    Attributes:
        known: that somebody embedded meanwhile.
        mine: to be embedded by who asked, then put or released.
        others: that somebody else, another process or thread, is embedding now.
    """

    known: dict[bytes, Remembered]
    mine: list[bytes]
    others: list[bytes]


class Claims:
    """The claims of one open ledger.

    A claim is a row. Whether its owner lives is told by a lock on a file of the owner's, which the system lets go
    of when the process ends, however it ends: a dead owner's claims are taken over at once. Nobody waits while it
    holds a claim, so that none can wait for another for ever.

    Args:
        path: the ledger's file.
        transaction: makes a write transaction that need not survive a power cut.
    """

    def __init__(self, path: Path, transaction: Callable[[], AbstractContextManager[apsw.Connection]]) -> None:
        self._path = path.absolute()
        self._transaction = transaction
        self._guard = threading.Lock()
        self._lock: filelock.BaseFileLock | None = None
        self._calls = itertools.count(1)
        self._held: dict[int, set[bytes]] = {}

    def new_call(self) -> int:
        """A number for one call that will claim."""
        return next(self._calls)

    def take(self, call: int, fingerprint: str, role: str, digests: Sequence[bytes]) -> Claimed:
        """Claim what nobody knows and nobody else has claimed; doesn't wait.

        Args:
            call: who asks.
            fingerprint: of the model.
            role: as in `Ledger.put`.
            digests: of the texts.

        Raises:
            StoreError: the ledger can't be written.
        """
        own = self._own_lock()
        found = Claimed({}, [], [])
        if own is None:
            found.mine.extend(digests)
            return found
        alive: dict[str, bool] = {}
        with self._guard:  # before anyone can see the rows
            before = self._held.get(call, set())
            self._held[call] = before | set(digests)
        with self._taking(call, before, found), self._transaction() as connection:
            _say_alive(connection, own.name)
            space = entries.space(connection, fingerprint, role)
            for digest in digests:
                entry = None if space is None else entries.find(connection, space, digest, self._path)
                if entry is not None:
                    found.known[digest] = entry[2]
                    continue
                key = (fingerprint, role, digest)
                claim: Any = connection.execute(
                    "SELECT lock, call FROM claims WHERE fingerprint = ? AND role = ? AND digest = ?", key
                ).fetchone()
                if claim is not None and not self._void(connection, alive, claim[0], claim[1], call):
                    found.others.append(digest)
                    continue
                connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", (*key, own.name, call))
                found.mine.append(digest)
        return found

    @contextmanager
    def _taking(self, call: int, before: set[bytes], found: Claimed) -> Iterator[None]:
        """Afterwards the call holds what it held before, and what it got now."""
        got: set[bytes] = set()
        try:
            yield
            got.update(found.mine)
        finally:
            with self._guard:
                self._held[call] = before | got
                if not self._held[call]:
                    del self._held[call]

    def settled(self, connection: apsw.Connection, fingerprint: str, role: str, digests: Sequence[bytes]) -> None:
        """Their vectors come into the ledger with this transaction: nobody has to wait for them any more.

        What the calls hold stays as it is, until `kept` says that the transaction has been committed.
        """
        with self._guard:
            name = None if self._lock is None else Path(self._lock.lock_file).name
        if name is not None:
            _say_alive(connection, name)
        connection.executemany(
            "DELETE FROM claims WHERE fingerprint = ? AND role = ? AND digest = ?",
            [(fingerprint, role, digest) for digest in digests],
        )

    def kept(self, digests: Sequence[bytes]) -> None:
        """Their vectors are in the ledger: no call holds them any more."""
        gone = set(digests)
        with self._guard:
            self._held = {call: left for call, held in self._held.items() if (left := held - gone)}

    def release(self, call: int, digests: Sequence[bytes] | None = None) -> None:
        """Give up what a call has claimed, or some of it, and has not put. Never fails.

        Where the ledger can't be written, the lock is let go of, so that all claims of this ledger are void.
        """
        with self._guard:
            held = self._held.pop(call, set())
            gone = held if digests is None else held & set(digests)
            if held - gone:
                self._held[call] = held - gone
            lock = self._lock
        if not gone or lock is None:
            return
        name = Path(lock.lock_file).name
        try:
            with self._transaction() as connection:
                connection.executemany(
                    "DELETE FROM claims WHERE lock = ? AND call = ? AND digest = ?",
                    [(name, call, digest) for digest in gone],
                )
        except StoreError:
            self._let_go()

    def close(self) -> None:
        """Leave nothing behind."""
        with self._guard:
            name = None if self._lock is None else Path(self._lock.lock_file).name
        if name is None:
            return
        if self._path.exists():  # one that was deleted is not made anew for this
            with suppress(StoreError), self._transaction() as connection:
                _forget(connection, name)
        self._let_go()

    def _own_lock(self) -> Path | None:
        """The file whose lock says that this process lives; None where the system has no such locks."""
        with self._guard:
            if self._lock is None:
                self._lock = self._new_lock()
            return None if self._lock is None else Path(self._lock.lock_file)

    def _new_lock(self) -> filelock.BaseFileLock | None:
        for _ in range(_ATTEMPTS):
            path = self._path.with_name(f"{self._path.name}{_LOCKS}{secrets.token_hex(8)}")
            lock = filelock.FileLock(path, timeout=0, mode=0o600, thread_local=False)
            try:
                lock.acquire()
            except filelock.Timeout:
                continue
            except (OSError, NotImplementedError):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                return None
            if path.exists():
                return lock
            lock.release()
        return None

    def _let_go(self) -> None:
        with self._guard:
            lock, self._lock = self._lock, None
            self._held.clear()
        if lock is not None:
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def _void(self, connection: apsw.Connection, alive: dict[str, bool], lock: str, owner: int, call: int) -> bool:
        """Whether a claim binds nobody any more."""
        with self._guard:
            mine = self._lock is not None and Path(self._lock.lock_file).name == lock
            if mine:
                return owner == call or owner not in self._held
        if lock not in alive:
            alive[lock] = self._lives(connection, lock)
            if not alive[lock]:
                _forget(connection, lock)
        return not alive[lock]

    def _lives(self, connection: apsw.Connection, name: str) -> bool:
        seen: Any = connection.execute("SELECT renewed FROM claimants WHERE lock = ?", (name,)).fetchone()
        if seen is None or abs(time.time() - seen[0]) > _EXPIRES:
            return False
        path = self._path.with_name(name)
        return path.is_file() and not _removed(path)


def remove_abandoned_locks(ledger: Path) -> None:
    """Remove the locks beside a ledger whose processes have died."""
    with suppress(OSError):
        for path in list(ledger.parent.glob(f"{ledger.name}{_LOCKS}*")):
            _removed(path)


def _removed(path: Path) -> bool:
    """Whether nobody held a lock, and its file is gone now."""
    lock = filelock.FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError, NotImplementedError):
        return False
    with suppress(OSError):
        path.unlink(missing_ok=True)
    lock.release()
    return True


class Patience:
    """Waits for others, a little longer each time in vain.

    Args:
        given_up: asked before each pause; True ends the waiting.
    """

    def __init__(self, given_up: Callable[[], bool]) -> None:
        self._given_up = given_up
        self._pause = _FIRST_PAUSE

    def progressed(self) -> None:
        """Something came: the next pause is short again."""
        self._pause = _FIRST_PAUSE

    def wait(self) -> None:
        """Pause.

        Raises:
            WaitGivenUp: who waits was told to end.
        """
        if self._given_up():
            raise WaitGivenUp
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class WaitGivenUp(Exception):
    """Others were still embedding the texts when it was told to end; nothing of one's own was under way."""


def _say_alive(connection: apsw.Connection, name: str) -> None:
    connection.execute(
        "INSERT INTO claimants VALUES (?, ?) ON CONFLICT (lock) DO UPDATE SET renewed = excluded.renewed",
        (name, int(time.time())),
    )


def _forget(connection: apsw.Connection, name: str) -> None:
    connection.execute("DELETE FROM claims WHERE lock = ?", (name,))
    connection.execute("DELETE FROM claimants WHERE lock = ?", (name,))
