"""Packing, retrying, bisecting and stopping, without a network."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from textkin.errors import ProviderError, QuotaError
from textkin.models.providers.packing import RequestLimits, pack
from textkin.models.providers.sending import Answers, LearnedSize, PassingError, Patience, RefusedError, send_all
from textkin.types import Matrix

QUICK = Patience(tries=4, first_wait=0.001, in_flight=4)


def vectors_of(texts: list[str]) -> Matrix:
    return np.array([[float(text.split()[0]), 1.0] for text in texts], dtype=np.float32)


def send_texts(
    send: Callable[[list[str]], Matrix], texts: list[str], patience: Patience = QUICK, size: int = 7
) -> Answers:
    return send_all(send, texts, [1] * len(texts), 2, RequestLimits(size, 1000), patience)


def test_requests_keep_both_limits_and_the_order() -> None:
    tokens = [5, 5, 1, 100, 3, 3, 3, 3]
    parts = pack(tokens, RequestLimits(texts=3, tokens=10))
    assert [row for part in parts for row in part] == list(range(8))
    assert parts == [range(2), range(2, 3), range(3, 4), range(4, 7), range(7, 8)]
    assert pack([], RequestLimits(3, 10)) == []


def test_rows_are_in_the_texts_order() -> None:
    texts = [f"{n} x" for n in range(100)]
    told: list[int] = []
    answers = send_all(
        vectors_of, texts, [1] * 100, 2, RequestLimits(7, 1000), QUICK, lambda done, _: told.append(done)
    )
    assert answers.vectors[:, 0].tolist() == list(range(100))
    assert answers.done == set(range(100))
    assert told[-1] == 100


def test_what_passes_is_tried_again_and_paid_once() -> None:
    guard, answered = threading.Lock(), Counter[str]()
    calls = [0]

    def send(texts: list[str]) -> Matrix:
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
    def send(texts: list[str]) -> Matrix:
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

    def send(texts: list[str]) -> Matrix:
        calls[0] += 1
        raise RefusedError("no such option")

    answers = send_texts(send, [f"{n} x" for n in range(5000)], size=1000)
    assert isinstance(answers.stopped, ProviderError)
    assert "no such option" in str(answers.stopped)
    assert calls[0] < 200


def test_tries_are_bounded() -> None:
    calls = [0]

    def send(texts: list[str]) -> Matrix:
        calls[0] += 1
        raise PassingError("HTTP 500")

    answers = send_texts(send, ["1 x"])
    assert calls[0] == QUICK.tries
    assert isinstance(answers.stopped, ProviderError)
    assert "HTTP 500" in str(answers.stopped)


def test_what_was_answered_before_the_stop_is_kept() -> None:
    guard, calls = threading.Lock(), [0]

    def send(texts: list[str]) -> Matrix:
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
    def send(texts: list[str]) -> Matrix:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_texts(send, ["1 x"] * 30)


def test_a_block_of_the_ledger_is_shared_out_over_the_requests_in_flight() -> None:
    sizes: list[int] = []

    def send(texts: list[str]) -> Matrix:
        sizes.append(len(texts))
        return np.ones((len(texts), 2), dtype=np.float32)

    for count, expected in ((512, [64] * 8), (100, [64, 36]), (20_000, [2048] * 9 + [1568])):
        sizes.clear()
        send_all(send, ["x"] * count, [1] * count, 2, RequestLimits(2048, 300_000), Patience())
        assert sorted(sizes, reverse=True) == expected


def test_a_smaller_limit_is_learned_and_kept() -> None:
    size, sizes = LearnedSize(), []

    def send(texts: list[str]) -> Matrix:
        sizes.append(len(texts))
        if len(texts) > 5:
            raise RefusedError("too many")
        return vectors_of(texts)

    texts = [f"{n} x" for n in range(100)]
    one = Patience(tries=4, first_wait=0.001, in_flight=1)
    for _ in range(2):
        answers = send_all(send, texts, [1] * 100, 2, RequestLimits(40, 1000), one, size=size)
        assert answers.vectors[:, 0].tolist() == list(range(100))
        assert not answers.failed
    assert size.most == 5
    assert [size for size in sizes if size > 5] == [40, 20, 10]


def test_refusals_of_content_are_not_taken_for_a_limit() -> None:
    size = LearnedSize()

    def send(texts: list[str]) -> Matrix:
        if "13 x" in texts:
            raise RefusedError("bad")
        return vectors_of(texts)

    one = Patience(tries=4, first_wait=0.001, in_flight=1)
    texts = [f"{n} x" for n in range(100)]
    answers = send_all(send, texts, [1] * 100, 2, RequestLimits(10, 1000), one, size=size)
    assert list(answers.failed) == [13]
    assert size.most is None
    size.answered(40)
    size.halved(30, 15)  # as many were answered before, so it was not for their number
    assert size.most is None


def test_what_always_fails_is_narrowed_down_only_while_others_are_answered() -> None:
    calls: list[int] = []

    def send(texts: list[str]) -> Matrix:
        calls.append(len(texts))
        if "13 x" in texts or dead:
            raise PassingError("HTTP 500", 0.0, of_content=True)
        return np.ones((len(texts), 2), dtype=np.float32)

    dead = False
    answers = send_texts(send, [f"{n} x" for n in range(40)], size=40)
    assert list(answers.failed) == [13]
    assert "again and again: HTTP 500" in answers.failed[13]
    assert len(answers.done) == 39
    dead = True
    answers = send_texts(send, [f"{n} x" for n in range(40)], size=40)
    assert isinstance(answers.stopped, ProviderError)
    assert not answers.failed
