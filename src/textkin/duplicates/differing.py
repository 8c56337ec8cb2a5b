"""What two texts that score high differ in: an edit, another number, a word that stands for another, or more.

Scores can't tell a copy with a slip of the pen from a sibling in another colour; the texts often can. Nothing here
knows a language, but for the veto's words for numbers and negation: what is a word is counted in the texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.unit_rows import Doubles, Numbers
from textkin.duplicates.veto import Profile, differences, profile


class Kind(IntEnum):
    """What a pair's texts say about it."""

    COPY = 0
    """The same but for slips, case, punctuation, the order of words, and a few words more or fewer."""
    CONTRARY = 1
    """Each has a number that the other lacks, or one negates what the other says."""
    SIBLING = 2
    """A word stands where the other has another one, and one of them has more such partners: variants."""
    EXCHANGE = 3
    """A word stands where the other has another one, and the same exchange is made in more pairs: a system."""
    UNCLEAR = 4
    """Anything else: reworded, about something else, or a word more that others have more as well: an edition."""


_SPACELESS: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_SPACELESS}]|[^\W\d_{_SPACELESS}]+|[^\w\s]")
_SIGNS: Final = frozenset("#%@")
_SLIP_LENGTH: Final = 3
"""Letters from which a word can be another one misspelt: ``i`` and ``ii`` are not."""
_RARER: Final = 10
"""How many times rarer a misspelling is than the word, unless it stands in one text only."""
_EDITED: Final = 0.25
"""Share of a text's words that a light edit may add or leave out."""
_ANOTHER: Final = 0.5
"""Share of words that differ on both sides from which nobody would look for slips; or so many words: ..."""
_MOST: Final = 20
_RECURS: Final = 3
"""Pairs with the same exchange of words from which it is a system: red / blue."""
_EDITION: Final = 0.05
"""Share of the copies that have the same word more, in the same place, from which it may be an edition: Pro."""
_NAME: Final = 10
"""Words from which a text is no name of a thing, so that one word more makes no edition of it."""
_FAMILY: Final = 0.05
"""A sibling has another one that scores less by no more than this."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What of a text is compared: its words and signs in order, and what the vetoes see."""

    words: tuple[str, ...]
    profile: Profile


def pair_kinds(texts: Sequence[str], i: Numbers, j: Numbers, scores: Doubles) -> npt.NDArray[np.int8]:
    """The kind of each pair.

    Args:
        texts: all; they say which words are common.
        i: one side.
        j: the other.
        scores: of the pairs.
    """
    needed = np.unique(np.concatenate([i, j])).tolist()
    read = {number: _read(texts[number]) for number in needed}
    spread = Counter(word for text in texts for word in set(_words(text)))
    kinds = np.empty(len(i), dtype=np.int8)
    exchanged: dict[int, tuple[str, ...]] = {}
    added: dict[int, tuple[str, ...]] = {}
    for pair, (one, other) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
        kinds[pair], words = _kind(read[one], read[other], spread)
        if words:
            (added if kinds[pair] == Kind.COPY else exchanged)[pair] = words
    often = Counter(added.values())
    least = max(_RECURS, _EDITION * int((kinds == Kind.COPY).sum()))
    kinds[[pair for pair, words in added.items() if often[words] >= least]] = Kind.UNCLEAR
    for pair, kind in _systematic(exchanged, kinds, i, j, scores):
        kinds[pair] = kind
    return kinds


def _systematic(
    exchanged: Mapping[int, tuple[str, ...]], kinds: npt.NDArray[np.int8], i: Numbers, j: Numbers, scores: Doubles
) -> Iterator[tuple[int, Kind]]:
    """Of the pairs with words exchanged those whose exchange recurs, or whose records have more such partners."""
    times = Counter(exchanged.values())
    best: dict[int, list[float]] = defaultdict(list)
    for pair in [*exchanged, *np.flatnonzero(kinds == Kind.CONTRARY).tolist()]:
        for record in (int(i[pair]), int(j[pair])):
            best[record] = sorted([*best[record], float(scores[pair])], reverse=True)[:2]
    for pair, words in exchanged.items():
        least = float(scores[pair]) - _FAMILY
        kin = any(len(best[record]) > 1 and best[record][1] >= least for record in (int(i[pair]), int(j[pair])))
        if kin:
            yield pair, Kind.SIBLING
        elif times[words] >= _RECURS:
            yield pair, Kind.EXCHANGE


