"""Send requests side by side: wait and retry what passes, bisect what is refused, stop at what can't be mended."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from textkin.errors import BudgetError, ModelError, ProviderError
from textkin.models.providers.gate import Gate
from textkin.models.providers.packing import LearnedSize, RequestLimits, pack
from textkin.models.providers.tokens import most_tokens
from textkin.models.spending import current_spend
from textkin.types import Matrix

_LONGEST_WAIT = 60.0
_HOPELESS = 64
_GLANCE = 0.1
_SUSPICIOUS = 3
_HARMLESS = "a"


class PassingError(Exception):
    """A request failed in a way that may pass.

    Args:
        reason: to be shown; holds no secret.
        wait: seconds that the provider asks to wait; None: not said.
        billed: tokens that the request was charged all the same; None: not known, so all of it may be.
        crowded: whether the provider has too many requests, so that the others had better wait too.
        of_content: whether one of the texts may be the cause: some servers answer one that is too long with
            HTTP 500, others with a vector of zeros.
    """

    def __init__(
        self,
        reason: str,
        wait: float | None = None,
        billed: int | None = None,
        *,
        crowded: bool = False,
        of_content: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.billed = billed
        self.crowded = crowded
        self.of_content = of_content


class RefusedError(Exception):
    """The provider refuses what is in the request; sending it again is useless."""


class _Suspect(Exception):
    """The same texts fail again and again, while the provider answers others."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The good answer to one request.

    Attributes:
        vectors: ``(n, dimensions)`` rows in the texts' order.
        billed: tokens that the provider says it charged; None: it doesn't say.
    """

    vectors: Matrix
    billed: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What came back for some rows.

    Attributes:
        rows: consecutive; empty where this only says that the work ended.
        vectors: ``(len(rows), dimensions)`` float32; None where ``failed`` or ``stopped`` says why.
        failed: why the one row has no vector.
        stopped: what ended the work early.
        billed: tokens that were charged since the part before, as reported, or as counted where nothing was.
    """

    rows: range
    vectors: Matrix | None = None
    failed: str | None = None
    stopped: ModelError | BudgetError | None = None
    billed: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard to try.

    Attributes:
        tries: of one request, the first included. "Too many requests" counts only where no other request was
            answered since the last try.
        first_wait: seconds before the second try where the provider names none; doubles, up to a minute.
        in_flight: requests at a time.
        least: texts of a request below which none is cut further just to have more in flight.
        most: texts of a request; None: the provider's limit.
        longest_wait: seconds; a provider that asks to wait longer ends the work.
    """

    tries: int = 8
    first_wait: float = 0.5
    in_flight: int = 8
    least: int = 64
    most: int | None = None
    longest_wait: float = 600.0


def send_all(
    send: Callable[[list[str]], Answered],
    texts: Sequence[str],
    tokens: Sequence[int],
    limits: RequestLimits,
    patience: Patience,
    gate: Gate | None = None,
    most: Sequence[int] | None = None,
    size: LearnedSize | None = None,
) -> Iterator[Part]:
    """Send texts in packed requests; gives what was answered as it comes, whatever ends the work.

    Of what was sent, at most ``patience.in_flight`` requests are not yet with who asked: a thread sends no more
    before its last answer was taken (and, by the ledger, kept). So that is the most that a crash can lose.

    Each request, also a repeated one, is sent only where the thread's `Spend` allows it.

    Ctrl-C sends nothing more, waits for the requests that are on their way (they are paid for), gives their
    answers, and only then goes on as ``KeyboardInterrupt``; a second one goes on at once.

    Args:
        send: one request; raises `PassingError`, `RefusedError`, or a `ModelError` that ends the work. Called in
            several threads.
        texts: none empty.
        tokens: of each, for packing.
        limits: of one request.
        patience: how hard to try.
        gate: of this provider; None: one for this call.
        most: tokens that each can cost at most, where ``tokens`` are an estimate.
        size: what was learned of the server in earlier calls; learns more in this one.

    Yields:
        Each row once at most, in any order; what ended the work early comes last.
    """
    # In one request of all the texts nothing would be side by side.
    share = max(patience.least, math.ceil(len(texts) / patience.in_flight))
    size = size or LearnedSize()
    longest = min(limits.texts, share, patience.most or limits.texts, size.most or limits.texts)
    parts = pack(tokens, RequestLimits(longest, limits.tokens))
    work = _Work(send, texts, tokens, tokens if most is None else most, parts, patience, gate or Gate(), size)
    threads = [
        # Not waited for when the process ends: after a second Ctrl-C nobody wants their answers.
        threading.Thread(target=work.run, name=f"textkin-{number}", daemon=True)
        for number in range(min(patience.in_flight, len(parts)))
    ]
    interrupt: KeyboardInterrupt | None = None
    started = finished = 0
    try:
        while finished < len(threads):
            try:
                while started < len(threads) and interrupt is None:
                    started += 1
                    threads[started - 1].start()
                # With a time limit, because Ctrl-C doesn't end an endless wait everywhere.
                news = work.news.get(timeout=_GLANCE)
            except KeyboardInterrupt as error:
                if interrupt is not None:
                    raise
                interrupt = error
                work.stop.set()
                continue
            except Empty:
                # Where the interrupt met a thread's start, nobody knows whether it lives: they are looked at.
                if interrupt is not None and not any(thread.is_alive() for thread in threads):
                    break
                continue
            if news is None:
                finished += 1
            elif isinstance(news, BaseException):
                raise news
            else:
                yield news
                work.taken(news)
    finally:
        work.stop.set()
    if interrupt is not None:
        raise interrupt
    if work.stopped is not None:
        yield Part(range(0), stopped=work.stopped, billed=work.billed())


class _Work:
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
            if suspicious == enough and (narrowed or len(rows) > 1) and self._answers_others():
                raise _Suspect(f"the provider fails at it again and again: {passing.reason}")
            self._give_up(passing, failures)
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
            if self._slots.acquire(timeout=_GLANCE):
                return True
        return False

    def _give_up(self, passing: PassingError, failures: int) -> None:
        """Raise what ends the work, where trying again is no use."""
        kept = "What was answered before is kept; run the same again"
        if passing.wait is not None and passing.wait > self._patience.longest_wait:
            raise ProviderError(
                f"the provider asks to wait {passing.wait / 60:,.0f} minutes: {passing.reason}. {kept} then"
            )
        if failures >= self._patience.tries:
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
