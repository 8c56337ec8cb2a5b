"""Batches of indexing grow while they are quick, and only then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from textkin.jobs import indexing
from textkin.types import Record


def sizes(seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [0.0]
    monkeypatch.setattr(indexing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    found: list[int] = []
    for batch in indexing._batches(Record(str(number), "x") for number in range(20_000)):
        found.append(len(batch))
        now[0] += seconds
    return found


def test_batches_grow_while_they_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(0.1, monkeypatch) == [256, 512, 1024, 2048, 4096, 4096, 4096, 3872]


def test_batches_stay_small_where_they_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(2.0, monkeypatch) == [256] * 78 + [32]


def test_long_texts_make_small_batches() -> None:
    batches = list(indexing._batches(Record(str(number), "x" * 200_000) for number in range(4)))
    assert [len(batch) for batch in batches] == [2, 2]
