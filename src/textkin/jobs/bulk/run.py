"""The pipeline: a thread reads shards, several embed chunks of them through the ledger, one writes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from textkin._stages import StageClock
from textkin.jobs.bulk.flow import Chunk, Flow, Tally
from textkin.jobs.bulk.pace import Pace
from textkin.jobs.bulk.shards import Shard
from textkin.jobs.bulk.sinks import Sink
from textkin.jobs.bulk.threads import GLANCE, Reader, Writer
from textkin.ledger import Ledger, LedgerResult, embed
from textkin.ledger.claims import WaitGivenUp
from textkin.models.spending import Spend
from textkin.types import Model


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        tally: what it did.
        digests: of the shards of the input, by number, as far as it was read.
        stopped: whether it was asked to stop before its end.
    """

    tally: Tally
    digests: tuple[str, ...]
    stopped: bool


def run(
    shards: Iterator[Shard],
    model: Model,
    ledger: Ledger,
    sink: Sink,
    *,
    pace: Pace,
    spend: Spend,
    clock: StageClock,
    stop: threading.Event,
    progress: Callable[[Tally], None] | None = None,
    mine: Callable[[int], bool],
    ahead: int,
) -> Outcome:
    """Embed shards until there are no more, or until it is asked to stop.

    Each chunk of texts is in the ledger before anything else is done with it, so a kill loses at most the chunks
    in flight. Memory holds a few shards, however many there are. A stop, also by Ctrl-C, waits for the chunks in
    flight and writes the shards that they complete.

    Args:
        shards: read in a thread of their own.
        model: called in ``pace.threads`` threads at once.
        ledger: where vectors are looked up and kept.
        sink: where shards go.
        pace: how many texts a chunk has, and how many chunks are in flight.
        spend: what is spent is counted here.
        clock: what each stage takes is counted here.
        stop: set it to end the run early.
        progress: called now and then.
        mine: whether this process has to embed the shard of a number; others do the rest.
        ahead: most shards that are being embedded at a time.

    Raises:
        TextkinError: whatever reading, embedding or writing met first; the shards that were complete are kept, and
            all vectors that were made are in the ledger.
    """
    ended = threading.Event()
    reader = Reader(shards, clock, ended)
    writer = Writer(sink, clock, ended)
    flow = Flow(sink, writer, mine, model.info.dimensions, ahead)
    failed = threading.Event()
    futures: dict[Future[LedgerResult | None], Chunk] = {}
    interrupt: KeyboardInterrupt | None = None

    def encode(texts: list[str], ids: list[str]) -> LedgerResult | None:
        if failed.is_set():
            return None  # nothing more is paid for once one failed
        with clock.counting(), spend.counting():
            try:
                return embed(
                    model,
                    texts,
                    "document",
                    ledger,
                    block=len(texts),
                    first_block=len(texts),
                    name_of=lambda row: f"the text of {ids[row]!r}",
                    given_up=lambda: stop.is_set() or failed.is_set(),
                )
            except WaitGivenUp:
                return None  # as if it had not begun
            except BaseException:
                failed.set()
                raise

    pool = ThreadPoolExecutor(pace.threads, thread_name_prefix="textkin-embed")
    told = 0.0
    if progress is not None:
        progress(flow.tally)
    try:
        while True:
            try:
                stopping = stop.is_set()
                if not stopping:
                    flow.admit(reader)
                    while len(futures) < pace.in_flight and (chunk := flow.next_chunk(pace.size)) is not None:
                        chunk.began = time.monotonic()
                        futures[pool.submit(encode, chunk.texts, chunk.ids)] = chunk
                else:
                    # What has not begun is not begun any more.
                    futures = {future: chunk for future, chunk in futures.items() if not future.cancel()}
                if not futures and (stopping or (reader.finished and not flow.active)):
                    break
                if futures:
                    done, _ = wait(futures, timeout=GLANCE, return_when=FIRST_COMPLETED)
                    # The one that failed first says why; those that it stopped have nothing to say.
                    for future in sorted(done, key=lambda one: one.exception() is None):
                        chunk = futures.pop(future)
                        result = future.result()
                        if result is None:
                            continue
                        pace.took(len(chunk.texts), result.embedded, time.monotonic() - chunk.began)
                        flow.take(chunk, result)
                else:
                    reader.wait(GLANCE)
                writer.check()
                now = time.monotonic()
                if progress is not None and now - told >= GLANCE:
                    told = now
                    progress(flow.tally)
            except KeyboardInterrupt as error:
                if interrupt is not None or stop.is_set():
                    raise
                interrupt = error
                stop.set()
        writer.close()
    except BaseException as error:
        failed.set()
        ended.set()
        # What is in flight is paid for: it comes into the ledger before this ends, unless somebody insists.
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    finally:
        ended.set()
        pool.shutdown(wait=False, cancel_futures=True)
        reader.join()
        writer.join()
    if progress is not None:
        progress(flow.tally)
    if interrupt is not None:
        raise interrupt
    complete = reader.finished and not flow.active and not stop.is_set()
    return Outcome(flow.tally, tuple(flow.digests), not complete)
