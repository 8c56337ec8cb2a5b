"""What comes through stdin: JSON Lines, or one text a line."""

from __future__ import annotations

import codecs
import io
import itertools
import json
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO, TypeAlias

from textkin.errors import InputError
from textkin.text import decode
from textkin.text.digest import well_formed
from textkin.text.options import OnNote, OnSkip, ReadOptions, Skipped
from textkin.text.rows import too_long
from textkin.text.table_files import lines_of
from textkin.text.tables import BadRow
from textkin.types import Record

Lines: TypeAlias = Iterator[tuple[int, bytes | BadRow]]


def standard_input(stream: BinaryIO, options: ReadOptions) -> tuple[bool, Lines]:
    """Whether a stream is JSON Lines, as its first line says, and its lines from 1.

    Raises:
        InputError: nothing in it.
    """
    lines = _numbered(stream, options)
    ahead: list[tuple[int, bytes | BadRow]] = []
    for number, line in lines:
        ahead.append((number, line))
        if isinstance(line, BadRow) or line.strip():
            return _is_object(line), itertools.chain(ahead, lines)
    raise InputError("nothing came through stdin; pipe texts to it, a line each, or JSON Lines")


def plain_lines(lines: Lines, options: ReadOptions, on_skip: OnSkip, on_note: OnNote) -> Iterator[Record]:
    """One record a line, each with an encoding of its own."""
    noted: set[str] = set()
    for number, line in lines:
        if isinstance(line, BadRow):
            on_skip(Skipped("-", line.reason, row=number, source="-", id=f"-:{number}"))
            continue
        encoding = decode.detect(lambda line=line: [line], options.encoding)  # type: ignore[misc]
        if not line.strip():
            continue
        if encoding is None or b"\0" in line:
            reason = "binary: it holds NUL bytes" if b"\0" in line else f"not {options.encoding}"
            on_skip(Skipped("-", reason, row=number, source="-", id=f"-:{number}"))
            continue
        if encoding.guessed and encoding.name not in noted:
            noted.add(encoding.name)
            on_note("-", encoding.name)
        text = well_formed(line.decode(encoding.name).strip())
        reason = too_long(text, options.max_text) if options.bulk else ""
        if reason:
            on_skip(Skipped("-", reason, row=number, source="-", id=f"-:{number}"))
        elif text:
            yield Record(f"-:{number}", text, {}, "-")


def _numbered(stream: BinaryIO, options: ReadOptions) -> Lines:
    """Lines from 1, without a byte order mark; UTF-16 is read whole and turned into UTF-8."""
    head = stream.readline(4)
    mark = decode.marked(head)
    if mark in ("utf-16", "utf-32"):
        head, stream = b"", io.BytesIO((head + stream.read()).decode(mark, "replace").encode())
    head = head.removeprefix(codecs.BOM_UTF8)
    lines: Iterator[bytes | BadRow] = (line for _, line in lines_of(stream, options))
    if head.endswith(b"\n"):
        lines = itertools.chain([head], lines)
    elif head:
        rest = next(lines, b"")
        lines = itertools.chain([rest if isinstance(rest, BadRow) else head + rest], lines)
    yield from enumerate(lines, start=1)


def _is_object(line: bytes | BadRow) -> bool:
    try:
        return isinstance(line, bytes) and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def process_stdin() -> BinaryIO:
    """The process's own standard input.

    Raises:
        InputError: it is closed, or nothing that can be read.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed; pipe texts to it, or name a file")
    stream = sys.stdin.buffer
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return stream  # not a file: whoever calls this has put something in its place
    try:
        os.read(number, 0)
    except OSError as error:
        raise InputError(f"standard input can't be read: {error.strerror}; pipe texts to it") from error
    return stream
