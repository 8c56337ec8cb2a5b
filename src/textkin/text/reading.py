"""What of a text a model can read, and what makes two texts different that it reads alike."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from textkin.types import Reading, TextReader

_SIGNS_THAT_COUNT: Final = frozenset("#%&@*/\\")
"""Punctuation by Unicode's word, yet more than the end of a sentence."""
_LEAST_ACCENT: Final = 200
"""Combining classes from here on are accents of Latin, Greek and Cyrillic; those of 10 to 36 are vowel points of
Hebrew and Arabic. All others (Devanagari, Thai, Khmer …) are letters of their scripts."""
_POINTS: Final = range(10, 37)
_SELECTORS: Final = range(0xFE00, 0xFE10)
_PLAIN_WORD: Final = re.compile(r"(?<!\S)[A-Za-z0-9]{1,60}(?=[\s.,;:!?]|$)")
_FOREIGN: Final = re.compile(r"[^\x00-\u024f\u2000-\u206f\u20ac\u2122]")
_LONGEST_WORD: Final = 100


def counts(character: str) -> bool:
    """Whether a character tells texts apart: no blank, invisible sign, accent or sentence punctuation does."""
    kind = unicodedata.category(character)
    if kind[0] in "LN":
        return True
    if kind[0] == "Z" or kind in ("Cc", "Cf"):
        return False
    if kind == "Mn":
        order = unicodedata.combining(character)
        return order < _LEAST_ACCENT and order not in _POINTS and ord(character) not in _SELECTORS
    return kind[0] != "P" or character in _SIGNS_THAT_COUNT


def folded(text: str) -> str:
    """The characters that count, in one case and in their compatible form, in their order."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in plain if counts(character))


def text_key(text: str) -> str:
    """Equal for texts that hold the same characters (see `folded`) in any order.

    What two texts of one vector and of different keys differ in, their model did not read.
    """
    return "".join(sorted(folded(text)))


def reading(text: str, tokens: Iterable[tuple[bool, tuple[int, int]]]) -> Reading:
    """A `Reading`, from a tokenizer's tokens.

    Args:
        text: that was read.
        tokens: of each, whether it is known, and where it comes from: its first character and that behind its
            last. Some tokenizers put an empty known one before an unknown one, at the same place.
    """
    steps = np.zeros((2, len(text) + 1), dtype=np.int64)
    for known, (start, end) in tokens:
        steps[int(known), start] += 1
        steps[int(known), end] -= 1
    has_unknown, has_known = np.cumsum(steps[:, :-1], axis=1) > 0
    is_known = has_known & ~has_unknown
    unread: list[str] = []
    last = -1
    for place in np.flatnonzero(~is_known).tolist():
        character = text[place]
        if not (counts(character) or (place == last + 1 and unread and unicodedata.category(character)[0] == "M")):
            continue
        if place == last + 1 and unread:
            unread[-1] += character
        else:
            unread.append(character)
        last = place
    nothing = bool(unread) and not any(counts(text[place]) for place in np.flatnonzero(is_known).tolist())
    return Reading(tuple(unread), nothing)


def unreadable(texts: Sequence[str], readings: Callable[[Sequence[str]], list[Reading]], plain: bool) -> list[int]:
    """Rows of the texts in which nothing can be read.

    Args:
        texts: any.
        readings: of a model.
        plain: whether it reads every short word of ASCII letters and digits: most texts need no closer look then.
    """
    rows = [row for row, text in enumerate(texts) if not (plain and _PLAIN_WORD.search(text))]
    found = readings([texts[row] for row in rows])
    return [row for row, one in zip(rows, found, strict=True) if one.nothing]


def unread_words(one: Reading) -> tuple[str, ...]:
    """The unread that is more than signs, in any order: texts that differ in it have a `difference`."""
    return tuple(sorted(filter(_is_word, map(folded, one.unread))))


def difference(one: Reading, other: Reading) -> str | None:
    """What two texts differ in that their model did not read; None where that is nothing that counts.

    A sign more in one of them (an emoji) was seen as *something*, so their vectors can be believed; a word more,
    or different signs, or a text of which nothing was read, can't be told apart by vectors.
    """
    mine, theirs = Counter(map(folded, one.unread)), Counter(map(folded, other.unread))
    left, right = list((mine - theirs).elements()), list((theirs - mine).elements())
    if not left and not right:
        return None
    a_word = any(map(_is_word, (*left, *right)))
    if not (left and right) and not a_word and not one.nothing and not other.nothing:
        return None
    return f"{_listed(left)} / {_listed(right)}"


class TokenizerReader:
    """Reads as a tokenizer of transformers does, which sentence-transformers' models have.

    Args:
        tokenizer: called with texts; it must be one that tells from where in the text its tokens come.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`."""
        if not texts:
            return []
        found = self._tokenizer(
            list(texts), add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
        )
        unknown = self._tokenizer.unk_token_id
        rows = zip(texts, found["input_ids"], found["offset_mapping"], strict=True)
        return [
            reading(text, ((number != unknown, span) for number, span in zip(ids, spans, strict=True)))
            for text, ids, spans in rows
        ]

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return unreadable(texts, self.readings, plain=False)


def tokenizer_reader(tokenizer: Any) -> TextReader:
    """The reader of a tokenizer that a model brought along; one that reads anything where it doesn't tell."""
    if callable(tokenizer) and getattr(tokenizer, "is_fast", False) is True:
        return TokenizerReader(tokenizer)
    return AnyReader()


class AnyReader:
    """Stands in for a model that reads any bytes, as hosted ones do, or that doesn't tell what it reads."""

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`."""
        return [Reading((), False)] * len(texts)

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return []


class CautiousReader:
    """Stands in for a model of this machine whose tokenizer is not here.

    Nobody knows then what it reads: words of Latin script are taken for read, all others for unread, so that texts
    that differ in them are kept apart; but of no text it is said that the model can't read it.

    Args:
        missing: what is missing and how it comes here, for who is told that texts were kept apart.
    """

    def __init__(self, missing: str) -> None:
        self.missing = missing

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`."""
        return [reading(text, _latin(text)) for text in texts]

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return []


def _latin(text: str) -> Iterable[tuple[bool, tuple[int, int]]]:
    for word in re.finditer(r"\S+", text):
        yield len(word[0]) <= _LONGEST_WORD and not _FOREIGN.search(word[0]), word.span()


def _is_word(word: str) -> bool:
    return any(unicodedata.category(character)[0] in "LMN" for character in word)


def _listed(words: Sequence[str]) -> str:
    shown = " ".join(word[:30] for word in words[:3])
    return (shown + " …" if len(words) > 3 else shown) or "nothing"
