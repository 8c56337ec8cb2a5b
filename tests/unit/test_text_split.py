"""Passages: what fits stays whole, what doesn't is cut at good places and never over the limit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from textkin.errors import InputError
from textkin.text.split import split, split_all
from textkin.types import Span


class Words:
    """Counts words plus two special tokens, and its own calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.calls += 1
        return [len(text.split()) + 2 for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def passages(text: str, spans: Sequence[Span]) -> list[str]:
    return [text[span.start : span.end] for span in spans]


def test_short_texts_stay_whole_and_are_counted_once() -> None:
    count = Words()
    texts = ["one two", "", "  \n ", " three "]
    assert split_all(texts, count, 10) == [(Span(0, 7),), (Span(0, 0),), (Span(0, 4),), (Span(0, 7),)]
    assert count.calls == 1


def test_no_limit_counts_nothing() -> None:
    count = Words()
    assert split("word " * 100_000, count, None) == (Span(0, 500_000),)
    assert count.calls == 0


def test_limit_is_inclusive() -> None:
    text = "a b c d e f g h"
    assert len(split(text, Words(), 10)) == 1
    assert len(split(text, Words(), 9)) == 2


def test_paragraphs_come_before_sentences() -> None:
    first = "One two three. Four five six."
    second = "Seven eight nine. Ten eleven."
    text = f"{first}\n\n{second}"
    assert passages(text, split(text, Words(), 9)) == [first, second]


def test_sentence_end_before_an_empty_line_is_a_paragraph() -> None:
    text = "A b c d.\n\nE. F g h i j."
    assert passages(text, split(text, Words(), 10)) == ["A b c d.", "E. F g h i j."]


def test_sentences_come_before_words() -> None:
    text = "One two three four. Five six seven eight. Nine ten eleven twelve."
    assert passages(text, split(text, Words(), 6)) == [
        "One two three four.",
        "Five six seven eight.",
        "Nine ten eleven twelve.",
    ]


def test_chinese_sentences_need_no_space() -> None:
    text = "今天天气很好。我们去公园散步。明天可能会下雨。"
    assert passages(text, split(text, characters, 10)) == [
        "今天天气很好。",
        "我们去公园散步。",
        "明天可能会下雨。",
    ]


def test_passages_are_balanced() -> None:
    text = " ".join(f"w{number}" for number in range(101))
    sizes = [len(passage.split()) for passage in passages(text, split(text, Words(), 102))]
    assert sum(sizes) == 101
    assert len(sizes) == 2
    assert min(sizes) >= 40


def test_one_long_word_is_cut_between_characters() -> None:
    text = "x" * 1000
    spans = split(text, characters, 64)
    assert "".join(passages(text, spans)) == text
    assert max(span.end - span.start for span in spans) <= 64
    assert len(spans) <= 20


def test_accents_stay_with_their_letters() -> None:
    text = "e\u0301" * 200
    assert all(passage[0] == "e" for passage in passages(text, split(text, characters, 50)))


def test_tokens_that_do_not_add_up_are_cut_again() -> None:
    def quadratic(texts: Sequence[str]) -> list[int]:
        return [len(text) ** 2 for text in texts]

    text = "abcdefghij klm nopqrst uvwxyz " * 20
    spans = split(text, quadratic, 100)
    assert all(len(passage) <= 10 for passage in passages(text, spans))
    assert "".join("".join(passages(text, spans)).split()) == "".join(text.split())


def test_limit_below_the_special_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="choose a larger limit"):
        split("hello world", Words(), 2)


def test_long_texts_take_few_calls() -> None:
    count = Words()
    text = "This is a sentence of some words. " * 30_000
    spans = split(text, count, 256)
    assert count.calls <= 5
    assert 1000 > len(spans) > 800


def test_white_space_at_the_ends_is_left_out() -> None:
    text = "\n\n  one two three four five  \n\n\n  six seven eight nine ten \t"
    for passage in passages(text, split(text, Words(), 7)):
        assert passage == passage.strip()


def test_batch_equals_one_by_one() -> None:
    texts = ["a b c " * 50, "short", "Some sentence here. " * 40]
    assert split_all(texts, Words(), 20) == [split(text, Words(), 20) for text in texts]
