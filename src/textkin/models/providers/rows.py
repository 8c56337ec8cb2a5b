"""From texts to requests and back to rows: what every provider's model does around its own call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from textkin.models.providers.gate import Gate
from textkin.models.providers.packing import LearnedSize, RequestLimits
from textkin.models.providers.requests import Answered, Patience
from textkin.models.providers.sending import send_all
from textkin.types import Embedded, Matrix, Progress


def embedded_parts(
    send: Callable[[list[str]], Answered],
    texts: Sequence[str],
    tokens: Sequence[int],
    sizes: Sequence[int],
    most: Sequence[int],
    unfit: Mapping[int, str],
    dimensions: int,
    limits: RequestLimits,
    patience: Patience,
    gate: Gate,
    size: LearnedSize | None = None,
) -> Iterator[tuple[Sequence[int], Embedded]]:
    """Send the texts that are fit to be sent; gives rows with their answers as they come.

    Args:
        send: one request, as `send_all` takes it.
        texts: well-formed.
        tokens: of each, to be told.
        sizes: of each, in tokens, for packing.
        most: tokens that each can cost at most.
        unfit: row to why it is not sent.
        dimensions: length of a row.
        limits: of one request.
        patience: how hard to try.
        gate: of this provider.
        size: of its requests, as `send_all` takes it.
    """

    def answer(
        rows: Sequence[int], vectors: Matrix | None, failed: Mapping[int, str], billed: int = 0
    ) -> Embedded:
        counts = np.asarray([tokens[row] for row in rows], dtype=np.int64)
        blank = np.zeros((len(rows), dimensions), dtype=np.float32)
        return Embedded(blank if vectors is None else vectors, counts, (), failed, billed=billed)

    if unfit:
        rows = sorted(unfit)
        yield rows, answer(rows, None, {place: unfit[row] for place, row in enumerate(rows)})
    fit = [row for row in range(len(texts)) if row not in unfit]
    fit_sizes, fit_most = [sizes[row] for row in fit], [most[row] for row in fit]
    for part in send_all(send, [texts[row] for row in fit], fit_sizes, limits, patience, gate, fit_most, size):
        rows = [fit[place] for place in part.rows]
        failed = {} if part.failed is None else dict.fromkeys(range(len(rows)), part.failed)
        if part.stopped is None:
            yield rows, answer(rows, part.vectors, failed, part.billed)
        else:
            nothing = np.zeros((0, dimensions), dtype=np.float32)
            yield (), Embedded(nothing, np.zeros(0, dtype=np.int64), (), stopped=part.stopped, billed=part.billed)


def together(
    parts: Iterable[tuple[Sequence[int], Embedded]],
    tokens: Sequence[int],
    dimensions: int,
    progress: Progress | None,
) -> Embedded:
    """All parts as one answer, in the texts' order.

    Args:
        parts: of `embedded_parts`.
        tokens: of each text.
        dimensions: length of a row.
        progress: called with (texts done, texts in all).
    """
    vectors = np.zeros((len(tokens), dimensions), dtype=np.float32)
    missing = set(range(len(tokens)))
    failed: dict[int, str] = {}
    stopped, billed = None, 0
    for rows, answer in parts:
        vectors[list(rows)] = answer.vectors
        missing.difference_update(rows)
        failed.update({rows[place]: reason for place, reason in answer.failed.items()})
        stopped = answer.stopped or stopped
        billed += answer.billed or 0
        if progress is not None and rows:
            progress(len(tokens) - len(missing), len(tokens))
    return Embedded(
        vectors=vectors,
        tokens=np.asarray(tokens, dtype=np.int64),
        truncated=(),
        failed=failed,
        stopped=stopped,
        unanswered=tuple(sorted(missing)),
        billed=billed,
    )
