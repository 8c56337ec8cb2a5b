"""Batches: what is in them, how they are laid out, and how they run side by side."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from textkin.models.batching import FeedMaker, plan, side_by_side, usable_cores
from textkin.models.layout import Pooling


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int32)


def test_plan_keeps_every_row_once_and_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    batches = plan(lengths, 256)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].sum() <= 256
    assert all(lengths[a].min() >= lengths[b].max() for a, b in itertools.pairwise(batches))


def test_plan_of_nothing() -> None:
    assert plan(np.array([], dtype=np.int64), 256) == []


def test_plan_fills_batches() -> None:
    assert [len(batch) for batch in plan(np.full(10, 64), 256)] == [4, 4, 2]
    assert [len(batch) for batch in plan(np.array([1000, 2, 2]), 256)] == [1, 2]


def feed(
    pooling: Pooling, *texts: np.ndarray, prompt: int = 0, padding: int | None = None
) -> dict[str, np.ndarray]:
    return FeedMaker(padding, pooling, ("shares", "bans")).feed(texts, prompt)


def test_layout_has_no_padding_among_tokens() -> None:
    found = feed(Pooling(), ids(5, 6, 7), ids(8))
    assert found["ids"].tolist() == [5, 6, 7, 8]
    assert found["positions"].tolist() == [0, 1, 2, 0]
    assert found["slots"].tolist() == [[0, 1, 2], [3, 3, 3]]
    assert found["places"].tolist() == [0, 1, 2, 3]
    assert found["lengths"].tolist() == [3, 1]


def test_places_undo_slots() -> None:
    texts = [ids(*range(length)) for length in (4, 1, 3, 4, 2)]
    found = feed(Pooling(), *texts)
    assert found["slots"].reshape(-1)[found["places"]].tolist() == list(range(14))


def test_positions_counted_from_the_padding_token_skip_it() -> None:
    found = feed(Pooling(), ids(0, 9, 1, 8, 2), ids(0, 1, 2), padding=1)
    assert found["positions"].tolist() == [2, 3, 1, 4, 5, 2, 1, 3]


@pytest.mark.parametrize(
    ("mode", "prompt", "shares"),
    [
        ("mean", 0, [0.25, 0.25, 0.25, 0.25]),
        ("mean", 2, [0, 0, 0.5, 0.5]),
        ("mean", 9, [0, 0, 0, 0]),
        ("mean_sqrt_len_tokens", 0, [0.5, 0.5, 0.5, 0.5]),
        ("cls", 0, [1, 0, 0, 0]),
        ("cls", 2, [0, 0, 1, 0]),
        ("cls", 9, [1, 0, 0, 0]),
        ("lasttoken", 0, [0, 0, 0, 1]),
        ("lasttoken", 9, [0, 0, 0, 0]),
        ("weightedmean", 0, [0.1, 0.2, 0.3, 0.4]),
        ("weightedmean", 2, [0, 0, 3 / 7, 4 / 7]),
    ],
)
def test_shares(mode: str, prompt: int, shares: list[float]) -> None:
    found = feed(Pooling((mode,)), ids(5, 6, 7, 8), ids(9), prompt=prompt)
    assert found["shares"].shape == (1, 2, 5)
    np.testing.assert_allclose(found["shares"][0, 0], [*shares, 0], atol=1e-7)


def test_bans_cover_prompt_and_padding() -> None:
    found = feed(Pooling(("max",)), ids(5, 6, 7), ids(8), prompt=1)
    assert np.isinf(found["bans"][:, :, 0]).tolist() == [[True, False, False], [True, True, True]]


def test_side_by_side_runs_everything_and_uses_threads() -> None:
    seen: list[tuple[int, str]] = []
    barrier = threading.Barrier(2, timeout=120)

    def job(number: int) -> None:
        if number < 2:
            barrier.wait()  # passes only when two threads are at work
        seen.append((number, threading.current_thread().name))

    side_by_side([lambda number=number: job(number) for number in range(20)], 2)
    assert sorted(number for number, _ in seen) == list(range(20))
    assert len({name for _, name in seen}) == 2


def test_one_job_needs_no_thread() -> None:
    names: list[str] = []
    side_by_side([lambda: names.append(threading.current_thread().name)], 8)
    assert names == [threading.current_thread().name]


def test_no_thread_stays() -> None:
    before = threading.active_count()
    side_by_side([lambda: time.sleep(0.001)] * 50, 4)
    assert threading.active_count() == before


@pytest.mark.parametrize("bad", [0, 7, 19])
def test_a_failure_in_any_thread_reaches_the_caller_and_stops_the_rest(bad: int) -> None:
    done: list[int] = []

    def job(number: int) -> None:
        if number == bad:
            raise OSError("broken")
        time.sleep(0.002)
        done.append(number)

    before = threading.active_count()
    with pytest.raises(OSError, match="broken"):
        side_by_side([lambda number=number: job(number) for number in range(20_000)], 3)
    assert len(done) < 19_000
    assert threading.active_count() == before


def test_after_runs_in_the_calling_thread() -> None:
    names: set[str] = set()
    side_by_side([lambda: time.sleep(0.001)] * 20, 3, lambda: names.add(threading.current_thread().name))
    assert names == {threading.current_thread().name}


def test_usable_cores() -> None:
    assert usable_cores() >= 1
