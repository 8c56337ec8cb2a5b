"""Lines of any length in bounded memory: one that is too long is counted and left out, never built."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import IO, AnyStr

from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow

_ESCAPED = 12
"""The most bytes that JSON takes for a character: two escapes of surrogates."""
_UTF8 = 4
"""The most bytes that UTF-8 takes for a character."""
_BESIDE = 1 << 20
"""Room for whatever else stands in a row."""


def row_limit(options: ReadOptions, escaped: int = _ESCAPED) -> int:
    """Bytes or characters that a row may take before it is built; no text of a permitted length fills it.

    Args:
        escaped: the most that a character of the text takes.
    """
    return escaped * options.max_text + _BESIDE


def document_limit(options: ReadOptions) -> int:
    """Bytes that a file may have which is one record."""
    return _UTF8 * options.max_text + _BESIDE


def over_long(what: str, size: int, options: ReadOptions) -> str:
    """Why a row is not built."""
    limit = f"{options.max_text:,} is the limit of one text (--max-text)"
    return f"{what} is over-long: {size:,} characters or bytes, where {limit}"


def lines_of(file: IO[AnyStr], options: ReadOptions) -> Iterator[tuple[int, AnyStr | BadRow]]:
    """Lines from 1; one that no text of a permitted length can fill is never held whole."""
    limit = row_limit(options)
    for number in itertools.count(1):
        line = file.readline(limit)
        if not line:
            return
        if len(line) < limit or ends(line):
            yield number, line
            continue
        size = len(line)
        while line and not ends(line):
            line = file.readline(_BESIDE)
            size += len(line)
        yield number, BadRow(over_long(f"line {number}", size, options))


def ends(line: str | bytes) -> bool:
    """Whether a piece of a line is its last."""
    return line[-1:] in ("\n", "\r", b"\n")
