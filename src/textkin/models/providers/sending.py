"""Send requests side by side: wait and retry what passes, bisect what is refused, stop at what can't be mended."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

import numpy as np

from textkin.errors import ModelError, ProviderError
from textkin.models.providers.packing import RequestLimits, pack
from textkin.types import Matrix, Progress

_LONGEST_WAIT = 60.0
_HOPELESS = 64
_SUSPICIOUS = 3
_HARMLESS = "a"


class PassingError(Exception):
    """A request failed in a way that may pass.

    Args:
        reason: to be shown; holds no secret.
        wait: seconds that the provider asks to wait; None: not said.
        of_content: whether one of the texts may be the cause: some servers answer one that is too long with
            HTTP 500, others with a vector of zeros.
    """

    def __init__(self, reason: str, wait: float | None = None, *, of_content: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.of_content = of_content


class RefusedError(Exception):
    """The provider refuses what is in the request; sending it again is useless."""


class _Suspect(Exception):
    """The same texts fail again and again, while the provider answers others."""


class LearnedSize:
    """How many texts a server takes at once, learned from what it refuses; a model keeps one over its calls.

    Attributes:
        most: texts of a request; None: nothing was learned.
    """

    def __init__(self) -> None:
        self.most: int | None = None
        self._answered = 0
        self._guard = threading.Lock()

    def answered(self, texts: int) -> None:
        """A request of so many texts was answered."""
        with self._guard:
            self._answered = max(self._answered, texts)

    def halved(self, refused: int, half: int) -> None:
        """A request of ``refused`` texts was refused, and then all of them were answered in halves."""
        with self._guard:
            if refused > self._answered:  # else it was not for their number
                self.most = max(self._answered, min(half, self.most or half))


@dataclass(slots=True, eq=False)
class Answers:
    """What came back.

    Attributes:
        vectors: ``(n, dimensions)`` float32; rows without an answer are zero.
        failed: row to why it has no vector.
        stopped: what ended the work early; rows that are neither ``done`` nor ``failed`` were not answered.
        done: rows with a vector.
    """

    vectors: Matrix
    failed: dict[int, str] = field(default_factory=dict)
    stopped: ModelError | None = None
    done: set[int] = field(default_factory=set)


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
    send: Callable[[list[str]], Matrix],
    texts: Sequence[str],
    tokens: Sequence[int],
    dimensions: int,
    limits: RequestLimits,
    patience: Patience,
    progress: Progress | None = None,
    size: LearnedSize | None = None,
) -> Answers:
    """Send texts in packed requests; what was answered is kept, whatever ends the work.

    Args:
        send: one request: ``(n, dimensions)`` rows in the texts' order; raises `PassingError`, `RefusedError`,
            or a `ModelError` that ends the work.
        texts: none empty.
        tokens: of each, for packing.
        dimensions: length of a row.
        limits: of one request.
        patience: how hard to try.
        progress: called with (texts answered, texts in all).
        size: what was learned of the server in earlier calls; learns more in this one.
    """
    size = size or LearnedSize()
    work = _Work(send, texts, np.zeros((len(texts), dimensions), dtype=np.float32), patience, progress, size)
    # The ledger sends a block at a time: in one request of all its texts nothing would be side by side.
    share = max(patience.least, math.ceil(len(texts) / patience.in_flight))
    parts = pack(tokens, RequestLimits(min(limits.texts, share, size.most or share), limits.tokens))
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
        send: Callable[[list[str]], Matrix],
        texts: Sequence[str],
        vectors: Matrix,
        patience: Patience,
        progress: Progress | None,
        size: LearnedSize,
    ) -> None:
        self.answers = Answers(vectors)
        self.stop = threading.Event()
        self._send = send
        self._texts = texts
        self._patience = patience
        self._progress = progress
        self._size = size
        self._guard = threading.Lock()

    def run(self, rows: range, narrowed: bool = False) -> bool:
        """Answer these rows, unless the work was stopped.

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
            parts = [rows[start : start + most] for start in range(0, len(rows), most)]
            return self._all_of(parts, narrowed)
        try:
            vectors = self._tried([self._texts[row] for row in rows], narrowed)
        except (RefusedError, _Suspect) as error:
            if len(rows) == 1:
                self._set_aside(rows.start, str(error))
                return False
            middle = len(rows) // 2
            suspect = isinstance(error, _Suspect)
            answered = self._all_of([rows[:middle], rows[middle:]], narrowed or suspect)
            if answered and not suspect:
                self._size.halved(len(rows), len(rows) - middle)
            return answered
        except ModelError as error:
            self._end(error)
            return False
        if vectors is None:
            return False
        self._size.answered(len(rows))
        with self._guard:
            self.answers.vectors[rows.start : rows.stop] = vectors
            self.answers.done.update(rows)
            if self._progress is not None:
                self._progress(len(self.answers.done), len(self._texts))
        return True

    def _all_of(self, parts: Sequence[range], narrowed: bool) -> bool:
        """`run` each, whatever becomes of the others."""
        answered = [self.run(part, narrowed) for part in parts]
        return all(answered)

    def _tried(self, texts: list[str], narrowed: bool) -> Matrix | None:
        """The rows; None when the work was stopped meanwhile."""
        reason = ""
        suspicious = 0
        for attempt in range(self._patience.tries):
            try:
                return self._send(texts)
            except PassingError as error:
                reason = error.reason
                wait = error.wait
                suspicious = suspicious + 1 if error.of_content else 0
            enough = _SUSPICIOUS - 1 if narrowed and len(texts) > 1 else _SUSPICIOUS
            if suspicious == enough and (narrowed or len(texts) > 1) and self._answers_others():
                raise _Suspect(f"the provider fails at it again and again: {reason}")
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

    def _answers_others(self) -> bool:
        """Whether the provider works at all, so that a failure may lie in the texts."""
        if self.answers.done:
            return True
        try:
            self._send([_HARMLESS])
        except (PassingError, RefusedError):
            return False
        return True

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

    def _end(self, error: ModelError) -> None:
        with self._guard:
            if self.answers.stopped is None:
                self.answers.stopped = error
        self.stop.set()
