"""Send requests side by side: wait and retry what passes, bisect what is refused, stop at what can't be mended."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

import numpy as np

from textkin.errors import BudgetError, ModelError, ProviderError
from textkin.models.providers.packing import RequestLimits, pack
from textkin.models.spending import current_spend
from textkin.types import Matrix, Progress

_LONGEST_WAIT = 60.0
_HOPELESS = 64


class PassingError(Exception):
    """A request failed in a way that may pass.

    Args:
        reason: to be shown; holds no secret.
        wait: seconds that the provider asks to wait; None: not said.
        billed: tokens that the request was charged all the same; None: not known, so all of it may be.
    """

    def __init__(self, reason: str, wait: float | None = None, billed: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.billed = billed


class RefusedError(Exception):
    """The provider refuses what is in the request; sending it again is useless."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The good answer to one request.

    Attributes:
        vectors: ``(n, dimensions)`` rows in the texts' order.
        billed: tokens that the provider says it charged; None: it doesn't say.
    """

    vectors: Matrix
    billed: int | None = None


@dataclass(slots=True, eq=False)
class Answers:
    """What came back.

    Attributes:
        vectors: ``(n, dimensions)`` float32; rows without an answer are zero.
        failed: row to why it has no vector.
        stopped: what ended the work early; rows that are neither ``done`` nor ``failed`` were not answered.
        done: rows with a vector.
        billed: tokens that were charged, as reported, or as counted where nothing was.
    """

    vectors: Matrix
    failed: dict[int, str] = field(default_factory=dict)
    stopped: ModelError | BudgetError | None = None
    done: set[int] = field(default_factory=set)
    billed: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard to try.

    Attributes:
        tries: of one request, the first included.
        first_wait: seconds before the second try where the provider names none; doubles, up to a minute.
        in_flight: requests at a time.
        least: texts of a request below which none is cut further just to have more in flight.
    """

    tries: int = 8
    first_wait: float = 0.5
    in_flight: int = 8
    least: int = 64


def send_all(
    send: Callable[[list[str]], Answered],
    texts: Sequence[str],
    tokens: Sequence[int],
    dimensions: int,
    limits: RequestLimits,
    patience: Patience,
    progress: Progress | None = None,
    most: Sequence[int] | None = None,
) -> Answers:
    """Send texts in packed requests; what was answered is kept, whatever ends the work.

    Each request, also a repeated one, is sent only where the thread's `Spend` allows it.

    Args:
        send: one request; raises `PassingError`, `RefusedError`,
            or a `ModelError` that ends the work.
        texts: none empty.
        tokens: of each, for packing.
        dimensions: length of a row.
        limits: of one request.
        patience: how hard to try.
        progress: called with (texts answered, texts in all).
        most: tokens that each can cost at most, where ``tokens`` are an estimate.
    """
    vectors = np.zeros((len(texts), dimensions), dtype=np.float32)
    work = _Work(send, texts, tokens, tokens if most is None else most, vectors, patience, progress)
    # The ledger sends a block at a time: in one request of all its texts nothing would be side by side.
    share = max(patience.least, math.ceil(len(texts) / patience.in_flight))
    parts = pack(tokens, RequestLimits(min(limits.texts, share), limits.tokens))
    if not parts:
        return work.answers
    with ThreadPoolExecutor(min(patience.in_flight, len(parts)), thread_name_prefix="textkin") as pool:
        try:
            for finished in as_completed([pool.submit(work.run, part) for part in parts]):
                finished.result()
        except BaseException:
            work.stop.set()
            raise
    return work.answers


class _Work:
    def __init__(
        self,
        send: Callable[[list[str]], Answered],
        texts: Sequence[str],
        tokens: Sequence[int],
        most: Sequence[int],
        vectors: Matrix,
        patience: Patience,
        progress: Progress | None,
    ) -> None:
        self.answers = Answers(vectors)
        self.stop = threading.Event()
        self._send = send
        self._texts = texts
        self._tokens = tokens
        self._most = most
        self._spend = current_spend()
        self._patience = patience
        self._progress = progress
        self._guard = threading.Lock()

    def run(self, rows: range) -> None:
        """Answer these rows, unless the work was stopped."""
        if self.stop.is_set():
            return
        try:
            vectors = self._tried(rows)
        except RefusedError as error:
            if len(rows) > 1:
                middle = rows.start + len(rows) // 2
                self.run(range(rows.start, middle))
                self.run(range(middle, rows.stop))
            else:
                self._set_aside(rows.start, str(error))
            return
        except (ModelError, BudgetError) as error:
            self._end(error)
            return
        if vectors is None:
            return
        with self._guard:
            self.answers.vectors[rows.start : rows.stop] = vectors
            self.answers.done.update(rows)
            if self._progress is not None:
                self._progress(len(self.answers.done), len(self._texts))

    def _tried(self, rows: range) -> Matrix | None:
        """The vectors; None when the work was stopped meanwhile."""
        reason = ""
        for attempt in range(self._patience.tries):
            try:
                return self._asked(rows)
            except PassingError as error:
                reason = error.reason
                wait = error.wait
            if attempt + 1 == self._patience.tries:
                break
            if wait is None:
                most = min(_LONGEST_WAIT, self._patience.first_wait * 2**attempt)
                wait = most * random.uniform(0.5, 1.0)
            if self.stop.wait(min(wait, _LONGEST_WAIT)):
                return None
        raise ProviderError(
            f"the provider failed {self._patience.tries} times in a row, last with: {reason}. What was answered "
            "before is kept; run the same again later to go on"
        )

    def _asked(self, rows: range) -> Matrix:
        """Send one request, where the budget allows it, and settle what it cost."""
        reserved = sum(self._most[row] for row in rows)
        self._spend.reserve(reserved)
        billed: int | None = None  # whatever else ends this: the provider may have been reached
        try:
            answer = self._send([self._texts[row] for row in rows])
            billed = sum(self._tokens[row] for row in rows) if answer.billed is None else answer.billed
            return answer.vectors
        except PassingError as error:
            billed = error.billed
            raise
        except (RefusedError, ModelError):
            billed = 0
            raise
        finally:
            if billed is None:
                self._spend.lose(reserved)
            else:
                self._spend.settle(reserved, billed)
                with self._guard:
                    self.answers.billed += billed

    def _set_aside(self, row: int, reason: str) -> None:
        with self._guard:
            self.answers.failed[row] = reason
            hopeless = len(self.answers.failed) >= _HOPELESS and not self.answers.done
        if hopeless:
            self._end(
                ProviderError(
                    f"the provider refused the first {_HOPELESS} texts one by one, the last with: {reason}"
                )
            )

    def _end(self, error: ModelError | BudgetError) -> None:
        with self._guard:
            if self.answers.stopped is None:
                self.answers.stopped = error
        self.stop.set()
