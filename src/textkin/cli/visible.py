"""Text for a terminal: nothing in it steers the terminal, and nothing in it hides."""

from __future__ import annotations

import json
import re
from typing import Protocol, TextIO

# DEL and C1, marks that reorder text, lone surrogates, and all that has no glyph of its own: what Unicode calls
# Default_Ignorable_Code_Point, with annotations.
_HIDING = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f{_HIDING}]")
_UNSAFE_JSON = re.compile(f"[{_HIDING}]")

_EMOJI = (
    "\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Letters that joiners shape: Arabic to Sinhala, Tibetan, Myanmar, Khmer, Mongolian, and the supplements.
_JOINED = (
    "\u0600-\u061b\u061d-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u17ff\u1820-\u18af\u1900-\u1cff"
    "\ua800-\uabff\U00010a00-\U00011fff"
)
# Where a sign that is not seen shapes what is, a letter or a picture. Anywhere else it only hides something.
_SHAPING = re.compile(
    f"(?<=[{_JOINED}])[\u200c\u200d]|(?<=[\u1820-\u18af])[\u180b-\u180f]"
    f"|(?:(?<=[{_EMOJI}])|(?<=[{_EMOJI}]\ufe0f))\u200d(?=[{_EMOJI}])|(?<=[{_EMOJI}])[\ufe0e\ufe0f]"
    f"|(?<=[0-9#*])\ufe0f(?=\u20e3)|(?<=[{_HAN}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
)
# England, Scotland and Wales: a black flag, and their codes spelt in tags.
_FLAGS = re.compile(
    "\U0001f3f4\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)\U000e007f"
)
_FLAG_LENGTH = 7


class Writes(Protocol):
    """What rows are written to."""

    def write(self, text: str, /) -> object:
        """Write a text."""
        ...


def safe(text: str) -> str:
    """Control characters but tab and line feed, and signs that are not seen, become escapes.

    What shapes the letters or the pictures beside it stays: joiners after letters of joining scripts, emoji
    sequences, variants of Han characters.
    """
    return _UNSAFE.sub(_escaped, text)


def safe_json(text: str) -> str:
    """JSON with the same signs as JSON's own escapes, so that its values stay exact."""
    return _UNSAFE_JSON.sub(_escaped_json, text)


def for_reader(stream: TextIO) -> Writes:
    """A stream as it is; where a person reads it on a terminal, made `safe`."""
    return _SafeWriter(stream) if stream.isatty() else stream


class _SafeWriter:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str, /) -> object:
        return self._stream.write(safe(text))


def _escaped(found: re.Match[str]) -> str:
    if _shapes(found):
        return found[0]
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped_json(found: re.Match[str]) -> str:
    if _shapes(found):
        return found[0]
    return "\\u007f" if found[0] == "\x7f" else json.dumps(found[0])[1:-1]


def _shapes(found: re.Match[str]) -> bool:
    place = found.start()
    if _SHAPING.match(found.string, place):
        return True
    near = _FLAGS.finditer(found.string, max(0, place - _FLAG_LENGTH), place + _FLAG_LENGTH)
    return any(flag.start() < place < flag.end() for flag in near)
