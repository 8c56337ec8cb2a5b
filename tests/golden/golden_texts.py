"""The texts that golden vectors are made of: generated from a seed, the same on every machine and Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

_WORDS = """
the a of and to in is it that for on with as was at by be this have from or had not are but what all were
when we there can an your which their said if do will each about how up out them then she many some so these
would other into has more her two like him see time could no make than first been its who now people my made
over did down only way find use may water long little very after words called just where most know get
through back much before go good new write our used me man too any day same right look think also around
another came come work three word must because does part even place well such here take why things help put
years different away again off went old number great tell men say small every found still between name
should home big give air line set own under read last never us left end along while might next sound below
saw something thought both few those always looked show large often together asked house world going want
school important until form food keep children feet land side without boy once animals life enough took
sometimes four head above kind began almost live page got earth need far hand high year mother light parts
country father let night following picture being study second eyes soon times story boys since white days
ever paper hard near sentence better best across during today others however sure means knew tried told
young miles sun ways thing whole hear example heard several change answer room sea against top turned three
learn point city play toward five using himself usually money refund invoice database embedding vector
cosine similarity language model python function error
""".split()  # noqa: SIM905
_OTHER_SCRIPTS = (
    "今天天气很好，我们去公园散步。",
    "東京は日本の首都です。カタカナとひらがな。",
    "안녕하세요 세계",
    "الطقس جميل اليوم في المدينة",
    "שלום עולם, מה שלומך היום?",
    "Привет, как дела? Погода хорошая.",
    "Γειά σου Κόσμε",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "Größe, Straße, Übermut, naïve façade, smörgåsbord, İstanbul, ǅ",
    "e\u0301a\u0300o\u0308u\u0302 n\u0303 zalgo: h\u0335\u0321e\u0336l\u0337l\u0338o",
    "ﬁ ﬂ ﬀ ＡＢＣ１２３ ½ ² Ⅷ ™ ©",
    "👍 🙂🚀 👨‍👩‍👧‍👦 🇩🇪 ❤️",
    "𝒽𝑒𝓁𝓁𝑜 𝔴𝔬𝔯𝔩𝔡 𐍈 𠜎",
)
_CODE = (
    "def f(x: int) -> str:\n    return f'{x!r}'  # comment",
    "for (int i = 0; i < n; ++i) { a[i] *= 2; } // loop",
    "SELECT id, count(*) FROM t WHERE a >= 3.5 GROUP BY id;",
    '<p class="x">Hello <b>world</b> &amp; co.</p><!-- note -->',
    '{"key": [1, 2.5, null], "nested": {"a": "b"}}',
    "https://example.org/path?q=1&r=%20#frag user.name+tag@example.co.uk",
    "C:\\Users\\name\\file.txt /usr/local/bin/x ~/.config",
    "3.14159 1,234,567.89 -42 0x1F 1e-10 2026-11-22T10:00:00Z $5.00 50% +49 170 1234567",
)
_STRANGE = (
    "",
    " ",
    "\n",
    " \t\r\n\u00a0\u2003\u3000 ",
    "a",
    "Z",
    ".",
    "?!",
    "0",
    "é",
    "我",
    "🙂",
    "\u0301",
    "\u200b",
    "\ufeff",
    "\ufffd",
    "\x00",
    "a\x00b",
    "\x01\x02\x03\x1b[31mred\x1b[0m\x7f",
    "\x85\u2028\u2029next",
    "\ud800",
    "broken \udcff surrogate \ud83d end",
    "\u202eright to left\u202c",
    "\ue000 private \U0010ffff",
    "[CLS]",
    "[SEP] in the middle [SEP] of it",
    "[MASK] a <mask> b",
    "<s> text </s>",
    "<pad> padded <pad><pad> text [PAD]",
    "[UNK] <unk> unknown",
    "##ing ##s",
    "UPPER lower MiXeD",
    "  leading and trailing  ",
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "x" * 100_000,
    "-" * 700,
    "é" * 300,
    "🙂" * 120,
    "中" * 600,
    " ".join(["cat"] * 10_000),
    "no" + " " * 5000 + "gap",
)
NEAR_LIMITS = (*range(14, 19), *range(126, 131), *range(254, 259), *range(382, 387), 510, 511, 512)
"""Lengths in tokens, special ones included, when every word is one token."""


class _Dice:
    """Numbers from SHA-256 of a counter: no library's generator, so no version's change."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def below(self, limit: int) -> int:
        self._count += 1
        digest = hashlib.sha256(f"{self._seed} {self._count}".encode()).digest()
        return int.from_bytes(digest[:8], "little") % limit

    def one(self, of: Sequence[str]) -> str:
        return of[self.below(len(of))]


def texts(count: int = 2000) -> list[str]:
    """``count`` varied texts, all different, most of them short."""
    found: dict[str, None] = {}
    for text in _stream(_Dice("textkin golden texts 1")):
        found[text] = None
        if len(found) == count:
            break
    return list(found)


def tiny_texts() -> list[str]:
    """A few dozen texts that fit a tiny model."""
    dice = _Dice("textkin tiny texts 1")
    chosen = [text for text in (*_STRANGE, *_OTHER_SCRIPTS, *_CODE) if len(text) < 1000]
    chosen += [" ".join(["cat"] * (length - 2)) for length in NEAR_LIMITS if length < 160]
    chosen += [_prose(dice, words) for words in (1, 2, 3, 5, 8, 12, 20, 40, 90, 200)]
    return chosen


def training_texts() -> list[str]:
    """What the tiny models' tokenizers are trained on."""
    dice = _Dice("textkin training texts 1")
    return [_prose(dice, 12) for _ in range(300)] + [*_OTHER_SCRIPTS, *_CODE]


def _stream(dice: _Dice) -> Iterator[str]:
    yield from _STRANGE
    yield from _OTHER_SCRIPTS
    yield from _CODE
    for length in NEAR_LIMITS:
        yield " ".join(["cat"] * (length - 2))
        if length > 250:
            yield _prose(dice, length - 2)
    for _ in range(12):
        yield _prose(dice, 150 + dice.below(400))
    for _ in range(60):
        yield _prose(dice, 40 + dice.below(90))
    while True:
        kind = dice.below(10)
        if kind < 6:
            yield _prose(dice, 1 + dice.below(20))
        elif kind == 6:
            yield f"{_prose(dice, 3)} {dice.one(_OTHER_SCRIPTS)} {_prose(dice, 2)}"
        elif kind == 7:
            yield f"{dice.one(_CODE)} {_prose(dice, 4)}"
        elif kind == 8:
            yield f"{dice.below(10**9)} {dice.one(_WORDS)} {dice.below(1000) / 8} {dice.one(_WORDS).upper()}"
        else:
            yield "".join(chr(33 + dice.below(94)) for _ in range(1 + dice.below(40)))


def _prose(dice: _Dice, words: int) -> str:
    chosen = [dice.one(_WORDS) for _ in range(words)]
    if dice.below(4) == 0:
        chosen[dice.below(words)] = "".join(chr(97 + dice.below(26)) for _ in range(4 + dice.below(9)))
    line = " ".join(chosen)
    return line[0].upper() + line[1:] + dice.one([".", "?", "!", "", ", he said.", " ..."])
