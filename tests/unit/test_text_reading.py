"""What a model can read of a text: words without a token, accents, scripts; what tells two texts apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from textkin.models.hashing import HashingModel
from textkin.models.tokenizer import read_tokenizer
from textkin.text.reading import AnyReader, CautiousReader, counts, difference, reading, text_key, tokenizer_reader
from textkin.types import Reading, TextReader

TINY = Path(__file__).parent.parent / "golden" / "tiny"


@pytest.mark.parametrize(
    ("text", "unread", "nothing"),
    [
        ("the word", (), False),
        ("the word 🎉", ("🎉",), False),
        ("the🎉 word", ("the🎉",), False),  # WordPiece gives up on the whole word
        ("ខ្ញុំស្រឡាញ់អ្នក", ("ខ្ញុំស្រឡាញ់អ្នក",), True),
        ("ខ្ញុំ អ្នក!", ("ខ្ញុំ", "អ្នក"), True),  # that it knows the sign at the end helps nobody
        ("caf\ufffd", ("\ufffd",), False),  # dropped by the normaliser, without any token
        ("cafe\u0301", (), False),
        ("c\u00adat\u200d\ufe0f", (), False),
        ("", (), False),
        ("... !?", (), False),
        ("x" * 101, ("x" * 101,), True),  # longer than WordPiece looks at
    ],
)
def test_what_a_tokenizer_reads(text: str, unread: tuple[str, ...], nothing: bool) -> None:
    reader = read_tokenizer(TINY / "bert_mean")
    assert reader.readings([text]) == [Reading(unread, nothing)]
    assert reader.unreadable([text, "the word"]) == ([0] if nothing else [])


@pytest.mark.parametrize("name", ["roberta_mean", "camembert_mean", "xlm_roberta_mean", "mpnet_dense", "bert_cls"])
def test_every_kind_of_tokenizer_reads_its_own_words_and_tells_what_it_lacks(name: str) -> None:
    reader = read_tokenizer(TINY / name)
    known, unknown = reader.readings(["the word and the fox", "ខ្ញុំ"])
    assert known == Reading((), False)
    by_bytes = name == "roberta_mean"
    assert (unknown.nothing, bool(unknown.unread)) == (not by_bytes, not by_bytes)


def test_a_tokenizer_without_some_plain_letter_is_asked_about_every_text() -> None:
    reader = read_tokenizer(TINY / "bert_mean")
    assert reader.readings(["8"]) == [Reading(("8",), True)]  # the tiny vocabulary has no 8
    assert reader.unreadable(["8", "888 8", "7"]) == [0, 1]


def test_hashing_reads_words_only() -> None:
    assert HashingModel().readings(["order 🎉 c++"]) == [Reading(("🎉", "++"), False)]
    assert HashingModel().unreadable(["🎉", "a", "!", ""]) == [0]


def test_what_is_not_latin_may_be_unread_where_the_tokenizer_is_not_here() -> None:
    texts = ["naïve – “café”", "Order 🎉", "ភ្លៀង", "погода", "y" * 101]
    assert [one.unread for one in CautiousReader("fetch it").readings(texts)] == [
        (),
        ("🎉",),
        ("ភ្លៀង",),
        ("погода",),
        ("y" * 101,),
    ]
    assert CautiousReader("fetch it").unreadable(texts) == []  # nobody knows


def test_models_that_tell_nothing_are_believed() -> None:
    assert AnyReader().readings(["🎉"]) == [Reading((), False)]
    assert AnyReader().unreadable(["🎉"]) == []
    assert isinstance(tokenizer_reader(None), AnyReader)


def test_the_tokenizer_that_an_object_brings() -> None:
    class Fast:
        is_fast = True
        unk_token_id = 7

        def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[object]]]:
            return {
                "input_ids": [[1 if word.isascii() else 7 for word in text.split()] for text in texts],
                "offset_mapping": [
                    [(text.index(word), text.index(word) + len(word)) for word in text.split()] for text in texts
                ],
            }

    reader: TextReader = tokenizer_reader(Fast())
    assert reader.readings(["order 🚀"]) == [Reading(("🚀",), False)]
    assert reader.readings([]) == []
    assert reader.unreadable(["🚀", "order"]) == [0]


def test_letters_count_and_accents_do_not() -> None:
    assert all(map(counts, "aß7ु្ំ☃+#%�\ue000"))
    assert not any(map(counts, " \n\u0301\u00ad\u200b.,!?…“\u05b0\u064e\ufe0f"))


def test_the_key_of_a_text() -> None:
    assert text_key("Café, au  lait!") == text_key("lait au cafe\u0301")
    assert text_key("Order 🎉") != text_key("Order 🚀")
    assert text_key("C++") != text_key("C")
    assert text_key("कुल") != text_key("कल")


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (("🎉",), ("🚀",), "🎉 / 🚀"),
        (("🎉",), ("🎉",), None),
        (("🎉", "🎉"), ("🎉",), None),  # something more was seen: the vectors tell how much
        ((), ("🎉",), None),
        ((), ("ភ្លៀង",), "nothing / ភ្លៀង"),  # a word more is another text
        (("Ωmega",), ("ωMEGA",), None),
        (("ក", "ខ", "គ", "ឃ"), (), "ក ខ គ … / nothing"),
    ],
)
def test_what_two_texts_differ_in_unread(one: tuple[str, ...], other: tuple[str, ...], told: str | None) -> None:
    assert difference(Reading(one, False), Reading(other, False)) == told


def test_a_text_of_which_nothing_is_read_is_told_apart_by_any_sign() -> None:
    assert difference(Reading(("🎉", "🎉"), True), Reading(("🎉",), True)) == "🎉 / nothing"


def test_a_reading_from_spans() -> None:
    assert reading("ab cd 🎉", [(True, (0, 2)), (False, (3, 5)), (True, (3, 4))]) == Reading(("cd", "🎉"), False)
