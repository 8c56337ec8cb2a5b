"""Send requests side by side; give their answers as they come, and what ended the work."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty

from textkin.models import interrupts
from textkin.models.providers.gate import Gate
from textkin.models.providers.packing import LearnedSize, RequestLimits, pack
from textkin.models.providers.requests import Answered, Part, Patience
from textkin.models.providers.work import GLANCE, Work

_TURNS = 4


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

    Ctrl-C, while this waits for news, sends nothing more, waits for the requests that are on their way (they are
    paid for), gives their answers, and only then goes on as ``KeyboardInterrupt``; a second one goes on at once.

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
    # In one request of all the texts nothing would be side by side; in as many as are in flight, all would wait
    # for the slowest at the end.
    share = max(patience.least, math.ceil(len(texts) / (_TURNS * patience.in_flight)))
    size = size or LearnedSize()
    longest = min(limits.texts, share, patience.most or limits.texts, size.most or limits.texts)
    parts = pack(tokens, RequestLimits(longest, limits.tokens))
    work = Work(send, texts, tokens, tokens if most is None else most, parts, patience, gate or Gate(), size)
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
                interrupts.check()
                news = work.news.get(timeout=GLANCE)
            except KeyboardInterrupt as error:
                if interrupt is not None:
                    raise
                interrupt = error
                work.stop.set()
                continue
            except Empty:
                # Where the interrupt met a thread's start, nobody knows whether it lives: they are looked at. What
                # the last of them told just before it ended is still to be given.
                alive = any(thread.is_alive() for thread in threads)
                if interrupt is not None and not alive and work.news.empty():
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
