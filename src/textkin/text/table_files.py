"""Files that hold a table: decompressed, decoded, and ready to give their rows."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import IO, AnyStr, BinaryIO, TextIO, TypeAlias

from textkin.errors import FileReadError
from textkin.text import decode
from textkin.text.csv_table import csv_table
from textkin.text.found import Found
from textkin.text.json_table import json_table, jsonl_table
from textkin.text.kinds import Kind, Packing, inner_suffix
from textkin.text.options import ReadOptions
from textkin.text.packed import unpacked, whole
from textkin.text.parquet_table import parquet_table
from textkin.text.tables import BadRow, Table

_ESCAPED = 12
"""The most bytes that JSON takes for a character: two escapes of surrogates."""
_BESIDE = 1 << 20
"""Room for whatever else stands in a line."""
FindEncoding: TypeAlias = Callable[[Found, Callable[[], Iterable[bytes]]], str]


@contextlib.contextmanager
def opened_table(found: Found, options: ReadOptions, find_encoding: FindEncoding) -> Iterator[Table]:
    """Open a file of a kind that is a table; its rows are read inside the block.

    Args:
        find_encoding: (file, its bytes again at each call) to the name of its encoding.

    Raises:
        FileReadError: it is not what its name says, or damaged.
        InputError: no table in it.
    """
    kind, packing = found.kind
    if kind is Kind.PARQUET:
        with found.open() as file:
            yield parquet_table(file, found.name)
        return
    with whole(packing, found.name):
        opened = functools.partial(_opened, found, packing)
        with opened() as file:
            head = file.read(65_536)
        reason = decode.binary_reason(head)
        if reason:
            raise FileReadError(f"{found.name}: {reason}")
        # JSON Lines are UTF-8: a line that isn't is one bad line, not a reason to guess.
        if kind is Kind.JSONL and not decode.marked(head) and not options.encoding:
            with opened() as file:
                yield jsonl_table(lines_of(file, options), found.name)
            return
        if options.bulk and kind is Kind.CSV and _is_utf8(options.encoding) and not decode.marked(head):
            # Another encoding for the whole file, guessed from one broken row, would spoil all others.
            encoding, errors = "utf-8", "surrogateescape"
        else:
            encoding, errors = find_encoding(found, lambda: _blocks(opened)), "strict"
        with _table(found, kind, lambda: _opened_text(opened, encoding, errors), options) as table:
            yield table


def _is_utf8(encoding: str | None) -> bool:
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


Opened: TypeAlias = Callable[[], contextlib.AbstractContextManager[BinaryIO]]


@contextlib.contextmanager
def _table(
    found: Found,
    kind: Kind,
    opened_text: Callable[[], contextlib.AbstractContextManager[TextIO]],
    options: ReadOptions,
) -> Iterator[Table]:
    if kind is Kind.CSV:
        yield csv_table(opened_text, found.name, inner_suffix(found.name) in ("tsv", "tab"))
    elif kind is Kind.JSON:
        with opened_text() as file:
            content = file.read()
        yield json_table(content, found.name)
    else:
        with opened_text() as file:
            yield jsonl_table(lines_of(file, options), found.name)


def lines_of(file: IO[AnyStr], options: ReadOptions) -> Iterator[tuple[int, AnyStr | BadRow]]:
    """Lines from 1; in a bulk job, one that no text of a permitted length can fill is never held whole."""
    if not options.bulk:
        yield from enumerate(file, start=1)
        return
    limit = _ESCAPED * options.max_text + _BESIDE
    for number in itertools.count(1):
        line = file.readline(limit)
        if not line:
            return
        if len(line) < limit or line[-1:] in (b"\n", "\n"):
            yield number, line
            continue
        size = len(line)
        while line and line[-1:] not in (b"\n", "\n"):
            line = file.readline(_BESIDE)
            size += len(line)
        yield number, BadRow(f"line {number} is over-long: {size:,} bytes")


@contextlib.contextmanager
def _opened(found: Found, packing: Packing | None) -> Iterator[BinaryIO]:
    with found.open() as file:
        if packing is None:
            yield file
        else:
            with unpacked(file, packing) as content:
                yield content


@contextlib.contextmanager
def _opened_text(opened: Opened, encoding: str | None, errors: str) -> Iterator[TextIO]:
    with opened() as file, io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="") as text:
        yield text


def _blocks(opened: Opened) -> Iterator[bytes]:
    with opened() as file:
        yield from decode.read_blocks(file)
