"""Texts that a model can't tell apart, because what they differ in it did not read: they are no duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from textkin.text.reading import CautiousReader, difference, folded, text_key, unread_words
from textkin.types import Reading, TextReader

SAME_VECTOR: Final = 1 - 1e-11
"""Scores from here on are those of one vector, computed in different batches. Two long texts that differ in one
word of a thousand lie a thousand times as far under 1."""


class Unread:
    """What a model did not read of some texts.

    Args:
        texts: by number.
        reader: tells what the model reads.

    Attributes:
        silent: numbers of the texts in which it can read nothing: duplicates by their texts alone.
    """

    def __init__(self, texts: Sequence[str], reader: TextReader) -> None:
        self._texts = texts
        self._reader = reader
        self._readings: dict[int, Reading] = {}
        self._keys: dict[int, str] = {}
        self._missing = reader.missing if isinstance(reader, CautiousReader) else None
        self.silent: frozenset[int] = frozenset(reader.unreadable(texts))

    def read(self, numbers: Iterable[int]) -> None:
        """Read several texts at once, which is quicker."""
        missing = [number for number in dict.fromkeys(numbers) if number not in self._readings]
        found = self._reader.readings([self._texts[number] for number in missing])
        self._readings.update(zip(missing, found, strict=True))

    def key(self, number: int) -> tuple[object, ...]:
        """Texts with one vector are one record only if their keys are equal."""
        self.read([number])
        return self._text_key(number), tuple(sorted(map(folded, self._readings[number].unread)))

    def words(self, number: int) -> tuple[str, ...]:
        """Texts are linked only if these are equal; what signs they may differ in, `between` tells."""
        self.read([number])
        return unread_words(self._readings[number])

    def between(self, i: int, other: Unread, j: int, score: float) -> str | None:
        """What text ``i`` here and text ``j`` there differ in unread; None where nothing forbids to merge them."""
        self.read([i])
        other.read([j])
        one, two = self._readings[i], other._readings[j]
        found = difference(one, two)
        if found is None and score >= SAME_VECTOR and self._text_key(i) != other._text_key(j):
            found = self.told(i, other, j)
        if found is None and (one.nothing or two.nothing):
            found = "the model reads nothing of it"
        return found

    def why(self, found: str, i: int, other: Unread, j: int) -> dict[str, str]:
        """The veto to what two texts differ in; ``tokenizer`` where it was only guessed that this is unread."""
        self.read([i])
        other.read([j])
        guessed = self._missing if self._readings[i].unread or other._readings[j].unread else None
        return {"unread": found} if guessed is None else {"unread": found, "tokenizer": guessed}

    def told(self, i: int, other: Unread, j: int) -> str:
        """The words that only one of two texts has, for people."""
        mine, theirs = Counter(self._texts[i].split()), Counter(other._texts[j].split())
        return f"{_first((mine - theirs).elements())} / {_first((theirs - mine).elements())}"

    def _text_key(self, number: int) -> str:
        if number not in self._keys:
            self._keys[number] = text_key(self._texts[number])
        return self._keys[number]


def _first(words: Iterable[str]) -> str:
    shown = [word[:30] for word in words]
    return " ".join(shown[:3]) + (" …" if len(shown) > 3 else "") or "nothing"
