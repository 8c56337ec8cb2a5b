"""Whatever the text and however the tokens are counted: covered, in order, trimmed, within the limit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkin.text.split import split_all

Count = Callable[[Sequence[str]], list[int]]


def by_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def by_bytes(texts: Sequence[str]) -> list[int]:
    return [len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts]


def by_runs(texts: Sequence[str]) -> list[int]:
    """Joining two pieces may give fewer tokens, or more: runs of equal characters, and a toll for variety."""
    return [sum(a != b for a, b in itertools.pairwise(text)) + len(set(text)) // 3 + bool(text) for text in texts]


def by_squares(texts: Sequence[str]) -> list[int]:
    return [len(text) ** 2 // 4 + 1 for text in texts]


TEXT = st.text(alphabet=st.sampled_from("ab é漢\n\n  .!。\t\u0301😀\u200dx"), max_size=300) | st.text(max_size=80)


@pytest.mark.parametrize("count", [by_words, by_bytes, by_runs, by_squares])
@given(texts=st.lists(TEXT, max_size=4), limit=st.integers(6, 60))
def test_spans(count: Count, texts: list[str], limit: int) -> None:
    for text, spans in zip(texts, split_all(texts, count, limit), strict=True):
        assert spans
        if not text.strip() or count([text])[0] <= limit:
            assert [(span.start, span.end) for span in spans] == [(0, len(text))]
            continue
        passages = [text[span.start : span.end] for span in spans]
        assert max(count(passages)) <= limit
        assert all(passage and passage == passage.strip() for passage in passages)
        edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
        assert edges == sorted(edges)
        between = [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
        assert not "".join(between).strip()
