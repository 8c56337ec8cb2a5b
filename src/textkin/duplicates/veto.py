"""Lexical veto: near-equal vectors whose texts differ in a number or in a negation are not the same.

Numbers are those of any script (digits, fractions, CJK numerals) and the English words for them; negation is
English only: negating words are counted, and words with a negating prefix and a short list of opposites are
compared. A veto only protects: it may keep two records apart that mean the same, never merge two.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from textkin.errors import InputError

Veto: TypeAlias = Literal["numbers", "negation"]
VETOES: Final[tuple[Veto, ...]] = get_args(Veto)

_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_SEPARATORS = {"\u066b": ".", "\u066c": ",", "\u2019": "'", "\u02bc": "'", "\u2212": "-"}
_NUMBER = re.compile(r"(?:(?<=[\s(\[{])|(?<=^))[-](?=\d)|\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

_CARDINALS = (
    "zero",  # "one" is left out: it is a pronoun more often than a number
    *("", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS: Final = {
    **{word: str(value) for words in (_CARDINALS, _ORDINALS) for value, word in enumerate(words) if word},
    **{word: str(10 * value) for value, word in enumerate(_TENS, 3)},
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "dozen": "12",
}
_NEGATORS: Final = frozenset(
    {
        *("not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "nowhere"),
        *("without", "non", "cannot", "cant", "dont", "doesnt", "didnt", "isnt", "arent"),
        *("wasnt", "werent", "wont", "wouldnt", "shouldnt", "couldnt", "hasnt", "havent", "hadnt"),
    }
)
_PREFIXES: Final = ("un", "non", "dis", "in", "im", "il", "ir")
_LEAST_STEM: Final = 4
_OPPOSITES: Final = frozenset(
    frozenset(pair)
    for pair in (
        ("always", "never"),
        ("always", "sometimes"),
        ("all", "none"),
        ("all", "some"),
        ("true", "false"),
        ("yes", "no"),
        ("enable", "disable"),
        ("enabled", "disabled"),
        ("allow", "deny"),
        ("allow", "forbid"),
        ("allowed", "forbidden"),
        ("accept", "reject"),
        ("accepted", "rejected"),
        ("include", "exclude"),
        ("included", "excluded"),
        ("increase", "decrease"),
        ("increased", "decreased"),
        ("before", "after"),
        ("minimum", "maximum"),
        ("min", "max"),
        ("open", "closed"),
        ("start", "stop"),
        ("on", "off"),
        ("up", "down"),
        ("left", "right"),
        ("with", "without"),
    )
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What of a text the vetoes look at.

    Attributes:
        numbers: in one spelling, sorted; a number that comes twice stands there twice.
        negators: how many words negate.
        words: all different words, case-folded.
    """

    numbers: tuple[str, ...]
    negators: int
    words: frozenset[str]


def checked_vetoes(veto: str | Iterable[str]) -> tuple[Veto, ...]:
    """The names of vetoes, each once.

    Raises:
        InputError: an unknown one.
    """
    asked = [veto] if isinstance(veto, str) else list(veto)
    for name in asked:
        if name not in VETOES:
            raise InputError(f"unknown veto {name!r}; choose of: {', '.join(VETOES)}")
    return tuple(name for name in VETOES if name in asked)


def profile(text: str) -> Profile:
    """Read a text's numbers, negations and words."""
    plain = _NON_ASCII.sub(_plain_character, unicodedata.normalize("NFC", text))
    numbers: list[str] = []
    sign = ""
    for found in _NUMBER.finditer(plain):
        if found[0] == "-":
            sign = "-"
            continue
        number = found[0].replace(",", "") if _THOUSANDS.fullmatch(found[0]) else found[0]
        numbers.append(sign + number)
        sign = ""
    words = [word.casefold() for word in _WORD.findall(plain)]
    numbers += [_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS]
    negators = sum(word in _NEGATORS or word.endswith("n't") for word in words)
    return Profile(tuple(sorted(numbers)), negators, frozenset(words))


def differences(one: Profile, other: Profile, vetoes: Sequence[Veto]) -> dict[str, str]:
    """Why two texts must not be merged: veto to what differs; empty when nothing does. Symmetric but for order."""
    found: dict[str, str] = {}
    if "numbers" in vetoes and one.numbers != other.numbers:
        mine, theirs = Counter(one.numbers), Counter(other.numbers)
        found["numbers"] = f"{_listed((mine - theirs).elements())} / {_listed((theirs - mine).elements())}"
    if "negation" in vetoes:
        reason = _negated(one, other)
        if reason:
            found["negation"] = reason
    return found


def word_key(text: str) -> str:
    """Equal for two texts only if every veto sees them alike."""
    plain = _NON_ASCII.sub(_plain_character, unicodedata.normalize("NFC", text))
    return " ".join(plain.casefold().split())


def _negated(one: Profile, other: Profile) -> str:
    mine, theirs = one.words - other.words, other.words - one.words
    for here, there, turned in ((mine, theirs, False), (theirs, mine, True)):
        for word in sorted(here):
            against = next(
                (
                    stem
                    for prefix in _PREFIXES
                    if word.startswith(prefix)
                    and len(stem := word[len(prefix) :]) >= _LEAST_STEM
                    and stem in there
                ),
                None,
            ) or next((far for far in sorted(there) if frozenset((word, far)) in _OPPOSITES), None)
            if against is not None:
                return f"{against} / {word}" if turned else f"{word} / {against}"
    if one.negators != other.negators:
        return f"{one.negators} / {other.negators} negating words"
    return ""


def _listed(items: Iterable[str]) -> str:
    return " ".join(items) or "none"


def _plain_character(found: re.Match[str]) -> str:
    """A digit of any script as ASCII, any other numeral as a decimal number between blanks."""
    character = found[0]
    if character in _SEPARATORS:
        return _SEPARATORS[character]
    value = unicodedata.decimal(character, None)
    if value is not None:
        return str(value)
    number = unicodedata.numeric(character, None)
    return character if number is None else f" {number:.12g} "
