"""Bytes to text: which encoding, and whether it is text at all."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from textkin.errors import InputError

_HEAD = 8192
_SAMPLE = 65_536
_BLOCK = 1 << 20
_BEFORE = 1024
_SHOWN_LINES = 10
_SHOWN_BYTES = 4
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
MARK = "textkin.mark"
"""The error handler that puts each byte which can't be decoded aside as a lone surrogate: U+DC00 and its value."""
_MARKED = re.compile("[\udc00-\udcff]")
_UTF8_SHARE = 0.5
"""Of what lies beyond ASCII, the share of whole UTF-8 characters from which on a file is UTF-8. In files that are
not, such sequences come about by chance: up to 0.3 in Chinese, Japanese or Cyrillic multi-byte code."""
_CHANCE = 0.05
"""The same share in files of one byte a character: under 0.02, whatever the language."""
_TOLERATED = 0.05
"""Of what lies beyond ASCII, the share that may be damaged in a file whose encoding was guessed."""
_ONE_BYTE = re.compile(r"cp125\d|cp874|koi8|mac_|iso8859|latin", re.IGNORECASE)
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
    """How to decode a file.

    Attributes:
        name: as Python calls it.
        guessed: neither the user nor the file itself says so.
        damaged: some bytes can't be decoded by it: decode with `errors`, look with `damage`.
    """

    name: str
    guessed: bool
    damaged: bool = False

    @property
    def errors(self) -> str:
        """How Python has to treat what can't be decoded."""
        return MARK if self.damaged else "strict"


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


def says_other(head: bytes) -> bool:
    """Whether a file's beginning says that it is no plain UTF-8: by a mark, or by its NUL bytes."""
    return bool(marked(head) or _wide(head))


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


def detect(
    blocks: Callable[[], Iterable[bytes]], encoding: str | None = None, rows: bool = False
) -> Encoding | None:
    """Find the encoding of a whole file; the same bytes give the same, however they are cut into blocks.

    In this order: byte order mark; ``encoding``; UTF-8, also where some bytes are damaged; what the file declares
    (HTML, XML, Python); a guess. A file counts as damaged UTF-8, not as another encoding, when at least half of
    what lies beyond ASCII is whole UTF-8 characters, or more than chance can have made.

    Args:
        blocks: gives the whole content again at each call, in blocks of any size.
        encoding: the user's choice.
        rows: the content is a table, whose damaged rows can be left out: then the user's choice always fits.

    Returns:
        None when the byte order mark's encoding, or the user's, does not fit the content.
    """
    head = _first(blocks(), _SAMPLE)
    mark = marked(head)
    if mark or encoding:
        name = mark or encoding or ""
        beyond, bad = _count(blocks(), name, every=mark not in (None, "utf-8-sig"))
        fits = not bad or mark == "utf-8-sig" or (rows and not mark) or beyond >= bad
        return Encoding(name, False, bad > 0) if fits and beyond >= 0 else None
    wide = _wide(head)
    if wide:
        beyond, bad = _count(blocks(), wide, every=True)
        return Encoding(wide, True, bad > 0) if bad <= _TOLERATED * beyond else None
    beyond, bad = _count(blocks(), "utf-8")
    if not bad:
        return Encoding("utf-8", False)
    share = beyond / (beyond + bad)
    if share >= _UTF8_SHARE:
        return Encoding("utf-8", False, damaged=True)
    declared = _declared(head)
    found = _fitting(blocks, [declared], guessed=False) if declared else None
    found = found or _fitting(blocks, _guesses(_around_trouble(blocks())), guessed=True)
    if share > _CHANCE and (found is None or _ONE_BYTE.match(found.name)):
        return Encoding("utf-8", False, damaged=True)
    return found or Encoding("latin-1", True)


def guess_note(encoding: str) -> str:
    """What is told of a file whose encoding was guessed."""
    return f"it is not UTF-8; its encoding was guessed: {encoding} (--encoding says otherwise)"


