"""Lightly edited copies of texts: what a near-duplicate looks like when nobody has labelled any."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

from textkin.text.digest import text_digest, well_formed

_WORDS_A_TYPO: Final = 12


def edited(text: str, kind: str) -> str:
    """A copy of the text with one kind of light edit; the same text gives the same copy.

    Args:
        text: of a record.
        kind: a key of `EDITS`. A text that the edit can't change (no letter, one word) comes back as it is.
    """
    seed = int.from_bytes(text_digest(well_formed(kind + "\0" + text))[:8], "little")
    return EDITS[kind](text, random.Random(seed))


def _typos(text: str, dice: random.Random) -> str:
    """One slip of the fingers in about twelve words: a letter lost, doubled, or swapped with the next."""
    letters = list(text)
    places = [
        place for place in range(len(letters) - 1) if letters[place].isalpha() and letters[place + 1].isalpha()
    ]
    for place in sorted(
        dice.sample(places, min(len(places), 1 + len(text.split()) // _WORDS_A_TYPO)), reverse=True
    ):
        slip = dice.randrange(3)
        if slip == 0:
            del letters[place]
        elif slip == 1:
            letters.insert(place, letters[place])
        else:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _case(text: str, dice: random.Random) -> str:
    changed = [text.lower(), text.upper(), text.capitalize()]
    return next((one for one in dice.sample(changed, len(changed)) if one != text), text)


def _punctuation(text: str, _: random.Random) -> str:
    """Without any, or, where there is none, with a full stop."""
    bare = re.sub(r"[^\w\s]", "", text)
    return bare if bare.strip() and bare != text else text + "."


def _white_space(text: str, dice: random.Random) -> str:
    return re.sub(r" ", lambda _: dice.choice([" ", "  ", "\n"]), text) + " "


def _dropped(text: str, dice: random.Random) -> str:
    words = text.split()
    if len(words) > 1:
        del words[dice.randrange(len(words))]
    return " ".join(words)


def _doubled(text: str, dice: random.Random) -> str:
    words = text.split()
    if words:
        place = dice.randrange(len(words))
        words.insert(place, words[place])
    return " ".join(words)


def _swapped(text: str, dice: random.Random) -> str:
    words = text.split()
    if len(words) > 1:
        place = dice.randrange(len(words) - 1)
        words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def _truncated(text: str, _: random.Random) -> str:
    """Without its last tenth, at least one word."""
    words = text.split()
    return " ".join(words[: max(1, len(words) - max(1, len(words) // 10))])


EDITS: Final[dict[str, Callable[[str, random.Random], str]]] = {
    "typos": _typos,
    "case": _case,
    "punctuation": _punctuation,
    "white space": _white_space,
    "word dropped": _dropped,
    "word doubled": _doubled,
    "words swapped": _swapped,
    "truncated": _truncated,
}
