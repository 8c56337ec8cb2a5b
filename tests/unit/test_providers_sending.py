"""Packing, retrying, bisecting and stopping, without a network."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from queue import Empty, SimpleQueue

import numpy as np
import pytest

from textkin.errors import BudgetError, ModelError, ProviderError, QuotaError
from textkin.models.providers.gate import Gate, duration, wait_asked
from textkin.models.providers.packing import LearnedSize, RequestLimits, pack
from textkin.models.providers.requests import Answered, PassingError, Patience, RefusedError
from textkin.models.providers.sending import send_all
from textkin.types import Matrix

QUICK = Patience(tries=4, first_wait=0.001, in_flight=4)


def vectors_of(texts: list[str]) -> Answered:
    return Answered(np.array([[float(text.split()[0]), 1.0] for text in texts], dtype=np.float32))


@dataclass
class Answers:
    vectors: Matrix
    failed: dict[int, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    stopped: ModelError | BudgetError | None = None


def send_texts(
    send: Callable[[list[str]], Answered],
    texts: list[str],
    patience: Patience = QUICK,
    size: int = 7,
    gate: Gate | None = None,
    learned: LearnedSize | None = None,
) -> Answers:
    answers = Answers(np.zeros((len(texts), 2), dtype=np.float32))
    for part in send_all(send, texts, [1] * len(texts), RequestLimits(size, 1000), patience, gate, size=learned):
        assert answers.done.isdisjoint(part.rows)
        if part.vectors is not None:
            answers.vectors[part.rows.start : part.rows.stop] = part.vectors
            answers.done.update(part.rows)
        elif part.failed is not None:
            answers.failed.update(dict.fromkeys(part.rows, part.failed))
        else:
            answers.stopped = part.stopped
    return answers


def test_requests_keep_both_limits_and_the_order() -> None:
    tokens = [5, 5, 1, 100, 3, 3, 3, 3]
    parts = pack(tokens, RequestLimits(texts=3, tokens=10))
    assert [row for part in parts for row in part] == list(range(8))
    assert parts == [range(2), range(2, 3), range(3, 4), range(4, 7), range(7, 8)]
    assert pack([], RequestLimits(3, 10)) == []


def test_rows_are_in_the_texts_order() -> None:
    answers = send_texts(vectors_of, [f"{n} x" for n in range(100)])
    assert answers.vectors[:, 0].tolist() == list(range(100))
    assert answers.done == set(range(100))


def test_what_passes_is_tried_again_and_paid_once() -> None:
    guard, answered = threading.Lock(), Counter[str]()
    calls = [0]

    def send(texts: list[str]) -> Answered:
        with guard:
            calls[0] += 1
            if calls[0] % 3 == 0:
                raise PassingError("busy", 0.0)
            answered.update(texts)
        return vectors_of(texts)

    texts = [f"{n} x" for n in range(200)]
    answers = send_texts(send, texts, Patience(tries=8, first_wait=0.001, in_flight=4))
    assert answers.stopped is None
    assert answers.vectors[:, 0].tolist() == list(range(200))
    assert set(answered.values()) == {1}


def test_one_bad_text_is_found_and_the_rest_goes_on() -> None:
    def send(texts: list[str]) -> Answered:
        if any("bad" in text for text in texts):
            raise RefusedError("it holds something bad")
        return vectors_of(texts)

    texts = [f"{n} {'bad' if n in (0, 13, 14, 49) else 'good'}" for n in range(50)]
    answers = send_texts(send, texts)
    assert answers.failed == dict.fromkeys((0, 13, 14, 49), "it holds something bad")
    assert answers.done == set(range(50)) - {0, 13, 14, 49}
    assert answers.stopped is None


def test_a_request_that_is_always_refused_is_not_bisected_without_end() -> None:
    calls = [0]

    def send(texts: list[str]) -> Answered:
        calls[0] += 1
        raise RefusedError("no such option")

    answers = send_texts(send, [f"{n} x" for n in range(5000)], size=1000)
    assert isinstance(answers.stopped, ProviderError)
    assert "no such option" in str(answers.stopped)
    assert calls[0] < 200


def test_tries_are_bounded() -> None:
    calls = [0]

    def send(texts: list[str]) -> Answered:
        calls[0] += 1
        raise PassingError("HTTP 500")

    answers = send_texts(send, ["1 x"])
    assert calls[0] == QUICK.tries
    assert isinstance(answers.stopped, ProviderError)
    assert "HTTP 500" in str(answers.stopped)


def test_what_was_answered_before_the_stop_is_kept() -> None:
    guard, calls = threading.Lock(), [0]

    def send(texts: list[str]) -> Answered:
        with guard:
            calls[0] += 1
            if calls[0] > 3:
                raise QuotaError("no credit")
        return vectors_of(texts)

    answers = send_texts(send, [f"{n} x" for n in range(70)], Patience(in_flight=1))
    assert isinstance(answers.stopped, QuotaError)
    assert answers.done == set(range(21))
    assert calls[0] == 4


def test_a_bug_is_not_swallowed() -> None:
    def send(texts: list[str]) -> Answered:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_texts(send, ["1 x"] * 30)


def test_a_block_of_the_ledger_is_shared_out_over_the_requests_in_flight() -> None:
    sizes: list[int] = []

    def send(texts: list[str]) -> Answered:
        sizes.append(len(texts))
        return Answered(np.ones((len(texts), 2), dtype=np.float32))

    for count, expected in (
        (512, [64] * 8),
        (100, [64, 36]),
        (20_000, [625] * 32),
        (100_000, [2048] * 48 + [1696]),
    ):
        sizes.clear()
        list(send_all(send, ["x"] * count, [1] * count, RequestLimits(2048, 300_000), Patience()))
        assert sorted(sizes, reverse=True) == expected


def test_an_answer_is_given_before_the_others_are_there() -> None:
    held = threading.Event()

    def send(texts: list[str]) -> Answered:
        if texts[0] != "0 x":
            assert held.wait(120)
        return vectors_of(texts)

    texts = [f"{n} x" for n in range(28)]
    parts = send_all(send, texts, [1] * 28, RequestLimits(7, 1000), QUICK)
    assert next(parts).rows == range(7)
    held.set()
    assert sorted(part.rows.start for part in parts) == [7, 14, 21]


def test_who_stops_listening_stops_the_work() -> None:
    calls = Counter[str]()

    def send(texts: list[str]) -> Answered:
        calls[texts[0]] += 1
        time.sleep(0.01)
        return vectors_of(texts)

    parts = send_all(send, [f"{n} x" for n in range(700)], [1] * 700, RequestLimits(7, 1000), QUICK)
    next(parts)
    parts.close()
    time.sleep(0.1)
    assert calls.total() < 20


@pytest.fixture
def interrupted() -> Iterator[threading.Event]:
    """Set once a Ctrl-C has been noticed, also where a shell has this process ignore them."""
    noticed = threading.Event()

    def notice(*_: object) -> None:
        noticed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, notice)
    yield noticed
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_ctrl_c_waits_for_what_is_on_its_way_and_sends_nothing_more(interrupted: threading.Event) -> None:
    sent = Counter[str]()
    on_their_way = threading.Barrier(5)

    def send(texts: list[str]) -> Answered:
        sent.update(texts)
        on_their_way.wait(120)
        assert interrupted.wait(120)
        return vectors_of(texts)

    def interrupt() -> None:
        on_their_way.wait(120)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    got: list[int] = []
    parts = send_all(send, [f"{n} x" for n in range(70)], [1] * 70, RequestLimits(7, 1000), QUICK)
    with pytest.raises(KeyboardInterrupt):
        got.extend(row for part in parts for row in part.rows)
    waiting.join()
    assert len(got) == len(sent) == 28


def test_answers_that_come_with_the_end_of_the_last_thread_are_given_after_an_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from textkin.models.providers import work

    class Late:
        """Interrupts the first look, and lets the second find nothing just before all threads end."""

        def __init__(self) -> None:
            self._kept: SimpleQueue[object] = SimpleQueue()
            self._looks = 0
            self.put, self.empty = self._kept.put, self._kept.empty

        def get(self, timeout: float) -> object:
            self._looks += 1
            if self._looks == 1:
                raise KeyboardInterrupt
            if self._looks == 2:
                for thread in threading.enumerate():
                    if thread.name.startswith("textkin-"):
                        thread.join()
                raise Empty
            return self._kept.get(timeout=timeout)

    monkeypatch.setattr(work, "SimpleQueue", Late)
    got: list[int] = []
    parts = send_all(vectors_of, ["0 x", "1 x"], [1, 1], RequestLimits(2, 1000), QUICK)
    with pytest.raises(KeyboardInterrupt):
        got.extend(row for part in parts for row in part.rows)
    assert got == [0, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_ctrl_c_ends_a_backoff_at_once(interrupted: threading.Event) -> None:
    asked = threading.Event()

    def send(texts: list[str]) -> Answered:
        asked.set()
        raise PassingError("busy", 600.0, crowded=True)

    def interrupt() -> None:
        asked.wait(120)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(send_all(send, ["1 x"] * 70, [1] * 70, RequestLimits(7, 1000), QUICK))
    waiting.join()
    assert time.monotonic() - start < 300


def test_too_many_requests_hold_back_everybody() -> None:
    guard, times = threading.Lock(), list[float]()

    def send(texts: list[str]) -> Answered:
        with guard:
            times.append(time.monotonic())
            first = len(times) == 1
        if first:
            raise PassingError("busy", 0.3, crowded=True)
        time.sleep(0.05)
        return vectors_of(texts)

    answers = send_texts(send, [f"{n} x" for n in range(140)])
    assert answers.stopped is None
    # Three more were on their way when the first was told to wait; nobody started within the wait.
    within = [when for when in times if times[0] + 0.02 < when < times[0] + 0.29]
    assert not within
    assert len(times) == 21


def test_too_many_requests_do_not_use_up_the_tries_while_others_are_answered() -> None:
    guard, allowed = threading.Lock(), [0]

    def send(texts: list[str]) -> Answered:
        with guard:
            allowed[0] += 1
            turn = allowed[0]
        if turn % 6:  # five of six are refused, whosever they are
            raise PassingError("busy", 0.0, crowded=True)
        return vectors_of(texts)

    answers = send_texts(send, [f"{n} x" for n in range(350)], Patience(tries=7, first_wait=0.001, in_flight=1))
    assert answers.stopped is None
    assert len(answers.done) == 350


def test_a_wait_beyond_patience_ends_the_work_and_is_told() -> None:
    def send(texts: list[str]) -> Answered:
        raise PassingError("too many requests", 7200.0, crowded=True)

    answers = send_texts(send, ["1 x"])
    assert isinstance(answers.stopped, ProviderError)
    assert "120 minutes" in str(answers.stopped)


def test_an_allowance_that_is_used_up_holds_back_until_enough_came_back() -> None:
    now = [100.0]
    gate = Gate(lambda: now[0])
    assert gate.wait(10**6) == 0
    gate.told(
        {
            "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "1",
            "x-ratelimit-reset-requests": "59s",
            "x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "500",
            "x-ratelimit-reset-tokens": "55s",
        }
    )  # fmt: skip
    assert gate.wait(2000) == pytest.approx(15)  # 1,500 tokens short, and 100 come back a second
    now[0] += 15.01
    assert gate.wait(2000) == 0
    assert gate.wait(100) == pytest.approx(1, abs=0.05)
    gate.told({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"})
    gate.told({"x-ratelimit-remaining-tokens": "100000", "x-ratelimit-reset-tokens": "0s"})
    assert gate.wait(10) == pytest.approx(0.02)
    gate.hold(3)
    assert gate.wait(10) == pytest.approx(3)
    now[0] += 3.5
    assert gate.wait(10) == 0


def test_a_request_larger_than_the_whole_allowance_goes_when_all_of_it_is_there() -> None:
    now = [0.0]
    gate = Gate(lambda: now[0])
    gate.told(
        {
            "x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "10",
        }
    )  # fmt: skip
    assert gate.wait(5000) == pytest.approx(10)
    now[0] = 10.1
    assert gate.wait(5000) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("20ms", 0.02), ("1.5", 1.5), ("1h2m3.5s", 3723.5), ("0s", 0), ("", None), ("soon", None),
     ("1 s", None), ("-3", None), ("nan", None)],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


def test_the_wait_that_is_asked_for() -> None:
    def at(seconds: float) -> dict[str, str]:
        return {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)}

    assert wait_asked({}) is None
    assert wait_asked({"retry-after": "3"}) == 3.0
    assert wait_asked({"retry-after": "3", "retry-after-ms": "250"}) == 0.25
    assert wait_asked(at(30)) == pytest.approx(30, abs=2)
    assert wait_asked(at(-30)) == 0
    dates = ("Wed, 99 Foo 2026 07:28:00 GMT", f"1 Jan {10**20} 00:00:00")
    for nonsense in ("-1", "soon", "inf", "nan", *dates):
        assert wait_asked({"retry-after": nonsense}) is None


def test_a_smaller_limit_is_learned_and_kept() -> None:
    size, sizes = LearnedSize(), []

    def send(texts: list[str]) -> Answered:
        sizes.append(len(texts))
        if len(texts) > 5:
            raise RefusedError("too many")
        return vectors_of(texts)

    texts = [f"{n} x" for n in range(100)]
    one = Patience(tries=4, first_wait=0.001, in_flight=1)
    for _ in range(2):
        answers = send_texts(send, texts, one, 40, learned=size)
        assert answers.vectors[:, 0].tolist() == list(range(100))
        assert not answers.failed
    assert size.most == 5
    assert [size for size in sizes if size > 5] == [40, 20, 10]


def test_refusals_of_content_are_not_taken_for_a_limit() -> None:
    size = LearnedSize()

    def send(texts: list[str]) -> Answered:
        if "13 x" in texts:
            raise RefusedError("bad")
        return vectors_of(texts)

    one = Patience(tries=4, first_wait=0.001, in_flight=1)
    texts = [f"{n} x" for n in range(100)]
    answers = send_texts(send, texts, one, 10, learned=size)
    assert list(answers.failed) == [13]
    assert size.most is None
    size.answered(40)
    size.halved(30, 15)  # as many were answered before, so it was not for their number
    assert size.most is None


def test_what_always_fails_is_narrowed_down_only_while_others_are_answered() -> None:
    calls: list[int] = []

    def send(texts: list[str]) -> Answered:
        calls.append(len(texts))
        if "13 x" in texts or dead:
            raise PassingError("HTTP 500", 0.0, of_content=True)
        return Answered(np.ones((len(texts), 2), dtype=np.float32))

    dead = False
    answers = send_texts(send, [f"{n} x" for n in range(40)], size=40)
    assert list(answers.failed) == [13]
    assert "again and again: HTTP 500" in answers.failed[13]
    assert len(answers.done) == 39
    dead = True
    answers = send_texts(send, [f"{n} x" for n in range(40)], size=40)
    assert isinstance(answers.stopped, ProviderError)
    assert not answers.failed


def test_a_text_that_is_sent_alone_and_always_fails_does_not_stand_in_the_way_of_the_others() -> None:
    calls: Counter[str] = Counter()

    def send(texts: list[str]) -> Answered:
        calls.update(texts)
        if "13 x" in texts:
            raise PassingError("HTTP 500", 0.0, of_content=True)
        return Answered(np.ones((len(texts), 2), dtype=np.float32))

    answers = send_texts(send, [f"{n} x" for n in range(40)], size=1)
    assert list(answers.failed) == [13]
    assert answers.stopped is None
    assert len(answers.done) == 39
    assert calls["13 x"] == QUICK.tries  # a good one that fails now and then is not set aside sooner