def _words(text: str) -> list[str]:
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [
        word for word in found if word[0].isalnum() or word in _SIGNS or unicodedata.category(word[0])[0] == "S"
    ]


def _read(text: str) -> _Read:
    return _Read(tuple(_words(text)), profile(text))


def _kind(one: _Read, other: _Read, spread: Mapping[str, int]) -> tuple[Kind, tuple[str, ...]]:
    """The kind of a pair by itself, and the words that are exchanged in one place, or one has more."""
    mine, theirs = Counter(one.profile.numbers), Counter(other.profile.numbers)
    fewer, more = mine - theirs, theirs - mine
    if fewer and more:
        return Kind.CONTRARY, ()
    here, there = _extra(one.words, other.words), _extra(other.words, one.words)
    length = max(len(one.words) + mine.total(), len(other.words) + theirs.total())
    if min(len(here), len(there)) > min(_ANOTHER * length, _MOST):
        return Kind.UNCLEAR, ()
    if differences(one.profile, other.profile, ("negation",)):
        return Kind.CONTRARY, ()
    _match(one.words, other.words, here, there, spread)
    known = [(a, b) for a in here for b in there if spread[one.words[a]] > 1 and spread[other.words[b]] > 1]
    for a, b in known:
        if _around(one.words, a, -1) == _around(other.words, b, -1) or (
            _around(one.words, a, 1) == _around(other.words, b, 1)
        ):
            return Kind.UNCLEAR, (min(one.words[a], other.words[b]), max(one.words[a], other.words[b]))
    signs = any(not one.words[a][0].isalnum() for a in here) or any(not other.words[b][0].isalnum() for b in there)
    if fewer or more or signs or not one.words or not other.words:
        return Kind.UNCLEAR, ()
    if max(len(here), len(there)) > _EDITED * length:
        return Kind.UNCLEAR, ()
    longer, places = (one.words, here) if here else (other.words, there)
    if (here and there) or len(places) != 1 or length >= _NAME:
        return Kind.COPY, ()
    # A word at an end is what an edition has more; within a text the same words stand around it.
    place = places[0]
    around = ("", longer[place]) if place in (0, len(longer) - 1) else tuple(longer[place - 1 : place + 2])
    return Kind.COPY, around


def _match(
    one: Sequence[str], other: Sequence[str], here: list[int], there: list[int], spread: Mapping[str, int]
) -> None:
    """Strike out of the places of words that the other lacks what it has misspelt, or as one word or two."""
    for first, second, mine, theirs in ((one, other, here, there), (other, one, there, here)):
        for place in [p for p in mine if p + 1 in mine]:
            if place in mine and place + 1 in mine:
                joined = first[place] + first[place + 1]
                match = next((p for p in theirs if second[p] == joined), None)
                if match is not None:
                    mine.remove(place)
                    mine.remove(place + 1)
                    theirs.remove(match)
    for place in list(here):
        match = next((p for p in there if _slip(one[place], other[p], spread)), None)
        if match is not None:
            here.remove(place)
            there.remove(match)


def _extra(one: Sequence[str], other: Sequence[str]) -> list[int]:
    """Places of words that the other side lacks."""
    left = Counter(other)
    places = []
    for place, word in enumerate(one):
        if left[word]:
            left[word] -= 1
        else:
            places.append(place)
    return places


def _slip(one: str, other: str, spread: Mapping[str, int]) -> bool:
    """Whether one word is the other with a letter lost, added, changed or swapped with its neighbour."""
    if abs(len(one) - len(other)) > 1 or min(len(one), len(other)) < _SLIP_LENGTH:
        return False
    rare, common = sorted((spread[one], spread[other]))
    if rare > 1 and rare * _RARER > common:
        return False
    start = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    a, b = one[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


def _around(words: Sequence[str], place: int, step: int) -> str:
    """The word before or after a place; empty at the end."""
    at = place + step
    return words[at] if 0 <= at < len(words) else ""