def damage(text: str) -> str:
    """The first bytes of a text, decoded with `MARK`, that could not be decoded; empty for none."""
    if text.isascii():
        return ""
    return ", ".join(f"0x{ord(sign) - 0xDC00:02X}" for sign in _MARKED.findall(text)[:_SHOWN_BYTES])


def is_damaged(text: str) -> bool:
    """Whether a text, decoded with `MARK`, holds bytes that could not be decoded."""
    return not text.isascii() and _MARKED.search(text) is not None


def mended(text: str) -> tuple[str, str]:
    """A text with U+FFFD for each run of damaged bytes, and where they are, for people; empty for nowhere."""
    lines: list[int] = []
    line, seen = 1, 0
    for found in _MARKED.finditer(text):
        line += text.count("\n", seen, found.start())
        seen = found.start()
        if not lines or lines[-1] != line:
            lines.append(line)
    if not lines:
        return text, ""
    shown = ", ".join(f"{line:,}" for line in lines[:_SHOWN_LINES])
    more = f" and {len(lines) - _SHOWN_LINES:,} more" if len(lines) > _SHOWN_LINES else ""
    return re.sub(f"{_MARKED.pattern}+", "\ufffd", text), f"{'line' if len(lines) == 1 else 'lines'} {shown}{more}"


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(MARK, _mark)


def _count(blocks: Iterable[bytes], encoding: str, every: bool = False) -> tuple[int, int]:
    """Characters beyond ASCII (or all) that an encoding gives, and bytes that it can't decode; -1, 1: no way."""
    decoder = codecs.getincrementaldecoder(encoding)(MARK)
    good = bad = 0
    for block in itertools.chain(blocks, [None]):
        try:
            text = decoder.decode(b"", final=True) if block is None else decoder.decode(block)
        except UnicodeError:  # it can't begin with these bytes, such as UTF-16 without its mark
            return -1, 1
        damaged = 0 if text.isascii() else len(_MARKED.findall(text))
        beyond = len(text) if every or text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
        good += (beyond if every or not text.isascii() else 0) - damaged
        bad += damaged
    return good, bad


def _fitting(blocks: Callable[[], Iterable[bytes]], names: Iterable[str], guessed: bool) -> Encoding | None:
    """The first that decodes everything, or nearly everything where several bytes make a character."""
    nearly: Encoding | None = None
    tried: set[str] = set()
    for name in names:
        if name in tried:
            continue
        tried.add(name)
        beyond, bad = _count(blocks(), name)
        if not bad:
            return Encoding(name, guessed)
        if bad > _TOLERATED * beyond:
            continue
        if not _ONE_BYTE.match(name):  # a wrong one would fail at far more places
            return Encoding(name, guessed, damaged=True)
        nearly = nearly or Encoding(name, guessed, damaged=True)
    return nearly


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
    stream = iter(blocks)
    for block in stream:
        kept = kept[-_BEFORE:] + block
        found = re.search(rb"[\x80-\xff]", kept)
        if found:
            kept = kept[max(0, found.start() - _BEFORE) :]
            return kept[:_SAMPLE] if len(kept) >= _SAMPLE else kept + _first(stream, _SAMPLE - len(kept))
    return kept


def _guesses(sample: bytes) -> Iterator[str]:
    if not _is_western(sample):
        from charset_normalizer import from_bytes

        half = sample.rfind(b"\n", 0, len(sample) // 2) + 1 or len(sample) // 2
        # A damaged byte rules out the encoding of all the rest, so that the halves are asked too.
        for part in (sample, sample[:half], sample[half:]):
            best = from_bytes(part, cp_isolation=list(_LIKELY)).best()
            if best:
                yield best.encoding
    yield "cp1252"


def _is_western(sample: bytes) -> bool:
    """Whether cp1252 gives Western letters and signs only, among mostly ASCII letters."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = [character for character in text if character > "\x7f"]
    plain = sum(character.isascii() and character.isalpha() for character in text)
    return plain >= 2 * len(beyond) and _WESTERN.issuperset(beyond)
