"""Bytes to text: which encoding, and whether it is text at all."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from textkin.errors import InputError

_HEAD = 8192
_SAMPLE = 65_536
_BLOCK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a database"),
    (b"PAR1", "a Parquet file"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an old office document"),
)
_DECLARED = re.compile(
    rb"""<meta\b[^>]*?charset\s*=\s*["']?\s*([A-Za-z0-9][-\w]*)"""
    rb"""|\A\s*<\?xml\b[^>]*?encoding\s*=\s*["']([A-Za-z0-9][-\w.]*)"""
    rb"""|\A(?:[^\n]*\n)?[ \t\f]*\#.*?coding[:=][ \t]*([-\w.]+)""",
    re.IGNORECASE,
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\b\x1a\x1b")) + b"\x7f"
_WESTERN = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿŠšŽžŒœŸ"
    "\xa0¡¢£€§¨©ª«»®°±²´µ·º¼½¾¿×‘’‚“”„†‡•…‰‹›–—™"
)
_LIKELY = (
    *("cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp866", "cp874"),
    *("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "mac_cyrillic", "iso8859_2", "iso2022_jp"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to decode a file; ``guessed`` when neither the user nor the file itself says so."""

    name: str
    guessed: bool


def check_encoding(name: str | None) -> None:
    """Refuse an encoding that Python doesn't know.

    Raises:
        InputError: naming it.
    """
    if name is None:
        return
    try:
        known = codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        known = False
    if not known:
        raise InputError(f"unknown encoding {name!r}; expected a name like utf-8, cp1252 or shift_jis")


def marked(head: bytes) -> str | None:
    """The encoding that a byte order mark at the start says; None without one."""
    return next((name for mark, name in _BOMS if head.startswith(mark)), None)


def binary_reason(head: bytes) -> str | None:
    """Why these first bytes are not text; None when they may be."""
    if marked(head):
        return None
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return f"{name}, not text"
    head = head[:_HEAD]
    if b"\0" in head and not _wide(head):
        return "binary: it holds NUL bytes"
    if len(head) - len(head.translate(None, _CONTROL)) > len(head) * 0.02:
        return "binary: it holds many control characters"
    return None


def detect(blocks: Callable[[], Iterable[bytes]], encoding: str | None = None) -> Encoding | None:
    """Find an encoding that decodes everything.

    In this order: byte order mark; ``encoding``; UTF-8; what the file declares (HTML, XML, Python); a guess.

    Args:
        blocks: gives the whole content again at each call, in blocks of any size.
        encoding: the user's choice.

    Returns:
        None when the byte order mark's encoding, or the user's, does not fit the content.
    """
    head = _first(blocks(), _SAMPLE)
    said = marked(head) or encoding
    if said:
        return Encoding(said, False) if _fits(blocks(), said) else None
    wide = _wide(head)
    if wide:
        return Encoding(wide, True) if _fits(blocks(), wide) else None
    if _fits(blocks(), "utf-8"):
        return Encoding("utf-8", False)
    declared = _declared(head)
    if declared and _fits(blocks(), declared):
        return Encoding(declared, False)
    for name in _guesses(_around_trouble(blocks())):
        if _fits(blocks(), name):
            return Encoding(name, True)
    return Encoding("latin-1", True)


def read_blocks(file: BinaryIO) -> Iterable[bytes]:
    """The content of an open file in blocks."""
    while block := file.read(_BLOCK):
        yield block


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: in mostly Latin text every other byte is NUL."""
    head = head[: len(head) & ~1]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) < 4 or max(even, odd) < len(head) * 0.35 or min(even, odd) > len(head) * 0.02:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _fits(blocks: Iterable[bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        for block in blocks:
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _declared(head: bytes) -> str | None:
    found = _DECLARED.search(head[:2048])
    if found is None:
        return None
    name = next(group for group in found.groups() if group).decode("ascii")
    try:
        check_encoding(name)
    except InputError:
        return None
    if codecs.lookup(name).name.startswith(("utf-16", "utf-32")):
        return None  # it could not have been found in such a file
    # What browsers do: pages that say latin-1 are written in its superset.
    return "cp1252" if codecs.lookup(name).name in ("iso8859-1", "ascii") else name


def _first(blocks: Iterable[bytes], size: int) -> bytes:
    head = b""
    for block in blocks:
        head += block
        if len(head) >= size:
            break
    return head[:size]


def _around_trouble(blocks: Iterable[bytes]) -> bytes:
    """The stretch that starts shortly before the first byte beyond ASCII: that is where an encoding shows."""
    kept = b""
    for block in blocks:
        kept = kept[-1024:] + block
        found = re.search(rb"[\x80-\xff]", kept)
        if found:
            return kept[max(0, found.start() - 1024) :][:_SAMPLE]
    return kept


def _guesses(sample: bytes) -> list[str]:
    if _is_western(sample):
        return ["cp1252"]
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_LIKELY)).best()
    return [best.encoding, "cp1252"] if best else ["cp1252"]


def _is_western(sample: bytes) -> bool:
    """Whether cp1252 gives Western letters and signs only, among mostly ASCII letters."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = [character for character in text if character > "\x7f"]
    plain = sum(character.isascii() and character.isalpha() for character in text)
    return plain >= 2 * len(beyond) and _WESTERN.issuperset(beyond)
