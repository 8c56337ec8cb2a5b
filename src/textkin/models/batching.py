"""Many texts to small batches: sorted by length, cut by tokens, laid out without padding, run side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textkin.models.layout import Pooling

Ids = npt.NDArray[np.int32]
Feed = dict[str, npt.NDArray[np.generic]]


def plan(lengths: npt.NDArray[np.int64], budget: int) -> list[npt.NDArray[np.int64]]:
    """Rows of each batch, longest texts first.

    Args:
        lengths: tokens of each row.
        budget: tokens of a batch; a longer text is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[npt.NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        ends = np.cumsum(lengths[order[start : start + budget]])
        count = max(1, int(np.searchsorted(ends, budget, side="right")))
        batches.append(order[start : start + count])
        start += count
    return batches


@dataclass(frozen=True, slots=True)
class FeedMaker:
    """Turns the token numbers of some texts into a graph's inputs (see ``graph.encoder`` and ``graph.head``).

    Attributes:
        padding: number of the padding token where positions are counted from it, or None.
        pooling: which weights the tokens get.
        inputs: names that the graph asks for.
    """

    padding: int | None
    pooling: Pooling
    inputs: tuple[str, ...]

    def feed(self, texts: Sequence[Ids], prompt: int) -> Feed:
        """Inputs of one batch.

        Args:
            texts: token numbers of each text, none empty.
            prompt: tokens at the start that pooling leaves out.
        """
        ids = np.concatenate(texts).astype(np.int64)
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        longest = int(lengths.max())
        inside = np.arange(longest)
        valid = inside < lengths[:, None]
        # A place beyond the end of a text repeats the text's first token; nothing looks at it.
        slots = np.where(valid, starts[:, None] + inside, starts[:, None])
        steps = np.arange(len(ids)) - np.repeat(starts, lengths)
        feed: Feed = {
            "ids": ids,
            "positions": self._positions(ids, steps, starts, lengths),
            "slots": slots,
            "places": np.flatnonzero(valid),
            "lengths": lengths.astype(np.int32),
            "even": np.array(lengths.min() == longest),
        }
        if "shares" in self.inputs:
            rows = np.repeat(np.arange(len(texts)), lengths)
            modes = [mode for mode in self.pooling.modes if mode != "max"]
            shares = np.zeros((len(modes), len(texts), len(ids)), dtype=np.float32)
            for number, mode in enumerate(modes):
                shares[number, rows, np.arange(len(ids))] = _shares(
                    mode, steps, np.repeat(lengths, lengths), prompt
                )
            feed["shares"] = shares
        if "bans" in self.inputs:
            counted = valid & (inside >= prompt)
            feed["bans"] = np.where(counted, 0.0, -np.inf).astype(np.float32)[:, :, None]
        return feed

    def _positions(
        self,
        ids: npt.NDArray[np.int64],
        steps: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        if self.padding is None:
            return steps
        real = ids != self.padding
        if real.all():
            return steps + self.padding + 1
        # A text can hold the padding token as a word ("<pad>"): the originals don't count it.
        counted = np.cumsum(real)
        before = np.repeat(counted[starts] - real[starts], lengths)
        found: npt.NDArray[np.int64] = np.where(real, counted - before + self.padding, self.padding)
        return found


def _shares(
    mode: str, steps: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], prompt: int
) -> npt.NDArray[np.float32]:
    """What each token contributes to its text's row."""
    counted = steps >= prompt
    number = np.maximum(lengths - prompt, 1)
    if mode == "cls":
        # With nothing after the prompt the original takes the first token.
        share = steps == np.where(lengths > prompt, prompt, 0)
    elif mode == "lasttoken":
        share = counted & (steps == lengths - 1)
    elif mode == "mean":
        share = counted / number
    elif mode == "mean_sqrt_len_tokens":
        share = counted / np.sqrt(number)
    else:  # weightedmean
        weights = (lengths * (lengths + 1) - np.minimum(prompt, lengths) * (np.minimum(prompt, lengths) + 1)) / 2
        share = counted * (steps + 1) / np.maximum(weights, 1)
    return np.asarray(share, dtype=np.float32)


def side_by_side(
    jobs: Sequence[Callable[[], None]], threads: int, after: Callable[[], None] | None = None
) -> None:
    """Run jobs in their order on several threads; the calling thread works too.

    No thread outlives the call. An exception, also Ctrl-C, stops it after the jobs that are running.

    Args:
        jobs: must release Python's lock while they work, or nothing is gained.
        threads: at most so many.
        after: called in the calling thread after each of its own jobs.
    """
    waiting = iter(jobs)
    lock = threading.Lock()
    stop = threading.Event()

    def work(own: Callable[[], None] | None) -> None:
        try:
            while not stop.is_set():
                with lock:
                    job = next(waiting, None)
                if job is None:
                    return
                job()
                if own is not None:
                    own()
        except BaseException:
            stop.set()
            raise

    helpers = min(threads, len(jobs)) - 1
    if helpers < 1:
        work(after)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(helpers, thread_name_prefix="textkin") as pool:
        others = [pool.submit(work, None) for _ in range(helpers)]
        work(after)
    for other in others:
        other.result()


def usable_cores() -> int:
    """Cores that this process may keep busy: its affinity, halved where two share a core, cut by its container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    if _first_line("/sys/devices/system/cpu/smt/active") == "1":
        cores = (cores + 1) // 2
    quota, _, period = _first_line("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        cores = min(cores, -(-int(quota) // int(period)))
    return max(1, cores)


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
