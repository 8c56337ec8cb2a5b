"""What each thread does with the requests: asks gate and budget, waits and retries, bisects, and tells."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from textkin.errors import BudgetError, ModelError, ProviderError
from textkin.models.providers.gate import Gate
from textkin.models.providers.packing import LearnedSize
from textkin.models.providers.requests import Answered, Part, PassingError, Patience, RefusedError
from textkin.models.providers.tokens import most_tokens
from textkin.models.spending import current_spend
from textkin.types import Matrix

GLANCE: Final = 0.1
"""Seconds after which a thread that waits looks whether the work was stopped."""
_LONGEST_WAIT: Final = 60.0
_HOPELESS: Final = 64
_SUSPICIOUS: Final = 3
_UNREACHED_TRIES: Final = 3
_HARMLESS: Final = "a"


class _Suspect(Exception):
    """The same texts fail again and again, while the provider answers others."""


class Work:
    """The requests that are left, what each thread does with them, and what it has to tell."""

    def __init__(
        self,
        send: Callable[[list[str]], Answered],
        texts: Sequence[str],
        tokens: Sequence[int],
        most: Sequence[int],
        parts: Sequence[range],
        patience: Patience,
        gate: Gate,
        size: LearnedSize,
    ) -> None:
        self.news: SimpleQueue[Part | BaseException | None] = SimpleQueue()
        self.stop = threading.Event()
        self.stopped: ModelError | BudgetError | None = None
        self._send = send
        self._texts = texts
        self._tokens = tokens
        self._most = most
        self._spend = current_spend()
        self._parts = iter(parts)
        self._patience = patience
        self._gate = gate
        self._size = size
        self._guard = threading.Lock()
        self._answered = 0
        self._refused = self._billed = 0
        self._slots = threading.Semaphore(patience.in_flight)

    def taken(self, part: Part) -> None:
        """Let another request go: who asked has this answer, and has asked for the next."""
        if part.vectors is not None:
            self._slots.release()

    def billed(self) -> int:
        """Tokens that were charged since this was asked last."""
        with self._guard:
            billed, self._billed = self._billed, 0
            return billed

    def run(self) -> None:
        """Answer what is left, request by request, until nothing is or the work was stopped."""
        try:
            while not self.stop.is_set():
                with self._guard:
                    rows = next(self._parts, None)
                if rows is None:
                    break
                self._answer(rows)
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that asked
            self.news.put(error)
        finally:
            self.news.put(None)

    def _answer(self, rows: range, narrowed: bool = False) -> bool:
        """Answer these rows, in parts where it must be, unless the work was stopped.

        Args:
            rows: of the texts.
            narrowed: whether they belong to a request that failed again and again.

        Returns:
            Whether all of them were answered.
        """
        if self.stop.is_set():
            return False
        most = self._size.most
        if most is not None and len(rows) > most:
            return self._all_of([rows[start : start + most] for start in range(0, len(rows), most)], narrowed)
        try:
            vectors = self._tried(rows, narrowed)
        except (RefusedError, _Suspect) as error:
            if len(rows) == 1:
                self._set_aside(rows, str(error))
                return False
            middle = len(rows) // 2
            suspect = isinstance(error, _Suspect)
            answered = self._all_of([rows[:middle], rows[middle:]], narrowed or suspect)
            if answered and not suspect:
                self._size.halved(len(rows), len(rows) - middle)
            return answered
        except (ModelError, BudgetError) as error:
            self._end(error)
            return False
        if vectors is None:
            return False
        self._size.answered(len(rows))
        with self._guard:
            self._answered += 1
        self.news.put(Part(rows, vectors, billed=self.billed()))
        return True

    def _all_of(self, parts: Sequence[range], narrowed: bool) -> bool:
        """`_answer` each, whatever becomes of the others."""
        answered = [self._answer(part, narrowed) for part in parts]
        return all(answered)

    def _tried(self, rows: range, narrowed: bool) -> Matrix | None:
        """The rows' vectors; None when the work was stopped meanwhile."""
        tokens = sum(self._tokens[row] for row in rows)
        enough = _SUSPICIOUS - 1 if narrowed and len(rows) > 1 else _SUSPICIOUS
        if len(rows) == 1 and not narrowed:
            enough = self._patience.tries  # one text that was sent alone: only where all else was in vain
        failures = suspicious = 0
        while self._slot() and self._gate.enter(tokens, self.stop):
            before = self._answered
            try:
                return self._sent([self._texts[row] for row in rows], tokens, sum(self._most[row] for row in rows))
            except PassingError as error:
                self._slots.release()
                passing = error
            except BaseException:
                self._slots.release()
                raise
            if not passing.crowded or self._answered == before:
                failures += 1
            suspicious = suspicious + 1 if passing.of_content else 0
            if suspicious == enough and self._answers_others():
                raise _Suspect(f"the provider fails at it again and again: {passing.reason}")
            self._give_up(passing, failures)
            self._spend.retry()
            wait = passing.wait
            if wait is None:
                most = min(_LONGEST_WAIT, self._patience.first_wait * 2 ** max(0, failures - 1))
                wait = most * random.uniform(0.5, 1.0)
            if passing.crowded or passing.wait is not None:
                self._gate.hold(wait)
            elif self.stop.wait(wait):
                break
        return None

    def _answers_others(self) -> bool:
        """Whether the provider works at all, so that a failure may lie in the texts."""
        if self._answered:
            return True
        (most,) = most_tokens([_HARMLESS])
        try:
            self._sent([_HARMLESS], 1, most)
        except (PassingError, RefusedError):
            return False
        return True

    def _sent(self, texts: list[str], tokens: int, most: int) -> Matrix:
        """Send one request, where the budget allows it, and settle what it cost.

        Args:
            texts: of the request.
            tokens: of them all, where the answer reports none.
            most: that it can cost.
        """
        self._spend.reserve(most)
        billed: int | None = None  # whatever else ends this: the provider may have been reached
        try:
            answer = self._send(texts)
            billed = tokens if answer.billed is None else answer.billed
            return answer.vectors
        except PassingError as error:
            billed = error.billed
            raise
        except (RefusedError, ModelError):
            billed = 0
            raise
        finally:
            if billed is None:
                self._spend.lose(most)
            else:
                self._spend.settle(most, billed)
                with self._guard:
                    self._billed += billed

    def _slot(self) -> bool:
        """Wait until a request may be on its way; False when the work was stopped before."""
        while not self.stop.is_set():
            if self._slots.acquire(timeout=GLANCE):
                return True
        return False

    def _give_up(self, passing: PassingError, failures: int) -> None:
        """Raise what ends the work, where trying again is no use."""
        kept = "What was answered before is kept; run the same again"
        if passing.wait is not None and passing.wait > self._patience.longest_wait:
            raise ProviderError(
                f"the provider asks to wait {passing.wait / 60:,.0f} minutes: {passing.reason}. {kept} then"
            )
        # Where nobody was there from the beginning, somebody mistyped an address or forgot to start a server.
        tries = self._patience.tries
        if passing.unreached and not self._answered:
            tries = min(tries, _UNREACHED_TRIES)
        if failures >= tries:
            raise ProviderError(
                f"the provider failed {failures} times in a row, last with: {passing.reason}. {kept} later to "
                "go on"
            )

    def _set_aside(self, rows: range, reason: str) -> None:
        self.news.put(Part(rows, failed=reason, billed=self.billed()))
        with self._guard:
            self._refused += 1
            hopeless = self._refused >= _HOPELESS and not self._answered
        if hopeless:
            self._end(
                ProviderError(
                    f"the provider refused the first {_HOPELESS} texts one by one, the last with: {reason}"
                )
            )

    def _end(self, error: ModelError | BudgetError) -> None:
        with self._guard:
            if self.stopped is None:
                self.stopped = error
        self.stop.set()
